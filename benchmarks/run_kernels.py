"""Check and time the kernels on a GPU: `python benchmarks/run_kernels.py --json runs/bench/kernels.json`.

Each op is checked on the device first, against float64 on fresh random inputs, its outputs poisoned; an op
whose check is red is not reported, and the exit status is 1. Then: the time in a CUDA graph against the floor
(the bytes that must pass memory, at the measured bandwidth of a copy), the time with events against each
baseline, and peak memory. Medians; the report also has the 20 % and 80 % points. Without a GPU: the floors
and the stored times.
"""

import argparse
import importlib
import sys
from pathlib import Path

import torch
from gpu import KernelCase, copy_bandwidth, event_seconds, graph_seconds
from harness import peak_memory, provenance, quantiles

from maskfree_nb.atomic import write_json

NAMES = ("matching_kernels", "tube_kernels", "mask_losses", "ms_deform_attn")
NUMBERS = ("floor", "graph", "x floor", "ours", "baseline", "ratio", "memory")
RESULTS = Path(__file__).parent / "results"
COMMAND = "python benchmarks/run_kernels.py --json benchmarks/results/kernels.json"
COLUMNS = f"{'op':34}{'setting':24}{'against':14}" + "".join(f"{name:>10}" for name in NUMBERS)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if not torch.cuda.is_available():
        _print_stored()
        return 0
    device = torch.device("cuda")
    bandwidth = copy_bandwidth()
    launch = quantiles(graph_seconds(torch.zeros(1, device=device).neg_))["p50"]
    about = {"benchmark": "kernels", "what": __doc__.strip(), **provenance(device)}
    about |= {"commit": options.commit or about["commit"], "copy_bytes_per_second": bandwidth}
    about |= {"launch_seconds": launch}
    print(f"{about['device']}, torch {about['torch']}, triton {about['triton']}, commit {about['commit']}")
    print(f"copy {bandwidth / 1e12:.2f} TB/s, smallest kernel {launch * 1e6:.1f} us; times in us\n{COLUMNS}")
    rows, red = [], []
    for name in options.names:
        for case in importlib.import_module(f"cases.{name}").cases(device, options.small):
            if case.setting["against"] in options.without:
                continue
            try:
                rows.append(_measure(case, device, bandwidth))
            except Exception as error:  # the other ops are still worth a row
                red.append(f"{case.name}, {case.setting}: {type(error).__name__}: {error}")
                print(f"red: {red[-1]}", flush=True)
            torch.cuda.empty_cache()
            if options.json:
                write_json(options.json, {**about, "rows": rows, "red": red}, indent=1)
    missed = [(row, bar) for row in rows for bar, held in row["bars"].items() if not held]
    for row, bar in missed:
        print(f"missed: {row['name']}, {row['setting']['setting']}: {bar}")
    return 1 if red else 0


def _measure(case: KernelCase, device: torch.device, bandwidth: float) -> dict:
    differences = case.differences()
    floor = case.bytes / bandwidth
    times = {
        "graph": quantiles(graph_seconds(case.kernel or case.ours)),
        "ours": quantiles(event_seconds(case.ours)),
        "baseline": quantiles(event_seconds(case.baseline)),
    }
    peaks = {name: peak_memory(getattr(case, name), device) for name in ("ours", "baseline")}
    row = {
        "name": case.name,
        "setting": case.setting,
        "difference": differences,
        "bytes": case.bytes,
        "floor_seconds": floor,
        "seconds": times,
        "floor_ratio": times["graph"]["p50"] / floor,
        "ratio": times["baseline"]["p50"] / times["ours"]["p50"],
        "peak_bytes": peaks,
        "memory_ratio": peaks["baseline"] / max(peaks["ours"], 1),
    }
    bars = {}
    if case.floor_bar:
        bars[f"at most {case.floor_bar:g} x floor"] = row["floor_ratio"] <= case.floor_bar
    if case.bar:
        bars[f"at least {case.bar:g} x as fast"] = row["ratio"] >= case.bar
    if case.memory_bar:
        bars[f"at most 1/{case.memory_bar:g} of the memory"] = row["memory_ratio"] >= case.memory_bar
    row["bars"] = bars
    micro = {name: 1e6 * value["p50"] for name, value in times.items()}
    numbers = (1e6 * floor, micro["graph"], row["floor_ratio"], micro["ours"], micro["baseline"])
    numbers = "".join(f"{number:10.2f}" for number in (*numbers, row["ratio"], row["memory_ratio"]))
    missed = "" if all(bars.values()) else "  missed"
    print(
        f"{case.name:34}{case.setting['setting']:24}{case.setting['against']:14}{numbers}{missed}", flush=True
    )
    return row


def _print_stored() -> None:
    """Print every pass of every kernel with its floor, and its time where a stored report has one."""
    from maskfree_nb.viz import roofline  # here: it needs matplotlib, which a machine with a GPU may not have

    times = {
        name: f"{1e6 * row.seconds:.2f} us ({row.name}, {row.setting}, {row.device})"
        for row in roofline.read_measured(RESULTS)
        for name in roofline.ROWS[row.name]
    }
    alone = {name for names in roofline.ROWS.values() for name in names}
    bandwidth = roofline.COPY_BANDWIDTH
    print("no GPU here: nothing is measured")
    print(f"R50, N=4; the floor is that of a copy at {bandwidth / 1e12:g} TB/s; times in a CUDA graph\n")
    print(f"{'kernel':34}{'MB':>8}{'floor, us':>12}  time")
    for each in roofline.kernel_passes():
        numbers = f"{each.bytes / 1e6:8.1f}{1e6 * each.floor(bandwidth):12.1f}"
        part = "" if each.name in alone else ", and only as a part of the whole criterion"
        print(f"{each.name:34}{numbers}  {times.get(each.name, f'not yet measured{part}')}")
    print(f"\nOn a machine with a GPU this fills the table: {COMMAND}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "names", nargs="*", default=NAMES, help=f"files of benchmarks/cases: {', '.join(NAMES)}"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="store the report here")
    parser.add_argument("--without", nargs="+", default=(), help="baselines to leave out, e.g. torch.compile")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the benchmark itself")
    parser.add_argument("--commit", help="what the report names as the commit (default: git's)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
