"""Check and time kernels on a GPU, against the floor: the bytes that must pass memory, as fast as a copy."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from harness import Case, Disagreement
from torch import Tensor

COPY_BYTES = 1 << 30
EVICT_BYTES = 1 << 28  # several times a GPU's second-level cache
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
    """Return the seconds of many runs, each after the cache was filled with something else.

    The cache is filled by reading, so that nothing waits there to be written back; and reading takes longer
    than the host needs to launch a few kernels, so that launching does not count.
    """
    evict = torch.ones(EVICT_BYTES, device="cuda")  # 4 bytes each
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def once() -> float:
        evict.sum()
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    once()
    runs = int(min(MOST_RUNS, max(LEAST_RUNS, EVENT_SECONDS / once())))
    return [once() for _ in range(runs)]


def graph_seconds(run: Callable[[], object]) -> list[float]:
    """Return the seconds of `run` in a CUDA graph, without any work of the host, from several replays.

    One graph takes turns between `run` and a read that fills the cache, another one only reads.
    """
    evict = torch.ones(EVICT_BYTES // 4, device="cuda")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

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

    def replay(graph: torch.cuda.CUDAGraph) -> float:
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / GRAPH_RUNS

    both, alone = graph_of(evict.sum, run), graph_of(evict.sum)
    replay(both), replay(alone)
    return [replay(both) - replay(alone) for _ in range(GRAPH_REPLAYS)]


def _difference(result: Tensor, expected: Tensor) -> float:
    if result.shape != expected.shape:
        raise Disagreement(f"shape {list(result.shape)} against {list(expected.shape)}")
    largest = expected.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    return float((result - expected).abs().max() / largest)
