"""Still figures of correspondences: windows, patches, distance maps, matches as lines, counts, cases.

Axes are in pixels of the mask map, whatever the stride; frames are drawn as fine as the picture can show.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Patch, Rectangle
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb.tkloss.matching import Matches
from maskfree_nb.viz.cases import CASES, case_map, pixel_case
from maskfree_nb.viz.colours import text_colour
from maskfree_nb.viz.pixel import PixelView, candidate_distances, look_at

__all__ = [
    "CASES",
    "PixelView",
    "candidate_distances",
    "case_figure",
    "case_map",
    "count_figure",
    "distance_figure",
    "look_at",
    "matches_figure",
    "patches_figure",
    "pixel_case",
    "window_figure",
]

DPI = 90
DARK = "0.15"  # of outlines under a colour, and of text
HEAT = "cividis_r"
LABELS = {
    "none": "no match",
    "unique": "one match",
    "homogeneous": "many, homogeneous region",
    "edge, sideways": "many, edge (sideways)",
    "edge, upright": "many, edge (upright)",
}


def window_figure(frames: Tensor, view: PixelView, margin: int = 4) -> Figure:
    """Draw a pixel with its patch in frame b, and beside it all candidates of its window in frame a.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        view: from `look_at`.
        margin: map pixels shown around the window.

    >>> import torch
    >>> from maskfree_nb.tkloss import disk_offsets, rgb_to_lab
    >>> frames = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    >>> view = look_at(rgb_to_lab(frames), (0, 1), 8, 12, disk_offsets(3))
    >>> len(window_figure(frames, view).axes)
    2
    """
    figure, (left, right) = _two_panels((1, 1), width=7.0)
    reach = max(max(map(abs, offset)) for offset in view.offsets) + margin
    for axes, frame in ((left, view.pair[1]), (right, view.pair[0])):
        _show(axes, frames[frame], view.map_hw)
        _zoom(axes, view.y, view.x, reach)
    _square(left, view.y, view.x, view.patch_size, _rgb(view.case))
    places = np.array([view.place(s) for s in range(len(view.offsets)) if view.distance[s].isfinite()])
    right.scatter(places[:, 1], places[:, 0], s=16, color="white", edgecolor=DARK, linewidth=0.7)
    _square(right, view.y, view.x, 1, "white", dashed=True)
    _plain(left, f"frame {view.pair[1]}: a pixel and its {view.patch_size}x{view.patch_size} patch")
    _plain(right, f"frame {view.pair[0]}: its {len(places)} candidates")
    return figure


def patches_figure(frames: Tensor, view: PixelView, count: int = 8) -> Figure:
    """Draw the patch of a pixel, magnified, and the most similar patches of its window in order.

    A frame in the colour of the pixel's case marks a match; a thin grey one a candidate that is none.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        view: from `look_at`.
        count: how many candidates are shown.
    """
    order = view.distance.argsort(stable=True).tolist()
    order = [s for s in order if view.distance[s].isfinite()][:count]
    figure = Figure(figsize=(1.1 * (len(order) + 1), 1.75), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, len(order) + 1, squeeze=False)[0]
    a, b = view.pair
    cells = F.adaptive_avg_pool2d(frames[[a, b]].float(), view.map_hw) / 255  # [2, 3, h, w]
    _magnify(panels[0], cells[1], view.y, view.x, view.patch_size, _rgb(view.case), 4)
    panels[0].set_title("the pixel", fontsize=9)
    for panel, s in zip(panels[1:], order, strict=True):
        matched = s in view.matches
        edge, line, ink = (_rgb(view.case), 4, "black") if matched else ("0.7", 1, "0.45")
        _magnify(panel, cells[0], *view.place(s), view.patch_size, edge, line)
        dy, dx = view.offsets[s]
        panel.set_title(f"({dy:+d}, {dx:+d})", fontsize=9, color=ink)
        panel.set_xlabel(f"d = {view.distance[s]:.1f}", fontsize=9, color=ink)
    return figure


def distance_figure(
    frames: Tensor,
    views: Sequence[PixelView],
    threshold: float = 0.05,
    margin: int = 3,
    titles: Sequence[str] | None = None,
) -> Figure:
    """Draw for each pixel its surroundings, and below the distance to every candidate, matches ringed.

    Distances above three times the threshold's share one colour.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        views: from `look_at`.
        threshold: D: candidates nearer than -2 ln D are outlined.
        margin: map pixels shown around the window.
        titles: one a pixel; None: the name of its case.
    """
    titles = [LABELS[view.case].replace(", ", ",\n") for view in views] if titles is None else titles
    figure = Figure(figsize=(2.15 * len(views) + 0.7, 4.7), dpi=DPI, layout="constrained")
    rows = figure.subplots(2, len(views), squeeze=False)
    limit = -2 * np.log(threshold)
    for view, title, top, below in zip(views, titles, *rows, strict=True):
        _show(top, frames[view.pair[1]], view.map_hw)
        reach = max(max(map(abs, offset)) for offset in view.offsets)
        _zoom(top, view.y, view.x, reach + margin)
        _square(top, view.y, view.x, view.patch_size, _rgb(view.case))
        _plain(top, title)
        window = view.heat_map().numpy()
        span = (-reach - 0.5, reach + 0.5, reach + 0.5, -reach - 0.5)
        image = below.imshow(window, extent=span, cmap=HEAT, vmin=0, vmax=3 * limit)
        for row, column in np.argwhere(window <= limit) - reach:
            _square(below, row, column, 1, "white")
        matched = np.array([view.offsets[s] for s in view.matches]).reshape(-1, 2)
        below.scatter(matched[:, 1], matched[:, 0], s=26, color=_rgb(view.case), edgecolor=DARK, zorder=3)
        number = len(view.matches)
        below.set_title("1 match" if number == 1 else f"{number} matches", fontsize=10)
        below.set_xticks([-reach, 0, reach])
        below.set_yticks([-reach, 0, reach])
        below.tick_params(labelsize=8)
    bar = figure.colorbar(image, ax=list(rows[1]), shrink=0.8, extend="max")
    bar.set_label("patch distance d", fontsize=9)
    bar.ax.axhline(limit, color="white", linewidth=2)
    return figure


def matches_figure(frames: Tensor, views: Sequence[PixelView], zoom: int | None = None) -> Figure:
    """Draw the matches of pixels as lines from frame b to frame a; colour is the case, width the strength.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        views: from `look_at`, all of one frame pair. A pixel without a match is a cross.
        zoom: show only so many map pixels around the first pixel; None: whole frames.
    """
    first = views[0]
    figure, (left, right) = _two_panels(first.map_hw, 8.8) if zoom is None else _two_panels((1, 1), 7.0)
    for axes, frame in ((left, first.pair[1]), (right, first.pair[0])):
        _show(axes, frames[frame], first.map_hw, columns=216 if zoom is None else None)
        if zoom is not None:
            _zoom(axes, first.y, first.x, zoom)
    for view in views:
        colour, halo = _rgb(view.case), _halo(view.case)
        _dot(left, view.y, view.x, view.case, "o" if view.matches else "X")
        for s in reversed(view.matches):
            y, x = view.place(s)
            for ink, extra in ((halo, 1.2), (colour, 0)):  # a line below makes the colour stand out
                width = 0.5 + 2 * view.similarity(s) + extra
                line = ConnectionPatch((view.x, view.y), (x, y), "data", "data", axesA=left, axesB=right)
                line.set(color=ink, linewidth=width)
                figure.add_artist(line)
            _dot(right, y, x, view.case, "o", size=18)
    a, b = first.pair
    _plain(left, f"frame {b}: the pixels")
    _plain(right, f"frame {a}: their matches")
    _case_legend(figure, dict.fromkeys(view.case for view in views))
    return figure


def count_figure(matches: Matches, pair: int = 0, k: int = 5) -> Figure:
    """Draw the number of matches of each pixel of frame b of a pair, and how many pixels have each number.

    Args:
        matches: of a clip (clip 0 of the batch).
        pair: number of the frame pair.
        k: K, the largest number.
    """
    count = matches.count()[0, pair].cpu().numpy()
    figure, (left, right) = _two_panels(count.shape, width=8.0)
    a, b = matches.frame_pairs[pair]
    shades = ["0.93", *colormaps[HEAT](np.linspace(0.15, 1, k))]
    left.imshow(count, cmap=ListedColormap(shades), vmin=-0.5, vmax=k + 0.5)
    _plain(left, f"how many matches each pixel of frame {b} has in frame {a}")
    share = np.bincount(count.ravel(), minlength=k + 1) / count.size
    bars = right.bar(range(k + 1), share, color=shades, edgecolor=DARK, linewidth=0.7)
    right.bar_label(bars, [f"{part:.0%}" for part in share], fontsize=9)
    right.set_title("share of the pixels", fontsize=10)
    right.set_xlabel("number of matches", fontsize=9)
    right.spines[["top", "right", "left"]].set_visible(False)
    right.set_yticks([])
    return figure


def case_figure(frames: Tensor, cases: Tensor, frame: int) -> Figure:
    """Draw a frame, and beside it the case of each pixel in the colours of `CASES`.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        cases: uint8 [h, w], from `case_map`.
        frame: number of the frame the cases belong to, b of the pair.
    """
    figure, (left, right) = _two_panels(cases.shape, width=8.0)
    _show(left, frames[frame], cases.shape, columns=160)
    _plain(left, f"frame {frame}")
    right.imshow(np.uint8(list(CASES.values()))[cases.cpu().numpy()])
    _plain(right, "the case of each pixel")
    _case_legend(figure, CASES)
    return figure


def _two_panels(map_hw: Sequence[int], width: float) -> tuple[Figure, tuple[Axes, Axes]]:
    height = width / 2 * map_hw[0] / map_hw[1] + 0.8  # a title above, a legend below
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, tuple(figure.subplots(1, 2))


def _show(axes: Axes, frame: Tensor, map_hw: Sequence[int], columns: int | None = None) -> None:
    """Draw a frame [3, H, W] so that the centre of map pixel (y, x) has these coordinates.

    A frame of more than `columns` columns is reduced to so many, with 32 levels a channel: fine enough for a
    small picture, and a file a tenth of the size.
    """
    if columns is not None and frame.shape[-1] > columns:
        rows = round(columns * frame.shape[-2] / frame.shape[-1])
        frame = F.adaptive_avg_pool2d(frame.float(), (rows, columns))
        frame = (frame / 255 * 31).round() / 31
    height, width = map_hw
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(frame.permute(1, 2, 0).cpu().numpy(), extent=extent, interpolation="nearest")


def _plain(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xticks([])
    axes.set_yticks([])


def _zoom(axes: Axes, y: int, x: int, reach: int) -> None:
    axes.set_xlim(x - reach - 0.5, x + reach + 0.5)
    axes.set_ylim(y + reach + 0.5, y - reach - 0.5)


def _square(axes: Axes, y: int, x: int, size: int, colour, dashed: bool = False) -> None:
    for ink, width in ((DARK, 3.2), (colour, 1.6)):
        style = ":" if dashed and ink != DARK else "-"
        corner = (x - size / 2, y - size / 2)
        axes.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=ink, linewidth=width, ls=style))


def _magnify(axes: Axes, cells: Tensor, y: int, x: int, size: int, edge, line: float) -> None:
    """Draw the patch around (y, x) of cells [3, h, w] in 0..1; outside the frame it is black."""
    margin = size // 2
    patch = F.pad(cells, [margin] * 4)[:, y : y + size, x : x + size]
    axes.imshow(patch.permute(1, 2, 0).cpu().numpy())
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=edge, linewidth=line)


def _dot(axes: Axes, y: int, x: int, case: str, marker: str, size: float = 60) -> None:
    axes.scatter([x], [y], s=size, color=[_rgb(case)], edgecolor=_halo(case), marker=marker, zorder=5)


def _case_legend(figure: Figure, cases: Sequence[str]) -> None:
    handles = [
        Patch(facecolor=_rgb(case), edgecolor=DARK, label=LABELS[case]) for case in CASES if case in cases
    ]
    style = dict(ncols=len(handles), frameon=False, fontsize=8, handlelength=1.5, columnspacing=1.2)
    figure.legend(handles=handles, loc="outside lower center", **style)


def _rgb(case: str) -> tuple[float, ...]:
    return tuple(level / 255 for level in CASES[case])


def _halo(case: str) -> tuple[float, ...]:
    return tuple(level / 255 for level in text_colour(CASES[case]))
