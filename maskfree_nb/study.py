"""Studies: the same model trained in several ways, with several seeds, on the same data.

    folder/data/                        the data set
    folder/<row>/seed_<n>/              a run of `train`, with its config and log, and its metrics.json
    folder/study.json                   the table: what `maskfree_nb.viz.study` reads

A study that was stopped goes on where it was: what is trained stays, what is half trained is resumed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.errors import InputError
from maskfree_nb.launch import ON_CPU
from maskfree_nb.recipes import DEMO, DEMO_DATA
from maskfree_nb.train_config import TrainConfig


@dataclass(frozen=True)
class Row:
    """One way to train: its label, and what differs from the recipe in the criterion."""

    label: str
    criterion: dict


STUDIES = {
    "main": {
        "masks": Row("true masks (the oracle)", {"supervision": "masks"}),
        "boxes": Row("projection + pairwise + TK", {"supervision": "boxes"}),
        "boxinst": Row("projection + pairwise", {"supervision": "boxinst"}),
        "tk": Row("projection + TK", {"supervision": "boxes", "pairwise_weight": 0.0}),
        "projection": Row("projection", {"supervision": "boxinst", "pairwise_weight": 0.0}),
    }
}


def run_study(
    name: str,
    out: str | Path,
    *,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 2,
    data: dict | None = None,
    **overrides,
) -> dict:
    """Train and evaluate every row of a study with every seed.

    Every run has the recipe's model, schedule and number of steps; the rows of `STUDIES` differ in what
    supervises the masks alone. The true masks of the training videos are read by the row `masks` only.

    Args:
        name: of `STUDIES`.
        out: the folder.
        rows: which of its rows; None: all.
        seeds: of weights and clips; the data set is always the same.
        jobs: runs side by side, each a process of one thread.
        data: sizes of the data set (`make_embedded`); None: the recipe's.
        overrides: fields of `TrainConfig` other than the recipe's, e.g. `steps`; for all rows.

    Returns:
        The content of `study.json`.

    Raises:
        InputError: no such study or row, or a run that failed; the others are kept.
    """
    if name not in STUDIES:
        raise InputError(f"study is {name!r}, expected one of {', '.join(STUDIES)}")
    for row in rows or ():
        if row not in STUDIES[name]:
            raise InputError(f"row of the study is {row!r}, expected one of {', '.join(STUDIES[name])}")
    out = Path(out)
    chosen = {row: STUDIES[name][row] for row in rows or STUDIES[name]}
    summary = make_embedded(out / "data", **(DEMO_DATA if data is None else data))
    print(summary)
    with ThreadPoolExecutor(jobs) as pool:  # row by row within a seed, so that the first table comes early
        runs = [
            pool.submit(_run, chosen[row], out / row / f"seed_{seed}", out / "data", seed, overrides)
            for seed, row in product(seeds, chosen)
        ]
        figures = [run.result() for run in runs]
    table = [
        {"name": row, "label": chosen[row].label, "seeds": figures[number :: len(chosen)]}
        for number, row in enumerate(chosen)
    ]
    study = {"name": name, "data": asdict(summary), "settings": {**DEMO, **overrides}, "rows": table}
    atomic.write_json(out / "study.json", study, indent=2)
    return study


def _run(row: Row, out: Path, data: Path, seed: int, overrides: dict) -> dict:
    """Train and evaluate one model in processes of their own; return its figures, in percent points."""
    metrics = out / "metrics.json"
    if not metrics.exists():
        file = "train_oracle.json" if row.criterion["supervision"] == "masks" else "train.json"
        options = {**DEMO, **overrides, "seed": seed}
        options["criterion"] = {**DEMO["criterion"], **overrides.get("criterion", {}), **row.criterion}
        images = {split: str(data / split / "JPEGImages") for split in ("train", "val")}
        config = TrainConfig(**options, annotations=str(data / file), images=images["train"])
        atomic.write_json(out / "options.json", asdict(config), indent=2)
        _command("train", out, "--config", out / "options.json", "--resume")
        validation = ("--annotations", data / "val.json", "--images", images["val"])
        _command("eval", out / "model.safetensors", *validation, "--out", out)
        print(f"{out}: {metrics.read_text()}", flush=True)
    figures = json.loads(metrics.read_text())
    return {
        "seed": seed,
        **{name: figures[name] for name in ("AP", "AP50", "AP75", "AR10")},
        "mean_iou": figures["mean_IoU"],
        "box_fill": figures["box_fill_AP"],
        "seconds": round(_seconds(out / "log.jsonl")),
    }


def _command(*arguments: str | Path) -> None:
    words = [sys.executable, "-m", "maskfree_nb.cli", *map(str, arguments)]
    done = subprocess.run(words, env={**os.environ, **ON_CPU}, capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{' '.join(words[3:])} ended with status {done.returncode}: {done.stderr[-1000:]}")


def _seconds(log: Path) -> float:
    """The time of all steps of a run."""
    return sum(json.loads(line)["seconds"] for line in log.read_text().splitlines())
