"""The losses of the masks, all layers, forward and backward: pairwise, projection, and with the TK-Loss."""

from collections.abc import Callable

import torch
from harness import Case
from naive import naive_tk_loss
from naive_boxloss import naive_pairwise_loss, naive_projection_loss
from scene import moving_scene
from torch import Tensor

from maskfree_nb.boxloss import box_masks, colour_affinity, pairwise_loss, projection_loss, union_region
from maskfree_nb.tkloss import TKLoss

LAYERS, FRAMES = 10, 5
SETTINGS = {"R50, N=4": (384, 640, 4), "R50, N=20": (384, 640, 20), "Swin-L, N=40": (480, 864, 40)}


def cases(device: torch.device, small: bool) -> list[Case]:
    """Return each loss at each setting against each baseline; on a CPU the smallest setting alone."""
    settings = SETTINGS if device.type == "cuda" else {"R50, N=4": SETTINGS["R50, N=4"]}
    if small:
        settings = {"small": (64, 96, 2)}
    return [case for name, setting in settings.items() for case in _cases(name, *setting, device)]


def _cases(setting: str, height: int, width: int, instances: int, device: torch.device) -> list[Case]:
    clip, boxes = moving_scene(FRAMES, height, width, instances)
    tk_loss, tk_torch = (
        TKLoss.official(warmup_calls=0, backend=backend).to(device) for backend in ("auto", "torch")
    )
    lab = tk_loss.lab(clip.to(device))  # [T, 3, h, w]
    masks = box_masks(boxes, (height, width)).to(device)  # [N, T, h, w]
    region = union_region(masks)
    pairs = [(t, (t + 1) % FRAMES) for t in range(FRAMES)]
    h, w = masks.shape[-2:]
    logits = 3 * torch.randn(LAYERS, instances, FRAMES, h, w, generator=torch.Generator().manual_seed(0))
    logits = logits.to(device)

    def pairwise(x: Tensor, backend: str = "auto") -> Tensor:
        affinity = colour_affinity(lab[None], backend=backend)
        return pairwise_loss(x, affinity, masks, backend=backend)

    def projection(x: Tensor, backend: str = "auto") -> Tensor:
        return projection_loss(x, masks, backend=backend)

    def criterion(x: Tensor, backend: str = "auto") -> Tensor:
        temporal = tk_loss if backend == "auto" else tk_torch
        return pairwise(x, backend) + projection(x, backend) + temporal(x, temporal.match_lab(lab), region)

    def naive_pairwise(x: Tensor) -> Tensor:
        return naive_pairwise_loss(x, lab, masks)

    def naive_projection(x: Tensor) -> Tensor:
        return naive_projection_loss(x, masks)

    def naive_criterion(x: Tensor) -> Tensor:
        return naive_pairwise(x) + naive_projection(x) + naive_tk_loss(x, lab, region, pairs)

    found = []
    for name, ours, naive in (
        ("pairwise", pairwise, naive_pairwise),
        ("projection", projection, naive_projection),
        ("pairwise + projection + TK", criterion, naive_criterion),
    ):
        baselines = {"unfold": naive}
        if device.type == "cuda":
            baselines["our torch path"] = lambda x, ours=ours: ours(x, "torch")
            baselines["torch.compile of unfold"] = torch.compile(naive)
        for against, baseline in baselines.items():
            about = {
                "setting": setting,
                "maps": f"{FRAMES}x{h}x{w}",
                "instances": instances,
                "layers": LAYERS,
            }
            about |= {"against": against, "logits_bytes": 4 * logits.numel()}
            title = f"{name}, {setting}, against {against}"
            found.append(
                Case(
                    title,
                    about,
                    _step(ours, logits),
                    _step(baseline, logits),
                    reference=_step(lambda x, ours=ours: ours(x, "torch"), logits.double()),
                )
            )
    return found


def _step(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Callable[[], dict[str, Tensor]]:
    """Forward and backward of one loss [L]."""

    def step() -> dict[str, Tensor]:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf)
        value.sum().backward()
        return {"loss": value.detach(), "gradient": leaf.grad}

    return step
