"""What the page of results says of residual errors: tables, what their columns mean, the picture."""

import math
from pathlib import Path

from markdown_table import markdown_table
from study_command import folder_of, shows_real_clips, usual_stem

from maskfree_nb.errors import InputError
from maskfree_nb.evaluation.reading import load_json
from maskfree_nb.viz.study import Study, StudyRow

ERRORS = {
    "missing_near": "missing, near",
    "missing_far": "missing, far",
    "extra_near": "extra, near",
    "extra_far": "extra, far",
    "extra_outside": "extra, outside",
}
IOUS = {
    "mean_iou": "mean IoU",
    "over_50": "IoU > 50",
    "over_75": "IoU > 75",
    "over_85": "IoU > 85",
    "iou_small": "small",
    "iou_medium": "medium",
    "iou_large": "large",
}


def read_residuals(folder: Path, stem: str, study: Study) -> dict | None:
    """The stored residual errors of a study; None where the study has none.

    Raises:
        InputError: they are of other runs than the study's figures.
    """
    path = folder / f"{_stored_as(stem)}.json"
    if not path.exists():
        return None
    content, name = load_json(path, dict, "residuals")
    check_runs(content, name, study, _command(study, stem))
    return content


def check_runs(content: dict, name: str, study: Study, command: str) -> None:
    """Compare the mean IoU of every run stored in `content` with that of the study.

    Raises:
        InputError: they differ; says which, and the command that measures again.
    """
    measured = {row.name: {seed["seed"]: seed["mean_iou"] for seed in row.seeds} for row in study.rows}
    for row in content["rows"]:
        for seed in row["seeds"]:
            expected = measured.get(row["name"], {}).get(seed["seed"])
            if expected is None or not math.isclose(seed["mean_iou"], expected, abs_tol=0.02):
                raise InputError(
                    f"{name}: row {row['name']}, seed {seed['seed']}: mean_iou is {seed['mean_iou']}, "
                    f"the study's is {expected}; run `{command}`"
                )


def residual_section(content: dict, stem: str, study: Study) -> str:
    """The section "Residual errors" of a study."""
    small, medium = content["size_limits"]
    parts = [
        "### Residual errors",
        f"```sh\n{_command(study, stem)}\n```",
        "Pixels that the best track of the right class gets wrong, in percent of the object's true pixels, "
        f"mean over the {content['tracks']} true tracks: *missing* ones of the object and *extra* ones, "
        f"*near* its true outline (within {content['near']} pixels) or *far* from it, the extra ones inside "
        "its true box or *outside*; an object that no track touches is missing as a whole. Then the mean "
        "IoU, the tracks in percent with one above 50, 75 and 85, and its mean over the third of small "
        f"objects (up to {small} pixels a frame), of medium (up to {medium}) and of large ones.",
        tables(content),
    ]
    picture = content.get("picture")
    if picture and not shows_real_clips(study):  # their clips may not be given away
        labels = {row["name"]: row["label"] for row in content["rows"]}
        text = (
            f"The {len(picture['tracks'])} tracks that lose most IoU from {labels['masks']} to "
            f"{labels['boxes']}, seed {picture['seed']}, each in the frame with most of that loss: the true "
            "outline in blue, the mask in orange, and the IoU of the whole track."
        )
        parts += [text, f"![Tracks that lose most IoU]({_stored_as(stem)}.png)"]
    return "\n\n".join(parts)


def tables(content: dict) -> str:
    """Both tables, of pixels and of IoUs: mean ± spread over the seeds."""
    rows = [StudyRow(row["name"], row["label"], tuple(row["seeds"])) for row in content["rows"]]
    return "\n\n".join(
        markdown_table(
            ["", *heads.values(), "seeds"],
            [[row.label, *(row.text(name) for name in heads), str(len(row.seeds))] for row in rows],
        )
        for heads in (ERRORS, IOUS)
    )


def _stored_as(stem: str) -> str:
    return stem.replace("study", "residuals", 1)


def _command(study: Study, stem: str) -> str:
    folder = folder_of(study, stem)
    name = "" if stem == usual_stem(study) else f" --name {_stored_as(stem)}"
    return f"python benchmarks/residual_errors.py {folder}{name}"
