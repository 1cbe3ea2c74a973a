"""Measure a case: the time of its two contenders, in turns, and their memory; where and with what."""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from contenders import Case
from gpu import cold_clocks

ROUND_SECONDS = 0.25  # in every round each contender runs for about so long, at least once


def measure(case: Case, device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of all runs of both contenders, taken in turns so that both meet the same load."""
    seconds = {"ours": [], "baseline": []}
    runs = [getattr(case, name) for name in seconds]
    clocks = dict(zip(seconds, _clocks(runs, device), strict=True))
    repeats = {name: max(1, int(ROUND_SECONDS / clock())) for name, clock in clocks.items()}
    for _ in range(rounds):
        for name, clock in clocks.items():
            seconds[name] += [clock() for _ in range(repeats[name])]
    return seconds


def peak_memory(run: Callable[[], object], device: torch.device) -> int:
    """Return the bytes that `run` needs on top of its inputs, at the highest moment.

    On a GPU: what torch's allocator hands out. On a CPU: the growth of the resident memory of this process
    (Linux); it must be one that holds no freed memory to be used again.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew at what is resident now
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def provenance(device: torch.device) -> dict:
    """Say where and with what the numbers were taken."""
    folder = Path(__file__).parent
    commit = _output("git", "-C", folder, "rev-parse", "HEAD")
    changed = _output("git", "-C", folder, "status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit + ("+changes" if changed else ""),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "triton", "numpy", "maskfree-nb")},
    }


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return p20, p50 and p80."""
    if len(seconds) == 1:
        return dict.fromkeys(("p20", "p50", "p80"), seconds[0])
    cuts = statistics.quantiles(seconds, n=10, method="inclusive")
    return {"p20": cuts[1], "p50": cuts[4], "p80": cuts[7]}


def _clocks(runs: list[Callable[[], object]], device: torch.device) -> list[Callable[[], float]]:
    """Return for each run what runs it once and returns its seconds."""
    if device.type == "cuda":
        return cold_clocks(*runs)
    return [partial(_cpu_seconds, run) for run in runs]


def _cpu_seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}; peak memory on a CPU is measured on Linux only")


def _output(*command) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
