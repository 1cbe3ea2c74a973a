"""Score the models of a study on videos that no choice was made by.

    python benchmarks/fresh_videos.py runs/study_main [--refine | --temporal]

The 50 held-out videos of a study also served to choose the recipe. This makes others, of another seed, in
`FOLDER/fresh`, evaluates every model of the study on them, and writes a study like it:
`benchmarks/results/study_fresh.json`. Nothing is trained. With `--refine` the masks of all rows are redrawn
along the colours of the frames first, and the file is `study_fresh_redrawn.json`; with `--temporal` along
the matches between frames as well, and it is `study_fresh_temporal.json`.
"""

import argparse
import sys
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.reading import load_json
from maskfree_nb.study import evaluated
from maskfree_nb.viz.study import read_study

RESULTS = Path(__file__).parent / "results"
SEED, VIDEOS = 1, 300


def fresh_videos(
    folder: Path,
    out: Path,
    seed: int = SEED,
    videos: int = VIDEOS,
    refine: bool = False,
    temporal: bool = False,
) -> dict:
    """Evaluate every run of the study in `folder`; returns the content of the file written to `out`.

    Args:
        folder: of `maskfree study`, with its runs.
        out: the file.
        seed: of the videos; not the study's own.
        videos: how many.
        refine, temporal: redraw the masks, as these flags of `maskfree eval` do.

    Raises:
        InputError: no study there, a run without its model, or the seed of its own videos.
    """
    study, (stored, _) = read_study(folder / "study.json"), load_json(folder / "study.json", dict, "study")
    if seed == study.data["seed"]:
        raise InputError(f"seed {seed} makes the videos that the study was scored on; take another")
    wanted = {key: study.data[key] for key in ("width", "height", "val_frames")}
    summary = make_embedded(folder / "fresh", seed, train_videos=1, val_videos=videos, **wanted)
    rows = []
    for row in study.rows:
        seeds = []
        for run in row.seeds:
            model = folder / row.name / f"seed_{run['seed']}" / "model.safetensors"
            if not model.exists():
                raise InputError(f"{model}: no such model; run the study again")
            place = model.parent / f"fresh{_suffix(refine, temporal)}"
            scored = evaluated(model, folder / "fresh", place, refine=refine, temporal=temporal)
            seeds.append({"seed": run["seed"], **scored})
        rows.append({"name": row.name, "label": row.label, "seeds": seeds})
    fresh = {"seed": seed, "val_videos": videos, "sha256": summary.sha256, "refine": refine}
    fresh |= {"temporal": True} if temporal else {}
    content = {**stored, "data": {**study.data, "fresh": fresh}, "rows": rows}
    atomic.write_json(out, content, indent=2)
    return content


def _suffix(refine: bool, temporal: bool) -> str:
    return "_temporal" if temporal else "_redrawn" if refine else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of `maskfree study`")
    parser.add_argument("--refine", action="store_true", help="redraw the masks along the colours first")
    parser.add_argument("--temporal", action="store_true", help="along the matches between frames as well")
    parser.add_argument("--out", type=Path, help="default: study_fresh.json, ..._redrawn, ..._temporal")
    options = parser.parse_args()
    options.out = options.out or RESULTS / f"study_fresh{_suffix(options.refine, options.temporal)}.json"
    try:
        fresh_videos(options.folder, options.out, refine=options.refine, temporal=options.temporal)
    except InputError as error:
        sys.exit(str(error))
    print(read_study(options.out).table())
    print(f"written: {options.out}")
