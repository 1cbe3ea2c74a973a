"""What there is to know about one pixel of a tube, by the library's own functions, fast enough to click."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from maskfree_nb.boxloss.box_masks import box_masks, union_region
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import Matches, TKLoss, frame_pairs, match_patches, pair_term, tube_consistency
from maskfree_nb.tkloss.candidates import pad_by_reach, shifted
from maskfree_nb.tkloss.matching import NONE
from maskfree_nb.viz.cases import pixel_case
from maskfree_nb.viz.pixel import PixelView, candidate_distances

VERSIONS = {"paper": TKLoss.paper, "official": TKLoss.official}
KEPT = 24  # settings whose matches stay in memory: at 96 x 160 about 0.5 MB each


@dataclass(frozen=True)
class Settings:
    """One way to match: which frame pair (its number in the tube), and the options of `TKLoss`."""

    version: str = "paper"
    pair: int = 0
    radius: int = 5
    k: int = 5
    threshold: float = 0.05
    patch_size: int = 3

    def loss(self, stride: int) -> TKLoss:
        """Return the TK-Loss with these options: candidates, colours, border, normaliser, weight."""
        return VERSIONS[self.version](
            radius=self.radius, k=self.k, threshold=self.threshold, patch_size=self.patch_size, stride=stride
        )


class Lookup:
    """Answers about the pixels of a clip; Lab colours and matches are computed once and kept.

    Args:
        frames: [T, 3, H, W] RGB, uint8 or float in 0..255. The right and lower rest of a stride is cut off.
        stride: image pixels per map pixel.
        tube: which frame pairs there are, see `frame_pairs`.
        mask_logits: float [N, T, h, w], on the map; or None.
        true_masks: bool [N, T, H, W], to tell right matches from wrong ones; or None.
        boxes: float [N, T, 4] xyxy in image pixels, NaN where absent; or None.

    Raises:
        InputError: shapes that do not belong together, or fewer than two frames.

    >>> lookup = Lookup(torch.zeros(2, 3, 32, 32))  # two black frames
    >>> answer = lookup.answer(Settings(k=2), y=4, x=4)
    >>> answer["case"], [(match["dy"], match["dx"]) for match in answer["matches"]]
    ('homogeneous', [(-4, -3), (-4, -2)])
    """

    def __init__(
        self,
        frames: Tensor,
        stride: int = 4,
        tube: str = "cyclic",
        mask_logits: Tensor | None = None,
        true_masks: Tensor | None = None,
        boxes: Tensor | None = None,
    ):
        if not isinstance(frames, Tensor) or frames.ndim != 4 or frames.shape[1] != 3:
            given = list(frames.shape) if hasattr(frames, "shape") else type(frames).__name__
            raise InputError(f"frames: {given}, expected a tensor [T, 3, H, W], RGB in 0..255")
        self.pairs = frame_pairs(len(frames), tube)
        height, width = (size // stride for size in frames.shape[2:])
        if min(height, width) < 1:
            raise InputError(f"frames are {list(frames.shape[2:])}, smaller than one stride of {stride}")
        self.stride, self.map_hw = stride, (height, width)
        self.frames = frames.detach().cpu()[..., : height * stride, : width * stride]
        maps, images = (len(frames), height, width), (len(frames), *frames.shape[2:])
        self.mask_logits = _instances("mask_logits", mask_logits, maps)
        self.true_masks = _instances("true_masks", true_masks, images)
        self.boxes = _instances("boxes", boxes, (len(frames), 4))
        if self.true_masks is not None:
            self.true_masks = F.avg_pool2d(self.true_masks, stride) >= 0.5  # bool [N, T, h, w]
        given = {
            name: len(value)
            for name in ("mask_logits", "true_masks", "boxes")
            if (value := getattr(self, name)) is not None
        }
        if len(set(given.values())) > 1:
            raise InputError(f"the instances differ in number: {given}")
        self.num_instances = max(given.values(), default=0)
        self._lab: dict[str, Tensor] = {}
        self._matches: dict[Settings, Matches] = {}

    def images(self) -> Tensor:
        """Return the frames as they are shown: uint8 [T, 3, H, W], whole strides of them."""
        return self.frames.float().round().clamp(0, 255).to(torch.uint8)

    def lab(self, version: str) -> Tensor:
        """Return the colours that a version compares, float32 [T, 3, h, w]."""
        if version not in self._lab:
            self._lab[version] = Settings(version=version).loss(self.stride).lab(self.frames)
        return self._lab[version]

    def matches(self, settings: Settings) -> Matches:
        """Return the matches of one frame pair, in order and with distances."""
        if settings not in self._matches:
            loss = settings.loss(self.stride)
            options = {name: loss.options[name] for name in ("k", "threshold", "patch_size", "border")}
            while len(self._matches) >= KEPT:
                self._matches.pop(next(iter(self._matches)))
            self._matches[settings] = match_patches(
                self.lab(settings.version),
                [self.pairs[settings.pair]],
                loss.offsets,
                **options,
                return_index=True,
            )
        return self._matches[settings]

    def view(self, settings: Settings, y: int, x: int) -> PixelView:
        """Return pixel (y, x) of the centre frame with its candidates and its matches inside the frame."""
        matches, pair = self.matches(settings), self.pairs[settings.pair]
        distance = candidate_distances(
            self.lab(settings.version), pair, y, x, matches.offsets, settings.patch_size
        )
        numbers = [s for s in matches.index[0, 0, :, y, x].tolist() if s != NONE and distance[s].isfinite()]
        case = pixel_case(distance, matches.offsets, settings.threshold)
        return PixelView(pair, y, x, self.map_hw, matches.offsets, distance, tuple(numbers), case)

    def answer(self, settings: Settings, y: int, x: int, instance: int = 0) -> dict:
        """Return what a reader wants to know of pixel (y, x) of the centre frame: numbers, lists and names.

        Returns:
            `frames` (source a, centre b), `pixel`, `limit` (the largest distance of a match; None: no limit),
            `case` (see `pixel_case`), `offsets` [S] (dy, dx), `distances` [S] (None: outside the frame),
            `logit` (of `instance`; None without mask logits) and `matches`: most similar first, each with
            `y`, `x`, `dy`, `dx`, `distance`, `similarity`, `right` (on the same side of every true mask; None
            without them), `logit`, and `term` (what the match adds to the loss of `instance`).
        """
        view, (a, b) = self.view(settings, y, x), self.pairs[settings.pair]
        logits = None if self.mask_logits is None else self.mask_logits[instance]
        found = []
        for s in view.matches:
            (dy, dx), (v, u) = view.offsets[s], view.place(s)
            match = dict(y=v, x=u, dy=dy, dx=dx, right=None, logit=None, term=None)
            match |= dict(distance=float(view.distance[s]), similarity=view.similarity(s))
            if self.true_masks is not None:
                match["right"] = bool((self.true_masks[:, a, v, u] == self.true_masks[:, b, y, x]).all())
            if logits is not None:
                match["logit"] = float(logits[a, v, u])
                match["term"] = float(pair_term(logits[a, v, u], logits[b, y, x]))
            found.append(match)
        return {
            "frames": [a, b],
            "pixel": [y, x],
            "limit": -2 * math.log(settings.threshold) if settings.threshold > 0 else None,
            "case": view.case,
            "offsets": [list(offset) for offset in view.offsets],
            "distances": [d if math.isfinite(d) else None for d in view.distance.tolist()],
            "logit": None if logits is None else float(logits[b, y, x]),
            "matches": found,
        }

    def consistency(self, settings: Settings, instance: int) -> tuple[Tensor, float]:
        """Return the consistency loss of one instance: its map over the centre frame, and the pair's loss.

        Returns:
            float32 [h, w]: Σ over the matches q of pixel p of L_cons(M_a(q), M_b(p)); 0 outside the region
            (the official version with boxes: their union over the tube; else everywhere). And the loss of
            the pair as `tube_consistency` divides it, times the version's weight.
        """
        matches, (a, b) = self.matches(settings), self.pairs[settings.pair]
        loss, (height, width) = settings.loss(self.stride), self.map_hw
        region = self.region(settings, instance)
        source, centre = self.mask_logits[instance, a], self.mask_logits[instance, b]
        padded = pad_by_reach(source, matches.offsets)
        inside = pad_by_reach(torch.ones_like(region), matches.offsets)
        total = torch.zeros(height, width)
        for keep, offset in zip(matches.keep()[0, 0], matches.offsets, strict=True):
            y, x = (keep & region & shifted(inside, offset, height, width)).nonzero(as_tuple=True)
            total[y, x] += pair_term(shifted(padded, offset, height, width)[y, x], centre[y, x])
        pair_loss = tube_consistency(
            torch.stack([source, centre])[None, None],
            matches.bits,
            matches.offsets,
            [(0, 1)],
            region[None],
            normaliser=loss.options["normaliser"],
        ).loss
        return total, float(pair_loss) * loss.options["weight"]

    def region(self, settings: Settings, instance: int) -> Tensor:
        """Return the centre pixels that count, bool [h, w]."""
        if settings.version == "paper" or self.boxes is None:
            return torch.ones(self.map_hw, dtype=torch.bool)
        boxes = self.boxes[instance : instance + 1]
        return union_region(box_masks(boxes, tuple(self.frames.shape[2:]), self.stride))[0]


def _instances(name: str, value: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    """Check an optional tensor [N, *shape]; return it as float32 on the CPU."""
    if value is None:
        return None
    given = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
    if not isinstance(value, Tensor) or tuple(value.shape[1:]) != shape:
        expected = ", ".join(map(str, shape))
        raise InputError(f"{name}: {given}, expected a tensor [N, {expected}]")
    return value.detach().float().cpu()
