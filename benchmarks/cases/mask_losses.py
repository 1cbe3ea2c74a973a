"""The losses of the masks, all layers, forward and backward: pairwise, projection, and with the TK-Loss."""

import math
from collections.abc import Iterator

import torch
from gpu import KernelCase, step
from naive import naive_tk_loss
from naive_boxloss import naive_pairwise_loss, naive_projection_loss
from scene import moving_scene
from torch import Tensor

from maskfree_nb import backend as backends
from maskfree_nb.boxloss import box_masks, colour_affinity, pairwise_loss, projection_loss, union_region
from maskfree_nb.tkloss import TKLoss, frame_pairs, grid_offsets

LAYERS, FRAMES = 10, 5
OFFSETS, MAX_DISTANCE = grid_offsets(1, 3), -2 * math.log(0.05)  # the published window
SETTINGS = {"R50, N=4": (384, 640, 4), "R50, N=20": (384, 640, 20), "Swin-L, N=40": (480, 864, 40)}


def cases(device: torch.device, small: bool) -> list[KernelCase]:
    """Return each loss at each setting against each baseline; on a CPU the first setting, against unfold."""
    settings = SETTINGS if device.type == "cuda" else {"R50, N=4": SETTINGS["R50, N=4"]}
    if small:
        settings = {"small": (64, 96, 2)}
    return [case for name, sizes in settings.items() for case in _cases(name, *sizes, device)]


def _cases(
    setting: str, height: int, width: int, instances: int, device: torch.device
) -> Iterator[KernelCase]:
    clip, boxes = moving_scene(FRAMES, height, width, instances)
    fast, plain = (TKLoss.official(warmup_calls=0, backend=name) for name in ("auto", "torch"))
    lab = fast.lab(clip.to(device))  # [T, 3, h, w]
    masks = box_masks(boxes, (height, width)).to(device)  # [N, T, h, w]
    region, pairs = union_region(masks), frame_pairs(FRAMES)
    affinity = colour_affinity(lab[None])
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(LAYERS, *masks.shape, generator=generator).to(device)

    def pairwise(x: Tensor, backend: str) -> Tensor:
        return pairwise_loss(x, affinity, masks, backend=backend)

    def projection(x: Tensor, backend: str) -> Tensor:
        return projection_loss(x, masks, backend=backend)

    def criterion(x: Tensor, backend: str) -> Tensor:
        tk_loss = plain if backend == "torch" else fast
        spatial = pairwise_loss(x, colour_affinity(lab[None], backend=backend), masks, backend=backend)
        return spatial + projection(x, backend) + tk_loss(x, tk_loss.match_lab(lab), region)

    def naive_pairwise(x: Tensor) -> Tensor:
        return naive_pairwise_loss(x, lab, masks)

    def naive_projection(x: Tensor) -> Tensor:
        return naive_projection_loss(x, masks)

    def naive_criterion(x: Tensor) -> Tensor:
        return naive_pairwise(x) + naive_projection(x) + naive_tk_loss(x, lab, region, pairs)

    def launch() -> Tensor:
        """Loss and gradient of the pairwise term; not the gradient's scaling."""
        return pairwise(leaf, "auto")

    def launches(x: Tensor) -> Tensor:
        """All kernels of the criterion, without what only the host does."""
        kernels = backends.kernels()
        marks = kernels.colour_affinity(lab[None])
        bits, _, _ = kernels.knn_match(
            lab[None], pairs, OFFSETS, k=5, max_distance=MAX_DISTANCE, border="zero"
        )
        temporal, _, _ = kernels.tube_consistency(x, bits, OFFSETS, pairs, region)
        return kernels.pairwise_loss(x, marks, masks) + kernels.projection_loss(x, masks) + temporal

    leaf = logits.clone().requires_grad_()
    to_and_fro = 2 * logits.nbytes  # read the logits, write the gradient
    for name, loss, naive, moved in (
        ("pairwise", pairwise, naive_pairwise, to_and_fro + masks.nbytes + affinity.nbytes),
        ("projection", projection, naive_projection, to_and_fro + masks.nbytes),
        ("pairwise + projection + TK", criterion, naive_criterion, to_and_fro + masks.nbytes + lab.nbytes),
    ):
        baselines = {"unfold": naive}
        if device.type == "cuda":
            baselines["torch"] = lambda x, loss=loss: loss(x, "torch")
            if setting == "R50, N=4" and loss is not criterion:
                baselines["torch.compile"] = torch.compile(naive)
        for against, baseline in baselines.items():
            yield KernelCase(
                name,
                {
                    "setting": setting,
                    "against": against,
                    "maps": f"{FRAMES}x{masks.shape[-2]}x{masks.shape[-1]}",
                    "instances": instances,
                    "layers": LAYERS,
                    "box_share": round(masks.mean().item(), 3),
                },
                ours=step(lambda x, loss=loss: loss(x, "auto"), logits),
                baseline=step(baseline, logits),
                reference=step(lambda x, loss=loss: loss(x, "torch"), logits.double()),
                kernel={pairwise: launch, criterion: step(launches, logits)}.get(loss),
                bytes=moved,
            )
