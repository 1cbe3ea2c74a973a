"""Films in a notebook: frames that play in place, and rows of stills that say the same on paper."""

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from maskfree_nb.data.video import write_mp4
from maskfree_nb.errors import InputError

COLOURS = 128  # of an animated picture: half of what a palette may have, for two thirds of the bytes
INCHES = 1.8  # width of one still


class Film:
    """Frames that play where a notebook shows its result, and need no file.

    `png` is an animated PNG: it plays wherever a still would be seen (JupyterLab, also before the notebook is
    trusted, an exported page, a code host's preview), with one palette of 128 colours. `mp4` is an HTML5
    video: about a quarter of the size, all colours and a bar to stop and step, but only in a trusted notebook
    or an exported page.

    Args:
        frames: uint8 RGB [T, 3, H, W].
        fps: frames per second, above 0.
        kind: `png` or `mp4`.

    Attributes:
        data: the content of the file that it would be.

    Raises:
        InputError: another kind.

    >>> import torch
    >>> Film(torch.zeros(4, 3, 24, 32, dtype=torch.uint8), fps=6)
    Film(4 frames of 32x24, 6 a second, png)
    """

    def __init__(self, frames: Tensor, fps: float = 6.0, kind: str = "png"):
        encoders = {"png": _animated_png, "mp4": _mp4}
        if kind not in encoders:
            raise InputError(f"kind of film is {kind!r}, expected one of {', '.join(encoders)}")
        self.num_frames, _, self.height, self.width = frames.shape
        self.fps, self.kind = fps, kind
        self.data = encoders[kind](frames, fps)

    def __repr__(self) -> str:
        size = f"{self.num_frames} frames of {self.width}x{self.height}"
        return f"Film({size}, {self.fps:g} a second, {self.kind})"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        content = base64.b64encode(self.data).decode()
        if self.kind == "png":
            return {"image/png": content, "text/plain": repr(self)}
        video = (
            f'<video controls autoplay loop muted playsinline width="{self.width}" '
            f'src="data:video/mp4;base64,{content}"></video>'
        )
        return {"text/html": video, "text/plain": repr(self)}


def film_strip(
    rows: Mapping[str, Tensor], frame_numbers: Sequence[int] | None = None, title: str = ""
) -> Figure:
    """Draw rows of stills: time runs to the right, what is shown of each frame runs down.

    Args:
        rows: name at the left -> uint8 RGB [T, 3, H, W]; sizes may differ between rows, shapes should not.
        frame_numbers: which frames to show; None: all.
        title: over all.

    >>> import torch
    >>> frames = torch.zeros(9, 3, 24, 32, dtype=torch.uint8)
    >>> len(film_strip({"frames": frames, "masks": frames}, [0, 4, 8]).axes)
    6
    """
    frames = next(iter(rows.values()))
    frame_numbers = range(len(frames)) if frame_numbers is None else frame_numbers
    height = INCHES * frames.shape[-2] / frames.shape[-1] + 0.1
    size = (INCHES * len(frame_numbers) + 0.4, height * len(rows) + 0.3 + 0.3 * bool(title))
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    axes = figure.subplots(len(rows), len(frame_numbers), squeeze=False)
    for (name, row), stills in zip(rows.items(), axes, strict=True):
        stills[0].set_ylabel(name, fontsize=11)
        for t, axis in zip(frame_numbers, stills, strict=True):
            axis.imshow(row[t].permute(1, 2, 0).numpy(), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    for t, axis in zip(frame_numbers, axes[0], strict=True):
        axis.set_title(f"frame {t}", fontsize=10)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _animated_png(frames: Tensor, fps: float) -> bytes:
    pixels = frames.permute(0, 2, 3, 1).numpy()
    palette = Image.fromarray(np.concatenate(pixels)).quantize(COLOURS, method=Image.Quantize.MEDIANCUT)
    first, *rest = [
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in pixels
    ]
    out = io.BytesIO()
    first.save(out, "PNG", save_all=True, append_images=rest, duration=1000 / fps, loop=0, optimize=True)
    return out.getvalue()


def _mp4(frames: Tensor, fps: float) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_mp4(path, frames, fps)
        return path.read_bytes()
