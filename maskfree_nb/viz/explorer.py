"""The explorer: click a pixel of a frame pair and see its candidates, its matches, and what they cost."""

import base64
import io
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import Matches
from maskfree_nb.viz.lookup import VERSIONS, Lookup, Settings
from maskfree_nb.viz.matches import CASES, matches_figure

try:
    import anywidget
    import traitlets
    from IPython.display import display
except ImportError as error:
    raise InputError(
        "the explorer needs the package anywidget: pip install 'maskfree-nb[notebooks]'"
    ) from error

PAGE = Path(__file__).with_name("explorer_page")
# joined in this order: each uses those before it
SCRIPTS = ("template", "pen", "clip", "stage", "panels", "controls", "player", "explorer")
RANGES = {"radius": (1, 7), "k": (1, 10), "threshold": (0.0, 1.0), "patch_size": (1, 7)}
PUBLISHED = ("radius", "k", "threshold", "patch_size")  # what the paper/official switch sets
QUESTION = ("version", "pair", *PUBLISHED, "y", "x", "instance", "view")
CASE_TEXTS = {
    "none": "no candidate is near enough: hidden, changed, or moved beyond the window",
    "unique": "exactly one candidate is near enough",
    "homogeneous": "many candidates, spread both ways, are near enough: a flat region",
    "edge, sideways": "the near candidates lie along a line that runs sideways",
    "edge, upright": "the near candidates lie along a line that runs upright",
}


class Explorer(anywidget.AnyWidget):
    """The widget that `explore` makes; its options are attributes that can be read and set at any time.

    Attributes:
        y, x: the pixel, on the map, in the centre frame of the pair.
        pair: number of the frame pair in the tube.
        version: "paper" or "official"; setting it sets the four below to the published values.
        radius, k, threshold, patch_size: R, K, D and the side of a patch.
        view: "matches" or "loss"; instance: whose mask the second view shows.
        answer: what is shown of the pixel, see `Lookup.answer`.
    """

    _esm = "\n".join((PAGE / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    _css = PAGE / "explorer.css"

    version = traitlets.Unicode("paper").tag(sync=True)
    pair = traitlets.Int(0).tag(sync=True)
    radius = traitlets.Int(5).tag(sync=True)
    k = traitlets.Int(5).tag(sync=True)
    threshold = traitlets.Float(0.05).tag(sync=True)
    patch_size = traitlets.Int(3).tag(sync=True)
    y = traitlets.Int(0).tag(sync=True)
    x = traitlets.Int(0).tag(sync=True)
    instance = traitlets.Int(0).tag(sync=True)
    view = traitlets.Unicode("matches").tag(sync=True)

    clip = traitlets.Dict().tag(sync=True)  # what does not change: frames, masks, boxes, colours, ranges
    answer = traitlets.Dict().tag(sync=True)
    loss_map = traitlets.Bytes().tag(sync=True)  # float32 [h, w] of the second view
    seq = traitlets.Int(0).tag(sync=True)  # counts the answers: the browser draws when it changes

    def __init__(self, lookup: Lookup, **options):
        self.lookup = lookup
        self._answered = self._mapped = None
        super().__init__(clip=_clip(lookup), **options)
        self.observe(self._publish, "version")
        self.observe(self._answer, list(QUESTION))
        self._answer()

    @property
    def settings(self) -> Settings:
        """The options of the matching, as `Lookup` takes them."""
        return Settings(self.version, self.pair, self.radius, self.k, self.threshold, self.patch_size)

    def matches(self) -> Matches:
        """Return the library's matches of the frame pair on show, with the options as they are set."""
        return self.lookup.matches(self.settings)

    @traitlets.validate(*QUESTION)
    def _check(self, proposal: dict):
        name, value = proposal["trait"].name, proposal["value"]
        lookup = self.lookup
        views = ("matches", "loss") if lookup.mask_logits is not None else ("matches",)
        allowed = {"version": tuple(VERSIONS), "view": views}.get(name)
        if allowed is not None:
            if value not in allowed:
                reason = " (the second view needs mask_logits)" if value == "loss" else ""
                raise InputError(f"{name} is {value!r}, expected one of {', '.join(allowed)}{reason}")
            return value
        ends = {
            "pair": len(lookup.pairs),
            "y": lookup.map_hw[0],
            "x": lookup.map_hw[1],
            "instance": max(lookup.num_instances, 1),
        }
        low, high = RANGES[name] if name in RANGES else (0, ends[name] - 1)
        if not low <= value <= high or (name == "patch_size" and value % 2 == 0):
            odd = "an odd number in " if name == "patch_size" else ""
            raise InputError(f"{name} is {value!r}, expected {odd}{low}..{high}")
        return value

    def _publish(self, _) -> None:
        published = VERSIONS[self.version]().options
        with self.hold_sync(), self.hold_trait_notifications():  # one message, one answer
            for name in PUBLISHED:
                setattr(self, name, published[name])

    def _answer(self, _=None) -> None:
        question = tuple(getattr(self, name) for name in QUESTION)
        if question == self._answered:  # several options came at once: they are one question
            return
        self._answered = question
        answer = self.lookup.answer(self.settings, self.y, self.x, self.instance)
        with self.hold_sync():
            if self.view == "loss":
                if self._mapped is None or self._mapped[0] != (self.settings, self.instance):
                    found = self.lookup.consistency(self.settings, self.instance)
                    self._mapped = (self.settings, self.instance), *found
                _, loss_map, answer["pair_loss"] = self._mapped
                answer["pixel_loss"] = float(loss_map[self.y, self.x])
                self.loss_map = loss_map.numpy().tobytes()
            self.answer = answer
            self.seq += 1

    def __repr__(self) -> str:
        height, width = self.lookup.map_hw
        return (
            f"Explorer({len(self.lookup.frames)} frames, {height} x {width} map, version={self.version!r}, "
            f"pair={self.lookup.pairs[self.pair]}, pixel=({self.y}, {self.x}))"
        )

    def _repr_mimebundle_(self, **kwargs):
        """Add a still picture: what GitHub and nbconvert show, which have no widgets."""
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "image/png": base64.b64encode(self._still()).decode()}, metadata

    def _ipython_display_(self) -> None:
        """Show the still picture, then the widget, which hides it; a notebook without its kernel has it back.

        One output with both will not do: JupyterLab shows the widget of a bundle or an error, never the rest.
        """
        bundle, _ = self._repr_mimebundle_()
        picture = {"image/png": bundle.pop("image/png"), "text/plain": bundle["text/plain"]}
        display(picture, raw=True)
        display(bundle, raw=True)

    def _still(self) -> bytes:
        buffer = io.BytesIO()
        figure = matches_figure(self.lookup.images(), [self.lookup.view(self.settings, self.y, self.x)])
        figure.savefig(buffer, format="png")
        return buffer.getvalue()


def explore(
    frames: Tensor,
    *,
    mask_logits: Tensor | None = None,
    true_masks: Tensor | None = None,
    boxes: Tensor | None = None,
    stride: int = 4,
    tube: str = "cyclic",
    pixel: tuple[int, int] | None = None,
    version: str = "paper",
    **options,
) -> Explorer:
    """Look into the TK-Loss of a clip: click a pixel, see its candidates, its matches, and what they cost.

    Left is the centre frame b of a pair, right its source a. A click (or a drag, or the arrow keys) chooses a
    pixel of b; shown are its window in a, its K matches as lines whose strength is exp(-d/2), its case (see
    `pixel_case`), its patch beside theirs, and the distance to every candidate. The second view shows mask
    logits and the consistency loss at every pixel. Everything is computed by the library itself.

    Args:
        frames: [T, 3, H, W] RGB, uint8 or float in 0..255; T >= 2.
        mask_logits: [N, T, H // stride, W // stride]: opens the second view; or None.
        true_masks: bool [N, T, H, W]: tells right matches from wrong ones, never used to match; or None.
        boxes: [N, T, 4] xyxy in image pixels, NaN where absent: drawn, and the region of the official loss.
        stride: image pixels per map pixel; matches are found on the map.
        tube: the frame pairs on offer: "cyclic", "sequential" or "dense".
        pixel: (y, x) on the map that is shown first; None: the one with a match that is nearest the middle.
        version: "paper" or "official", `TKLoss.paper()` or `TKLoss.official()`.
        options: any of `pair`, `radius` (1..7), `k` (1..10), `threshold` (0..1), `patch_size` (1, 3, 5, 7),
            `view` ("matches" or "loss"), `instance`; default: as published.

    Returns:
        The widget; as the last line of a cell it shows itself. `answer` holds what it shows.

    Raises:
        InputError: anything out of range, shapes that do not belong together, or anywidget is not installed.

    >>> explorer = explore(torch.zeros(3, 3, 32, 48), pixel=(4, 6), k=3)
    >>> [(match["y"], match["x"]) for match in explorer.answer["matches"]]
    [(0, 3), (0, 4), (0, 5)]
    >>> explorer
    Explorer(3 frames, 8 x 12 map, version='paper', pair=(0, 1), pixel=(4, 6))
    """
    unknown = sorted(set(options) - set(QUESTION))
    if unknown:
        raise InputError(f"explore has no option {', '.join(unknown)}; it has {', '.join(QUESTION)}")
    lookup = Lookup(frames, stride, tube, mask_logits, true_masks, boxes)
    if version not in VERSIONS:
        raise InputError(f"version is {version!r}, expected one of {', '.join(VERSIONS)}")
    published = {name: VERSIONS[version]().options[name] for name in PUBLISHED}
    y, x = _near_middle(lookup, Settings(version=version, **published)) if pixel is None else pixel
    return Explorer(lookup, **{"version": version, "y": y, "x": x, **published, **options})


def _near_middle(lookup: Lookup, settings: Settings) -> tuple[int, int]:
    """Return the matched pixel of the first pair nearest the middle; the middle itself if none is matched."""
    middle = torch.tensor(lookup.map_hw) // 2
    matched = lookup.matches(settings).count()[0, 0].nonzero()  # [pixels, 2]
    if not len(matched):
        return tuple(middle.tolist())
    return tuple(matched[(matched - middle).square().sum(1).argmin()].tolist())


def _clip(lookup: Lookup) -> dict:
    """Return what the browser needs once, as JSON and bytes."""
    images = lookup.images().permute(0, 2, 3, 1)
    cells = torch.nn.functional.avg_pool2d(lookup.frames.float(), lookup.stride).round().to(torch.uint8)
    boxes = lookup.boxes if lookup.boxes is not None else torch.zeros(0, len(images), 4)
    return {
        "size": [len(images), *lookup.map_hw],
        "stride": lookup.stride,
        "pairs": [list(pair) for pair in lookup.pairs],
        "ranges": {name: list(ends) for name, ends in RANGES.items()},
        "instances": lookup.num_instances,
        "images": [_png(image.numpy()) for image in images],
        "cells": cells.permute(0, 2, 3, 1).contiguous().numpy().tobytes(),  # uint8 [T, h, w, 3]
        "levels": _bytes(lookup.mask_logits, lambda logits: (logits.sigmoid() * 255).round()),
        "truth": _bytes(lookup.true_masks, lambda masks: masks),
        "boxes": [[None if box[0].isnan() else box.tolist() for box in track] for track in boxes],
        "cases": {
            name: {"colour": f"rgb{colour}", "text": CASE_TEXTS[name]} for name, colour in CASES.items()
        },
        "near": _lut("viridis_r"),
        "cost": _lut("inferno"),
    }


def _bytes(values: Tensor | None, levels: Callable[[Tensor], Tensor]) -> bytes:
    return b"" if values is None else levels(values).to(torch.uint8).contiguous().numpy().tobytes()


def _lut(name: str) -> bytes:
    return (matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes()


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
