"""Two ways to compute the same thing, and whether they agree: only then are their times worth taking.

A file of `benchmarks/cases` is one benchmark: its function `cases(device, small)` returns the `Case`s to run.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


class Disagreement(Exception):
    """The two contenders do not compute the same thing, so their times mean nothing."""


@dataclass(frozen=True)
class Case:
    """Two contenders for one task; each returns the tensors by which they are compared.

    Attributes:
        name: what is computed.
        setting: sizes and options, for the report.
        ours, baseline: run the task once and return its results by name.
        tolerance: largest |ours - baseline| / max |baseline| of each result.
        bar: the least ratio of the times that is asked for; None: only reported.
        reference: the same in float64: both contenders are compared with it. None: with each other.
    """

    name: str
    setting: dict
    ours: Callable[[], dict[str, Tensor]]
    baseline: Callable[[], dict[str, Tensor]]
    tolerance: float = 1e-5
    bar: float | None = None
    reference: Callable[[], dict[str, Tensor]] | None = None


def agreement(case: Case) -> dict[str, float]:
    """Return the largest relative difference of each result; raise Disagreement where it is too large."""
    if case.reference is None:
        return _compare(case, case.ours, case.baseline())
    expected = case.reference()
    _compare(case, case.baseline, expected)
    return _compare(case, case.ours, expected)


def _compare(case: Case, contender: Callable[[], dict[str, Tensor]], wanted: dict[str, Tensor]) -> dict:
    """Return the largest relative difference of each result of one contender from what is wanted."""
    if any(expected.is_cuda for expected in wanted.values()):
        torch.full((1 << 28,), float("nan"), device="cuda")  # freed at once: new tensors start as NaN
    results = contender()
    if results.keys() != wanted.keys():
        raise Disagreement(f"{case.name}: results {sorted(results)} against {sorted(wanted)}")
    differences = {}
    for name, expected in wanted.items():
        if results[name].shape != expected.shape:
            raise Disagreement(
                f"{case.name}: {name} is {list(results[name].shape)} against {list(expected.shape)}"
            )
        scale = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
        differences[name] = float((results[name] - expected).abs().max() / scale)
        if not differences[name] <= case.tolerance:
            raise Disagreement(
                f"{case.name}: {name} differs by {differences[name]:.1e} of its largest value, "
                f"tolerance {case.tolerance:.0e}"
            )
    return differences
