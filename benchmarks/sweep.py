"""Try launch configurations of a kernel on this GPU: `python benchmarks/sweep.py ms_deform_attn pairwise`.

The shipped configurations in `kernels/maskfree_kernels` were chosen from such tables. Median of many runs,
forward and backward apart, each configuration first checked against the first one's results.
"""

import argparse
import importlib
import itertools
from collections.abc import Callable, Iterator

import torch
import triton
from cases import ms_deform_attn as deformable
from scene import moving_scene
from torch import Tensor

from maskfree_nb.boxloss import box_masks
from maskfree_nb.tkloss import rgb_to_lab

LAYERS, FRAMES = 10, 5
DEVICE = torch.device("cuda")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", choices=SWEEPS)
    names = parser.parse_args().names
    for name in names:
        for title, configure, make in SWEEPS[name]():
            _sweep(title, configure, make())


def _sweep(
    title: str, configure: Iterator[tuple[str, Callable]], run: Callable[[], tuple[Tensor, list]]
) -> None:
    """Print the configurations of one kernel, the fastest last; leave that one in place."""
    print(f"\n{title}\n{'':34}{'forward':>12}{'backward':>12}{'sum, us':>12}")
    first, rows = None, []
    for label, apply in configure:
        apply()
        output, leaves = run()
        upstream = torch.ones_like(output)
        results = [output.detach(), *torch.autograd.grad(output, leaves, upstream, retain_graph=True)]
        first = first or results
        for a, b in zip(first, results, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-2, atol=1e-3 * b.abs().max().item())
        forward = triton.testing.do_bench(run, warmup=10, rep=40, return_mode="median")
        backward = triton.testing.do_bench(
            lambda output=output, leaves=leaves, upstream=upstream: torch.autograd.grad(
                output, leaves, upstream, retain_graph=True
            ),
            warmup=10,
            rep=40,
            return_mode="median",
        )
        rows.append((forward + backward, label, forward, backward, apply))
    rows.sort(reverse=True, key=lambda row: row[0])
    for total, label, forward, backward, _ in rows:
        print(f"{label:34}{1e3 * forward:12.1f}{1e3 * backward:12.1f}{1e3 * total:12.1f}")
    rows[-1][-1]()


def _configurations(configs: dict, key: str, **choices) -> Iterator[tuple[str, Callable]]:
    """Every combination of the choices, each with the function that puts it in place."""
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        label = ", ".join(f"{name} {value}" for name, value in chosen.items())
        yield label, lambda chosen=chosen: configs.__setitem__(key, {**configs[key], **chosen})


def _sweep_ms_deform_attn() -> Iterator[tuple]:
    module = importlib.import_module("maskfree_kernels.ms_deform_attn")
    for dtype in (torch.float32, torch.bfloat16):
        for key in ("forward", "backward"):

            def make(dtype=dtype):
                tensors = deformable.draw(deformable.R50_480P, dtype, DEVICE)
                leaves = [tensor.requires_grad_() for tensor in tensors[:3]]
                return lambda: (
                    module.ms_deform_attn(leaves[0], deformable.R50_480P, *leaves[1:]),
                    leaves,
                )

            choices = _configurations(module.CONFIGS, key, BLOCK_Q=(8, 16, 32, 64), num_warps=(1, 2, 4, 8))
            yield f"ms_deform_attn, {dtype} values: {key}", choices, make


def _scene(instances: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [L, N, T, h, w], Lab [1, T, 3, h, w] and box masks [N, T, h, w] of the R50 setting."""
    clip, boxes = moving_scene(FRAMES, 384, 640, instances)
    logits = 3 * torch.randn(LAYERS, instances, FRAMES, 96, 160, device=DEVICE)
    return logits.requires_grad_(), rgb_to_lab(clip.to(DEVICE))[None], box_masks(boxes.to(DEVICE), (384, 640))


def _sweep_pairwise() -> Iterator[tuple]:
    module = importlib.import_module("maskfree_kernels.pairwise")
    colour_affinity = importlib.import_module("maskfree_kernels.colour_affinity").colour_affinity
    for instances in (4, 20):

        def make(instances=instances):
            logits, lab, masks = _scene(instances)
            affinity = colour_affinity(lab)
            return lambda: (module.pairwise_loss(logits, affinity, masks), [logits])

        choices = _configurations(
            module.CONFIGS, "gpu", BLOCK=(128, 256, 512), LAYERS=(1, 2, 5, 10), num_warps=(2, 4, 8)
        )
        yield f"pairwise, N = {instances}", choices, make


def _sweep_projection() -> Iterator[tuple]:
    module = importlib.import_module("maskfree_kernels.projection")
    for instances in (4, 20):

        def make(instances=instances):
            logits, _, masks = _scene(instances)
            return lambda: (module.projection_loss(logits, masks), [logits])

        def configurations():
            for strip, warps in itertools.product((1024, 2048, 4096, 8192), (4, 8, 16)):

                def apply(strip=strip, warps=warps):
                    module.STRIP, module.NUM_WARPS = strip, warps

                yield f"STRIP {strip}, num_warps {warps}", apply

        yield f"projection, N = {instances}", configurations(), make


SWEEPS = {
    "ms_deform_attn": _sweep_ms_deform_attn,
    "pairwise": _sweep_pairwise,
    "projection": _sweep_projection,
}

if __name__ == "__main__":
    main()
