"""The section of the results page on which way each loss pulls at the mistakes of trained networks."""

from pathlib import Path

from comparisons import gain
from markdown_table import markdown_table
from residual_section import check_runs
from study_command import folder_of, shows_real_clips, usual_stem

from maskfree_nb.evaluation.reading import load_json
from maskfree_nb.viz.study import Study, StudyRow

LOSSES = {"projection": "projection", "pairwise": "pairwise", "tk": "TK", "fill": "fill"}
SHOWN = ("pairwise", "tk")  # in the table
SETS = {  # of the stored studies
    "study": "The main study",
    "study_composites": "Composites of real video",
    "study_clips": "Real clips, trained on by their boxes",
}
TEXT = """## Which way the losses pull at mistakes

Every network of the main study sees {clips} clips drawn as in its training, now with their true masks. At
each cell of a mask (4x4 pixels) the gradient of a loss says whether the loss pulls towards the truth or away
from it. The table sums these pulls over the *wrong* cells inside the boxes and over the *right* ones, for
the losses of the recipe with its weights, whether or not the network was trained with them; in percent of
all pulls of the four losses (projection, pairwise, TK, fill) at these cells. Counted are objects found with
an IoU of at least 0.5; *wrong* is percent of the cells inside their boxes."""
ANSWER = """In networks trained without TK-Loss (*{boxinst}*), {tk_right:.0f} % of its pull falls on cells
that are right already, and makes them surer. Of its pull on wrong cells {tk_to:.0f} % is towards the truth,
the rest away from it. A match joins patches that look alike; where the network gets both wrong, the loss
asks for more of the same. The pull of the pairwise loss on these wrong cells is {stronger:.1f} times as
strong, {pairwise_to:.0f} % of it towards the truth; in networks trained with TK-Loss in its place (*{tk}*) it
is {pairwise_tk_to:.0f} %. That fits the tables above, where TK-Loss adds nothing to the pairwise loss, and
the pairwise loss much to TK-Loss. It is no proof: these are the ends of trainings, not their course, and
what a network makes of a pull is not in the pull."""
CLIPS_ANSWER = """On the real clips TK-Loss adds {gain} mean IoU to the pairwise loss. In the networks
trained there without it, {shares} % of its pull on wrong cells is towards the truth, by seed: more than in
the main study, but not so steadily that it would explain the gain."""
CAUTION = """The direction is not all that counts. With the gradient σ(x) − σ(y) in place of
σ(x) − σ(x + y), which pulls a pixel to where its match is and no further, the pull on the wrong
cells of the main study is mostly towards the truth. Trained so, networks were not better by more than the
spread of three seeds. That was a trial: it is no part of the code, and no command here prints it."""
PICTURE = """The {count} objects of *{label}*, seed {seed}, with most wrong cells in one frame, at most one of
a video. Left the true outline; then the wrong cells: green, pulled towards the truth by the loss named above
(+ is how many); red, away from it (\u2212); grey, hardly at all (below 2 % of the hardest pull)."""


def pulls_section(folder: Path, studies: dict[str, Study]) -> list[str]:
    """Return the section as a list of one, or an empty list where nothing is stored.

    Raises:
        InputError: what is stored is of other runs than the study's figures.
    """
    contents, parts = {}, []
    for stem, title in SETS.items():
        path = folder / f"{_stored_as(stem)}.json"
        if stem not in studies or not path.exists():
            continue
        content, name = load_json(path, dict, "pulls")
        measured = {row["name"] for row in content["rows"]}
        left_out = [row.label for row in studies[stem].rows if row.name not in measured]
        title += f" (not measured: {'; '.join(left_out)})" * bool(left_out)
        named = "" if stem == usual_stem(studies[stem]) else f" --name {_stored_as(stem)}"
        command = f"python benchmarks/pulls.py {folder_of(studies[stem], stem)}{named}"
        check_runs(content, name, studies[stem], command)
        contents[stem] = content
        parts += [f"{title}: `{command}`", table(content)]
    if not contents:
        return []
    parts.insert(0, TEXT.format(clips=next(iter(contents.values()))["clips"]))
    for stem, content in contents.items():
        rows = {row.name: row for row in _rows(content)}
        if {"boxinst", "tk"} <= rows.keys():
            parts.append(_answer(rows["boxinst"], rows["tk"]))
        if (picture := content.get("picture")) and not shows_real_clips(studies[stem]):
            parts.append(PICTURE.format(label=rows["boxinst"].label, **picture))
            parts.append(f"![Wrong cells, and which way two losses pull them]({_stored_as(stem)}.png)")
    if "study_clips" in contents:
        parts.append(_clips_answer(contents["study_clips"], studies["study_clips"]))
    parts.append(CAUTION)
    return ["\n\n".join(parts) + "\n"]


def table(content: dict) -> str:
    """By row: how much is wrong, and how the pairwise loss and TK-Loss pull at wrong and at right cells."""
    kinds = [(cells, way) for cells in ("wrong", "right") for way in ("to", "away")]
    head = ["", "objects", "wrong"]
    head += [f"{LOSSES[name]}, {cells}: {way}" for name in SHOWN for cells, way in kinds]
    names = ["wrong", *(f"{name}_{cells}_{way}" for name in SHOWN for cells, way in kinds)]
    lines = [
        [row.label, f"{row.mean('objects'):.0f}", *(row.text(name) for name in names), str(len(row.seeds))]
        for row in _rows(content)
    ]
    return markdown_table([*head, "seeds"], lines)


def _answer(boxinst: StudyRow, tk: StudyRow) -> str:
    """What the figures of the rows without TK-Loss and without the pairwise loss say."""
    right = boxinst.mean("tk_right_to") + boxinst.mean("tk_right_away")
    of_tk, tk_to = _on_wrong_cells(boxinst, "tk")
    of_pairwise, pairwise_to = _on_wrong_cells(boxinst, "pairwise")
    return ANSWER.format(
        boxinst=boxinst.label,
        tk=tk.label,
        tk_right=100 * right / (right + of_tk),
        tk_to=tk_to,
        stronger=of_pairwise / of_tk,
        pairwise_to=pairwise_to,
        pairwise_tk_to=_on_wrong_cells(tk, "pairwise")[1],
    )


def _clips_answer(content: dict, study: Study) -> str:
    """What the row without TK-Loss says of given clips."""
    (boxinst,) = (row for row in _rows(content) if row.name == "boxinst")
    seeds = [StudyRow(boxinst.name, boxinst.label, (seed,)) for seed in boxinst.seeds]
    shares = [f"{_on_wrong_cells(seed, 'tk')[1]:.0f}" for seed in seeds]
    added = gain(study.row("boxes"), study.row("boxinst"), "mean_iou")
    return CLIPS_ANSWER.format(shares=", ".join(shares), gain=added)


def _on_wrong_cells(row: StudyRow, loss: str) -> tuple[float, float]:
    """How hard a loss pulls at wrong cells, and in percent how much of that is towards the truth."""
    to, away = (row.mean(f"{loss}_wrong_{way}") for way in ("to", "away"))
    return to + away, 100 * to / (to + away)


def _stored_as(stem: str) -> str:
    return stem.replace("study", "pulls", 1)


def _rows(content: dict) -> list[StudyRow]:
    return [StudyRow(row["name"], row["label"], tuple(row["seeds"])) for row in content["rows"]]
