"""Tube consistency and the whole TK-Loss: the floor, unfold formulation, our torch path, torch.compile."""

import math
from collections.abc import Iterator

import torch
from gpu import KernelCase, step
from naive import disagreement, naive_tk_loss
from scene import moving_scene
from torch import Tensor

from maskfree_nb import backend, tkloss
from maskfree_nb.boxloss import box_masks, union_region
from maskfree_nb.tkloss import TKLoss, disk_offsets, frame_pairs, grid_offsets

LAYERS, FRAMES, K, MAX_DISTANCE = 10, 5, 5, -2 * math.log(0.05)
WINDOWS = {"official": (grid_offsets(1, 3), "zero"), "R=5": (disk_offsets(5), "clean")}
SETTINGS = {"R50, N=4": (384, 640, 4), "R50, N=20": (384, 640, 20), "Swin-L, N=40": (480, 864, 40)}


def cases(device: torch.device, small: bool) -> list[KernelCase]:
    """Return the published window at each setting, and some variants; nothing on a CPU: there torch runs."""
    if device.type != "cuda":
        return []
    found = []
    for setting, (height, width, instances) in ({"small": (64, 96, 2)} if small else SETTINGS).items():
        clip, boxes = moving_scene(FRAMES, height, width, instances)
        region = union_region(box_masks(boxes, (height, width))).to(device)  # [N, h, w]
        lab = tkloss.rgb_to_lab(clip.to(device))[None]
        found += _consistency_cases(setting, "official", lab, region, torch.float32)
        if setting == "R50, N=4":
            grey, everywhere = 50 + 0.3 * torch.randn_like(lab), torch.ones_like(region)
            found += _consistency_cases(setting, "R=5", lab, region, torch.float32)
            found += _consistency_cases(setting, "official, all matched", grey, everywhere, torch.float32)
        if setting == "R50, N=20":
            found += _consistency_cases(setting, "official", lab, region, torch.bfloat16)
        found += _whole_cases(setting, lab, region)
    return found


def _consistency_cases(
    setting: str, title: str, lab: Tensor, region: Tensor, dtype: torch.dtype
) -> Iterator[KernelCase]:
    offsets, border = WINDOWS[title.split(",")[0]]
    pairs = frame_pairs(FRAMES)
    kernels = backend.kernels()
    bits = kernels.knn_match(lab, pairs, offsets, k=K, max_distance=MAX_DISTANCE, border=border)[0]
    keep = tkloss.Matches(bits, offsets, tuple(pairs)).keep()[0].float()  # [P, S, h, w]
    logits = _draw(region, lab).to(dtype)
    leaf = logits.clone().requires_grad_()
    arguments = (bits, offsets, pairs, region)

    def plain(x: Tensor) -> Tensor:
        return tkloss.tube_consistency(x, *arguments)[0]

    baselines = {"torch": plain}
    if (title, dtype) == ("official", torch.float32):
        baselines["unfold"] = lambda x: _unfold_consistency(x, keep, region, pairs)
        if setting == "R50, N=4":
            compiled = torch.compile(tkloss.tube_consistency_dense)
            baselines["torch.compile"] = lambda x: compiled(x, *arguments)[0]
    about = {
        "setting": setting,
        "logits": str(dtype).removeprefix("torch."),
        "matches_per_pixel": round(keep.sum(1).mean().item(), 3),
        "region_share": round(region.float().mean().item(), 3),
    }
    for against, baseline in baselines.items():
        yield KernelCase(
            f"tube_consistency, {title}",
            {**about, "against": against},
            ours=step(lambda x: kernels.tube_consistency(x, *arguments)[0], logits),
            baseline=step(baseline, logits),
            tolerance=1e-5 if dtype == torch.float32 else 1e-2,
            reference=step(plain, logits.double()),
            kernel=lambda: kernels.tube_consistency(leaf, *arguments),  # loss and gradient; not its scaling
            bytes=2 * logits.nbytes + bits.nbytes + region.nbytes,
            floor_bar=2.0 if title == "official" else None,
        )


def _unfold_consistency(logits: Tensor, keep: Tensor, region: Tensor, pairs: list) -> Tensor:
    """Return the loss of each layer in the unfold formulation; keep [P, 9, h, w]."""
    losses = []
    for layer in logits:  # [N, T, h, w]
        loss = 0.0
        for p, (a, b) in enumerate(pairs):
            weight = keep[p] * region[:, None]
            loss = loss + (disagreement(layer[:, a], layer[:, b]) * weight).sum() / weight.sum().clamp(min=1)
        losses.append(loss)
    return torch.stack(losses)


def _whole_cases(setting: str, lab: Tensor, region: Tensor) -> Iterator[KernelCase]:
    """Yield matching and all layers, forward and backward, as `TKLoss.official()` does it."""
    ours, plain = (TKLoss.official(warmup_calls=0, backend=name) for name in ("triton", "torch"))
    logits, maps, pairs = _draw(region, lab), lab[0], frame_pairs(FRAMES)
    kernels = backend.kernels()
    offsets, border = WINDOWS["official"]

    def launches(x: Tensor) -> Tensor:
        bits = kernels.knn_match(lab, pairs, offsets, k=K, max_distance=MAX_DISTANCE, border=border)[0]
        return kernels.tube_consistency(x, bits, offsets, pairs, region)[0]

    for against, baseline in (
        ("unfold", lambda x: naive_tk_loss(x, maps, region, pairs)),
        ("torch", lambda x: plain(x, plain.match_lab(lab), region)),
    ):
        yield KernelCase(
            "TK-Loss, matching and loss",
            {"setting": setting, "against": against},
            ours=step(lambda x: ours(x, ours.match_lab(lab), region), logits),
            baseline=step(baseline, logits),
            reference=step(lambda x: plain(x, plain.match_lab(lab), region), logits.double()),
            kernel=step(launches, logits),  # without what only the host does
            bar=50.0 if against == "unfold" else None,
            memory_bar=20.0 if against == "unfold" else None,
            bytes=lab.nbytes + 2 * logits.nbytes + region.nbytes,
        )


def _draw(region: Tensor, lab: Tensor) -> Tensor:
    """Draw logits [L, N, T, h, w]."""
    generator = torch.Generator(lab.device).manual_seed(0)
    shape = (LAYERS, len(region), FRAMES, *lab.shape[-2:])
    return 3 * torch.randn(shape, generator=generator, device=lab.device)
