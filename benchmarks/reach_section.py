"""The section of the results page on what the links of the losses can carry."""

import json
from pathlib import Path

from markdown_table import markdown_table

TEXT = """## What the losses can pass on

A box says for certain that what lies outside it is background. The consistency losses pass that on to
linked pixels: the pairwise loss within a frame, TK-Loss from frame to frame. The table follows the links of
five frames (cyclic tube, R = 5, maps of stride 4 or 2) from outside each box and counts, after {last} steps,
the percentage of the background inside the boxes that is reached, and, in brackets, of the objects that is
reached by mistake. Drawn is the former (stride 4; dotted: the latter). No network and no training: this is
what the images and the true masks say. `python benchmarks/link_reach.py NAME ANNOTATIONS IMAGES` adds a set.

{table}

What matches add in this count is the last column; the losses also pass on what is object, and average.
Whether a network trained on many videos has any use for it is another question. A trial took it at its word:
what is linked to the outside of its box, in the three frames of a clip, was background, in the warm-up and
after it. On the embedded videos masks became a little better, no more with matches than without; on the real
clips, with matches, worse (one seed). It is no part of the code, and no command here prints it. The videos of
the fixed camera were made to favour matches; what training made of them is told above. That it has learnt
such backgrounds from the outside of many boxes does not explain it: with few videos (the share of the
training videos, above) TK-Loss adds no more.

![reach](reach.png)
"""


def reach_section(folder: Path) -> list[str]:
    """Return the section as a list of one, or an empty list where nothing is stored."""
    path = folder / "reach.json"
    if not path.exists():
        return []
    stored = json.loads(path.read_text())
    lines = []
    for name, strides in stored["sets"].items():
        for stride, rows in strides.items():
            shares = {row["links"]: (row["background"][-1], row["objects"][-1]) for row in rows}
            cells = ["{:.1f} ({:.1f})".format(*(100 * share for share in pair)) for pair in shares.values()]
            gain = 100 * (shares["both"][0] - shares["pairwise"][0])
            lines.append([f"{name}, {stride}", *cells, f"+{gain:.1f}"])
    head = ["set, map", "like neighbours", "matches", "both", "both - like neighbours"]
    return [TEXT.format(last=stored["hops"][-1], table=markdown_table(head, lines))]
