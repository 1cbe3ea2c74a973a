"""The figures of a tube: one arrow a pair, one colour a hop, one line a tube."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch
from numpy.testing import assert_allclose
from tolerances import TOL

from maskfree_nb.tkloss import frame_pairs
from maskfree_nb.viz.tube import FAR, HOPS, NEAR, cost_figure, hops_figure, reach_figure, tube_figure


def clip(num_frames: int, height: int = 20, width: int = 30) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_frames, 3, height, width), dtype=torch.uint8, generator=generator)


def pixels(figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def arrows(axes) -> list[FancyArrowPatch]:
    return [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]


@pytest.mark.parametrize("num_frames", [2, 3, 5, 8])
def test_every_pair_is_an_arrow_from_centre_to_source(num_frames):
    tubes = {name: frame_pairs(num_frames, name) for name in ("sequential", "cyclic", "dense")}
    figure = tube_figure(clip(num_frames), tubes)
    for axes, (name, pairs) in zip(figure.axes, tubes.items(), strict=True):
        assert axes.get_title(loc="left") == f"{name}: {len(pairs)} pairs"
        assert len(axes.images) == num_frames
        middles = [np.mean(image.get_extent()[:2]) for image in axes.images]
        drawn = []
        for arrow in arrows(axes):
            start, end = (int(np.abs(np.array(middles) - x).argmin()) for x, _ in arrow._posA_posB)
            near = abs(start - end) == 1
            assert to_rgb(arrow.get_edgecolor()) == (NEAR if near else FAR)
            drawn.append((end, start))
        assert drawn == pairs
    assert pixels(figure).std() > 0.05


def test_arrows_bend_upwards_whichever_way_they_point():
    figure = tube_figure(clip(4), {"there and back": [(0, 3), (3, 0), (1, 2), (2, 1)]})
    FigureCanvasAgg(figure).draw()
    for arrow in arrows(figure.axes[0]):
        (_, start), (_, bend), (_, end) = arrow.get_path().vertices[:3]
        assert bend > max(start, end) + 0.1


def test_a_pixel_shows_its_hop():
    hops = torch.tensor([[[0, 1, 2, 3], [4, -1, -1, -1]]])  # [1, 2, 4]
    frames = torch.full((1, 3, 8, 16), 51, dtype=torch.uint8)
    figure = hops_figure(frames, {"cyclic": hops, "dense": hops})
    for axes in figure.axes:
        image = axes.images[0].get_array()
        assert image.shape == (2, 4, 3)
        assert image[0, 0].min() > 0.7  # pale
        colours = [np.array(colour) for _, _, colour in HOPS]
        for pixel, colour in zip(
            (image[0, 1], image[0, 2], image[0, 3], image[1, 0]), [*colours, colours[2]], strict=True
        ):
            assert_allclose(pixel, 0.15 * 0.2 + 0.85 * colour, **TOL["float32 sums"])
        assert_allclose(image[1, 1:], np.full((3, 3), 0.2), **TOL["float32 sums"])
    assert [figure.axes[row].get_title(loc="left") for row in (0, 1)] == ["cyclic", "dense"]
    assert pixels(figure).std() > 0.05


def test_lines_are_the_numbers():
    figure = reach_figure({"sequential": [0.0, 0.1], "cyclic": [0.0, 0.2]}, "reached")
    axes = figure.axes[0]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.0, 0.1], [0.0, 0.2]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "sequential: 10.0%",
        "cyclic: 20.0%",
    ]
    assert axes.get_ylabel() == "reached"
    assert len({line.get_linestyle() for line in axes.lines}) == 2  # told apart without colour

    rows = [(2, 2, 2e6, 0.25), (3, 3, 3e6, 0.5)]
    pairs, memory, time = cost_figure({"cyclic": rows}).axes
    assert list(pairs.lines[0].get_xdata()) == [2, 3] and list(pairs.lines[0].get_ydata()) == [2, 3]
    assert_allclose(memory.lines[0].get_ydata(), [2, 3], **TOL["float64"])
    assert_allclose(time.lines[0].get_ydata(), [250, 500], **TOL["float64"])
