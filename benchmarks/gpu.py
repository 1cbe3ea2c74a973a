"""Check and time kernels on a GPU, against the floor: the bytes that must pass memory, as fast as a copy."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from contenders import Case, Disagreement
from torch import Tensor

COPY_BYTES = 1 << 30
EVICT_BYTES, HIDE_BYTES = 1 << 28, 1 << 30  # each several times a GPU's second-level cache
HIDE_SECONDS, HIDE_FACTOR = 3e-3, 2.0  # the device reads at least so long, and so many times the host's work
EVENT_SECONDS, MOST_RUNS, LEAST_RUNS = 0.2, 200, 5
GRAPH_RUNS, GRAPH_REPLAYS = 10, 15


@dataclass(frozen=True)
class KernelCase(Case):
    """A case whose kernels have a floor.

    Attributes:
        kernel: what is timed against the floor; None: `ours`.
        bytes: what `kernel` must read and write at least.
        floor_bar: how many times the floor it may take; None: only reported.
        memory_bar: how many times the peak memory of `ours` the baseline must take; None: only reported.
        check: compares `ours` with a reference in float64, returns the differences or raises Disagreement;
            None: `ours` is compared with `reference`, and the baseline's loss, if it has one.
    """

    kernel: Callable[[], object] | None = None
    bytes: int = 0
    floor_bar: float | None = None
    memory_bar: float | None = None
    check: Callable[[], dict[str, float]] | None = None

    def differences(self) -> dict[str, float]:
        """Check the case; return the largest differences of `ours`, relative to the largest value."""
        if self.check is not None:
            return self.check()
        expected = self.reference()
        with poisoned():
            results = self.ours()
        found = {name: _difference(results[name], expected[name]) for name in expected}
        wrong = [name for name, value in found.items() if not value <= self.tolerance]
        if wrong:
            raise Disagreement(f"{self.name}: {found}, tolerance {self.tolerance}")
        if "loss" in expected and not _difference(self.baseline()["loss"], expected["loss"]) <= 1e-3:
            raise Disagreement(f"{self.name}: the baseline, {self.setting['against']}, has another loss")
        return found


def step(loss: Callable[[Tensor], Tensor], logits: Tensor) -> Callable[[], dict[str, Tensor]]:
    """Forward and backward of a loss [L] of logits."""

    def once() -> dict[str, Tensor]:
        leaf = logits.detach().requires_grad_()
        value = loss(leaf)
        value.sum().backward()
        return {"loss": value.detach(), "gradient": leaf.grad}

    return once


@contextmanager
def poisoned() -> Iterator[None]:
    """Let every new tensor start as NaN (integers: the largest one), so that unwritten numbers show."""
    torch.use_deterministic_algorithms(True, warn_only=True)  # this makes torch fill what it leaves open
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        torch.use_deterministic_algorithms(False)


def copy_bandwidth() -> float:
    """Return the bytes a second, read and written, of a large copy on the device."""
    source = torch.ones(COPY_BYTES // 4, device="cuda")
    target = torch.empty_like(source)
    seconds = event_seconds(lambda: target.copy_(source))
    return 2 * COPY_BYTES / sorted(seconds)[len(seconds) // 2]


def event_seconds(run: Callable[[], object]) -> list[float]:
    """Return the seconds of many runs, each with a cold cache and without the host's launching."""
    (clock,) = cold_clocks(run)
    clock()
    runs = int(min(MOST_RUNS, max(LEAST_RUNS, EVENT_SECONDS / clock())))
    return [clock() for _ in range(runs)]


def cold_clocks(*runs: Callable[[], object]) -> list[Callable[[], float]]:
    """Return for each of `runs` what takes its seconds with events, the cache filled with something else.

    The cache is filled by reading, so that nothing waits there to be written back. The read is repeated for
    HIDE_SECONDS, or HIDE_FACTOR times as long as the host needs to launch the run (taken here, once), if that
    is longer: all is launched before the device comes to it, and launching does not count. Where a run makes
    the host wait for the device, that does count.
    """
    evict = torch.ones(HIDE_BYTES // 4, device="cuda")
    return [partial(_after_reads, evict, _reads_to_hide(_host_seconds(run), evict), run) for run in runs]


def graph_seconds(run: Callable[[], object]) -> list[float]:
    """Return the seconds of `run` in a CUDA graph, without any work of the host, from several replays.

    One graph takes turns between `run` and a read that fills the cache, another one only reads. As with
    `event_seconds`, reads before the start hide that the host launches the graph.
    """
    evict = torch.ones(EVICT_BYTES // 4, device="cuda")

    def graph_of(*steps: Callable[[], object]) -> torch.cuda.CUDAGraph:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # compilation and tables are not to be captured
            for action in steps:
                action()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for action in steps * GRAPH_RUNS:
                action()
        return graph

    both, alone = cold_clocks(graph_of(evict.sum, run).replay, graph_of(evict.sum).replay)
    both(), alone()
    return [(both() - alone()) / GRAPH_RUNS for _ in range(GRAPH_REPLAYS)]


def _host_seconds(run: Callable[[], object]) -> float:
    run()  # compilation does not count
    torch.cuda.synchronize()
    before = time.perf_counter()
    run()
    return time.perf_counter() - before


def _reads_to_hide(host_seconds: float, evict: Tensor) -> int:
    """Return how many reads take the device longer than the host needs."""
    torch.cuda.synchronize()
    _after_reads(evict, 1, evict.sum)
    read_seconds = min(_after_reads(evict, 1, evict.sum) for _ in range(3))
    return math.ceil(max(HIDE_SECONDS, HIDE_FACTOR * host_seconds) / read_seconds)


def _after_reads(evict: Tensor, reads: int, run: Callable[[], object]) -> float:
    """Return the seconds of `run` on the device, after so many reads."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    for _ in range(reads):
        evict.sum()
    start.record()
    run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def _difference(result: Tensor, expected: Tensor) -> float:
    if result.shape != expected.shape:
        raise Disagreement(f"shape {list(result.shape)} against {list(expected.shape)}")
    largest = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((result - expected).abs().max() / largest)
