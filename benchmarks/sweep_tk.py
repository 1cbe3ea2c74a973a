"""Try launch configurations of the TK-Loss's kernels on this GPU: `python benchmarks/sweep_tk.py knn_match`.

Microseconds in a CUDA graph, the fastest last. Each configuration is first checked against the first one's
results; one that does not compile is left out. No such table is stored yet: the shipped configurations were
chosen without a GPU, by what the compiler makes of them (`tests/compile_kernels.py`: registers, spills).
"""

import importlib
import itertools
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch
from cases import matching_kernels, tube_kernels
from gpu import graph_seconds
from torch import Tensor
from tuning import DEVICE, Configurations, Sweep, choices, drawn_scene, into, main

from maskfree_nb.boxloss import union_region
from maskfree_nb.tkloss import frame_pairs

PAIRS = frame_pairs(tube_kernels.FRAMES)


def _in_a_graph(title: str, configurations: Configurations, run: Callable[[], Tensor]) -> Sweep:
    """Time `run` in a CUDA graph."""
    return Sweep(
        title,
        configurations,
        results=lambda: [run()],
        check=_check,
        seconds=lambda: {"us": statistics.median(graph_seconds(run))},
    )


def _check(first: Tensor, result: Tensor) -> None:
    torch.testing.assert_close(first, result, rtol=1e-5 if first.is_floating_point() else 0, atol=0)


def _first_output(kernel: Callable[..., tuple], *arguments, **options) -> Tensor:
    return kernel(*arguments, **options)[0].detach()


def _sweep_rgb_to_lab() -> Iterator[Sweep]:
    module = importlib.import_module("maskfree_kernels.rgb_to_lab")
    for clips in (1, 32):
        frames = torch.randint(0, 256, (clips, 5, 3, 384, 640), dtype=torch.uint8, device=DEVICE)
        tried = choices(into(module.CONFIGS, 4), ROWS=(1, 2, 4, 8), COLUMNS=(32, 64), num_warps=(1, 2, 4))
        yield _in_a_graph(f"rgb_to_lab, {clips} clips", tried, partial(module.rgb_to_lab, frames))


def _sweep_knn_match() -> Iterator[Sweep]:
    module = importlib.import_module("maskfree_kernels.knn_match")
    _, lab, _ = drawn_scene(384, 640, instances=4)
    for clips, window in ((1, "official"), (1, "R=5"), (32, "official")):
        offsets, border = matching_kernels.WINDOWS[window]
        maps = lab.expand(clips, -1, -1, -1, -1).contiguous()
        options = {"k": 5, "max_distance": matching_kernels.MAX_DISTANCE, "border": border}
        run = partial(_first_output, module.knn_match, maps, PAIRS, offsets, **options)
        tried = choices(into(module.CONFIGS, "few pixels", "many pixels"), ROWS=(1, 2, 3, 4), CHUNK=(1, 3))
        yield _in_a_graph(f"knn_match, {window}, {clips} clips", tried, run)


def _sweep_tube_consistency() -> Iterator[Sweep]:
    module = importlib.import_module("maskfree_kernels.tube_consistency")
    knn_match = importlib.import_module("maskfree_kernels.knn_match").knn_match
    offsets, border = tube_kernels.WINDOWS["official"]
    for setting, sizes in tube_kernels.SETTINGS.items():
        logits, lab, masks = drawn_scene(*sizes)
        options = {"k": 5, "max_distance": tube_kernels.MAX_DISTANCE, "border": border}
        bits = knn_match(lab, PAIRS, offsets, **options)[0]
        arguments = (logits, bits, offsets, PAIRS, union_region(masks))
        run = partial(_first_output, module.tube_consistency, *arguments)
        yield _in_a_graph(f"tube_consistency, {setting}", _tube_choices(module), run)


def _tube_choices(module) -> Configurations:
    for layers, (block, warps), registers in itertools.product(
        (2, 5, 10), ((32, 1), (64, 1), (64, 2), (128, 4)), (None, 64, 96)
    ):
        if registers and warps > 1:
            continue
        for programs in (8192, 16384, 65536) if warps == 1 else (1 << 20,):

            def apply(layers=layers, block=block, warps=warps, registers=registers, programs=programs):
                chosen = dict(LAYERS=layers, BLOCK=block, num_warps=warps)
                module.CONFIGS.clear()
                module.CONFIGS[layers] = chosen | (dict(maxnreg=registers) if registers else {})
                module.PROGRAMS = programs

            label = f"LAYERS {layers}, BLOCK {block}, num_warps {warps}, maxnreg {registers}"
            yield f"{label}, PROGRAMS {programs}", apply


SWEEPS = {
    "rgb_to_lab": _sweep_rgb_to_lab,
    "knn_match": _sweep_knn_match,
    "tube_consistency": _sweep_tube_consistency,
}

if __name__ == "__main__":
    main(__doc__, SWEEPS)
