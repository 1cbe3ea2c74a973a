"""Clips of one's own as the data set of a study: the boxes are trained on, the true masks scored with.

folder/train.json          boxes only
folder/train_oracle.json   the same with the true masks
folder/val.json            the same again: what is scored is how well boxes were turned into masks
folder/train/JPEGImages, folder/val/JPEGImages    links to the images
folder/dataset.json        the `GivenClips`
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.dataset_folder import SPLITS, digest_of, make_folder
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.errors import InputError


@dataclass(frozen=True)
class GivenClips:
    """What is in the folder: the content of `dataset.json`."""

    videos: int
    frames: int  # of all videos together
    objects: int
    sha256: str  # of the three annotation files; "" before they are made
    source_sha256: str  # of the annotation file that was given, and all images
    kind: str = "clips"

    def __str__(self) -> str:
        return (
            f"clips that are both trained on and scored on: {self.videos} with {self.objects} objects in "
            f"{self.frames} frames, sha256 {self.source_sha256[:16]}"
        )


def make_given_clips(folder: str | Path, annotations: str | Path, images: str | Path) -> GivenClips:
    """Make a data set whose held-out videos are its training videos, or keep it if it is there already.

    Where boxes alone are trained on, the masks that come out for the same videos are new all the same. A
    model trained on the masks themselves says how many of them it can draw.

    Args:
        folder: as of `make_embedded`, but that its images are links; it appears only when it is complete.
        annotations: a YouTube-VIS file with masks.
        images: the folder that its file_names are in. It must stay where it is.

    Raises:
        InputError: bad annotations or images, annotations without masks or without objects; or a folder that
            holds something else, or a data set of other clips; it is left as it is.

    >>> make_given_clips("runs/mine/data", "instances.json", "JPEGImages")        # doctest: +SKIP
    """
    clips = load_ytvis(annotations, images, masks=True)
    tracks = [track for video in clips.videos for track in video.tracks if not track.is_crowd]
    if not tracks:
        raise InputError(f"{annotations}: annotations has no object to learn from (crowds do not count)")
    verify_images(clips)
    frames = sum(video.length for video in clips.videos)
    wanted = GivenClips(len(clips.videos), frames, len(tracks), sha256="", source_sha256=digest_of(clips))

    def fill(made: Path) -> str:
        digest = hashlib.sha256()
        for split in SPLITS:
            (made / split).mkdir(parents=True)
            (made / split / "JPEGImages").symlink_to(clips.image_root.resolve(), target_is_directory=True)
        for name, masks in (("train.json", False), ("train_oracle.json", True), ("val.json", True)):
            write_annotations(made / name, clips.categories, clips.videos, masks=masks)
            digest.update((made / name).read_bytes())
        return digest.hexdigest()

    return make_folder(folder, wanted, fill)
