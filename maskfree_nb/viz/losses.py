"""Still figures of the losses from boxes: shadows of a mask, colour affinity, the consistency surface."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from maskfree_nb.boxloss import neighbour_offsets
from maskfree_nb.tkloss import pair_term
from maskfree_nb.viz.colours import PALETTE

DPI = 100
ORANGE, SKY, GREEN, RED, BLUE = (tuple(level / 255 for level in PALETTE[n]) for n in (0, 1, 2, 4, 6))
WIDTH = 10  # of a figure, in inches


def picture_grid(
    pictures: Sequence[Sequence[Tensor]],
    titles: Sequence[str],
    rows: Sequence[str] | None = None,
    *,
    boxes: Tensor | None = None,
    outlines: Tensor | None = None,
    width: float = WIDTH,
) -> Figure:
    """Lay out pictures and masks in rows and columns.

    Args:
        pictures: rows of uint8 RGB [3, H, W] or of masks [h, w] in 0..1, drawn from black to white.
        titles: one a column, or one a picture in row order.
        rows: names of the rows.
        boxes: float [rows, columns, 4], xyxy in pixels of the pictures, orange; NaN: none.
        outlines: bool [rows, columns, h, w], masks whose border is drawn in orange.
        width: of the figure, in inches.

    >>> picture_grid([[torch.zeros(3, 8, 8, dtype=torch.uint8), torch.rand(8, 8)]], ["frame", "mask"]).axes
    [<Axes: title={'center': 'frame'}>, <Axes: title={'center': 'mask'}>]
    """
    columns = len(pictures[0])
    ratio = pictures[0][0].shape[-2] / pictures[0][0].shape[-1]
    titled = len(pictures) if len(titles) > columns else 1  # rows with titles
    height = len(pictures) * ratio * width / columns + 0.3 * titled
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(pictures), columns, squeeze=False)
    for r, row in enumerate(pictures):
        for c, picture in enumerate(row):
            panel = axes[r, c]
            _show(panel, picture)
            if boxes is not None:
                x1, y1, x2, y2 = (boxes[r, c] - 0.5).tolist()
                panel.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color=ORANGE, linewidth=2))
            if outlines is not None and outlines[r, c].any():
                panel.contour(outlines[r, c].float().cpu().numpy(), [0.5], colors=[ORANGE], linewidths=0.9)
        if rows is not None:
            axes[r, 0].set_ylabel(rows[r], fontsize=9)
    for panel, title in zip(axes.flat, titles, strict=False):
        panel.set_title(title, fontsize=10)
    return figure


def bar_figure(
    values: Mapping[str, float], title: str, unit: str = "", highlight: str | None = None
) -> Figure:
    """Draw named numbers as horizontal bars, one of them in orange.

    >>> len(bar_figure({"mask": 79.2, "box": 7.0}, "seconds an object", "s").axes[0].patches)
    2
    """
    figure = Figure(figsize=(7, 0.45 * len(values) + 0.5), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    colours = [ORANGE if name == highlight else BLUE for name in values]
    bars = axes.barh(list(values), list(values.values()), color=colours, height=0.65)
    axes.bar_label(bars, [f" {value:.3g}{unit}" for value in values.values()])
    axes.set_xlim(0, 1.15 * max(values.values()))
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(left=False, bottom=False, labelbottom=False)
    return figure


def shadow_figure(mask: Tensor, box_mask: Tensor) -> Figure:
    """Draw a mask with its shadows, the maximum of every column and of every row, against those of its box.

    Args:
        mask: float [h, w], probabilities.
        box_mask: float [h, w], see `box_masks`.

    >>> len(shadow_figure(torch.rand(6, 8), torch.ones(6, 8)).axes)
    3
    """
    h, w = mask.shape
    figure = Figure(figsize=(5.5, 3.6 * h / w + 1.6), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(4, 1), height_ratios=(1.2, 4 * h / w))
    picture = figure.add_subplot(grid[1, 0])
    over = figure.add_subplot(grid[0, 0], sharex=picture)
    beside = figure.add_subplot(grid[1, 1], sharey=picture)
    _show(picture, mask)
    picture.set_aspect("auto")
    for shadow, colour, style, name in ((box_mask, ORANGE, "-", "box"), (mask, BLUE, "--", "mask")):
        line = dict(color=colour, linestyle=style, linewidth=1.8, baseline=None)
        columns, rows = shadow.amax(0).cpu().numpy(), shadow.amax(1).cpu().numpy()
        over.stairs(columns, np.arange(w + 1) - 0.5, label=name, **line)
        beside.stairs(rows, np.arange(h + 1) - 0.5, orientation="horizontal", **line)
    over.set_title("maximum of each column", loc="left", fontsize=9)
    beside.set_title("of each row", loc="left", fontsize=9)
    over.legend(frameon=False, fontsize=9, loc="lower center", ncols=2)
    over.tick_params(labelbottom=False)
    beside.tick_params(labelleft=False)
    return figure


def affinity_figure(
    frame: Tensor, affinity: Tensor, mask: Tensor, corner: tuple[int, int], dilation: int = 2
) -> Figure:
    """Draw how many of its eight neighbours each pixel is alike to, and the links of a small part.

    Args:
        frame: float or uint8 RGB [3, h, w] at the size of the map, 0..255.
        affinity: int32 [h, w], one frame of `colour_affinity`.
        mask: bool [h, w], the true mask: links that cross its border are wrong, and red.
        corner: (y, x) of the part, 24 x 32 pixels.
        dilation: as given to `colour_affinity`.
    """
    size = (24, 32)
    figure = Figure(figsize=(WIDTH, 3.4), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
    bits = torch.stack([(affinity >> k) & 1 for k in range(8)])  # [8, h, w]
    image = left.imshow(bits.sum(0).cpu().numpy(), cmap="cividis", vmin=0, vmax=8, interpolation="nearest")
    figure.colorbar(image, ax=left, shrink=0.8)
    left.set_title("alike neighbours of each pixel, 0 to 8", fontsize=10)
    (y0, x0), (height, width) = corner, size
    left.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), width, height, fill=False, color="white", linewidth=1.5))
    _show(right, frame.round().to(torch.uint8))
    links, wrong = _links(bits, mask, dilation)
    for segments, colour, thick in ((links, SKY, 0.9), (wrong, RED, 1.8)):
        right.add_collection(LineCollection(segments, colors=[colour], linewidths=thick))
    right.contour(mask.float().cpu().numpy(), [0.5], colors="white", linewidths=1.2)
    right.set(xlim=(x0 - 0.5, x0 + width - 0.5), ylim=(y0 + height - 0.5, y0 - 0.5))
    right.set_title("links of the part: within (blue), across (red) the true border (white)", fontsize=9)
    for panel in (left, right):
        panel.set(xticks=[], yticks=[])
    return figure


def surface_figure() -> Figure:
    """Draw the consistency loss of two probabilities p and q as level lines, with its four corners."""
    grid = np.linspace(0.001, 0.999, 201)
    p, q = np.meshgrid(grid, grid)
    loss = -np.log(p * q + (1 - p) * (1 - q))
    figure = Figure(figsize=(5.4, 4.4), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    filled = axes.contourf(p, q, loss, levels=np.linspace(0, 3, 31), cmap="cividis", extend="max")
    lines = axes.contour(p, q, loss, levels=[0.2, 0.4, np.log(2), 1.2, 2], colors="white", linewidths=0.8)
    axes.clabel(lines, fmt="%.1f", fontsize=8)
    figure.colorbar(filled, ax=axes, label="loss", ticks=range(4))
    for x, y, text, colour in (
        (0.02, 0.02, "both outside:\nno loss", "white"),
        (0.98, 0.98, "both inside:\nno loss", "white"),
        (0.02, 0.98, "they disagree", "black"),
        (0.98, 0.02, "they disagree", "black"),
    ):
        horizontal, vertical = ("left" if x < 0.5 else "right"), ("bottom" if y < 0.5 else "top")
        back = dict(facecolor="black" if colour == "white" else "white", edgecolor="none", alpha=0.6, pad=2)
        axes.text(x, y, text, ha=horizontal, va=vertical, fontsize=9, color=colour, bbox=back)
    axes.set(xlabel="p: the pixel is inside", ylabel="q: its match is inside", aspect="equal")
    axes.set_title("it asks for agreement, not for a side", fontsize=10)
    return figure


def descent_figure(paths: Sequence[Tensor] = (), limit: float = 5.0) -> Figure:
    """Draw where gradient descent on the consistency loss takes two logits, as arrows over the loss.

    Args:
        paths: float [steps, 2] each, logits (x, y) on their way; the start is a ring, the end a dot.
        limit: the logits run from -limit to limit.

    >>> descent_figure([torch.tensor([[0.5, -2.0], [0.0, -2.2]])]).axes[0].get_title()
    'arrows: minus the gradient'
    """
    fine = torch.linspace(-limit, limit, 161)
    loss = pair_term(fine[None, :], fine[:, None])  # [y, x]
    coarse = torch.linspace(-limit, limit, 17)
    y, x = torch.meshgrid(coarse, coarse, indexing="ij")
    both = (x + y).sigmoid()
    figure = Figure(figsize=(5.6, 4.8), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    image = axes.contourf(
        fine, fine, loss, levels=np.linspace(0, limit, 21), cmap="Greys", extend="max", alpha=0.75
    )
    figure.colorbar(image, ax=axes, label="loss", ticks=range(int(limit) + 1))
    axes.quiver(x, y, both - x.sigmoid(), both - y.sigmoid(), color=BLUE, scale=16, width=0.005)
    for path, colour in zip(paths, [ORANGE, RED, GREEN, SKY] * len(paths), strict=False):
        path = path.detach().cpu()
        axes.plot(*path.T, color=colour, linewidth=2)
        axes.plot(
            *path[0], "o", markersize=8, markerfacecolor="white", markeredgecolor=colour, markeredgewidth=2
        )
        axes.plot(*path[-1], "o", markersize=8, color=colour)
    axes.axhline(0, color="0.5", linewidth=0.6, zorder=0.5)
    axes.axvline(0, color="0.5", linewidth=0.6, zorder=0.5)
    axes.set(xlabel="logit x (frame a)", ylabel="logit y (frame b)", aspect="equal")
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    axes.set_title("arrows: minus the gradient", fontsize=10)
    return figure


def curve_figure(
    x: Sequence[float], curves: Mapping[str, Sequence[float]], title: str, xlabel: str, *, log_x: bool = False
) -> Figure:
    """Draw named curves over the same x, or over its logarithm.

    >>> len(curve_figure([1, 2], {"both": [0.4, 0.6]}, "IoU", "step").axes[0].lines)
    1
    """
    figure = Figure(figsize=(6.5, 3), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    styles = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (RED, ":"))
    for (name, values), (colour, style) in zip(curves.items(), styles * len(curves), strict=False):
        axes.plot(list(x), list(values), color=colour, linestyle=style, linewidth=2, label=name)
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set(xlabel=xlabel, xscale="log" if log_x else "linear")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    return figure


def _show(panel: Axes, picture: Tensor) -> None:
    """Draw an RGB frame, or a mask from black to white, without ticks."""
    picture = picture.detach().cpu()
    if picture.ndim == 3:
        panel.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
    else:
        panel.imshow(picture.float().numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    panel.set(xticks=[], yticks=[])


def _links(bits: Tensor, mask: Tensor, dilation: int) -> tuple[np.ndarray, np.ndarray]:
    """The links of alike pixels as segments [number, 2, 2] of (x, y): within a side of the mask, across."""
    h, w = mask.shape
    found = ([], [])
    for k, (dy, dx) in enumerate(neighbour_offsets(dilation)):
        y, x = bits[k].nonzero(as_tuple=True)
        inside = (y + dy >= 0) & (y + dy < h) & (x + dx >= 0) & (x + dx < w)
        y, x = y[inside], x[inside]
        across = mask[y, x] != mask[y + dy, x + dx]
        segments = torch.stack([x, y, x + dx, y + dy], dim=1).view(-1, 2, 2).float().cpu()
        for part, chosen in zip(found, (~across, across), strict=True):
            part.append(segments[chosen.cpu()].numpy())
    return np.concatenate(found[0]), np.concatenate(found[1])
