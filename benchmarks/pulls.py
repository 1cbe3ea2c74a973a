"""Which way each loss pulls at mistakes of trained networks: `python benchmarks/pulls.py runs/study_main`.

Every network of a study sees clips drawn as in its training, now with their true masks. Of each loss from
boxes, with the weights of the recipe, whatever the network was trained with, the gradient in the mask logits
says of each cell whether the loss pulls it towards the truth or away from it. `pulls.json`, `pulls_NAME.json`
for another study, has the sums over wrong and over right cells; a picture beside it shows the wrong cells of
the row without TK-Loss. `results_page.py` has a section of both.

    {"study": "main", "clips": 320,
     "rows": [{"name": "boxes", "label": "projection + pairwise + TK",
               "seeds": [{"seed": 0, "mean_iou": 69.98, "objects": 391, "missed": 12, "wrong": 11.9,
                          "tk_wrong_to": 1.3, "tk_wrong_away": 4.2, "tk_right_to": 9.3, ...}, ...]}, ...],
     "picture": {"seed": 0, "count": 6}}

`wrong` is in percent of the cells inside the boxes of objects that were found, each pull in percent of all
pulls at these cells; `mean_iou` is the study's, and tells of which runs this is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from measure_study import is_in_repository, measure_study
from pulls_picture import Mistake, write_picture
from pulls_section import LOSSES, table
from study_command import shows_real_clips, usual_stem
from torch import Tensor

from maskfree_nb import atomic
from maskfree_nb.boxloss import colour_affinity, fill_loss, pairwise_loss, projection_loss, union_region
from maskfree_nb.criterion import Criterion, CriterionConfig
from maskfree_nb.data.clips import ClipBatch, ClipDataset, collate_clips
from maskfree_nb.data.sampling import ClipConfig
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.inference import load_trained
from maskfree_nb.model.mask2former import VideoMask2Former, normalise_frames
from maskfree_nb.recipes import DEMO
from maskfree_nb.viz.study import Study, read_study

CLIPS, BATCH, SEED = 320, 8, 1000  # of a seed that no run of a study draws its clips by
FOUND = 0.5  # least IoU with the truth: another mask is somewhere else, not wrong in places
DRAWN_ROW = "boxinst"  # the row without TK-Loss


class Pulls(NamedTuple):
    """The objects of a batch that a network finds, on the map: [N, T, h, w] each but the first two."""

    missed: int  # objects that it does not find
    clip_index: Tensor  # int64 [N]
    wrong: Tensor  # bool, inside the box and labelled otherwise than the truth
    right: Tensor  # bool, inside the box and labelled as the truth
    true: Tensor  # bool
    towards: dict[str, Tensor]  # of each loss: how hard it pulls towards the truth, negative if away


def write_pulls(folder: Path, out: Path, stem: str | None = None, clips: int = CLIPS) -> dict:
    """Measure every network of the study in `folder`; write numbers and picture into `out`, as `stem`.

    Raises:
        InputError: no study, a run without its model, or one that finds no object.
    """
    study = read_study(folder / "study.json")
    criterion, batches = setting(study, folder / "data", clips)
    rows, mistakes, drawn_seed = [], [], None
    for row in study.rows:
        seeds = []
        for run in row.seeds:
            path = folder / row.name / f"seed_{run['seed']}" / "model.safetensors"
            model, _ = load_trained(path)
            pulls = [pulls_of(model.eval(), batch, criterion) for batch in batches]
            if not any(one.wrong.any() for one in pulls):
                raise InputError(f"{path}: finds no object, or makes no mistake")
            identity = {"seed": run["seed"], "mean_iou": run["mean_iou"]}
            seeds.append({**identity, **figures(pulls)})
            if row.name == DRAWN_ROW and not mistakes:
                drawn_seed, mistakes = run["seed"], list(most_wrong(batches, pulls))
        rows.append({"name": row.name, "label": row.label, "seeds": seeds})
    content = {"study": study.name, "clips": clips, "rows": rows}
    stem = stem or usual_stem(study).replace("study", "pulls", 1)
    if shows_real_clips(study) and is_in_repository(out):
        print(f"no picture: the clips may not be given away, {out} is in the repository")
    elif mistakes:
        count = write_picture(out / f"{stem}.png", mistakes)
        content["picture"] = {"seed": drawn_seed, "count": count}
    atomic.write_json(out / f"{stem}.json", content, indent=2)
    return content


def setting(study: Study, data: Path, clips: int) -> tuple[Criterion, list[ClipBatch]]:
    """The study's losses and clips, drawn as in its training, but with true masks."""
    settings = {**DEMO, **study.settings}
    config = CriterionConfig(**{**settings["criterion"], "supervision": "masks"})  # for its targets
    videos = load_ytvis(data / "train_oracle.json", data / "train" / "JPEGImages", masks=True)
    drawn = ClipDataset(videos, ClipConfig(**settings["clips"]), seed=SEED, length=clips)
    batches = [
        collate_clips([drawn[n] for n in range(start, min(start + BATCH, clips))])
        for start in range(0, clips, BATCH)
    ]
    return Criterion(config), batches


def pulls_of(model: VideoMask2Former, batch: ClipBatch, criterion: Criterion) -> Pulls:
    """How each loss pulls at the masks of a network, in one batch."""
    targets = criterion.targets(batch)
    with torch.no_grad():
        masks = model(normalise_frames(batch.frames))[-1].masks  # [B, Q, T, h, w]
    true, box = targets.masks >= 0.5, targets.box_masks >= 0.5
    ious = mask_ious(masks[targets.clip_index] > 0, true)  # [N, Q]
    best, query = ious.max(1)
    found = (best >= FOUND).nonzero()[:, 0]
    clips, true, box = targets.clip_index[found], true[found], box[found]
    logits = masks[clips, query[found]]
    wrong = box & ((logits > 0) != true)
    pulls = gradients(logits, targets.box_masks[found], clips, batch.frames, criterion)
    towards = {name: torch.where(true, -pull, pull) for name, pull in pulls.items()}
    return Pulls(len(targets.masks) - len(found), clips, wrong, box & ~wrong, true, towards)


def mask_ious(masks: Tensor, truths: Tensor) -> Tensor:
    """IoU over all frames of each object's candidates: bool [N, Q, T, h, w], [N, T, h, w] -> [N, Q]."""
    masks, truths = masks.flatten(2), truths.flatten(1)[:, None]
    return (masks & truths).sum(-1) / (masks | truths).sum(-1).clamp(min=1)


def gradients(
    logits: Tensor, boxes: Tensor, clip_index: Tensor, frames: Tensor, criterion: Criterion
) -> dict[str, Tensor]:
    """The gradient of every loss, with its weight, in mask logits [N, T, h, w]."""
    config, tk_loss = criterion.config, criterion.tk_loss
    lab = tk_loss.lab(frames)
    affinity = colour_affinity(
        lab, dilation=config.pairwise_dilation, threshold=config.pairwise_threshold, border=config.border
    )
    matches, region = tk_loss.match_lab(lab), union_region(boxes)
    logits = logits.detach()[None].requires_grad_()  # one layer
    losses = {
        "projection": projection_loss(logits, boxes),
        "pairwise": pairwise_loss(
            logits, affinity, boxes, dilation=config.pairwise_dilation, clip_index=clip_index
        ),
        "tk": tk_loss(logits, matches, region, clip_index),
        "fill": fill_loss(logits, boxes, config.fill_floor),
    }
    return {
        name: torch.autograd.grad(getattr(config, f"{name}_weight") * loss.sum(), logits)[0][0]
        for name, loss in losses.items()
    }


def figures(pulls: Sequence[Pulls]) -> dict[str, float]:
    """The figures of one network, over all batches."""
    sums = {
        f"{name}_{cells}_{way}": sum(
            (sign * one.towards[name][getattr(one, cells)]).clamp(min=0).double().sum() for one in pulls
        )
        for name in LOSSES
        for cells in ("wrong", "right")
        for way, sign in (("to", 1), ("away", -1))
    }
    total = sum(sums.values())
    wrong, right = (sum(getattr(one, cells).sum() for one in pulls) for cells in ("wrong", "right"))
    return {
        "objects": sum(len(one.wrong) for one in pulls),
        "missed": sum(one.missed for one in pulls),
        "wrong": round(100 * (wrong / (wrong + right)).item(), 2),
        **{name: round(100 * (value / total).item(), 2) for name, value in sums.items()},
    }


def most_wrong(batches: Sequence[ClipBatch], pulls: Sequence[Pulls]) -> Iterator[Mistake]:
    """The objects by their wrong cells in one frame, most first, at most one of a video."""
    ranked = [
        (-one.wrong[n, t].sum().item(), b, n, t)
        for b, one in enumerate(pulls)
        for n, t in one.wrong.flatten(2).any(-1).nonzero().tolist()
    ]
    seen = set()
    for _, b, n, t in sorted(ranked):
        one, clip = pulls[b], pulls[b].clip_index[n].item()
        video = batches[b].targets[clip].video_id
        if video not in seen:
            seen.add(video)
            towards = {name: one.towards[name][n, t] for name in ("pairwise", "tk")}
            frame = batches[b].frames[clip, t]
            yield Mistake(video, frame, one.true[n, t], one.wrong[n, t], towards)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the study that the command line names, and print what was found."""
    measure_study(__doc__, write_pulls, table, arguments)


if __name__ == "__main__":
    main()
