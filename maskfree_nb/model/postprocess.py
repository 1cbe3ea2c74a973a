"""From a prediction to instances: which queries are objects, and their masks at the size of the video."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskfree_nb.mean_field import mean_field
from maskfree_nb.model.pixel_decoder import resize
from maskfree_nb.model.video_decoder import Prediction
from maskfree_nb.temporal_links import Links


class Instances(NamedTuple):
    """The instances of one clip, the most certain first."""

    scores: Tensor  # float [k], 0..1
    labels: Tensor  # int64 [k], 0-based classes
    queries: Tensor  # int64 [k], which query each comes from; a query may come twice, with two classes
    masks: Tensor  # bool [k, T, H, W]


@torch.no_grad()
def top_instances(
    prediction: Prediction,
    valid_hw: tuple[int, int],
    output_hw: tuple[int, int],
    padded_hw: tuple[int, int],
    k: int = 10,
    clip: int = 0,
    lab: Tensor | None = None,
    links: Links | None = None,
    mask_scores: bool = False,
) -> Instances:
    """Return the `k` (query, class) pairs of highest probability, with their masks at the video's size.

    The score is the softmax probability of the class, no-object left out. With `mask_scores` it is multiplied
    by the mean probability of the mask's own cells in all frames, before any redrawing: as Mask2Former (arXiv
    2112.01527) scores instances of images, but not of videos. A mask is resized to the padded frame, cropped
    to its valid part, resized to the video's size, and true where its logit is positive; frame by frame, so
    that long videos need little more memory than their result, unless there are `links`.

    Args:
        prediction: of a batch of clips.
        valid_hw: height and width of the frames before padding.
        output_hw: height and width of the masks to return.
        padded_hw: height and width of the frames that the model saw.
        k: how many; fewer where there are fewer pairs.
        clip: which clip of the batch.
        lab: float32 [T, 3, h', w'], CIE Lab of the padded frames; with it, masks are redrawn along its
            colours (`mean_field`), each within the box of its positive cells and a cell around that.
        links: `temporal_links` of `lab`; with them, masks are redrawn along the matches between frames too.
        mask_scores: whether the masks count in the scores; that of an empty mask is 0.

    >>> prediction = Prediction(torch.tensor([[[3.0, 0.0, 0.0]]]), torch.ones(1, 1, 2, 8, 8))
    >>> instances = top_instances(prediction, (30, 32), (60, 64), (32, 32), k=1)
    >>> instances.labels.item(), instances.masks.shape
    (0, torch.Size([1, 2, 60, 64]))
    """
    probabilities = prediction.logits[clip].double().softmax(-1)[:, :-1]  # [Q, C]
    scores, order = probabilities.flatten().sort(descending=True, stable=True)
    scores, order = scores[:k], order[:k]
    queries, labels = order // probabilities.shape[1], order % probabilities.shape[1]
    mask_logits = prediction.masks[clip][queries].float()  # [k, T, h, w]
    height, width = valid_hw
    if mask_scores:
        stride = padded_hw[0] // mask_logits.shape[-2]
        valid = mask_logits[..., : -(-height // stride), : -(-width // stride)]  # without the padding
        scores = scores * _certainty(valid)
        best = scores.argsort(descending=True, stable=True)
        scores, labels, queries, mask_logits = (x[best] for x in (scores, labels, queries, mask_logits))
    if links is not None:
        mask_logits = _redrawn(mask_logits, lab, links)
    masks = []
    for number, frame in enumerate(mask_logits.unbind(1)):
        if lab is not None and links is None:
            frame = _redrawn(frame[:, None], lab[number : number + 1])[:, 0]
        valid = resize(frame[None], padded_hw)[..., :height, :width]
        masks.append(resize(valid, output_hw)[0] > 0)
    return Instances(scores, labels, queries, torch.stack(masks, dim=1))


def _certainty(mask_logits: Tensor) -> Tensor:
    """The mean probability of the positive cells of each mask, 0 without any: [k, T, h, w] -> [k], 0..1."""
    probabilities, positive = mask_logits.double().sigmoid().flatten(1), mask_logits.flatten(1) > 0
    return (probabilities * positive).sum(1) / positive.sum(1).clamp(min=1)


def _redrawn(mask_logits: Tensor, lab: Tensor, links: Links | None = None) -> Tensor:
    """Masks along the colours, positive inside: [k, T, h, w], [T, 3, h', w'] -> [k, T, h', w']."""
    cells = F.max_pool2d((mask_logits > 0).float(), 3, 1, 1)  # positive, or next to one that is
    boxes = _spanned(cells.amax(3, keepdim=True), 2) * _spanned(cells.amax(2, keepdim=True), 3)
    inside = F.interpolate(boxes, lab.shape[-2:]) > 0
    return mean_field(resize(mask_logits, lab.shape[-2:]), lab, inside, links)


def _spanned(marks: Tensor, dim: int) -> Tensor:
    """1 from the first to the last 1 along a dimension."""
    return marks.cummax(dim).values * marks.flip(dim).cummax(dim).values.flip(dim)
