"""How boxes compare with masks and with fewer losses, and with the bars that were set for it."""

import math

from markdown_table import markdown_table
from study_command import CLIPS, kind_of

from maskfree_nb.viz.study import ORACLE, Study, StudyRow

LEAST_SHARE, LEAST_ORACLE = 92, 60  # percent of the oracle's AP that boxes are to keep; AP of the oracle
LEAST_SHARES = {  # None: no bar, as it has trained twice at full length
    "boxes": LEAST_SHARE,
    "boxes_drawn": None,
    "boxes_shapes": LEAST_SHARE,
    "boxes_shapes_on": LEAST_SHARE,
}
LEAST_GAINS = {  # AP of one row over another
    ("boxes", "boxinst"): 2,
    ("boxes", "projection"): 5,
    ("boxes_drawn", "boxes"): None,
    ("boxes_drawn", "boxinst_drawn"): None,
    ("boxes_shapes", "boxes_drawn"): None,
    ("boxes_shapes", "boxinst_shapes"): 2,
    ("boxes_shapes_on", "boxes_shapes"): None,
}


def comparisons(study: Study, with_bars: bool) -> str:
    """A table of the oracle, the share of it that boxes keep, and what each loss adds; "" if there is none.

    Of given clips, which are few, the gains in mean IoU are told as well as those in AP.
    """
    if len(study.rows) == 1 and not with_bars:  # the table above says it all
        return ""
    rows = {row.name: row for row in study.rows}
    found = []  # what, its text, its number, its bar with a unit, the rows it is of
    if ORACLE in rows:
        oracle = rows[ORACLE]
        found.append(
            (oracle.label, f"{oracle.text('AP')} AP", oracle.mean("AP"), LEAST_ORACLE, "AP", [oracle])
        )
    for name, bar in LEAST_SHARES.items():
        if {name, ORACLE} <= rows.keys():
            share, pair = 100 * study.share_of_oracle(name), [rows[name], rows[ORACLE]]
            what = f"{rows[name].label}, share of the oracle's AP"
            found.append((what, f"{share:.1f} %", share, bar, "%", pair))
    for names, bar in LEAST_GAINS.items():
        if rows.keys() >= set(names):
            pair = [rows[name] for name in names]
            what = f"{pair[0].label}, over {pair[1].label}"
            text = f"{gain(*pair)} AP"
            if kind_of(study) == CLIPS:
                text += f", {gain(*pair, 'mean_iou')} mean IoU"
            found.append((what, text, pair[0].mean("AP") - pair[1].mean("AP"), bar, "AP", pair))
    lines = [
        [what, text, " and ".join(str(len(row.seeds)) for row in of), *_verdict(number, bar, unit)]
        for what, text, number, bar, unit, of in found
    ]
    head = ["comparison", "found", "seeds", "at least", "verdict"]
    if not with_bars:
        head, lines = head[:3], [line[:3] for line in lines]
    return markdown_table(head, lines) if lines else ""


def gain(row: StudyRow, base: StudyRow, figure: str = "AP") -> str:
    """The difference of the means and, where both rows have several seeds, its standard error."""
    error = error_of(row, base, figure)
    text = f"{row.mean(figure) - base.mean(figure):+.1f}"
    return text if math.isnan(error) else f"{text} ± {error:.1f}"


def error_of(row: StudyRow, base: StudyRow, figure: str) -> float:
    """The standard error of the difference of the means; NaN where a row has one seed."""
    return math.hypot(*(each.spread(figure) / math.sqrt(len(each.seeds)) for each in (row, base)))


def _verdict(number: float, bar: float | None, unit: str) -> tuple[str, str]:
    """The bar and whether it is met, as two cells; empty where none was set."""
    if bar is None:
        return "", ""
    return f"{bar} {unit}", "met" if number >= bar else "**not met**"
