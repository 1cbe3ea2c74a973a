"""Draw the page of the stored studies: `python benchmarks/results_page.py`.

Reads every `study*.json` of `benchmarks/results`, `residuals*.json` and `pulls*.json` where a study has
one, and writes README.md and a figure of each study there. Every number of the page comes from those files.
"""

import math
import re
from pathlib import Path

from comparisons import comparisons
from how_scored import base_of, scoring_command, scoring_sentence, title_of_scoring
from label_quality import label_section
from markdown_table import markdown_table
from png import write_png
from pulls_section import pulls_section
from reach_section import reach_section
from remarks import REMARKS
from residual_section import read_residuals, residual_section
from study_command import CLIPS, COMPOSITES, EMBEDDED, command, kind_of
from tk_gains import gain_figure, gain_section, tk_gains
from track_ious import track_section

from maskfree_nb import atomic
from maskfree_nb.data.clips import ClipConfig
from maskfree_nb.studies import STUDIES, plan
from maskfree_nb.viz.study import FIGURES, ORACLE, Study, read_study, study_figure

OTHER = ", scored on other videos"
STEPS = ", in more steps of fewer frames"
LONG, START = ", in 3600 steps", ", from the weights of a short training from boxes"
TITLES = {  # of studies stored once more, with other settings or scores
    "study_steps": STEPS,
    "study_fresh_steps": STEPS + OTHER,
    "study": "",
    "study_fresh": OTHER,
    "study_start": START,
    "study_fresh_start": START + OTHER,
    "study_long": LONG,
    "study_fresh_long": LONG + OTHER,
    "study_unfilled": "",
    "study_fresh_unfilled": OTHER,
    "study_weight_steps": STEPS,
    "study_fresh_weight_steps": STEPS + OTHER,
    "study_composites_steps": STEPS,
    "study_composites_weight_steps": STEPS,
    "study_composites_fine": ", in finer frames and with a tenth of the weight of TK-Loss",
    "study_clips_coarse": ", in coarser maps",
}
KINDS = {  # in the titles, by what the videos are
    EMBEDDED: "",
    COMPOSITES: ", composites of real video",
    CLIPS: ", the boxes of real clips turned into masks of the same clips",
}
JUDGED = (  # by the bars, however scored
    *("study_steps", "study_fresh_steps"),
    *("study", "study_fresh", "study_long", "study_fresh_long"),
)
FOLDER = Path(__file__).parent / "results"
REAL = [
    *("study_composites_steps", "study_composites_weight_steps", "study_composites"),
    *("study_composites_fine", "study_composites_weight"),
    *("study_clips", "study_clips_coarse", "study_clips_weight"),
]
ORDER = [
    *(stem for stem in TITLES if stem not in REAL),
    *REAL,
    *(f"study_{name}" for name in STUDIES),
]
SEED_AP = 4  # twice the spread of a difference of two runs (boxes, boxinst) of the main study, rounded up
HEAD = """# Results of the studies

Written by `python benchmarks/results_page.py` from the files `study*.json` beside it; no result is typed by
hand. Such a file is the `study.json` that the command above its table leaves in its folder under `runs/`.
Typed are the bars of the main study, set before it was run (the paper keeps 91.5 % of its oracle), what one
seed is worth: twice the spread of a difference of two runs of the main study, rounded up, and what the
sentences below the tables make of them.

**How to read it.** All figures are in percent, and of the 50 videos held out but where a title says
otherwise; ± is the sample standard deviation over the seeds of training, of a difference its standard error.
The same 50 videos served to choose the recipe, and how others would differ is not in the ±: the main study is
scored on 300 other videos as well. By these no recipe was chosen; but the least span of masks drawn into
boxes (0.8, which rows of *class shapes* depend on) was set with a hundred of them in view, and constants of
`--temporal` with 40. All rows from boxes also have a loss of our own, which keeps masks inside of their boxes
(`outside`). *Box-fill AP* is the AP of the same tracks with every mask replaced by its filled box. Minutes
and memory are of the training of one run on one thread of a CPU with other work beside it, so minutes differ
by up to a factor of two for no reason of their own; an empty cell was not recorded. In the figures a bar or a
ring is the mean, a white dot a seed, a whisker one standard deviation, the dashed line the oracle; where the
values are joined by a line, the axis does not start at 0.

The other files here are of the benchmarks of [speed and memory](../README.md).
"""


def write_page(folder: Path) -> None:
    """Write README.md and a figure of each study into the folder of the stored studies."""
    studies = read_studies(folder)
    for stem, study in studies.items():
        write_png(folder / f"{stem}.png", study_figure(study), colours=64)
    if gains := tk_gains(studies):
        write_png(folder / "tk_gains.png", gain_figure(gains), colours=64)
    atomic.write_text(folder / "README.md", page(folder, studies))


def read_studies(folder: Path) -> dict[str, Study]:
    """The stored studies by the name of their file, in the order of the page."""
    studies = {path.stem: read_study(path) for path in sorted(folder.glob("study*.json"))}

    def place(item: tuple[str, Study]) -> tuple[int, list[str]]:
        base = base_of(*item)
        return ORDER.index(base) if base in ORDER else len(ORDER), item[1].data.get("flags", [])

    return dict(sorted(studies.items(), key=place))


def page(folder: Path, studies: dict[str, Study]) -> str:
    """The text of the page of the studies in a folder."""
    sections = gain_section(tk_gains(studies))
    sections += [_section(folder, stem, study, _twins(study, studies)) for stem, study in studies.items()]
    measured = {study.name for study in studies.values() if kind_of(study) == EMBEDDED}
    missing = [name for name in STUDIES if name not in measured]
    sections += [*reach_section(folder), *pulls_section(folder, studies), *label_section(folder)]
    if missing:
        sections.append(f"## Not measured yet\n\n`maskfree study NAME` for {', '.join(missing)}.\n")
    return "\n".join([HEAD, _contents(sections), *sections])


def _contents(sections: list[str]) -> str:
    """Links to the sections, whose places are named as GitHub names them."""
    titles = [section.splitlines()[0].removeprefix("## ") for section in sections]
    places = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    return "".join(f"- [{title}](#{place})\n" for title, place in zip(titles, places, strict=True))


def _twins(study: Study, studies: dict[str, Study]) -> str:
    """Which rows of one seed are the very run that other studies show as well."""
    lines = []
    for row in study.rows:
        others = [
            f"*{twin.label}*"
            for other in studies.values()
            if other is not study
            for twin in other.rows
            if len(row.seeds) == len(twin.seeds) == 1 and twin.seeds == row.seeds
        ]
        if others:
            others = ", ".join(dict.fromkeys(others))
            lines.append(f"*{row.label}* is one run with {others} of other tables, not another measurement.")
    return "\n\n".join(lines)


def _section(folder: Path, stem: str, study: Study, twins: str) -> str:
    question = study.question or plan(study.name).question
    base = base_of(stem, study)
    title = question[0].upper() + question[1:] + KINDS[kind_of(study)] + TITLES.get(base, "")
    title += title_of_scoring(study)
    if "fill" not in title and not study.settings.get("criterion", {}).get("fill_weight"):
        title += ", without the fill loss"
    if "tiny_boxes" not in title and study.settings.get("init") == "tiny_boxes":
        title += ", from tiny_boxes, which ships"
    language, code = command(study, base)
    if scored_again := scoring_command(stem, study):
        language, code = "sh", scored_again
    parts = [
        f"## {title}",
        _data(study),
        f"```{language}\n{code}\n```",
        _table(study),
    ]
    alone = [row.label for row in study.rows if len(row.seeds) == 1]
    if alone:
        which = "" if len(alone) == len(study.rows) else f" ({'; '.join(alone)})"
        parts.append(
            f"**One seed**{which}: the spread is not known, and a difference below about {SEED_AP} AP "
            "cannot be told from chance."
        )
    parts += [twins, REMARKS.get(stem, ""), _alarms(study), f"![{title}]({stem}.png)", _shares(study)]
    if {"boxes", ORACLE} <= STUDIES[study.name].rows.keys():
        parts.append(comparisons(study, with_bars=base in JUDGED))
    if residuals := read_residuals(folder, stem, study):
        parts.append(residual_section(residuals, stem, study))
    parts.append(track_section(folder, stem, study))
    if any("classes" in seed for row in study.rows for seed in row.seeds):
        summary = "<summary>AP of each class, mean over the seeds</summary>"
        parts.append(f"<details>{summary}\n\n{_classes(study)}\n\n</details>")
    return "\n\n".join(part for part in parts if part) + "\n"


def _data(study: Study) -> str:
    frames = study.settings.get("clips", {}).get("num_frames", ClipConfig().num_frames)
    clips = f"{study.settings['batch_size']} clips of {frames} frames"
    return f"Data: {_videos(study)}. Training: {_steps(study)} of {clips}.{scoring_sentence(study)}"


def _videos(study: Study) -> str:
    data, kind = study.data, kind_of(study)
    if kind == CLIPS:
        return (
            f"{data['videos']} real clips with {data['objects']} objects in {data['frames']} frames, both "
            f"trained on and scored on, sha256 `{data['source_sha256'][:16]}`"
        )
    what = "the embedded data set" if kind == EMBEDDED else "composites of real video"
    if data.get("style", "handheld") != "handheld":
        what += f" in the style `{data['style']}`"
    source = f" made of clips of sha256 `{data['source_sha256'][:16]}`," if kind == COMPOSITES else ""
    return (
        f"{what}, version {data['version']}, seed {data['seed']},{source} "
        f"{data['train_videos']} x {data['train_frames']} training and "
        f"{data['val_videos']} x {data['val_frames']} held-out frames of {data['width']}x{data['height']}, "
        f"sha256 `{data['sha256'][:16]}`"
    )


def _steps(study: Study) -> str:
    own = ["steps" in STUDIES[study.name].rows[row.name].options for row in study.rows]
    if all(own):
        return "as many steps as the row says,"
    return f"{study.settings['steps']} steps{', or as many as the row says,' * any(own)}"


def _shares(study: Study) -> str:
    """What each row keeps of the AP of the oracle of as many steps, where a study has several lengths."""
    rows = {row.name: row for row in study.rows}
    pairs = [(row, rows.get(f"oracle_{name.split('_')[-1]}")) for name, row in rows.items()]
    lines = [
        [row.label, f"{100 * row.mean('AP') / oracle.mean('AP'):.0f} %"]
        for row, oracle in pairs
        if oracle not in (None, row)
    ]
    return markdown_table(["", "share of the oracle's AP"], lines) if lines else ""


def _alarms(study: Study) -> str:
    """What the logs of the runs warned of, a line each, without cause and remedy; "" if of nothing."""
    lines = []
    for row in study.rows:
        for run in row.seeds:
            for alarm in run.get("alarms", ()):
                step, message = alarm.split(": ", 1)
                lines.append(f"- {row.label}, seed {run['seed']}, {step}: {message.split(':')[0]}")
    return "\n".join(["Alarms of the logs:", "", *lines]) if lines else ""


def _table(study: Study) -> str:
    seconds, memory = (
        [row.name for row in study.rows if all(key in seed for seed in row.seeds)]
        for key in ("seconds", "peak_mb")
    )
    head = ["", *FIGURES.values(), "seeds"] + ["minutes"] * bool(seconds) + ["peak MB"] * bool(memory)
    lines = []
    for row in study.rows:
        cells = [row.label, *(row.text(figure) for figure in FIGURES), str(len(row.seeds))]
        if seconds:
            cells.append(f"{row.mean('seconds') / 60:.1f}" if row.name in seconds else "")
        if memory:
            cells.append(f"{row.mean('peak_mb'):.0f}" if row.name in memory else "")
        lines.append(cells)
    return markdown_table(head, lines)


def _classes(study: Study) -> str:
    rows = [row for row in study.rows if all("classes" in seed for seed in row.seeds)]
    names = list(dict.fromkeys(name for row in rows for seed in row.seeds for name in seed["classes"]))
    lines = []
    for row in rows:
        found = [[seed["classes"].get(name, math.nan) for seed in row.seeds] for name in names]
        lines.append([row.label, *(f"{sum(values) / len(values):.1f}" for values in found)])
    return markdown_table(["", *names], lines)


if __name__ == "__main__":
    write_page(FOLDER)
