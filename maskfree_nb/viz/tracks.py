"""What a model found in a video, drawn: one track an object, the surer where several answer for it."""

import torch
from torch import Tensor

from maskfree_nb.model.postprocess import Instances
from maskfree_nb.viz.overlays import draw_instances

SAME_OBJECT = 0.6  # IoU of two tracks above which only the better one is drawn; chosen by eye


def draw_tracks(
    frames: Tensor, tracks: Instances, categories: list[dict], *, min_score: float = 0.3, tags: bool = True
) -> Tensor:
    """Draw tracks of at least `min_score` over their frames: uint8 [T, 3, H, W] -> uint8 [T, 3, H', W'].

    Where several answer for one object, the first is drawn: see `distinct_tracks`. With `tags=False` without
    their names and scores, see `draw_instances`.
    """
    shown = distinct_tracks(tracks, min_score)
    names = [categories[label]["name"] for label in tracks.labels[shown].tolist()]
    return draw_instances(frames, tracks.masks[shown], names, tracks.scores[shown].tolist(), tags=tags)


def distinct_tracks(tracks: Instances, min_score: float = 0.0) -> Tensor:
    """Which tracks are objects of their own: int64 indices, best first, of scores of at least `min_score`.

    Two queries, or one with two classes, may answer for one object: in a ranking both have their use, as the
    second may be of the right class, but not in a picture. A track is left out if the IoU, over the whole
    video, with one before it that is not left out is above 0.6.

    >>> masks = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    >>> masks[:2, 0, :3], masks[2, 0, 3:] = True, True  # the first two are alike
    >>> scores, labels = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([1, 0, 1])
    >>> distinct_tracks(Instances(scores, labels, labels, masks)).tolist()
    [0, 2]
    """
    kept: list[int] = []
    areas = tracks.masks.flatten(1).sum(1)
    for number in (tracks.scores >= min_score).nonzero().flatten().tolist():
        shared = [(tracks.masks[number] & tracks.masks[other]).sum() for other in kept]
        unions = [areas[number] + areas[other] - both for other, both in zip(kept, shared, strict=True)]
        if not any(both > SAME_OBJECT * union for both, union in zip(shared, unions, strict=True)):
            kept.append(number)
    return torch.tensor(kept, dtype=torch.int64)
