"""How a mask grows over a training: the same object as several checkpoints see it, side by side."""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from maskfree_nb.boxloss import box_masks
from maskfree_nb.model.mask2former import VideoMask2Former, normalise_frames, pad_to_multiple
from maskfree_nb.model.pixel_decoder import resize
from maskfree_nb.viz.colours import PALETTE

WIDTH = 10  # inches
BOX = tuple(level / 255 for level in PALETTE[1])  # sky blue


@torch.no_grad()
def object_probability(model: VideoMask2Former, frames: Tensor, boxes: Tensor) -> Tensor:
    """How sure a model is of each pixel of one object: the mask of the query that fits its boxes best.

    The query is the one of highest Dice of its probabilities with the filled boxes, much as in training; its
    class plays no part, so that there is something to see from the first step on.

    Args:
        model: on any device.
        frames: uint8 [T, 3, H, W].
        boxes: float32 [T, 4], pixels, xyxy, NaN where the object is absent.

    Returns:
        float32 [T, H, W], 0..1, on the CPU.
    """
    device = next(model.parameters()).device
    padded = pad_to_multiple(normalise_frames(frames.to(device)), 32)
    logits = model.eval()(padded[None])[-1].masks[0].float()  # [Q, T, h, w]
    probability = resize(logits, tuple(padded.shape[-2:])).sigmoid().cpu()
    probability = probability[..., : frames.shape[-2], : frames.shape[-1]]  # [Q, T, H, W]
    filled = box_masks(boxes[None], tuple(frames.shape[-2:]), stride=1)[0]  # [T, H, W]
    shared = 2 * (probability * filled).sum((1, 2, 3))
    dice = shared / (probability.sum((1, 2, 3)) + filled.sum())
    return probability[dice.argmax()]


def evolution_figure(frames: Tensor, boxes: Tensor, probabilities: dict[str, Tensor]) -> Figure:
    """Draw an object's mask as several models see it: a row a frame, a column a model.

    The frame is lit where the model is sure of the object and dark where it is not; the line is where the
    mask ends, at a probability of one half.

    Args:
        frames: uint8 [T, 3, H, W].
        boxes: float32 [T, 4] of the object, drawn in the first column.
        probabilities: title -> [T, H, W], see `object_probability`.
    """
    num_frames, _, height, width = frames.shape
    columns = 1 + len(probabilities)
    figure_height = num_frames * WIDTH / columns * height / width + 0.4
    figure = Figure(figsize=(WIDTH, figure_height), dpi=80, layout="constrained")
    axes = figure.subplots(num_frames, columns, squeeze=False)
    for t, (first, *others) in enumerate(axes):
        image = frames[t].permute(1, 2, 0).numpy()
        first.imshow(image // 8 * 8, interpolation="nearest")  # 5 bits a colour: half the bytes of a PNG
        _draw_box(first, boxes[t])
        for panel, probability in zip(others, probabilities.values(), strict=True):
            _draw_probability(panel, image, probability[t].numpy())
        for panel in (first, *others):
            panel.set_xticks([])
            panel.set_yticks([])
    for panel, title in zip(axes[0], ["frames and box", *probabilities], strict=True):
        panel.set_title(title, fontsize=10)
    return figure


def _draw_box(panel: Axes, box: Tensor) -> None:
    if not box.isnan().any():
        left, top, right, bottom = box.tolist()
        size = (right - left, bottom - top)
        panel.add_patch(Rectangle((left - 0.5, top - 0.5), *size, fill=False, edgecolor=BOX, linewidth=2))


def _draw_probability(panel: Axes, image: np.ndarray, probability: np.ndarray) -> None:
    light = 0.2 + 0.8 * probability[..., None]
    panel.imshow((image * light).astype(np.uint8) // 8 * 8, interpolation="nearest")
    if probability.min() < 0.5 < probability.max():
        panel.contour(probability, levels=[0.5], colors=["white"], linewidths=1.2)
