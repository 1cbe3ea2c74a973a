"""What the sweeps share: try the launch configurations of a kernel, check and time each, print them."""

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from cases.tube_kernels import FRAMES, LAYERS
from scene import moving_scene
from torch import Tensor

from maskfree_nb.boxloss import box_masks
from maskfree_nb.tkloss import rgb_to_lab

DEVICE = torch.device("cuda")
Configurations = Iterator[tuple[str, Callable[[], object]]]  # each with what puts it in place


@dataclass(frozen=True)
class Sweep:
    """The configurations of one kernel, all tried on the same inputs.

    Attributes:
        title: the kernel and its inputs.
        configurations: what is tried.
        results: runs the kernel once and returns what no configuration may change.
        check: gets a result of the first configuration and that of another one; raises where they differ.
        seconds: times the kernel; returns the columns of the table, by the last of which it is sorted.
    """

    title: str
    configurations: Configurations
    results: Callable[[], list[Tensor]]
    check: Callable[[Tensor, Tensor], None]
    seconds: Callable[[], dict[str, float]]


def main(about: str, sweeps: dict[str, Callable[[], Iterator[Sweep]]]) -> None:
    """Run the sweeps named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=("all", *sweeps), default="all")
    names = parser.parse_args().names
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured")
        return
    for name in sweeps if "all" in names else names:
        for sweep in sweeps[name]():
            try_all(sweep)


def try_all(sweep: Sweep) -> None:
    """Print the configurations with their times in microseconds, the fastest last, which stays in place."""
    print(f"\n{sweep.title}")
    first, rows = None, []
    for label, put_in_place in sweep.configurations:
        put_in_place()
        try:
            results = sweep.results()
        except Exception as error:  # the sweep goes on to the next configuration
            print(f"{label:60}  {type(error).__name__}: {str(error).splitlines()[0][:80]}")
            continue
        first = first or results
        for a, b in zip(first, results, strict=True):
            sweep.check(a, b)
        rows.append((sweep.seconds(), label, put_in_place))
    rows.sort(key=lambda row: list(row[0].values())[-1], reverse=True)
    if rows:
        print(" " * 60 + "".join(f"{column:>12}" for column in rows[0][0]))
        for seconds, label, _ in rows:
            print(f"{label:60}" + "".join(f"{1e6 * value:12.2f}" for value in seconds.values()), flush=True)
        rows[-1][-1]()


def choices(put: Callable[[dict], object], **values: tuple) -> Configurations:
    """Every combination of the values; `put` gets one as a dict and puts it in place."""
    for combination in itertools.product(*values.values()):
        chosen = dict(zip(values, combination, strict=True))
        yield ", ".join(f"{name} {value}" for name, value in chosen.items()), partial(put, chosen)


def into(configs: dict[object, dict], *keys: object) -> Callable[[dict], None]:
    """Return what puts a combination into these entries of a kernel's table of configurations."""
    return lambda chosen: configs.update({key: configs[key] | chosen for key in keys})


def drawn_scene(height: int, width: int, instances: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [L, N, T, h, w] that take a gradient, Lab [1, T, 3, h, w] and box masks [N, T, h, w]."""
    clip, boxes = moving_scene(FRAMES, height, width, instances)
    lab = rgb_to_lab(clip.to(DEVICE))[None]
    logits = 3 * torch.randn(LAYERS, instances, FRAMES, *lab.shape[-2:], device=DEVICE)
    return logits.requires_grad_(), lab, box_masks(boxes.to(DEVICE), (height, width))
