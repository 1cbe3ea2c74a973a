"""Draw the pictures of the README again, into this folder: `python notebooks/pictures/draw.py`.

All that is in them ships with the package or its dependencies: the stereo pair and the photographs of
scikit-image, the embedded data set, the trained model. `explorer.png` is cut out of a screenshot that the
browser test makes.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from skimage.data import stereo_motorcycle
from torch import Tensor

from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.frames import resize_shortest_edge
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.inference import load_trained, predict_video
from maskfree_nb.pretrained import pretrained
from maskfree_nb.tkloss import disk_offsets, rgb_to_lab
from maskfree_nb.viz.matches import look_at, matches_figure
from maskfree_nb.viz.overlays import contact_sheet
from maskfree_nb.viz.tracks import draw_tracks

FOLDER = Path(__file__).parent
PIXELS = [(69, 68), (84, 83), (11, 128), (45, 130), (20, 66)]  # one of each case, on the map of stride 4
VIDEOS, FRAMES = 4, [3, 6, 9]
GAP = 8  # pixels of white on both sides of a video


def stereo_pair() -> Tensor:
    """Two real frames, uint8 [2, 3, H, W]."""
    left, right, _ = stereo_motorcycle()
    frames = np.stack([right[60:444, 70:646], left[60:444, 100:676]])
    return torch.from_numpy(frames).permute(0, 3, 1, 2)


def draw_matches() -> None:
    """The cases of the method on two real frames."""
    frames = stereo_pair()
    lab = rgb_to_lab(frames, stride=4)
    views = [look_at(lab, (0, 1), y, x, disk_offsets(5)) for y, x in PIXELS]
    matches_figure(frames, views).savefig(FOLDER / "matches.png", dpi=110)


def draw_predictions() -> None:
    """The first held-out videos with what the shipped model finds in them, two beside each other."""
    model, metadata = load_trained(pretrained())
    strips = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        make_embedded(data, train_videos=1, val_videos=VIDEOS)
        videos = load_ytvis(data / "val.json", data / "val" / "JPEGImages", masks=False)
        for video in videos.videos:
            frames = video_frames(videos, video)
            tracks = predict_video(model, frames, image_size=metadata["image_size"])
            overlay = draw_tracks(frames, tracks, metadata["categories"], min_score=0.5, tags=False)
            shown = resize_shortest_edge(overlay[FRAMES], 150)
            strips.append(F.pad(contact_sheet(shown, columns=len(FRAMES)), (GAP, GAP, 0, 0), value=255))
    sheet = torch.cat([torch.cat(strips[row : row + 2], -1) for row in range(0, VIDEOS, 2)], -2)
    Image.fromarray(sheet.permute(1, 2, 0).numpy()).save(FOLDER / "predictions.png", optimize=True)


if __name__ == "__main__":
    draw_matches()
    draw_predictions()
