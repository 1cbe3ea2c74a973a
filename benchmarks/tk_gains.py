"""What TK-Loss adds in each setting that was trained with several seeds: a section of the results page."""

import math
from dataclasses import dataclass

from comparisons import error_of, gain
from markdown_table import markdown_table
from matplotlib.figure import Figure

from maskfree_nb.viz.study import FIGURES, SKY, Study, StudyRow

OTHERS, HELD_OUT, PUBLISHED = "300 others", "the 50", "published weight"
SETTINGS = {  # by what TK-Loss is added to: where, and the rows with it and without it, as FILE/ROW
    "projection + pairwise": (
        (f"embedded set, {OTHERS}", "study_fresh_steps/boxes", "study_fresh_steps/boxinst"),
        (f"embedded set, {HELD_OUT}", "study_steps/boxes", "study_steps/boxinst"),
        (
            f"embedded set, {PUBLISHED}, {OTHERS}",
            "study_fresh_weight_steps/w0.5",
            "study_fresh_steps/boxinst",
        ),
        (f"embedded set, {PUBLISHED}, {HELD_OUT}", "study_weight_steps/w0.5", "study_steps/boxinst"),
        (f"first study, {OTHERS}", "study_fresh/boxes", "study_fresh/boxinst"),
        (f"first study, {HELD_OUT}", "study/boxes", "study/boxinst"),
        (f"three frames, 3600 steps, {OTHERS}", "study_fresh_long/boxes", "study_fresh_long/boxinst"),
        (f"no fill loss, {OTHERS}", "study_fresh_unfilled/boxes", "study_fresh_unfilled/boxinst"),
        (f"class shapes, {OTHERS}", "study_fresh/boxes_shapes", "study_fresh/boxinst_shapes"),
        ("composites, 128x96, 4500 steps", "study_composites_steps/boxes", "study_composites_steps/boxinst"),
        (
            f"composites, 4500 steps, {PUBLISHED}",
            "study_composites_weight_steps/w0.5",
            "study_composites_steps/boxinst",
        ),
        ("composites, 128x96, 800 steps", "study_composites/boxes", "study_composites/boxinst"),
        (
            f"composites, 320x240, {PUBLISHED}",
            "study_composites_fine/boxes",
            "study_composites_fine/boxinst",
        ),
        (f"real clips, 160 pixels, {PUBLISHED}", "study_clips_weight/w0.5", "study_clips/boxinst"),
        ("real clips, 160 pixels", "study_clips/boxes", "study_clips/boxinst"),
        ("real clips, 96 pixels", "study_clips_coarse/boxes", "study_clips_coarse/boxinst"),
    ),
    "projection": (
        (f"first study, {OTHERS}", "study_fresh/tk", "study_fresh/projection"),
        (f"no fill loss, {HELD_OUT}", "study_unfilled/tk", "study_unfilled/projection"),
        ("real clips, 160 pixels", "study_clips/tk", "study_clips/projection"),
    ),
}
DRAWN = ("AP", "mean_iou")
TEXT = """## What TK-Loss adds

Each line is a difference of two rows of tables below, of the same training with TK-Loss and without it: on
top of projection + pairwise, or of projection alone; seeds of the former and of the latter. Scored on *the
50* held-out videos or on *300 others*. *First study*, *no fill loss* and *class shapes* are of the embedded
set in 1500 steps of eight clips of three frames; *three frames* is trained longer. The weight of TK-Loss is
the recipe's, 5, but for *published weight*, a tenth of it (the published code multiplies its loss by 0.1).
Only rows of several seeds are here; ± is the standard error, and with so few seeds it is itself uncertain.
The same models scored in other ways (masks redrawn, tracks ranked by their masks too) have tables of their
own.

{table}

![What TK-Loss adds](tk_gains.png)
"""


@dataclass(frozen=True)
class Gain:
    """What TK-Loss adds in one setting: `to` which losses, `where`, and the rows with it and without."""

    to: str
    where: str
    row: StudyRow
    base: StudyRow


def tk_gains(studies: dict[str, Study]) -> list[Gain]:
    """The lines of `SETTINGS` whose studies (by file name) are there, with several seeds of both rows."""
    found = []
    rows = {f"{stem}/{row.name}": row for stem, study in studies.items() for row in study.rows}
    for to, settings in SETTINGS.items():
        for where, *pair in settings:
            if all(place in rows and len(rows[place].seeds) > 1 for place in pair):
                found.append(Gain(to, where, *(rows[place] for place in pair)))
    return found


def gain_section(gains: list[Gain]) -> list[str]:
    """Return the section as a list of one, or an empty list where nothing is stored."""
    if not gains:
        return []
    lines = [
        [
            f"{each.to}: {each.where}",
            *(gain(each.row, each.base, figure) for figure in DRAWN),
            f"{len(each.row.seeds)} and {len(each.base.seeds)}",
        ]
        for each in gains
    ]
    head = ["added to", *(FIGURES[figure] for figure in DRAWN), "seeds"]
    return [TEXT.format(table=markdown_table(head, lines))]


def gain_figure(gains: list[Gain]) -> Figure:
    """Draw each gain as a dot with its standard error about it, those of one base below each other."""
    bases = list(dict.fromkeys(each.to for each in gains))
    places = [number + bases.index(each.to) for number, each in enumerate(gains)]  # a gap between the bases
    figure = Figure(figsize=(8, 0.26 * (places[-1] + 1) + 0.9), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(DRAWN), sharey=True)
    for panel, name in zip(panels, DRAWN, strict=True):
        panel.axvline(0, color="0.35", linewidth=1, linestyle="--", zorder=0)
        means = [each.row.mean(name) - each.base.mean(name) for each in gains]
        errors = [error_of(each.row, each.base, name) for each in gains]
        style = dict(fmt="o", color=SKY, ecolor="black", markeredgecolor="black", markersize=6, capsize=3)
        panel.errorbar(means, places, xerr=errors, **style)
        panel.set_title(f"{FIGURES[name]}, points", loc="left", fontsize=10)
        panel.spines[["top", "right", "left"]].set_visible(False)
        panel.tick_params(labelsize=9, left=False)
        panel.grid(axis="y", color="0.9", linewidth=0.8)
        panel.set_axisbelow(True)
        limit = math.ceil(max(abs(m) + e for m, e in zip(means, errors, strict=True)))
        panel.set_xlim(-limit, limit)
    panels[0].set_yticks(places, [each.where for each in gains])
    panels[0].invert_yaxis()
    for base in bases:
        first = next(place for place, each in zip(places, gains, strict=True) if each.to == base)
        place = dict(xy=(0, first - 1), xycoords=("axes fraction", "data"), annotation_clip=False)
        beside = dict(xytext=(-8, 0), textcoords="offset points", ha="right", va="center")
        panels[0].annotate(f"added to {base}", **place, **beside, fontsize=9, weight="bold")
    return figure
