"""Inside the video decoder: where each query looks, what it may see, and what the features say."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from maskfree_nb.model.mask2former import Features, VideoMask2Former
from maskfree_nb.model.video_decoder import Attention, Prediction
from maskfree_nb.viz.colours import PALETTE

MAP = "inferno"  # dark to bright, to be read in grey as well
DIM = 0.7  # of a frame that lies under a map of heat
GREYS = 16  # steps of grey in such a frame: enough to know it again, and small as a PNG
WIDTH = 192  # of a frame with heat over it: smaller ones are enlarged by whole factors
OUTLINE = PALETTE[1]  # sky blue


class DecoderTrace(NamedTuple):
    """What a model thought on its way to a prediction.

    Layer i (0-based) of the decoder goes from `predictions[i]` to `predictions[i + 1]`.
    """

    features: Features
    predictions: list[Prediction]  # of the learnt queries, then after each layer
    attention: list[Tensor]  # of each layer, [B, Q, T, h, w], mean over heads; sums to 1 over T, h, w
    allowed: list[Tensor]  # bool [B, Q, T, h, w]: where the query was let look


@torch.no_grad()
def trace_decoder(model: VideoMask2Former, clip: Tensor) -> DecoderTrace:
    """Run the model once and keep the cross-attention of every layer.

    The model runs its own code: hooks read what its attention modules are given, and are taken off again.

    Args:
        model: any `VideoMask2Former`.
        clip: float [B, T, 3, H, W] from `normalise_frames`; H and W multiples of 32.

    >>> from maskfree_nb.model.mask2former import model_config
    >>> trace = trace_decoder(VideoMask2Former(model_config("tiny", num_classes=4)), torch.zeros(1, 2, 3, 64, 96))
    >>> [tuple(weights.shape[2:]) for weights in trace.attention]
    [(2, 2, 3), (2, 4, 6), (2, 8, 12)]
    """  # noqa: E501
    given = []
    predictor = model.sem_seg_head["predictor"]
    layers = [layer["multihead_attn"] for layer in predictor.transformer_cross_attention_layers]
    hooks = [
        layer.register_forward_hook(lambda module, inputs, output: given.append((module, *inputs)))
        for layer in layers
    ]
    try:
        features = model.features(clip)
        predictions = predictor(features.levels, features.mask_features)
    finally:
        for hook in hooks:
            hook.remove()
    attention, allowed = [], []
    for i, (module, query, key, _, blocked) in enumerate(given):
        level = features.levels[i % len(features.levels)]
        size = (level.shape[1], *level.shape[-2:])
        attention.append(attention_weights(module, query, key, blocked).mean(1).unflatten(-1, size))
        allowed.append(~blocked.unflatten(-1, size))
    return DecoderTrace(features, predictions, attention, allowed)


def attention_weights(module: Attention, query: Tensor, key: Tensor, blocked: Tensor | None) -> Tensor:
    """Return softmax(q kᵀ / √D + M) of every head, M = -inf where `blocked`, else 0.

    Masked attention, equation 2 of Mask2Former (arXiv 2112.01527). The model's own attention is fused and
    never holds these weights.

    Args:
        module: an attention of the video decoder.
        query: [B, Q, C].
        key: [B, K, C].
        blocked: bool [B, Q, K], or None.

    Returns:
        [B, heads, Q, K]; sums to 1 over K.
    """
    dim = query.shape[-1]
    weight, bias = module.in_proj_weight, module.in_proj_bias
    q = F.linear(query, weight[:dim], bias[:dim]).unflatten(-1, (module.heads, -1)).transpose(1, 2)
    k = F.linear(key, weight[dim : 2 * dim], bias[dim : 2 * dim])
    k = k.unflatten(-1, (module.heads, -1)).transpose(1, 2)  # [B, heads, K, D]
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    if blocked is not None:
        scores = scores.masked_fill(blocked[:, None], -torch.inf)
    return scores.softmax(-1)


def heat_over(
    frames: Tensor, heat: Tensor, outline: Tensor | None = None, highest: float | None = None
) -> Tensor:
    """Lay maps of heat over dimmed grey frames: the brighter a cell, the more of it.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        heat: [T, h, w], at least 0; each cell is drawn as the block of pixels that it stands for.
        outline: bool [T, h, w]; the border of what is true is drawn in sky blue. None: none is drawn.
        highest: the value that is brightest, and all above it; None: the largest of all frames.

    Returns:
        uint8 RGB [T, 3, H', W'], frames of less than 192 pixels enlarged.

    >>> heat_over(torch.zeros(2, 3, 96, 128, dtype=torch.uint8), torch.rand(2, 3, 4)).shape
    torch.Size([2, 3, 192, 256])
    """
    scale = -(-WIDTH // frames.shape[-1])
    size = (frames.shape[-2] * scale, frames.shape[-1] * scale)
    grey = (frames.float().mean(1) / 255 * GREYS).round() / GREYS
    grey = _blocks(grey, size) * DIM  # [T, H', W']
    highest = float(heat.max() if highest is None else highest)
    share = _blocks((heat.float() / max(highest, 1e-12)).clamp(0, 1), size)
    colour = torch.from_numpy(colormaps[MAP](share.numpy())[..., :3]).float().movedim(-1, 1)
    out = grey[:, None] * (1 - share[:, None]) + colour * share[:, None].sqrt()
    if outline is not None:
        border = _border(_blocks(outline.float(), size) > 0.5)
        out = torch.where(border[:, None], torch.tensor(OUTLINE).view(3, 1, 1) / 255, out)
    return (255 * out).round().clamp(0, 255).to(torch.uint8)


def feature_colours(maps: Tensor) -> Tensor:
    """Show the features of a clip as colours: their three main directions (PCA) are red, green and blue.

    Cells of like colour, in any frame, have like features; which colour it is says nothing.

    Args:
        maps: [T, C, h, w], C >= 3.

    Returns:
        uint8 RGB [T, 3, h, w].

    >>> feature_colours(torch.randn(2, 8, 6, 9)).shape
    torch.Size([2, 3, 6, 9])
    """
    T, C, h, w = maps.shape
    vectors = maps.double().permute(0, 2, 3, 1).reshape(-1, C)
    vectors = vectors - vectors.mean(0)
    _, directions = torch.linalg.eigh(vectors.T @ vectors)  # ascending
    directions = directions[:, -3:].flip(1)
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    shown = vectors @ (directions * largest.sign())  # a direction has no sign: its largest part is positive
    low, high = shown.quantile(0.02, dim=0), shown.quantile(0.98, dim=0)
    shown = ((shown - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return (255 * shown).round().to(torch.uint8).view(T, h, w, 3).permute(0, 3, 1, 2)


def features_figure(frames: Tensor, features: Features, t: int = 0) -> Figure:
    """Draw what backbone and pixel decoder make of frame `t`; see `feature_colours`.

    Args:
        frames: uint8 RGB [T, 3, H, W] of the first clip, as large as the model saw them.
        features: of the model.
        t: the frame.
    """
    backbone = [(name, features.backbone[name]) for name in ("res5", "res4", "res3", "res2")]
    pixels = [(f"level {i}", level) for i, level in enumerate(features.levels, start=1)]
    rows = [backbone, [*pixels, ("mask features", features.mask_features)]]
    figure = Figure(figsize=(10.6, 4.1), dpi=100, layout="constrained")
    axes = figure.subplots(2, 5)
    axes[0, 0].imshow(frames[t].permute(1, 2, 0).numpy())
    axes[0, 0].set_title(f"frame {t}", fontsize=10)
    axes[1, 0].set_visible(False)
    for panels, maps, part in zip(axes[:, 1:], rows, ("backbone", "pixel decoder"), strict=True):
        panels[0].set_ylabel(part, fontsize=11)
        for axis, (name, one) in zip(panels, maps, strict=True):
            axis.imshow(feature_colours(one[0])[t].permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set_title(f"{name}: {one.shape[2]} x {one.shape[3]} x {one.shape[4]}", fontsize=10)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.suptitle("Like colours are like features (channels x height x width)", fontsize=12)
    return figure


def _blocks(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge maps [T, h, w] to `size`, each cell a block."""
    return F.interpolate(maps[:, None], size, mode="nearest-exact")[:, 0]


def _border(inside: Tensor) -> Tensor:
    """The pixels of `inside` [T, H, W] that have a neighbour outside, within 2 pixels."""
    outside = F.max_pool2d((~inside).float()[:, None], 5, stride=1, padding=2)[:, 0] > 0
    return inside & outside
