"""Try launch configurations of the TK-Loss's kernels on this GPU: `python benchmarks/sweep_tk.py knn_match`.

The shipped configurations were chosen from such tables: microseconds in a CUDA graph, the fastest last. Each
configuration is first checked against the first one's results; one that does not compile is left out.
"""

import argparse
import importlib
import itertools
import statistics
from collections.abc import Callable, Iterator

import torch
from cases import matching_kernels, tube_kernels
from gpu import graph_seconds
from scene import moving_scene

from maskfree_nb import tkloss
from maskfree_nb.boxloss import box_masks, union_region
from maskfree_nb.tkloss import frame_pairs

DEVICE, SHOWN = torch.device("cuda"), 12
SETTINGS = {"R50, N=4": (384, 640, 4), "R50, N=20": (384, 640, 20), "Swin-L, N=40": (480, 864, 40)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=SWEEPS, choices=SWEEPS)
    for name in parser.parse_args().names:
        for title, configure, run in SWEEPS[name]():
            _sweep(title, configure, run)


def _sweep(title: str, configure: Iterator[tuple[str, Callable]], run: Callable[[], list]) -> None:
    print(f"\n{title}")
    first, rows = None, []
    for label, apply in configure:
        apply()
        try:
            results = run()
        except Exception as error:  # this sweep goes on to the next configuration
            print(f"{label:60}  {type(error).__name__}: {str(error).splitlines()[0][:80]}")
            continue
        first = first or results
        for a, b in zip(first, results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5 if a.is_floating_point() else 0, atol=0)
        rows.append((statistics.median(graph_seconds(run)), label))
    for seconds, label in sorted(rows, reverse=True)[-SHOWN:]:
        print(f"{label:60}{1e6 * seconds:10.2f}", flush=True)


def _choices(configs: dict, keys: list, **choices) -> Iterator[tuple[str, Callable]]:
    """Every combination of the choices, each with the function that puts it in place under all keys."""
    for values in itertools.product(*choices.values()):
        chosen = {name: value for name, value in zip(choices, values, strict=True) if value is not None}

        def apply(chosen=chosen):
            configs.update({key: {**configs[key], **chosen} for key in keys})

        yield ", ".join(f"{name} {value}" for name, value in chosen.items()), apply


def _sweep_rgb_to_lab() -> Iterator[tuple]:
    module = importlib.import_module("maskfree_kernels.rgb_to_lab")
    for clips in (1, 32):
        frames = torch.randint(0, 256, (clips, 5, 3, 384, 640), dtype=torch.uint8, device=DEVICE)
        choices = _choices(module.CONFIGS, [4], ROWS=(1, 2, 4, 8), COLUMNS=(32, 64), num_warps=(1, 2, 4))
        yield f"rgb_to_lab, {clips} clips", choices, lambda frames=frames: [module.rgb_to_lab(frames)]


def _sweep_knn_match() -> Iterator[tuple]:
    module = importlib.import_module("maskfree_kernels.knn_match")
    lab = tkloss.rgb_to_lab(moving_scene(5, 384, 640, instances=4)[0].to(DEVICE))[None]
    for clips, window in ((1, "official"), (1, "R=5"), (32, "official")):
        offsets, border = matching_kernels.WINDOWS[window]
        maps = lab.expand(clips, -1, -1, -1, -1).contiguous()
        options = {"k": 5, "max_distance": matching_kernels.MAX_DISTANCE, "border": border}

        def run(maps=maps, offsets=offsets, options=options):
            return [module.knn_match(maps, frame_pairs(5), offsets, **options)[0]]

        keys = ["few pixels", "many pixels"]
        yield (
            f"knn_match, {window}, {clips} clips",
            _choices(module.CONFIGS, keys, ROWS=(1, 2, 3, 4), CHUNK=(1, 3)),
            run,
        )


def _sweep_tube_consistency() -> Iterator[tuple]:
    module = importlib.import_module("maskfree_kernels.tube_consistency")
    knn_match = importlib.import_module("maskfree_kernels.knn_match").knn_match
    for setting, (height, width, instances) in SETTINGS.items():
        clip, boxes = moving_scene(5, height, width, instances)
        region = union_region(box_masks(boxes, (height, width))).to(DEVICE)
        lab = tkloss.rgb_to_lab(clip.to(DEVICE))[None]
        offsets, border = tube_kernels.WINDOWS["official"]
        options = {"k": 5, "max_distance": tube_kernels.MAX_DISTANCE, "border": border}
        bits = knn_match(lab, frame_pairs(5), offsets, **options)[0]
        logits = 3 * torch.randn(10, instances, 5, *lab.shape[-2:], device=DEVICE)
        logits.requires_grad_()

        def run(logits=logits, bits=bits, offsets=offsets, region=region):
            return [module.tube_consistency(logits, bits, offsets, frame_pairs(5), region)[0].detach()]

        yield f"tube_consistency, {setting}", _tube_choices(module), run


def _tube_choices(module) -> Iterator[tuple[str, Callable]]:
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
    main()
