"""TK-Loss, matching and all decoder layers, forward and backward, against the unfold formulation."""

import torch
from contenders import Case
from naive import naive_tk_loss
from scene import moving_scene
from torch import Tensor

from maskfree_nb.boxloss.box_masks import box_masks, union_region
from maskfree_nb.tkloss import TKLoss, frame_pairs

FRAMES, INSTANCES, LAYERS = 5, 4, 10


def cases(device: torch.device, small: bool) -> list[Case]:
    """Return a moving scene, which has the bar, and the worst case for a loss that touches matches only.

    The scene has 0.4 matches a pixel inside the boxes; real clips have 0.2. In the worst case all frames are
    almost one grey, so that every pixel has K matches, and every pixel counts for every instance.
    """
    height, width = (64, 96) if small else (384, 640)
    clip, boxes = moving_scene(FRAMES, height, width, INSTANCES)
    lab = TKLoss.official().lab(clip)  # [T, 3, h, w]
    region = union_region(box_masks(boxes, (height, width)))  # [N, h, w]
    grey = 50 + 0.3 * torch.randn(lab.shape, generator=torch.Generator().manual_seed(3))
    return [
        _case("moving scene", lab.to(device), region.to(device), bar=20.0),
        _case("worst case: one grey, whole frames", grey.to(device), torch.ones_like(region).to(device)),
    ]


def _case(name: str, lab: Tensor, region: Tensor, bar: float | None = None) -> Case:
    frames, _, height, width = lab.shape
    pairs = frame_pairs(frames)
    tk_loss = TKLoss.official(warmup_calls=0)
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(LAYERS, len(region), frames, height, width, generator=generator).to(lab.device)

    def ours() -> dict[str, Tensor]:
        leaf = logits.detach().requires_grad_()
        loss = tk_loss(leaf, tk_loss.match_lab(lab), region)
        loss.sum().backward()
        return {"loss": loss.detach(), "gradient": leaf.grad}

    def baseline() -> dict[str, Tensor]:
        leaf = logits.detach().requires_grad_()
        loss = naive_tk_loss(leaf, lab, region, pairs)
        loss.sum().backward()
        return {"loss": loss.detach(), "gradient": leaf.grad}

    matches = tk_loss.match_lab(lab)
    setting = {
        "maps": f"{frames}x{height}x{width}",
        "instances": len(region),
        "layers": LAYERS,
        "options": "official",
        "matches_per_pixel": round(matches.count()[0, :, region.any(0)].float().mean().item(), 3),
        "region_share": round(region.float().mean().item(), 3),
    }
    return Case(name, setting, ours, baseline, bar=bar)
