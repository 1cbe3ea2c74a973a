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
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.fog import fade_frames
from maskfree_nb.errors import InputError
from maskfree_nb.launch import ON_CPU
from maskfree_nb.recipes import DEMO, DEMO_DATA
from maskfree_nb.studies import Row, plan
from maskfree_nb.train_config import TrainConfig


def run_study(
    name: str,
    out: str | Path,
    *,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 2,
    data: dict | None = None,
    make_data: Callable = make_embedded,
    **overrides,
) -> dict:
    """Train and evaluate every row of a study with every seed.

    Every run has the recipe's model, schedule and number of steps, but for what its row changes; the true
    masks of the training videos are read where a row's supervision is `masks` only.

    Args:
        name: of `studies.STUDIES`.
        out: the folder.
        rows: which of its rows; None: all.
        seeds: of weights and clips; the data set is always the same.
        jobs: runs side by side, each a process of one thread.
        data: sizes of the data set; None: the study's, or else the recipe's.
        make_data: makes the data set from (folder, **sizes): `make_embedded`, or one with its signature.
        overrides: fields of `TrainConfig` other than the recipe's, e.g. `steps`; for all rows.

    Returns:
        The content of `study.json`.

    Raises:
        InputError: no such study or row, other data for a study that makes its own, or a run that failed;
            the other runs are kept.
    """
    study = plan(name, rows)
    if study.style != "handheld":
        if make_data is not make_embedded:
            raise InputError(f"study {name!r} is of videos of a kind that it makes itself, not of others")
        make_data = partial(make_embedded, style=study.style)
    out = Path(out)
    summary = make_data(out / "data", **({**DEMO_DATA, **study.data} if data is None else data))
    print(summary)
    settings = merged(merged(DEMO, study.settings), overrides)
    with ThreadPoolExecutor(jobs) as pool:  # row by row within a seed, so that the first table comes early
        runs = [
            pool.submit(_run, study.rows[row], out / row / f"seed_{seed}", out / "data", seed, settings)
            for seed, row in product(seeds, study.rows)
        ]
        figures = [run.result() for run in runs]
    table = [
        {"name": row, "label": study.rows[row].label, "seeds": figures[number :: len(study.rows)]}
        for number, row in enumerate(study.rows)
    ]
    content = {
        "name": name,
        "question": study.question,
        "data": asdict(summary),
        "settings": settings,
        "rows": table,
    }
    atomic.write_json(out / "study.json", content, indent=2)
    return content


def _run(row: Row, out: Path, data: Path, seed: int, settings: dict) -> dict:
    """Train and evaluate one model in processes of their own; return its figures, in percent points."""
    metrics = out / "metrics.json"
    if not metrics.exists():
        options = merged(settings, row.options)
        oracle = options["criterion"]["supervision"] == "masks"
        annotations = data / ("train_oracle.json" if oracle else "train.json")
        if row.share < 1:
            annotations = _thinned(annotations, row.share, out / "annotations.json")
        images = {split: data / split / "JPEGImages" for split in ("train", "val")}
        if row.contrast < 1:
            images = {
                split: fade_frames(folder, out / "faded" / split, row.contrast)
                for split, folder in images.items()
            }
        config = TrainConfig(**options, seed=seed, annotations=str(annotations), images=str(images["train"]))
        atomic.write_json(out / "options.json", asdict(config), indent=2)
        trained = (out / "model.safetensors").exists()
        memory = _command("train", out, "--config", out / "options.json", "--resume")
        if not trained:
            atomic.write_json(out / "memory.json", {"peak_mb": memory})
        validation = ("--annotations", data / "val.json", "--images", images["val"])
        _command("eval", out / "model.safetensors", *validation, "--out", out)
        print(f"{out}: {metrics.read_text()}", flush=True)
    figures, memory = json.loads(metrics.read_text()), out / "memory.json"
    return {
        "seed": seed,
        **{name: figures[name] for name in ("AP", "AP50", "AP75", "AR10")},
        "mean_iou": figures["mean_IoU"],
        "box_fill": figures["box_fill_AP"],
        "classes": figures["classes"],
        **_of_the_log(out / "log.jsonl"),
        **(json.loads(memory.read_text()) if memory.exists() else {}),
    }


def merged(options: dict, changes: dict) -> dict:
    """Return `options` with `changes`, nested ones one by one.

    >>> merged({"steps": 5, "clips": {"flip": 0.5}}, {"clips": {"num_frames": 3}})
    {'steps': 5, 'clips': {'flip': 0.5, 'num_frames': 3}}
    """
    result = dict(options)
    for name, value in changes.items():
        known = result.get(name)
        both = isinstance(known, dict) and isinstance(value, dict)
        result[name] = merged(known, value) if both else value
    return result


def _thinned(annotations: Path, share: float, path: Path) -> Path:
    """Write the annotations of a share of the videos, evenly spaced, to `path`."""
    content = json.loads(annotations.read_text())
    wanted = max(1, round(share * len(content["videos"])))
    chosen = [content["videos"][number * len(content["videos"]) // wanted] for number in range(wanted)]
    ids = {video["id"] for video in chosen}
    tracks = [track for track in content["annotations"] if track["video_id"] in ids]
    atomic.write_json(path, {**content, "videos": chosen, "annotations": tracks})
    return path


def _command(*arguments: str | Path) -> int:
    """Run the command line in a process of its own; return its peak memory in MB."""
    words = [sys.executable, "-m", "maskfree_nb.cli", *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            words, env={**os.environ, **ON_CPU}, stdout=subprocess.DEVNULL, stderr=errors, text=True
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            said = errors.read()[-1000:]
            raise InputError(f"{' '.join(words[3:])} ended with status {process.returncode}: {said}")
    return usage.ru_maxrss // 1024


def _of_the_log(path: Path) -> dict:
    """The time of all steps of a run, and the alarms that it heard, by step."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    alarms = [f"step {line['step']}: {alarm}" for line in lines for alarm in line.get("alarms", ())]
    return {
        "seconds": round(sum(line["seconds"] for line in lines)),
        **({"alarms": alarms} if alarms else {}),
    }
