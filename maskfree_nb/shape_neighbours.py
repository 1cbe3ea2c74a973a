"""What objects of a class look like, asked of each other: K nearest shapes, each in its own box."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from maskfree_nb.fitted_masks import span

GRID = 24  # cells of a shape along either side of its box
K = 20  # shapes that are asked
LEAST_SPAN = 0.95  # of its box: what a shape must reach to be asked
MOST = 5000  # shapes of a class that may be asked: evenly spaced ones of more
ADDED = 0.8  # what a cell counts that only the asked shape has; one that it lacks counts 1
ASPECT = 0.1  # what boxes count that differ e times in width / height
CUT = 0.035  # what each side counts that the frame cuts off of one box but not of the other
SHARPNESS = (
    2.0  # how fast words lose weight with distance: the nearest counts exp(-2), one twice as far exp(-4)
)
CHUNK = 512


class Shapes(NamedTuple):
    """M objects in single frames, each in the coordinates of its box, which is stretched to a square."""

    maps: Tensor  # float32 [M, GRID, GRID], 0..1: how sure it is that a cell is part of the object
    labels: Tensor  # int64 [M], classes
    tracks: Tensor  # int64 [M], which object it is: those of one track are not asked about each other
    aspects: Tensor  # float32 [M], log(width / height) of the box
    cut: Tensor  # bool [M, 4], whether the box ends where the frame does: left, top, right, bottom


def describe_boxes(boxes: Tensor, image_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Describe boxes as `Shapes` does.

    Args:
        boxes: float [M, 4], xyxy in pixels.
        image_hw: height and width of their frames in pixels.

    Returns:
        (aspects, cut): float [M] and bool [M, 4].

    >>> describe_boxes(torch.tensor([[0.0, 2.0, 8.0, 10.0]]), (12, 16))
    (tensor([0.]), tensor([[ True, False, False, False]]))
    """
    x1, y1, x2, y2 = boxes.unbind(-1)
    height, width = image_hw
    cut = torch.stack([x1 <= 0.5, y1 <= 0.5, x2 >= width - 0.5, y2 >= height - 0.5], -1)
    return ((x2 - x1) / (y2 - y1)).log(), cut


def crop_to_boxes(maps: Tensor, boxes: Tensor, image_hw: tuple[int, int]) -> Tensor:
    """Read maps of whole frames at the cells of boxes, bilinearly.

    Args:
        maps: float [M, h, w], of frames of `image_hw`, at any size.
        boxes: float [M, 4], xyxy in pixels.
        image_hw: height and width in pixels that `maps` spans.

    Returns:
        float [M, GRID, GRID].

    >>> left_half = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]).expand(1, 4, 4)
    >>> crop_to_boxes(left_half, torch.tensor([[0.0, 0.0, 1.0, 4.0]]), (4, 4)).mean().round(decimals=3)
    tensor(1.)
    """
    cell = (torch.arange(GRID, device=maps.device) + 0.5) / GRID
    x1, y1, x2, y2 = (edge[:, None] for edge in boxes.to(maps).unbind(-1))
    return _sampled(maps, (x1 + cell * (x2 - x1)) / image_hw[1], (y1 + cell * (y2 - y1)) / image_hw[0])


def spread_over_frames(shapes: Tensor, boxes: Tensor, image_hw: tuple[int, int], stride: int) -> Tensor:
    """Put shapes back into their boxes, bilinearly: the inverse of `crop_to_boxes`.

    Args:
        shapes: float [M, GRID, GRID].
        boxes: float [M, 4], xyxy in pixels; a NaN gives zeros.
        image_hw: height and width of the frames, multiples of `stride`.
        stride: pixels a cell of the result.

    Returns:
        [M, H / stride, W / stride]; outside of a box the values at its border, to be masked by the caller.
    """
    x1, y1, x2, y2 = (edge[:, None] for edge in boxes.to(shapes).unbind(-1))
    y, x = ((torch.arange(size // stride, device=shapes.device) + 0.5) * stride for size in image_hw)
    spread = _sampled(shapes, (x - x1) / (x2 - x1), (y - y1) / (y2 - y1))
    return torch.where(boxes.isnan().any(-1)[:, None, None], 0.0, spread)


def _sampled(maps: Tensor, columns: Tensor, rows: Tensor) -> Tensor:
    """Read [M, h, w] at shares of its width [M, x] and of its height [M, y]: [M, y, x]."""
    columns, rows = (2 * shares.nan_to_num() - 1 for shares in (columns, rows))
    high, wide = rows.shape[1], columns.shape[1]
    grid = torch.stack([columns[:, None].expand(-1, high, -1), rows[:, :, None].expand(-1, -1, wide)], -1)
    return F.grid_sample(maps[:, None], grid, padding_mode="border", align_corners=False)[:, 0]


@torch.no_grad()
def nearest_shapes(shapes: Shapes) -> Tensor:
    """What each shape would be, by the word of the K shapes of its class that are most like it.

    Where an object fades into what is behind it, its mask is torn off there, in every frame. Others of its
    class fade elsewhere. Asked are those that span their boxes, mirrored ones too, of other tracks. (This is
    not in the paper: its K nearest are patches.) The
    distance of shape m, which is drawn anew, from shape s, which is asked, is

        d(m, s) = mean over cells of m (1 - s) + 0.8 (1 - m) s
                  + 0.1 (difference of log(width / height))^2 + 0.035 (sides cut off of one of them alone),

    and the answer sum of w s, w the softmax of -2 d / d_min over the K nearest. A class with fewer than K to
    ask leaves a shape as it is.

    Args:
        shapes: of all objects and frames of a data set.

    Returns:
        float32 [M, GRID, GRID], 0..1.

    >>> maps = torch.ones(1 + K, GRID, GRID)
    >>> maps[0, :12] = 0  # one object lost half
    >>> squares, cut = describe_boxes(torch.tensor([[2.0, 2.0, 8.0, 8.0]]).expand(1 + K, 4), (10, 10))
    >>> alike = Shapes(maps, torch.zeros(1 + K).long(), torch.arange(1 + K), squares, cut)
    >>> nearest_shapes(alike).amin().round(decimals=3)
    tensor(1.)
    """
    answers = shapes.maps.clone()
    drawn = shapes.maps > 0.5
    whole = span(drawn, torch.ones_like(drawn)) >= LEAST_SPAN
    for label in shapes.labels.unique().tolist():
        of_class = (shapes.labels == label).nonzero()[:, 0]
        asked = _mirrored_too(shapes, _thinned(of_class[whole[of_class]]))
        for numbers in of_class.split(CHUNK):
            distance = _distances(shapes, numbers, asked)
            answers[numbers] = _answers(distance, asked.maps, answers[numbers])
    return answers


def _thinned(numbers: Tensor) -> Tensor:
    step = max(1, -(-len(numbers) // MOST))
    return numbers[::step]


def _mirrored_too(shapes: Shapes, numbers: Tensor) -> Shapes:
    """The shapes of these numbers, and the same seen in a mirror."""
    chosen = Shapes(*(field[numbers] for field in shapes))
    mirrored = chosen._replace(maps=chosen.maps.flip(-1), cut=chosen.cut[:, [2, 1, 0, 3]])
    return Shapes(*(torch.cat(pair) for pair in zip(chosen, mirrored, strict=True)))


def _distances(shapes: Shapes, numbers: Tensor, asked: Shapes) -> Tensor:
    """d of the docstring, [numbers, asked]; infinite within a track."""
    given, others = shapes.maps[numbers].flatten(1), asked.maps.flatten(1)
    lacking = given @ (1 - others).T
    added = (1 - given) @ others.T
    aspect = (shapes.aspects[numbers][:, None] - asked.aspects).square()
    cut = (shapes.cut[numbers][:, None] != asked.cut).sum(-1)
    distance = (lacking + ADDED * added) / GRID**2 + ASPECT * aspect + CUT * cut
    return distance.masked_fill(shapes.tracks[numbers][:, None] == asked.tracks, torch.inf)


def _answers(distance: Tensor, maps: Tensor, own: Tensor) -> Tensor:
    """The weighted mean of the K nearest of `maps`; `own` where there are fewer."""
    if distance.shape[1] < K:
        return own
    nearest, index = distance.topk(K, largest=False)  # [n, K]
    least = nearest[:, :1].clamp(min=1 / GRID**2)
    weight = torch.softmax(-SHARPNESS * nearest / least, 1)
    answer = (maps[index] * weight[..., None, None]).sum(1)
    return torch.where(nearest[:, -1:, None].isinf(), own, answer)
