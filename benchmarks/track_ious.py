"""Which tracks a loss helps: `python benchmarks/track_ious.py FOLDER` of a study that `maskfree study` wrote.

For each true track and every run of the study, the IoU over the whole video of the best result of its class,
and whether the gain of boxes over boxinst, that is what TK-Loss adds, is one of most tracks or of a few.
Writes `track_ious_NAME.json` into benchmarks/results, where `results_page.py` reads it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markdown_table import markdown_table
from measure_study import measure_study
from residual_errors import best_answers, read_true_tracks
from residual_section import check_runs
from study_command import folder_of, usual_stem

from maskfree_nb import atomic
from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.reading import load_json
from maskfree_nb.viz.study import Study, read_study

WITH, WITHOUT = "boxes", "boxinst"  # the rows that differ in TK-Loss
RESAMPLES = 10_000
TEXT = """IoU of each clip's object, in percent, mean over the seeds, and what TK-Loss adds to the pairwise
loss: {mean:+.1f} in the mean, {low:+.1f} to {high:+.1f} in 95 % of {resamples} draws of as many clips with
replacement (the seeds being what they are), more than 0 for {better} of {count} clips, {median:+.1f} in the
median."""


def write_track_ious(folder: Path, out: Path, stem: str | None = None) -> dict:
    """Measure every run of the study in `folder`; write the IoUs into `out`, as `stem`.

    Raises:
        InputError: no study, one without both rows that are compared, or a run without results.
    """
    study = read_study(folder / "study.json")
    names = [row.name for row in study.rows]
    if not {WITH, WITHOUT}.issubset(names):
        raise InputError(
            f"{folder / 'study.json'}: rows are {names}, expected {WITH} and {WITHOUT} among them"
        )
    annotations = folder / "data" / "val.json"
    videos, truths = read_true_tracks(annotations)
    named, _ = load_json(annotations, dict, "annotations")
    clips = {video["id"]: Path(video["file_names"][0]).parent.name for video in named["videos"]}
    rows = []
    for row in study.rows:
        seeds = []
        for run in row.seeds:
            answers = best_answers(truths, folder / row.name / f"seed_{run['seed']}" / "results.json", videos)
            ious = [round(100 * answer.iou, 2) for answer in answers]
            seeds.append({"seed": run["seed"], "mean_iou": round(float(np.mean(ious)), 2), "ious": ious})
        rows.append({"name": row.name, "label": row.label, "seeds": seeds})
    content = {"study": study.name, "tracks": [clips[truth.track.video_id] for truth in truths], "rows": rows}
    atomic.write_json(out / f"{stem or _stored_as(usual_stem(study))}.json", content)
    return content


def tables(content: dict) -> str:
    """The IoUs by track, those first that TK-Loss helps most, and what it adds."""
    means = {row["name"]: np.mean([seed["ious"] for seed in row["seeds"]], 0) for row in content["rows"]}
    gains = means[WITH] - means[WITHOUT]
    rng = np.random.default_rng(0)
    draws = gains[rng.integers(len(gains), size=(RESAMPLES, len(gains)))].mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    lines = [
        [content["tracks"][n], *(f"{mean[n]:.1f}" for mean in means.values()), f"{gains[n]:+.1f}"]
        for n in np.argsort(-gains, kind="stable")
    ]
    text = TEXT.format(
        mean=gains.mean(),
        low=low,
        high=high,
        resamples=RESAMPLES,
        better=(gains > 0).sum(),
        count=len(gains),
        median=np.median(gains),
    )
    head = ["clip", *(row["label"] for row in content["rows"]), "TK-Loss adds"]
    return f"{text}\n\n{markdown_table(head, lines)}"


def track_section(folder: Path, stem: str, study: Study) -> str:
    """The section "Which clips TK-Loss helps" of a stored study; "" where nothing is stored.

    Raises:
        InputError: what is stored is of other runs than the study's figures.
    """
    path = folder / f"{_stored_as(stem)}.json"
    if not path.exists():
        return ""
    content, name = load_json(path, dict, "IoUs")
    named = "" if stem == usual_stem(study) else f" --name {_stored_as(stem)}"
    command = f"python benchmarks/track_ious.py {folder_of(study, stem)}{named}"
    check_runs(content, name, study, command)
    return f"### Which clips TK-Loss helps\n\n```sh\n{command}\n```\n\n{tables(content)}"


def _stored_as(stem: str) -> str:
    return stem.replace("study", "track_ious", 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the study that the command line names, and print what was found."""
    measure_study(__doc__, write_track_ious, tables, arguments)


if __name__ == "__main__":
    main()
