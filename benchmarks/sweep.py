"""Try launch configurations of a kernel on this GPU: `python benchmarks/sweep.py ms_deform_attn pairwise`.

Microseconds in a CUDA graph, forward and backward apart; each configuration is first checked against the
first one's results. No such table is stored yet: the shipped configurations were chosen without a GPU, by
what the compiler makes of them (`tests/compile_kernels.py`: registers, spills, the width of loads).
"""

import importlib
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch
from cases import ms_deform_attn as deformable
from gpu import graph_seconds
from torch import Tensor
from tuning import DEVICE, Configurations, Sweep, choices, drawn_scene, into, main


def _apart(
    title: str, configurations: Configurations, run: Callable[[], Tensor], leaves: list[Tensor]
) -> Sweep:
    """Time the forward pass `run`, and the gradient to the leaves: what both take together, less forward."""
    ones = torch.ones_like(run().detach())

    def results() -> list[Tensor]:
        output = run()
        return [output.detach(), *torch.autograd.grad(output, leaves, ones)]

    def seconds() -> dict[str, float]:
        forward, both = (statistics.median(graph_seconds(each)) for each in (run, results))
        return {"forward": forward, "backward": both - forward, "sum": both}

    return Sweep(title, configurations, results, _check, seconds)


def _check(first: Tensor, result: Tensor) -> None:
    torch.testing.assert_close(first, result, rtol=2e-2, atol=1e-3 * result.abs().max().item())


def _sweep_ms_deform_attn() -> Iterator[Sweep]:
    module = importlib.import_module("maskfree_kernels.ms_deform_attn")
    for dtype in (torch.float32, torch.bfloat16):
        tensors = deformable.draw(deformable.R50_480P, dtype, DEVICE)
        leaves = [tensor.requires_grad_() for tensor in tensors[:3]]
        run = partial(module.ms_deform_attn, leaves[0], deformable.R50_480P, *leaves[1:])
        for key in ("forward", "backward"):
            tried = choices(into(module.CONFIGS, key), BLOCK_Q=(8, 16, 32, 64), num_warps=(1, 2, 4, 8))
            yield _apart(f"ms_deform_attn, {dtype} values: {key}", tried, run, leaves)


def _sweep_pairwise() -> Iterator[Sweep]:
    module = importlib.import_module("maskfree_kernels.pairwise")
    colour_affinity = importlib.import_module("maskfree_kernels.colour_affinity").colour_affinity
    for instances in (4, 20):
        logits, lab, masks = drawn_scene(384, 640, instances)
        run = partial(module.pairwise_loss, logits, colour_affinity(lab), masks)
        tried = choices(
            into(module.CONFIGS, "gpu"), BLOCK=(128, 256, 512), LAYERS=(1, 2, 5, 10), num_warps=(2, 4, 8)
        )
        yield _apart(f"pairwise, N = {instances}", tried, run, [logits])


def _sweep_projection() -> Iterator[Sweep]:
    module = importlib.import_module("maskfree_kernels.projection")
    for instances in (4, 20):
        logits, _, masks = drawn_scene(384, 640, instances)
        run = partial(module.projection_loss, logits, masks)
        tried = choices(vars(module).update, STRIP=(1024, 2048, 4096, 8192), NUM_WARPS=(4, 8, 16))
        yield _apart(f"projection, N = {instances}", tried, run, [logits])


SWEEPS = {
    "ms_deform_attn": _sweep_ms_deform_attn,
    "pairwise": _sweep_pairwise,
    "projection": _sweep_projection,
}

if __name__ == "__main__":
    main(__doc__, SWEEPS)
