"""Multi-scale deformable attention, forward and backward: the kernel against pure torch (grid_sample)."""

from collections.abc import Callable

import torch
from contenders import Disagreement
from gpu import KernelCase
from torch import Tensor

from maskfree_nb import backend
from maskfree_nb.model.ms_deform_attn import ms_deform_attn

FRAMES, HEADS, CHANNELS, POINTS = 5, 8, 32, 4
R50_480P = [(15, 27), (30, 54), (60, 108)]  # 480 x 864 at strides 32, 16, 8
SMALL = [(2, 3), (4, 6), (8, 12)]
RESULTS = ("output", "grad_value", "grad_locations", "grad_weights")


def cases(device: torch.device, small: bool) -> list[KernelCase]:
    """Return the encoder's attention over five frames; nothing on a CPU, where pure torch is what runs."""
    if device.type != "cuda":
        return []
    shapes = SMALL if small else R50_480P
    kernel = backend.kernels().ms_deform_attn
    found = []
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 2e-2)):
        tensors = draw(shapes, dtype, device)
        ours = _step(kernel, shapes, tensors)
        exact = _step(ms_deform_attn, shapes, [tensor.double() for tensor in tensors])
        for against, baseline in (
            ("torch", ms_deform_attn),
            ("torch.compile", torch.compile(ms_deform_attn)),
        ):
            found.append(
                KernelCase(
                    "ms_deform_attn",
                    {
                        "setting": f"R50 480p, {str(dtype).removeprefix('torch.')}",
                        "against": against,
                        "maps": " ".join(f"{h}x{w}" for h, w in shapes),
                        "frames": FRAMES,
                        "heads": HEADS,
                        "channels": CHANNELS,
                        "points": POINTS,
                    },
                    ours=ours,
                    baseline=_step(baseline, shapes, tensors),
                    tolerance=tolerance,
                    bar=4.0 if against == "torch" and not small else None,
                    check=lambda ours=ours, exact=exact, tolerance=tolerance: _check(ours, exact, tolerance),
                    bytes=_bytes(*tensors),
                )
            )
    return found


def _check(ours: Callable, exact: Callable, tolerance: float) -> dict[str, float]:
    """Compare with float64: first as it is timed, then with the sums that repeat bit for bit."""
    expected, differences = exact(), {}
    for mode, deterministic in (("", False), (", deterministic", True)):
        torch.full((1 << 28,), float("nan"), device="cuda")  # freed at once: new tensors start as NaN
        torch.use_deterministic_algorithms(deterministic)
        results = ours()
        torch.use_deterministic_algorithms(False)
        for name, value in expected.items():
            differences[name + mode] = float((results[name] - value).abs().max() / value.abs().max())
    wrong = [name for name, difference in differences.items() if not difference <= tolerance]
    if wrong:
        raise Disagreement(f"ms_deform_attn: {differences}, tolerance {tolerance}")
    return differences


def draw(shapes: list[tuple[int, int]], dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Value, locations, weights and the output's gradient: every pixel of every map looks around itself.

    Points lie a few pixels away, none within 1/20 of a pixel of a kink, where the gradient to it jumps.
    """
    generator = torch.Generator().manual_seed(0)
    S, levels = sum(h * w for h, w in shapes), len(shapes)
    cells = [
        torch.stack(torch.meshgrid(torch.arange(w) + 0.5, torch.arange(h) + 0.5, indexing="xy"), -1).flatten(
            0, 1
        )
        / torch.tensor([w, h])
        for h, w in shapes
    ]
    reference = torch.cat(cells)[None, :, None, None, None]  # [1, S, 1, 1, 1, 2], (x, y) in 0..1
    sizes = torch.tensor([(w, h) for h, w in shapes])[:, None]  # [L, 1, 2]
    shape = (FRAMES, S, HEADS, levels, POINTS)
    places = reference * sizes + 3 * torch.randn(*shape, 2, generator=generator)
    locations = (places.floor() + 0.05 + 0.9 * torch.rand(*shape, 2, generator=generator) + 0.5) / sizes
    weights = torch.randn(*shape, generator=generator).flatten(3).softmax(-1).view(shape)
    value = torch.randn(FRAMES, S, HEADS, CHANNELS, generator=generator)
    grad_output = torch.randn(FRAMES, S, HEADS * CHANNELS, generator=generator)
    return [value.to(device, dtype), locations.to(device), weights.to(device), grad_output.to(device)]


def _bytes(value: Tensor, locations: Tensor, weights: Tensor, grad_output: Tensor) -> int:
    """What must pass memory: forward reads three and writes one; backward reads four and writes three."""
    maps, others, output = value.nbytes, locations.nbytes + weights.nbytes, grad_output.nbytes
    return (maps + others + output) + (maps + others + output) + (maps + others)


def _step(attend: Callable, shapes: list[tuple[int, int]], tensors: list[Tensor]) -> Callable:
    *inputs, grad_output = tensors

    def step() -> dict[str, Tensor]:
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        output = attend(leaves[0], shapes, *leaves[1:])
        gradients = torch.autograd.grad(output, leaves, grad_output)
        return dict(zip(RESULTS, (output.detach(), *gradients), strict=True))

    return step
