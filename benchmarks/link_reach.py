"""Count how far 'background' travels into the boxes along matches and like neighbours, and draw it.

    python benchmarks/link_reach.py embedded runs/data/val.json runs/data/val/JPEGImages

Writes reach.json and reach.png; sets given in other calls stay in the file.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure
from png import write_png

from maskfree_nb import atomic
from maskfree_nb.data.reach import HOPS, LINKS, background_reach
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.viz.colours import PALETTE

STRIDES = (4, 2)
LABELS = {"pairwise": "like neighbours (pairwise)", "tk": "matches (TK)", "both": "both"}
COLOURS = dict(zip(LINKS, (tuple(level / 255 for level in PALETTE[n]) for n in (1, 0, 2)), strict=True))


def main(arguments: list[str] | None = None) -> None:
    """Measure one set and draw all that are stored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="of the set, for readers")
    parser.add_argument("annotations", type=Path, help="a YouTube-VIS file with masks")
    parser.add_argument("images", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args(arguments)
    videos = load_ytvis(options.annotations, options.images, masks=True)
    stored = options.out / "reach.json"
    sets = json.loads(stored.read_text())["sets"] if stored.exists() else {}
    sets[options.name] = {
        f"/{stride}": [asdict(row) for row in background_reach(videos, stride)] for stride in STRIDES
    }
    atomic.write_json(stored, {"hops": HOPS, "sets": sets}, indent=1)
    write_png(options.out / "reach.png", reach_figure(sets), colours=64)
    print(f"written: {stored}, {options.out / 'reach.png'}")


def reach_figure(sets: dict) -> Figure:
    """Draw a panel for each set: share of the background inside the boxes, and (dashed) of the objects."""
    figure = Figure(figsize=(8, 3.1), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(sets), sharey=True, squeeze=False)[0]
    for panel, (name, strides) in zip(panels, sets.items(), strict=True):
        for row in strides["/4"]:
            colour = COLOURS[row["links"]]
            shares = [[100 * share for share in row[kind]] for kind in ("background", "objects")]
            panel.plot(HOPS, shares[0], "o-", color=colour, markersize=4, label=LABELS[row["links"]])
            panel.plot(HOPS, shares[1], ":", color=colour)
        panel.set_title(name, fontsize=10, loc="left")
        panel.set_xlabel("steps along the links", fontsize=9)
        panel.set_ylim(0)
        panel.tick_params(labelsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("reached, percent of the\nbackground inside boxes", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=9, loc="outside lower center", ncols=3)
    return figure


if __name__ == "__main__":
    main()
