"""The section of the results page on what the losses could still object to."""

from pathlib import Path

from markdown_table import markdown_table
from residual_section import check_runs
from study_command import folder_of, usual_stem

from maskfree_nb.evaluation.reading import load_json
from maskfree_nb.viz.study import Study, StudyRow

LINKS = {  # label and least similarity D; the first two are those of the losses
    "neighbours": ("like neighbours", None),
    "matches": ("matches, D = 0.05", 0.05),
    "matches_0.005": ("matches, D = 0.005", 0.005),
    "matches_0.0005": ("matches, D = 0.0005", 0.0005),
}
SETS = {  # of the stored studies
    "study": "the main study, 50 held-out videos",
    "study_composites": "composites of real video",
}
WITHOUT_TK = "boxinst"
TEXT = """## What the losses could still object to

A consistency loss says nothing about a wrong cell that is linked to no other, nor about one whose links
all lead to cells with the same label. So here is how many of the wrong cells of *finished* masks, inside
the boxes, on maps of stride {stride}, have a link at all, and how many have one to a cell that the same mask
labels otherwise (*contradicted*). Of the tracks found with an IoU of at least 0.5, {frames} frames; the links
are those of the losses. Figures are percent of the wrong cells; *wrong* is percent of all cells inside the
boxes."""
ANSWER = """**A likely reason why TK-Loss adds nothing to the pairwise loss here:** masks of a network never
trained with it (*projection + pairwise*) have hardly a match left that contradicts their errors. Most wrong
cells lie at outlines and on parts like their background, where no patch is like enough to match; and where
patches do match, what the network says of a cell follows from how it looks, so that it says the same of both
ends, be it wrong. By itself TK-Loss is not without effect: *projection + TK* has fewer wrong cells than
*projection*. But the pairwise loss finds several times as much to object to there, and what it corrects is
much the same."""
LAXER = """With a lower D more wrong cells have a match, and more are contradicted, but so are right ones: the
last column counts right cells with a contradicting link for every hundred wrong cells. Row *{row}*, {of}:"""
PICTURE = """The {count} tracks of *{label}*, seed {seed}, with most wrong cells, each in the frame with most
of them. Left the true outline; then the wrong cells as the like neighbours and as the matches see them:
black, no link; orange, links to cells of the same label alone; purple, contradicted."""


def link_errors_section(folder: Path, studies: dict[str, Study]) -> list[str]:
    """Return the section as a list of one, or an empty list where nothing is stored.

    Raises:
        InputError: what is stored is of other runs than the study's figures.
    """
    contents, parts = {}, []
    for stem, title in SETS.items():
        path = folder / f"{_stored_as(stem)}.json"
        if stem not in studies or not path.exists():
            continue
        contents[stem], name = load_json(path, dict, "link errors")
        named = "" if stem == usual_stem(studies[stem]) else f" --name {_stored_as(stem)}"
        command = f"python benchmarks/link_errors.py {folder_of(studies[stem], stem)}{named}"
        check_runs(contents[stem], name, studies[stem], command)
        parts += [f"{title[0].upper()}{title[1:]}: `{command}`", of_the_losses(contents[stem])]
    if not contents:
        return []
    first = next(iter(contents.values()))
    parts = [TEXT.format(stride=first["stride"], frames=first["frames"]), *parts, ANSWER]
    for stem, content in contents.items():
        if row := _row(content, WITHOUT_TK):
            parts += [LAXER.format(row=row.label, of=SETS[stem]), of_each_link(row)]
            if picture := content.get("picture"):
                count, seed = len(picture["tracks"]), picture["seed"]
                parts.append(PICTURE.format(count=count, label=row.label, seed=seed))
                parts.append(f"![Wrong cells, and what objects to them]({_stored_as(stem)}.png)")
            break
    return ["\n\n".join(parts) + "\n"]


def tables(content: dict) -> str:
    """Both tables of a study; the second is of the row without TK-Loss, if it has one."""
    row = _row(content, WITHOUT_TK)
    return "\n\n".join([of_the_losses(content), *([of_each_link(row)] if row else [])])


def of_the_losses(content: dict) -> str:
    """By row: the wrong cells, and those that like neighbours and matches link and contradict."""
    kinds = {"neighbours": "like neighbours", "matches": "matches"}
    head = [
        "",
        "wrong",
        *(f"{label}: {what}" for label in kinds.values() for what in ("linked", "contradicted")),
    ]
    names = ["wrong", *(f"{kind}_{what}" for kind in kinds for what in ("linked", "contradicted"))]
    lines = [[row.label, *(row.text(name) for name in names), str(len(row.seeds))] for row in _rows(content)]
    return markdown_table([*head, "seeds"], lines)


def of_each_link(row: StudyRow) -> str:
    """Of one row, by kind of link: wrong cells linked and contradicted, right ones contradicted."""
    kinds = ("linked", "contradicted", "right")
    lines = [[label, *(row.text(f"{name}_{kind}") for kind in kinds)] for name, (label, _) in LINKS.items()]
    return markdown_table(["", "linked", "contradicted", "right cells contradicted"], lines)


def _stored_as(stem: str) -> str:
    return stem.replace("study", "link_errors", 1)


def _rows(content: dict) -> list[StudyRow]:
    return [StudyRow(row["name"], row["label"], tuple(row["seeds"])) for row in content["rows"]]


def _row(content: dict, name: str) -> StudyRow | None:
    return next((row for row in _rows(content) if row.name == name), None)
