"""The Temporal KNN-patch Loss, put together: candidates, matching, consistency, tube."""

import torch
from torch import Tensor, nn

from maskfree_nb import backend as backends
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import disk_offsets, grid_offsets
from maskfree_nb.tkloss.consistency import NORMALISERS, check_tube, tube_consistency
from maskfree_nb.tkloss.lab import CHANNEL_ORDERS, pooled_rgb, rgb_to_lab
from maskfree_nb.tkloss.matching import BORDERS, Matches, match_patches
from maskfree_nb.tkloss.tube import TUBES, frame_pairs

CHOICES = {
    "window": ("disk", "grid"),
    "colour_space": ("lab", "rgb"),
    "channel_order": CHANNEL_ORDERS,
    "border": BORDERS,
    "normaliser": NORMALISERS,
    "region": ("boxes", "frame"),
    "tube": TUBES,
    "backend": backends.BACKENDS,
}
LEAST = {"radius": 0, "dilation": 1, "k": 1, "patch_size": 1, "stride": 1, "warmup_calls": 0}


class TKLoss(nn.Module):
    """Ask masks of a tube to agree wherever the images match: supervision that needs no mask.

    L_temp = Σ_t L^(t → t^)  (Algorithm 1 of MaskFreeVIS, CVPR 2023, arXiv 2303.15904). It has no parameters.
    The matches come from the images alone: find them once per clip and use them for all instances and layers.

    The defaults are those of our recipe. `TKLoss.paper()` and `TKLoss.official()` are the two published
    versions, which differ; each option of theirs can be changed alone, as in `TKLoss.paper(radius=3)`.

    Args:
        radius: R, the reach of the window: mask pixels ("disk") or grid steps ("grid").
        window: "disk": every pixel within R; "grid": (2R + 1)² pixels, `dilation` apart.
        dilation: distance of two grid steps in mask pixels.
        k: K, the most matches a pixel may have.
        threshold: D, the least similarity exp(-d/2) of a match, 0..1.
        patch_size: side of a patch in mask pixels, odd.
        stride: image pixels per mask pixel.
        colour_space: "lab", or "rgb" (`pooled_rgb`), which the ablation holds against it.
        channel_order, quantise: see `rgb_to_lab`; of no effect on "rgb".
        border: "clean" or "zero", see `knn_match`.
        normaliser: "matches" or "pixels", see `tube_consistency`.
        region: "boxes": only pixels of the given `region` are centres; "frame": all pixels are.
        tube: "cyclic", "sequential" or "dense", see `frame_pairs`.
        weight: factor on the loss.
        warmup_calls: the loss grows linearly over so many calls, each decoder layer being one. Only calls in
            training mode count. The count is a buffer, `calls`, kept in the state dict: a run that is resumed
            goes on where it was.
        backend: "auto" (Triton on a GPU, else torch), "torch" or "triton".

    Raises:
        InputError: an option outside its range; it names the option.

    In your own model, for logits [N, T, h, w] of N instances, or [L, N, T, h, w] of L decoder layers:

    >>> from maskfree_nb.boxloss.box_masks import box_masks, union_region
    >>> frames = torch.randint(0, 256, (3, 3, 32, 48), dtype=torch.uint8)  # a clip: [T, 3, H, W]
    >>> boxes = torch.tensor([[8.0, 4.0, 40.0, 28.0]]).expand(2, 3, 4)  # [N, T, 4]
    >>> mask_logits = torch.randn(10, 2, 3, 8, 12, requires_grad=True)
    >>> tk_loss = TKLoss()
    >>> matches = tk_loss.match(frames)  # once per clip
    >>> loss = tk_loss(mask_logits, matches, region=union_region(box_masks(boxes, (32, 48))))  # [L]
    >>> loss.sum().backward()
    """

    def __init__(
        self,
        *,
        radius: int = 5,
        window: str = "disk",
        dilation: int = 1,
        k: int = 5,
        threshold: float = 0.05,
        patch_size: int = 3,
        stride: int = 4,
        colour_space: str = "lab",
        channel_order: str = "rgb",
        quantise: bool = True,
        border: str = "clean",
        normaliser: str = "matches",
        region: str = "boxes",
        tube: str = "cyclic",
        weight: float = 1.0,
        warmup_calls: int = 0,
        backend: str = "auto",
    ):
        super().__init__()
        self.options = {
            "radius": radius,
            "window": window,
            "dilation": dilation,
            "k": k,
            "threshold": threshold,
            "patch_size": patch_size,
            "stride": stride,
            "colour_space": colour_space,
            "channel_order": channel_order,
            "quantise": quantise,
            "border": border,
            "normaliser": normaliser,
            "region": region,
            "tube": tube,
            "weight": weight,
            "warmup_calls": warmup_calls,
            "backend": backend,
        }
        _check_options(self.options)
        self.offsets = disk_offsets(radius) if window == "disk" else grid_offsets(radius, dilation)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64), persistent=warmup_calls > 0)

    @classmethod
    def paper(cls, **changes) -> "TKLoss":
        """Return Algorithm 1 as printed: dense window R = 5, K = 5, D = 0.05, all pixels, 1 / (h · w)."""
        return cls(**{"normaliser": "pixels", "region": "frame", **changes})

    @classmethod
    def official(cls, **changes) -> "TKLoss":
        """Return the loss of the published training code.

        That code also shuffles the frames of a tube before it closes the cycle, which is up to the clip; its
        three-frame configuration is `TKLoss.official(tube="dense")`.
        """
        published = {
            "window": "grid",
            "radius": 1,
            "dilation": 3,
            "channel_order": "bgr",
            "border": "zero",
            "weight": 0.1,
            "warmup_calls": 2000,
        }
        return cls(**{**published, **changes})

    def match(self, frames: Tensor, return_index: bool = False) -> Matches:
        """Find the matches of a clip, or of a batch of clips: once, for all instances and layers.

        Args:
            frames: [T, 3, H, W] or [B, T, 3, H, W], RGB, uint8 or float in 0..255, T >= 2.
            return_index: also keep the matches' order and distances, for pictures.

        Returns:
            `Matches` on maps of H // stride x W // stride pixels.

        Raises:
            InputError: frames of another shape, or floats that are not in 0..255 but scaled or normalised.
        """
        return self.match_lab(self.lab(frames), return_index)

    def lab(self, frames: Tensor) -> Tensor:
        """Return the colours that are compared, float32 [..., 3, h, w]: the first half of `match`."""
        _check_range(frames)
        if self.options["colour_space"] == "rgb":
            return pooled_rgb(frames, self.options["stride"])
        names = ("stride", "channel_order", "quantise")
        triton = backends.resolve(self.options["backend"], frames) == "triton"
        op = backends.kernels().rgb_to_lab if triton else rgb_to_lab
        return op(frames, **{name: self.options[name] for name in names})

    def match_lab(self, lab: Tensor, return_index: bool = False) -> Matches:
        """Find the matches of colours from `lab`, [T, 3, h, w] or [B, T, 3, h, w]: its second half."""
        if lab.ndim not in (4, 5):
            raise InputError(f"a clip has shape {list(lab.shape)}, expected [T, 3, h, w] or [B, T, 3, h, w]")
        names = ("k", "threshold", "patch_size", "border", "backend")
        pairs = frame_pairs(lab.shape[-4], self.options["tube"])
        options = {name: self.options[name] for name in names}
        return match_patches(lab, pairs, self.offsets, **options, return_index=return_index)

    def forward(
        self,
        mask_logits: Tensor,
        matches: Matches,
        region: Tensor | None = None,
        clip_index: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of one decoder layer (a scalar), or of each of L layers ([L]).

        Args:
            mask_logits: [N, T, h, w] or [L, N, T, h, w], the masks of the N matched instances.
            matches: from `match`.
            region: bool [N, h, w], the union of each instance's boxes (`union_region`); not used, and not
                needed, with the option region="frame".
            clip_index: int64 [N], the clip of each instance; may be left out for a single clip.
        """
        layers = mask_logits if mask_logits.ndim == 5 else mask_logits.unsqueeze(0)  # [L, N, T, h, w]
        if self.options["region"] == "frame":
            region = torch.ones(layers.shape[1:2] + layers.shape[3:], dtype=torch.bool, device=layers.device)
        if region is None:
            raise InputError(
                "TKLoss with region='boxes' needs `region`, e.g. union_region(box_masks(boxes, image_hw)); "
                "or choose region='frame'"
            )
        arguments = (layers, matches.bits, matches.offsets, matches.frame_pairs, region)
        normaliser = self.options["normaliser"]
        check_tube(*arguments, clip_index, normaliser)
        triton = backends.resolve(self.options["backend"], layers) == "triton"
        op = backends.kernels().tube_consistency if triton else tube_consistency
        loss = op(*arguments, clip_index=clip_index, normaliser=normaliser)[0]  # [L]
        loss = loss * self.options["weight"]
        if self.options["warmup_calls"] > 0:
            loss = loss * self._warmup(len(loss)).to(loss.device)
        return loss if mask_logits.ndim == 5 else loss[0]

    def _warmup(self, layers: int) -> Tensor:
        """Return the warm-up factor of each of the next `layers` calls, and count them."""
        calls = self.calls + torch.arange(1, layers + 1, device=self.calls.device)
        if self.training:
            self.calls += layers
        return (calls / self.options["warmup_calls"]).clamp(max=1)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


def _check_range(frames: Tensor) -> None:
    """Refuse float frames in 0..1 or normalised: all would look alike, and everything would match.

    Bytes need no look; of floats the least and the largest are taken, which waits for a GPU.
    """
    if not frames.is_floating_point() or frames.numel() == 0:
        return
    low, high = torch.stack(frames.detach().aminmax()).tolist()
    if low < 0 or 0 < high <= 1:
        raise InputError(
            f"frames are {frames.dtype} from {low:.3g} to {high:.3g}, expected 0..255, uint8 or float: "
            "give them before they are scaled or normalised"
        )


def _check_options(options: dict) -> None:
    for name, allowed in CHOICES.items():
        if options[name] not in allowed:
            raise InputError(
                f"TKLoss option {name} is {options[name]!r}, expected one of {', '.join(allowed)}"
            )
    for name, least in LEAST.items():
        if not isinstance(options[name], int) or options[name] < least:
            raise InputError(f"TKLoss option {name} is {options[name]!r}, expected an integer >= {least}")
    if options["patch_size"] % 2 == 0:
        raise InputError(f"TKLoss option patch_size is {options['patch_size']}, expected an odd number")
    if options["window"] == "disk" and options["dilation"] != 1:
        raise InputError(
            f"TKLoss option dilation is {options['dilation']}: only window='grid' has a dilation"
        )
    if not 0 <= options["threshold"] <= 1:
        raise InputError(
            f"TKLoss option threshold is {options['threshold']!r}, expected a similarity in 0..1"
        )
    if not options["weight"] >= 0:
        raise InputError(f"TKLoss option weight is {options['weight']!r}, expected a number >= 0")
