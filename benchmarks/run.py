"""Run a benchmark: `python benchmarks/run.py tkloss --device cpu --json runs/bench/tkloss.json`.

Both contenders must agree first: where they do not, nothing is measured or written and the exit status is 1.
Time: they take turns in one process, so that both meet the same load; the ratio is that of the medians.
Peak memory on a CPU: how much a fresh process grows over its inputs during the first run.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # before torch: spinning threads cost more than they bring

import torch
from contenders import Case, Disagreement, agreement
from harness import measure, peak_memory, provenance, quantiles

from maskfree_nb.atomic import write_json

FOLDER = Path(__file__).parent
NAMES = sorted(file.stem for file in (FOLDER / "cases").glob("*.py"))


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    module = importlib.import_module(f"cases.{options.name}")
    cases = module.cases(device, options.small)
    if options.peak:
        number, contender = options.peak.split(":")
        print(json.dumps(peak_memory(getattr(cases[int(number)], contender), device)))
        return 0

    report = {"benchmark": options.name, "what": module.__doc__.strip(), **provenance(device), "cases": []}
    print(f"{report['what']}\n{report['device']}, {report['threads']} threads, torch {report['torch']}")
    for number, case in enumerate(cases):
        try:
            differences = agreement(case)
        except Disagreement as error:
            print(f"red: {error}; nothing is measured", file=sys.stderr)
            return 1
        seconds = measure(case, device, options.rounds)
        peaks = {name: _peak(options, number, name, case, device) for name in seconds}
        result = _result(case, differences, seconds, peaks)
        report["cases"].append(result)
        _print(result)
    with_bar = [result for result in report["cases"] if result["bar"]]
    report["ratio"] = min((result["ratio"] for result in with_bar), default=None)
    if options.json:
        write_json(options.json, report, indent=1)
    missed = [result for result in with_bar if result["ratio"] < result["bar"]]
    for result in missed:
        print(
            f"{result['name']}: ratio {result['ratio']:.1f} is below the bar {result['bar']:g}",
            file=sys.stderr,
        )
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", choices=NAMES, help="which benchmark (a file of benchmarks/cases)")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the report here")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (default 7)")
    parser.add_argument("--threads", type=int, help="torch threads (default: what torch takes)")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the benchmark itself")
    parser.add_argument("--peak", help=argparse.SUPPRESS)  # "case number:contender", for the fresh process
    return parser


def _peak(options: argparse.Namespace, number: int, contender: str, case: Case, device: torch.device) -> int:
    """Return a contender's peak memory in bytes, on a CPU from a fresh process."""
    if device.type == "cuda":
        return peak_memory(getattr(case, contender), device)
    command = [sys.executable, __file__, options.name, "--device", options.device]
    command += ["--peak", f"{number}:{contender}", "--threads", str(torch.get_num_threads())]
    command += ["--small"] if options.small else []
    given_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc: what is freed leaves the process
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=given_back)
    return json.loads(done.stdout)


def _result(case: Case, differences: dict, seconds: dict, peaks: dict) -> dict:
    times = {name: quantiles(taken) for name, taken in seconds.items()}
    return {
        "name": case.name,
        "setting": case.setting,
        "difference": differences,
        "ratio": times["baseline"]["p50"] / times["ours"]["p50"],
        "bar": case.bar,
        **{
            name: {"seconds": times[name], "runs": len(seconds[name]), "peak_bytes": peaks[name]}
            for name in times
        },
    }


def _print(result: dict) -> None:
    bar = f" (bar {result['bar']:g})" if result["bar"] else ""
    print(f"\n{result['name']}: {', '.join(f'{k} {v}' for k, v in result['setting'].items())}")
    print(f"{'':10}{'p20':>10}{'p50':>10}{'p80':>10}   {'peak memory':>11}")
    for name in ("ours", "baseline"):
        times = "".join(f"{seconds * 1e3:7.1f} ms" for seconds in result[name]["seconds"].values())
        print(f"{name:10}{times}   {result[name]['peak_bytes'] / 2**20:8.0f} MB")
    differences = ", ".join(f"{name} {value:.0e}" for name, value in result["difference"].items())
    print(f"ratio {result['ratio']:.1f}{bar}; they differ by: {differences}")


if __name__ == "__main__":
    sys.exit(main())
