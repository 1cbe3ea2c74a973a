"""Still figures of a tube: its frame pairs over a film strip, how far a certainty travels, what it costs."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb.viz.colours import PALETTE

DPI, WIDTH = 100, 6.6
ORANGE, SKY, GREEN, RED, BLUE = (tuple(level / 255 for level in PALETTE[n]) for n in (0, 1, 2, 4, 6))
STYLES = ((BLUE, "o", "-"), (RED, "s", "--"), (GREEN, "^", "-."), ("0.35", "D", ":"))  # colour, marker, line
NEAR, FAR = BLUE, RED  # pairs of neighbours in time; all others
HOPS = ((1, "after 1 hop", ORANGE), (2, "after 2", SKY), (3, "after 3 or more", BLUE))
TITLE = 0.3  # inches
THUMB = 72  # width in pixels at which frames are drawn
GAP, BEND = 0.08, 0.22  # between frames, in widths; height of an arc over its width


def tube_figure(frames: Tensor, tubes: Mapping[str, Sequence[tuple[int, int]]]) -> Figure:
    """Draw the frame pairs of each tube as arrows over the same film strip.

    An arrow starts in the frame whose pixels look for matches (the centre b of a pair (a, b)) and ends in the
    frame where they look (the source a). Neighbours in time are joined in blue, other frames in red.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        tubes: the pairs of each tube by name, from `frame_pairs`.

    >>> import torch
    >>> strip = torch.zeros(3, 3, 24, 32, dtype=torch.uint8)
    >>> len(tube_figure(strip, {"cyclic": [(0, 1), (1, 2), (2, 0)]}).axes)
    1
    """
    images = _small(frames, (round(THUMB * frames.shape[2] / frames.shape[3]), THUMB))
    ratio = images.shape[1] / images.shape[2]  # of a frame's height to its width, which is 1
    width = len(frames) * (1 + GAP) + GAP
    rises = [BEND / 2 * (1 + GAP) * max(abs(a - b) for a, b in pairs) + 0.1 for pairs in tubes.values()]
    rows = [WIDTH * (ratio + rise) / width for rise in rises]  # inches of the axes, whose units are square
    figure = Figure(figsize=(WIDTH, sum(rows) + TITLE * len(rows)), dpi=DPI)
    bottom = figure.get_figheight()
    for row, rise, (name, pairs) in zip(rows, rises, tubes.items(), strict=True):
        bottom -= row + TITLE
        share = 1 / figure.get_figheight()
        axes = figure.add_axes((0, bottom * share, 1, row * share))
        for t, image in enumerate(images):
            left = t * (1 + GAP)
            axes.imshow(image, extent=(left, left + 1, -ratio, 0), interpolation="bicubic")
            axes.text(
                left + 0.04, -0.05, str(t), va="top", fontsize=9, bbox=dict(fc="white", ec="none", pad=1.5)
            )
        for a, b in pairs:
            axes.add_patch(_arrow(b, a))
        axes.set(xlim=(-GAP, width - GAP), ylim=(-ratio, rise))
        axes.set_title(f"{name}: {len(pairs)} pairs", loc="left", fontsize=10)
        axes.axis("off")
    return figure


def hops_figure(frames: Tensor, hops: Mapping[str, Tensor]) -> Figure:
    """Draw after how many hops along the matches a certainty reaches each pixel, one film strip a tube.

    Where it starts the frame is pale, where it arrives the pixel takes the colour of its hop, and where it
    never comes the frame shows as it is.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        hops: by the tube's name, int [T, h, w]: 0 where the certainty starts, 1 where it arrives after one
            hop, and so on, negative where it never does.

    >>> import torch
    >>> strip, hops = torch.zeros(3, 3, 24, 32, dtype=torch.uint8), torch.zeros(3, 6, 8, dtype=torch.int64)
    >>> len(hops_figure(strip, {"cyclic": hops, "dense": hops}).axes)
    6
    """
    height, width = frames.shape[-2:]
    size = (WIDTH, WIDTH / len(frames) * height / width * len(hops) + 0.25 * len(hops) + 0.3)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    panels = figure.subplots(len(hops), len(frames), squeeze=False)
    for row, (name, maps) in zip(panels, hops.items(), strict=True):
        images = _small(frames, maps.shape[1:])
        for axes, image, hop in zip(row, images, maps.cpu().numpy(), strict=True):
            axes.imshow(_painted(image, hop), interpolation="nearest")
            axes.axis("off")
        row[0].set_title(name, loc="left", fontsize=10)
    handles = [Patch(fc="0.9", ec="0.6", label="certain from the start")]
    handles += [Patch(fc=colour, label=label) for _, label, colour in HOPS]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure


def reach_figure(shares: Mapping[str, Sequence[float]], ylabel: str) -> Figure:
    """Draw the share of pixels that a certainty has reached after 0, 1, 2, ... hops, one line a tube.

    Args:
        shares: by the tube's name, shares in 0..1 after 0, 1, 2, ... hops.
        ylabel: of what it is the share.

    >>> reach_figure({"cyclic": [0.0, 0.2, 0.3]}, "pixels reached").axes[0].get_xlabel()
    'hops'
    """
    figure = Figure(figsize=(6, 3.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for (name, values), (colour, marker, line) in zip(shares.items(), STYLES, strict=False):
        label = f"{name}: {values[-1]:.1%}"
        axes.plot(np.arange(len(values)), values, line, marker=marker, color=colour, label=label)
    _tidy(axes, "hops", ylabel)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xticks(range(max(map(len, shares.values()))))
    axes.legend(frameon=False, fontsize=9, loc="lower right", title="in the end", title_fontsize=9)
    return figure


def cost_figure(costs: Mapping[str, Sequence[tuple[int, int, float, float]]]) -> Figure:
    """Draw what tubes cost against their length: frame pairs, memory of the matches, time of a step.

    Args:
        costs: by the tube's name, (T, pairs, bytes, seconds) for each length.

    >>> [axes.get_title(loc="left") for axes in cost_figure({"cyclic": [(2, 2, 8e3, 0.1)]}).axes]
    ['frame pairs', 'matches, MB', 'match, loss and gradient, ms']
    """
    figure = Figure(figsize=(8, 2.7), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 3)
    titles = (("frame pairs", 1), ("matches, MB", 1e-6), ("match, loss and gradient, ms", 1e3))
    for number, (axes, (title, unit)) in enumerate(zip(panels, titles, strict=True)):
        for (name, rows), (colour, marker, line) in zip(costs.items(), STYLES, strict=False):
            values = [row[number + 1] * unit for row in rows]
            lengths = [row[0] for row in rows]
            axes.plot(lengths, values, line, marker=marker, markersize=4, color=colour, label=name)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_ylim(bottom=0)
        _tidy(axes, "frames T of the tube", "")
    panels[0].legend(frameon=False, fontsize=9)
    return figure


def _arrow(start: int, end: int) -> FancyArrowPatch:
    """An arc above the strip from one frame's middle to another's."""
    near, sign = abs(end - start) == 1, 1 if end > start else -1
    inset = sign * (0.12 if near else 0.03)  # so that arrows of one frame stay apart
    ends = [(t * (1 + GAP) + 0.5 + shift, 0.02) for t, shift in ((start, inset), (end, -inset))]
    return FancyArrowPatch(
        *ends,
        connectionstyle=f"arc3,rad={-sign * BEND}",
        arrowstyle="-|>",
        mutation_scale=11,
        linewidth=1.8,
        color=NEAR if near else FAR,
        shrinkA=0,
        shrinkB=0,
    )


def _small(frames: Tensor, size: Sequence[int]) -> np.ndarray:
    """Frames at another size, [T, h, w, 3] in 0..1; small pictures keep notebooks small."""
    return F.adaptive_avg_pool2d(frames.cpu().float() / 255, size).permute(0, 2, 3, 1).numpy()


def _painted(image: np.ndarray, hops: np.ndarray) -> np.ndarray:
    """A frame [h, w, 3] as it is where hops are negative, pale where they are 0, else in the hop's colour."""
    pale = 0.3 * image.mean(-1, keepdims=True) + 0.7
    image = np.where(hops[..., None] == 0, pale, image)
    for number, _, colour in HOPS:
        here = hops >= number if number == HOPS[-1][0] else hops == number
        image[here] = 0.15 * image[here] + 0.85 * np.array(colour)
    return image.clip(0, 1)


def _tidy(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlabel(xlabel, fontsize=9)
    axes.set_ylabel(ylabel, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.tick_params(labelsize=8)
