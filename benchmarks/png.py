"""Write a figure of the results page as a PNG of few bytes that are the same each time."""

import io
from pathlib import Path

import PIL.Image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from maskfree_nb import atomic


def write_png(path: Path, figure: Figure, colours: int | None = None) -> None:
    """Write `figure` to `path`, whole or not at all.

    Args:
        path: of the file.
        figure: of any size; its `dpi` counts.
        colours: the most colours, at most 256, for a figure without photographs; None keeps all.
    """
    FigureCanvasAgg(figure)
    drawn, content = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    picture = PIL.Image.open(drawn).convert("RGB")
    picture = picture if colours is None else picture.quantize(colours)
    picture.save(content, format="PNG", optimize=True)
    atomic.write_bytes(path, content.getvalue())
