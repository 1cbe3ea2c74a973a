"""Score the models of a study again: on other videos than those that chose the recipe, or in another way.

    python benchmarks/score_again.py runs/study_main [--held-out] [--refine | --temporal] [--mask-scores]

The 50 held-out videos of a study also served to choose the recipe. This makes 300 others, of another seed, in
`FOLDER/fresh`, evaluates every model of the study on them, and writes a study like it, named after the
folder: `benchmarks/results/study_fresh.json` (of `runs/study_long`: `study_fresh_long.json`). Nothing is
trained. With `--held-out` it is the study's own videos again. The other flags are those of `maskfree eval`,
for all rows; with them the name ends in `_redrawn` or `_temporal`, and in `_scored`.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.reading import load_json
from maskfree_nb.study import evaluated
from maskfree_nb.viz.study import read_study

RESULTS = Path(__file__).parent / "results"
SEED, VIDEOS = 1, 300
SUFFIXES = {"--refine": "_redrawn", "--temporal": "_temporal", "--mask-scores": "_scored"}


def score_again(
    folder: Path,
    out: Path,
    flags: Sequence[str] = (),
    *,
    seed: int = SEED,
    videos: int = VIDEOS,
    held_out: bool = False,
    rows: Sequence[str] | None = None,
    jobs: int = 2,
) -> dict:
    """Evaluate the runs of the study in `folder`; returns the content of the file written to `out`.

    Args:
        folder: of `maskfree study`, with its runs.
        out: the file.
        flags: of `SUFFIXES`, in that order.
        seed: of the videos; not the study's own.
        videos: how many.
        held_out: the study's own videos instead.
        rows: only these; None: all.
        jobs: evaluations side by side, each a process of one thread.

    Raises:
        InputError: no study there, no such row, a run without its model, or what the study has already.
    """
    study, (stored, _) = read_study(folder / "study.json"), load_json(folder / "study.json", dict, "study")
    if held_out and not flags:
        raise InputError("the held-out videos, scored as they were: study.json has these figures already")
    if not held_out and seed == study.data["seed"]:
        raise InputError(f"seed {seed} makes the videos that the study was scored on; take another")
    if unknown := set(rows or ()) - {row.name for row in study.rows}:
        raise InputError(f"{folder}: has no row {min(unknown)!r}")
    chosen = [row for row in study.rows if rows is None or row.name in rows]
    models = {
        (row.name, run["seed"]): folder / row.name / f"seed_{run['seed']}" / "model.safetensors"
        for row in chosen
        for run in row.seeds
    }
    for model in models.values():
        if not model.exists():
            raise InputError(f"{model}: no such model; run the study again")
    data = {
        **study.data,
        **({"flags": list(flags)} if flags else {}),
        **({"rows": list(rows)} if rows else {}),
    }
    place = "held_out" if held_out else "fresh"
    if not held_out:
        wanted = {key: study.data[key] for key in ("width", "height", "val_frames")}
        made = make_embedded(folder / "fresh", seed, train_videos=1, val_videos=videos, **wanted)
        data["fresh"] = {"seed": seed, "val_videos": videos, "sha256": made.sha256}
    with ThreadPoolExecutor(jobs) as pool:
        scored = {
            run: pool.submit(
                evaluated,
                model,
                folder / ("data" if held_out else "fresh"),
                model.parent / f"{place}{suffix(flags)}",
                flags,
            )
            for run, model in models.items()
        }
    content = {**stored, "data": data}
    content["rows"] = [
        {
            "name": row.name,
            "label": row.label,
            "seeds": [{"seed": run["seed"], **scored[row.name, run["seed"]].result()} for run in row.seeds],
        }
        for row in chosen
    ]
    atomic.write_json(out, content, indent=2)
    return content


def suffix(flags: Sequence[str]) -> str:
    """How the name of a file ends whose models were scored with `flags`.

    >>> suffix(["--temporal", "--mask-scores"])
    '_temporal_scored'
    """
    return "".join(SUFFIXES[flag] for flag in flags)


def stored_as(folder: Path, flags: Sequence[str], held_out: bool = False) -> str:
    """The name, without its ending, of the file of a study whose models were scored again.

    >>> stored_as(Path("runs/study_main"), [])
    'study_fresh'
    >>> stored_as(Path("runs/study_steps"), ["--mask-scores"], held_out=True)
    'study_steps_scored'
    """
    own = folder.name.removeprefix("study").removesuffix("_main")
    return f"study{'' if held_out else '_fresh'}{own}{suffix(flags)}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of `maskfree study`")
    parser.add_argument("--held-out", action="store_true", help="on the study's own held-out videos")
    redrawn = parser.add_mutually_exclusive_group()
    redrawn.add_argument("--refine", action="store_true", help="redraw the masks along the colours first")
    redrawn.add_argument("--temporal", action="store_true", help="along the matches between frames as well")
    parser.add_argument("--mask-scores", action="store_true", help="score tracks by how sure their masks are")
    parser.add_argument("--rows", nargs="+", help="only these rows of the study")
    parser.add_argument("--jobs", type=int, default=2, help="evaluations side by side (default: 2)")
    parser.add_argument("--out", type=Path, help="default: in benchmarks/results, named as said above")
    options = parser.parse_args()
    flags = [flag for flag in SUFFIXES if getattr(options, flag[2:].replace("-", "_"))]
    out = options.out or RESULTS / f"{stored_as(options.folder, flags, options.held_out)}.json"
    given = {"held_out": options.held_out, "rows": options.rows, "jobs": options.jobs}
    try:
        score_again(options.folder, out, flags, **given)
    except InputError as error:
        sys.exit(str(error))
    print(read_study(out).table())
    print(f"written: {out}")
