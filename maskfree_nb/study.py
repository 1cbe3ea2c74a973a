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
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from itertools import product
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.criterion import CriterionConfig
from maskfree_nb.data.clips import ClipConfig
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.fog import fade_frames
from maskfree_nb.errors import InputError
from maskfree_nb.launch import ON_CPU
from maskfree_nb.options import build
from maskfree_nb.recipes import DEMO, DEMO_DATA
from maskfree_nb.studies import Plan, Row, plan
from maskfree_nb.train_config import TrainConfig

DRAWN_SPAN = 0.9  # `maskfree label --least-span`: the embedded objects are compact
PER_RUN = ("seed", "annotations", "images")


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
        make_data: makes the data set from (folder, **data): `make_embedded`, or what makes the same files.
        overrides: fields of `TrainConfig` other than the recipe's, e.g. `steps`; for all rows.

    Returns:
        The content of `study.json`.

    Raises:
        InputError: no such study, row or option, other data for a study that makes its own, a folder whose
            runs have other settings or other data, or a run that failed; the other runs are kept.
    """
    study = plan(name, rows)
    if study.style != "handheld":
        if make_data is not make_embedded:
            raise InputError(f"study {name!r} is of videos of a kind that it makes itself, not of others")
        make_data = partial(make_embedded, style=study.style)
    out, seeds = Path(out), list(dict.fromkeys(seeds))
    settings = merged(merged(DEMO, study.settings), overrides)
    _check(study, settings, overrides, jobs)
    summary = make_data(out / "data", **({**DEMO_DATA, **study.data} if data is None else data))
    print(summary)
    with ThreadPoolExecutor(jobs) as pool:  # row by row within a seed, so that the first table comes early
        runs = {}
        for seed, row in product(seeds, study.rows):
            runs[row, seed] = pool.submit(
                _run,
                study.rows[row],
                out / row / f"seed_{seed}",
                out / "data",
                summary.sha256,
                seed,
                settings,
                teacher=runs.get((study.rows[row].teacher, seed)),
            )
        try:
            figures = [run.result() for run in runs.values()]
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)  # those that wait must not start now
            raise
    table = [
        {"name": row, "label": study.rows[row].label, "seeds": figures[number :: len(study.rows)]}
        for number, row in enumerate(study.rows)
    ]
    content = {"name": name, "question": study.question, "data": asdict(summary), "settings": settings}
    content["rows"] = _with_earlier(table, content, out / "study.json")
    atomic.write_json(out / "study.json", content, indent=2)
    return content


def _with_earlier(table: list[dict], content: dict, path: Path) -> list[dict]:
    """Add the rows and seeds of an earlier call with the same data and settings, in the study's order."""
    stored = json.loads(path.read_text()) if path.exists() else {}
    if any(stored.get(key) != json.loads(json.dumps(value)) for key, value in content.items()):
        return table
    rows = {row["name"]: row for row in stored["rows"]}
    for row in table:
        seeds = {seed["seed"]: seed for seed in (*rows.get(row["name"], row)["seeds"], *row["seeds"])}
        rows[row["name"]] = {**row, "seeds": [seeds[seed] for seed in sorted(seeds)]}
    return [rows[name] for name in plan(content["name"]).rows if name in rows]


def _check(study: Plan, settings: dict, overrides: dict, jobs: int) -> None:
    """Refuse options that no run could have, before any work is done."""
    own = [name for name in PER_RUN if name in overrides]
    if own:
        raise InputError(
            f"option {own[0]} is set by the study for each run; seeds are an argument of their own"
        )
    if jobs < 1:
        raise InputError(f"jobs is {jobs}, expected at least 1")
    for row in study.rows.values():
        options = merged(settings, row.options)
        config = build(TrainConfig, {**options, "annotations": "-", "images": "-"}, "study option")
        build(CriterionConfig, config.criterion, "study option criterion")
        build(ClipConfig, config.clips, "study option clips")


def _run(
    row: Row, out: Path, data: Path, sha256: str, seed: int, settings: dict, teacher: Future | None
) -> dict:
    """Train and evaluate one model in processes of their own; return its figures, in percent points.

    Where the row learns from masks that another draws, `teacher` is the other's run, begun before.
    """
    options = merged(settings, row.options)
    oracle = options["criterion"]["supervision"] == "masks" and not row.teacher
    whole = data / ("train_oracle.json" if oracle else "train.json")
    annotations = out / "annotations.json" if row.share < 1 or row.teacher else whole
    taught_by = out.parents[1] / row.teacher / out.name / "model.safetensors"  # if it has a teacher
    if row.goes_on:
        options["init"] = str(taught_by)
    frames = {split: data / split / "JPEGImages" for split in ("train", "val")}
    images = {split: out / "faded" / split for split in frames} if row.contrast < 1 else frames
    config = TrainConfig(**options, seed=seed, annotations=str(annotations), images=str(images["train"]))
    _claim(out, config, sha256, moving=("annotations", "images", *["init"] * row.goes_on))
    metrics = out / "metrics.json"
    if not metrics.exists():
        if row.share < 1:
            _thinned(whole, row.share, annotations)
        if row.teacher and not annotations.exists():
            teacher.result()
            given = ("--annotations", whole, "--images", images["train"])
            how = ["--shapes"] if row.shapes else ["--least-span", DRAWN_SPAN]
            began = time.perf_counter()
            _command("label", taught_by, *given, *how, "--out", annotations)
            seconds = round(time.perf_counter() - began)
            atomic.write_json(out / "drawing.json", {"drawing_seconds": seconds})
        if row.contrast < 1:
            for split, folder in frames.items():
                fade_frames(folder, images[split], row.contrast)
        trained = (out / "model.safetensors").exists()
        memory = _command("train", out, "--config", out / "options.json", "--resume")
        if not trained:
            atomic.write_json(out / "memory.json", {"peak_mb": memory})
        validation = ("--annotations", data / "val.json", "--images", images["val"])
        _command("eval", out / "model.safetensors", *validation, "--out", out)
        print(f"{out}: {metrics.read_text()}", flush=True)
    costs = [path for path in (out / "drawing.json", out / "memory.json") if path.exists()]
    return {
        "seed": seed,
        **_figures(metrics),
        **_of_the_log(out / "log.jsonl"),
        **{name: cost for path in costs for name, cost in json.loads(path.read_text()).items()},
    }


def evaluated(model: Path, data: Path, out: Path, flags: Sequence[str] = ()) -> dict:
    """Evaluate a model on the held-out videos of a data set, in a process of its own; return its figures.

    Args:
        model: `model.safetensors` of a run.
        data: a folder with `val.json` and `val/JPEGImages`.
        out: gets `results.json` and `metrics.json`.
        flags: other flags of `maskfree eval`, e.g. `--refine`.
    """
    videos = ("--annotations", data / "val.json", "--images", data / "val" / "JPEGImages")
    _command("eval", model, *videos, "--out", out, *flags)
    return _figures(out / "metrics.json")


def _figures(metrics: Path) -> dict:
    """What a study keeps of an evaluation, in percent points."""
    figures = json.loads(metrics.read_text())
    return {
        **{name: figures[name] for name in ("AP", "AP50", "AP75", "AR10")},
        "mean_iou": figures["mean_IoU"],
        "box_fill": figures["box_fill_AP"],
        "classes": figures["classes"],
    }


def _claim(out: Path, config: TrainConfig, sha256: str, moving: tuple[str, ...]) -> None:
    """Take a run's folder, or refuse it where it holds a run with other settings or of other data.

    The settings `moving` are paths within the folder of the study, which may have been moved.
    """
    options, data = out / "options.json", out / "data.json"
    now = json.loads(json.dumps(asdict(config)))
    before = json.loads(options.read_text()) if options.exists() else now
    for name in now.keys() - set(moving):
        if before.get(name) != now[name]:
            raise InputError(
                f"{out}: holds a run whose {name} was {before.get(name)!r}, now {now[name]!r}; "
                "choose another folder"
            )
    if data.exists() and json.loads(data.read_text())["sha256"] != sha256:
        raise InputError(f"{out}: holds a run of another data set; choose another folder")
    atomic.write_json(options, now, indent=2)
    atomic.write_json(data, {"sha256": sha256})


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
