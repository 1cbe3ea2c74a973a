"""What the losses could still object to: `python benchmarks/link_errors.py runs/study_main`.

A consistency loss is silent about a wrong cell of a mask that is linked to nothing, and about one whose
links all lead to cells with the same label. For every run of a study this counts how many of the wrong
cells inside the boxes have a link at all, how many have one to a cell labelled otherwise, and how many
*right* cells have one too. `link_errors.json`, `link_errors_NAME.json` for another study; a picture beside
it shows such cells in the masks of the row without TK-Loss. `results_page.py` has a section of both.

    {"study": "main", "stride": 4, "frames": 5,
     "rows": [{"name": "boxes", "label": "projection + pairwise + TK",
               "seeds": [{"seed": 0, "mean_iou": 69.98, "tracks": 76, "wrong": 11.9,
                          "neighbours_linked": 14.9, "neighbours_contradicted": 5.2,
                          "neighbours_right": 6.8, ...}, ...]}, ...],
     "picture": {"seed": 0, "tracks": [{"track_id": 5, "video_id": 3, "frame": 2}, ...]}}

`wrong` is in percent of the cells inside the boxes; the others are cells for every hundred wrong ones.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from link_errors_picture import Seen, write_picture
from link_errors_section import LINKS, tables
from residual_errors import TrueTrack, best_answers, is_in_repository, read_true_tracks
from study_command import is_composites, usual_stem
from torch import Tensor

from maskfree_nb import atomic
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.reach import RADIUS, match_links, neighbour_links
from maskfree_nb.data.statistics import K
from maskfree_nb.data.tracks import Video, VideoSet
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import disk_offsets
from maskfree_nb.tkloss.lab import rgb_to_lab
from maskfree_nb.tkloss.matching import match_patches
from maskfree_nb.tkloss.tube import frame_pairs
from maskfree_nb.viz.study import read_study

ROOT = Path(__file__).resolve().parents[1]
STRIDE, FRAMES = 4, 5  # of the masks in training; of a tube
FOUND = 0.5  # least track IoU: another mask is somewhere else, not wrong in places
DRAWN, DRAWN_ROW = 6, "boxinst"  # tracks; the row without TK-Loss


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a track's map, bool [T*h*w] each."""

    wrong: Tensor  # inside the box and labelled otherwise than the truth
    right: Tensor  # inside the box and labelled as the truth
    label: Tensor  # what the mask says


def write_link_errors(folder: Path, out: Path, stem: str | None = None) -> dict:
    """Measure every run of the study in `folder`; write the numbers and the picture into `out`, as `stem`.

    Raises:
        InputError: no study, a run without results, or one that finds no object.
    """
    study = read_study(folder / "study.json")
    annotations = folder / "data" / "val.json"
    videos, truths = read_true_tracks(annotations)
    video_set = load_ytvis(annotations, folder / "data" / "val" / "JPEGImages", masks=True)
    links = {video.id: video_links(video_set, video) for video in video_set.videos}
    rows, seen, drawn_seed = [], [], None
    for row in study.rows:
        seeds = []
        for seed in (run["seed"] for run in row.seeds):
            results = folder / row.name / f"seed_{seed}" / "results.json"
            answers = best_answers(truths, results, videos)
            found = [
                (truth, cells(truth, answer.mask))
                for truth, answer in zip(truths, answers, strict=True)
                if answer.iou >= FOUND
            ]
            if not found:
                raise InputError(f"{results}: finds no object with a track IoU of {FOUND} or more")
            iou = round(100 * float(np.mean([answer.iou for answer in answers])), 2)
            counted = {"seed": seed, "mean_iou": iou, "tracks": len(found)}
            seeds.append({**counted, **figures(found, links)})
            if row.name == DRAWN_ROW and drawn_seed is None:
                drawn_seed, seen = seed, most_wrong(found, links)
        rows.append({"name": row.name, "label": row.label, "seeds": seeds})
    content = {"study": study.name, "stride": STRIDE, "frames": FRAMES, "rows": rows}
    stem = stem or usual_stem(study).replace("study", "link_errors", 1)
    if is_composites(study) and is_in_repository(out):
        print(f"no picture: the clips may not be given away, {out} is in the repository")
    elif seen:
        write_picture(out / f"{stem}.png", video_set, seen, STRIDE)
        tracks = [{"track_id": one.track_id, "video_id": one.video_id, "frame": one.frame} for one in seen]
        content["picture"] = {"seed": drawn_seed, "tracks": tracks}
    atomic.write_json(out / f"{stem}.json", content, indent=2)
    return content


def video_links(video_set: VideoSet, video: Video) -> dict[str, Tensor]:
    """The linked pairs of a video's first frames, by the names of `LINKS`: int64 [2, links] each."""
    frames = torch.stack([read_frame(video_set, video, t) for t in range(min(video.length, FRAMES))])
    lab = rgb_to_lab(frames, STRIDE, quantise=False)
    pairs, offsets = frame_pairs(len(frames), "cyclic"), disk_offsets(RADIUS)
    return {
        name: neighbour_links(lab)
        if threshold is None
        else match_links(match_patches(lab, pairs, offsets, k=K, threshold=threshold))
        for name, (_, threshold) in LINKS.items()
    }


def cells(truth: TrueTrack, mask: np.ndarray) -> Cells:
    """Compare a mask, bool [T, H, W], with the truth on the map, in the first frames; half a cell decides."""
    stacked = torch.from_numpy(np.stack([truth.mask, truth.box, mask])[:, :FRAMES])
    true, box, label = (F.avg_pool2d(stacked.float(), STRIDE) >= 0.5).flatten(1)
    return Cells(box & (true != label), box & (true == label), label)


def linked_and_contradicted(label: Tensor, links: Tensor) -> tuple[Tensor, Tensor]:
    """Which cells have a link, and which have one to a cell labelled otherwise: bool [T*h*w] each."""
    here, there = torch.cat([links, links.flip(0)], dim=1)
    linked, contradicted = torch.zeros_like(label), torch.zeros_like(label)
    linked[here] = True
    contradicted[here[label[here] != label[there]]] = True
    return linked, contradicted


def figures(found: list[tuple[TrueTrack, Cells]], links: dict[int, dict[str, Tensor]]) -> dict[str, float]:
    """The figures of one run, over the cells of all tracks."""
    wrong = sum(track.wrong.sum().item() for _, track in found)
    right = sum(track.right.sum().item() for _, track in found)
    shares = {"wrong": wrong / (wrong + right)}
    for name in LINKS:
        counts = torch.zeros(3)
        for truth, track in found:
            linked, contradicted = linked_and_contradicted(track.label, links[truth.track.video_id][name])
            marked = (track.wrong & linked, track.wrong & contradicted, track.right & contradicted)
            counts += torch.stack([cells.sum() for cells in marked])
        kinds = (f"{name}_linked", f"{name}_contradicted", f"{name}_right")
        shares |= dict(zip(kinds, (counts / max(wrong, 1)).tolist(), strict=True))
    return {name: round(100 * share, 2) for name, share in shares.items()}


def most_wrong(found: list[tuple[TrueTrack, Cells]], links: dict[int, dict[str, Tensor]]) -> list[Seen]:
    """The tracks with most wrong cells, one of a video, each in the frame where it has most of them."""
    seen = {}
    drawable = [pair for pair in found if pair[1].wrong.any()]
    for truth, track in sorted(drawable, key=lambda pair: -pair[1].wrong.sum().item()):
        _, height, width = truth.mask.shape
        size = (-1, height // STRIDE, width // STRIDE)
        wrong = track.wrong.view(size)
        frame = wrong.sum((1, 2)).argmax().item()
        marks = {}
        for name in list(LINKS)[:2]:  # those of the losses
            of_video = links[truth.track.video_id][name]
            parts = (part.view(size)[frame] for part in linked_and_contradicted(track.label, of_video))
            marks[name] = tuple(wrong[frame] & part for part in parts)
        outline = torch.from_numpy(truth.mask[frame])
        seen.setdefault(
            truth.track.video_id,
            Seen(truth.track.video_id, truth.track.id, frame, outline, wrong[frame], marks),
        )
    return list(seen.values())[:DRAWN]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the study that the command line names, and print its tables."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("study", type=Path, help="folder that `maskfree study` wrote")
    default = ROOT / "benchmarks" / "results"
    parser.add_argument("--out", type=Path, default=default, help="folder (default benchmarks/results)")
    parser.add_argument("--name", help="of the files written, without ending (default: as said above)")
    options = parser.parse_args(arguments)
    try:
        content = write_link_errors(options.study, options.out, options.name)
    except InputError as error:
        sys.exit(str(error))
    print(tables(content))


if __name__ == "__main__":
    main()
