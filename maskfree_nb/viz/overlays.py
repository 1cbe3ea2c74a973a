"""Instances drawn over their frames: translucent masks with a clear outline, tags, boxes."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from torch import Tensor

from maskfree_nb.viz.colours import text_colour, track_colour

MIN_WIDTH = 480  # smaller frames are enlarged, so that tags can be read
FILL = 0.4  # opacity of a mask


def draw_instances(
    frames: Tensor,
    masks: Tensor,
    names: Sequence[str],
    scores: Sequence[float] | None = None,
    track_ids: Sequence[int] | None = None,
    boxes: Tensor | None = None,
    tags: bool = True,
) -> Tensor:
    """Draw instances over the frames of a video; a track has one colour throughout.

    Frames narrower than 480 pixels are enlarged by the smallest whole factor that makes them as wide. Where
    masks overlap, the first instance is on top.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        masks: bool [N, T, H, W].
        names: N names of classes.
        scores: N numbers 0..1, shown in percent; None: not shown.
        track_ids: N numbers, shown as #1 and so on, that choose the colours; None: 1 to N.
        boxes: [N, T, 4] xyxy in pixels, NaN where absent; None: none are drawn.
        tags: whether number, name and score are written; off for pictures that will be small.

    Returns:
        uint8 RGB [T, 3, H', W'].

    >>> frames = torch.zeros(2, 3, 96, 128, dtype=torch.uint8)
    >>> draw_instances(frames, frames[None, :, 0] == 0, ["night"], [0.9]).shape
    torch.Size([2, 3, 384, 512])
    """
    num_instances, (num_frames, _, height, width) = len(masks), frames.shape
    track_ids = (
        range(1, num_instances + 1) if track_ids is None else [int(track_id) for track_id in track_ids]
    )
    if masks.shape != (num_instances, num_frames, height, width) or len(names) != num_instances:
        raise ValueError(
            f"masks are {list(masks.shape)} with {len(names)} names, expected N names and masks "
            f"[N, {num_frames}, {height}, {width}]"
        )
    scale = max(math.ceil(MIN_WIDTH / width), 1)
    texts = [f"#{track_id} {name}" for track_id, name in zip(track_ids, names, strict=True)]
    if scores is not None:
        texts = [f"{text} {100 * float(score):.0f}%" for text, score in zip(texts, scores, strict=True)]
    colours = [track_colour(track_id) for track_id in track_ids]

    drawn = []
    for t in range(num_frames):
        canvas = _enlarged(frames[t].float(), scale).permute(1, 2, 0).numpy()  # [H', W', 3]
        extents = [None] * num_instances
        for n in reversed(range(num_instances)):
            if masks[n, t].any():
                extents[n] = _draw_mask(canvas, masks[n, t], scale, colours[n])
        image = Image.fromarray(canvas.round().clip(0, 255).astype(np.uint8))
        if boxes is not None:
            _draw_boxes(image, boxes[:, t] * scale, colours)
        if tags:
            _draw_tags(image, extents, texts, colours)
        drawn.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return torch.stack(drawn)  # [T, 3, H', W']


def contact_sheet(frames: Tensor, columns: int, gap: int = 6) -> Tensor:
    """Lay frames out in rows on white, left to right and down: uint8 [T, 3, H, W] -> uint8 [3, H', W'].

    >>> contact_sheet(torch.zeros(5, 3, 10, 20, dtype=torch.uint8), columns=3, gap=2).shape
    torch.Size([3, 26, 68])
    """
    num_frames, channels, height, width = frames.shape
    columns = min(columns, num_frames)
    rows = math.ceil(num_frames / columns)
    sheet = frames.new_full((channels, rows * (height + gap) + gap, columns * (width + gap) + gap), 255)
    for number, frame in enumerate(frames):
        row, column = divmod(number, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        sheet[:, top : top + height, left : left + width] = frame
    return sheet


def _enlarged(maps: Tensor, scale: int) -> Tensor:
    if scale == 1:
        return maps
    return F.interpolate(maps[None], scale_factor=scale, mode="bicubic", align_corners=False)[0]


def _draw_mask(canvas: np.ndarray, mask: Tensor, scale: int, colour: tuple) -> tuple[int, int, int, int]:
    """Blend one mask into the canvas [H', W', 3] in place; return its extent (left, top, right, bottom)."""
    line = max(canvas.shape[1] / 700, 0.8)  # blur of the outline, in pixels: it is about three times as wide
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    margin = math.ceil(6 * line / scale)
    y, x = max(top - margin, 0), max(left - margin, 0)
    cut = mask[y : bottom + margin, x : right + margin].float()
    inside = _enlarged(cut[None], scale)[0].numpy()
    if scale > 1:  # round the stairs of enlarged pixels, yet keep a single one
        inside = gaussian_filter(inside, 0.45 * scale, mode="nearest")
    inside = (inside > 0.5).astype(np.float32)
    part = canvas[y * scale : y * scale + inside.shape[0], x * scale : x * scale + inside.shape[1]]
    soft = gaussian_filter(inside, line, mode="nearest")
    shadow = gaussian_filter(inside, 2 * line, mode="nearest")
    _blend(part, (0, 0, 0), 0.5 * _ridge(shadow))
    _blend(part, colour, FILL * soft)
    _blend(part, colour, _ridge(soft))
    return left * scale, top * scale, right * scale, bottom * scale


def _ridge(soft: np.ndarray) -> np.ndarray:
    """1 where a blurred mask is one half, falling to 0 on both sides: a smooth line along its border."""
    return (6 * soft * (1 - soft)).clip(0, 1)


def _blend(part: np.ndarray, colour: tuple, opacity: np.ndarray) -> None:
    part += opacity[..., None] * (np.float32(colour) - part)


def _draw_boxes(image: Image.Image, boxes: Tensor, colours: list[tuple]) -> None:
    pen = ImageDraw.Draw(image)
    for box, colour in zip(boxes.tolist(), colours, strict=True):
        if not any(map(math.isnan, box)):
            pen.rectangle(
                [*box[:2], box[2] - 1, box[3] - 1], outline=colour, width=max(image.width // 320, 1)
            )


def _draw_tags(image: Image.Image, extents: list, tags: list[str], colours: list[tuple]) -> None:
    """Put each tag above its mask, else under the mask's upper or lower edge, where no other tag is."""
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(image.width / 40, 13))
    ascent, descent = font.getmetrics()
    pad = max(round(font.size / 4), 3)
    height, taken = ascent + descent + pad, []
    for extent, tag, colour in zip(extents, tags, colours, strict=True):
        if extent is None:
            continue
        width = math.ceil(pen.textlength(tag, font=font)) + 2 * pad
        left = min(max(extent[0], 0), max(image.width - width, 0))
        choices = [extent[1] - height - pad, extent[1] + pad, extent[3] - height - pad, extent[3] + pad]
        places = [
            (left, top, left + width, top + height) for top in choices if 0 <= top <= image.height - height
        ]
        places = places or [(left, 0, left + width, height)]
        place = next(
            (place for place in places if not any(_overlap(place, other) for other in taken)), places[0]
        )
        taken.append(place)
        pen.rounded_rectangle(place, radius=pad, fill=colour)
        pen.text((place[0] + pad, place[1] + pad / 2), tag, fill=text_colour(colour), font=font)


def _overlap(one: tuple, other: tuple) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
