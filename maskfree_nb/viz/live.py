"""The curves of a run while it trains, in a notebook: one picture that is redrawn in place."""

import io
import threading
from pathlib import Path
from types import TracebackType

import numpy as np
import PIL.Image
from IPython.display import Image, Markdown, display
from matplotlib.backends.backend_agg import FigureCanvasAgg

from maskfree_nb.errors import InputError
from maskfree_nb.viz.curves import read_log, training_figure

DPI, COLOURS = 75, 64  # a small picture: it is sent every few seconds and stays in the file


class LiveCurves:
    """A context that redraws `training_figure` of a log every few seconds, and once more at its end.

    The training runs in the body of the `with`, so interrupting the kernel stops it as usual; a thread reads
    the log, which is on the disk anyway, and draws. It is no widget: the last picture stays in the notebook.

    Args:
        log_path: `log.jsonl` of the run; it need not exist yet.
        seconds: between two pictures.

    >>> with LiveCurves("run/log.jsonl"):                       # doctest: +SKIP
    ...     train(config, "run", resume=True, progress=False)
    """

    def __init__(self, log_path: str | Path, seconds: float = 5.0):
        self._log_path, self._seconds = Path(log_path), seconds
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "LiveCurves":
        self._handle = display(Markdown("*waiting for the first step*"), display_id=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._draw()

    def _watch(self) -> None:
        while not self._done.wait(self._seconds):
            self._draw()

    def _draw(self) -> None:
        try:
            log = read_log(self._log_path)
        except InputError:  # no step yet
            return
        figure, png = training_figure(log), io.BytesIO()
        figure.set_dpi(DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        picture = PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        picture.quantize(COLOURS).save(png, format="PNG", optimize=True)
        self._handle.update(Image(data=png.getvalue()))
