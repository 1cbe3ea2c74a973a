"""The course as one picture: what each notebook builds, and what it hands on."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from maskfree_nb.viz.colours import PALETTE

SKY, ORANGE, GREEN, PINK = (tuple(level / 255 for level in PALETTE[n]) for n in (1, 0, 2, 5))
GREY = (0.85, 0.85, 0.85)
WIDTH, HEIGHT = 1.86, 0.8  # of a box

# name -> (centre, text, colour)
STATIONS = {
    "data": ((1.0, 3.3), "video\n+ boxes", GREY),
    "01": ((3.2, 4.5), "01 boxes as masks\nprojection, pairwise", ORANGE),
    "02": ((3.2, 3.3), "02 candidates\nwhere to search", SKY),
    "03": ((5.4, 3.3), "03 KNN matching\nwhat looks alike", SKY),
    "04": ((7.6, 3.3), "04 consistency\nboth in or both out", SKY),
    "05": ((9.8, 3.3), "05 cyclic tube\nwhich frame pairs", SKY),
    "06": ((7.6, 2.1), "06 kernels\nthe same, fast", SKY),
    "07": ((3.2, 0.9), "07 Mask2Former\nqueries to masks", GREEN),
    "08": ((12.0, 3.3), "08 train\nfrom boxes alone", PINK),
    "09": ((14.2, 3.3), "09 evaluate\nvideo AP", PINK),
    "10": ((14.2, 2.1), "10 your own video\n(in preparation)", GREY),
}
STRAIGHT = "arc3"
ACROSS = "angle,angleA=0,angleB=90,rad=8"  # sideways first, then up or down
DOWN = "angle,angleA=90,angleB=0,rad=8"  # up or down first, then sideways
ARROWS = {
    STRAIGHT: "data-02 02-03 03-04 04-05 05-08 08-09 09-10 04-06",
    ACROSS: "01-08 07-08",
    DOWN: "data-01 data-07 03-06 05-06",
}


def course_map() -> Figure:
    """Draw the notebooks and how they hang together: losses from boxes and from time, model, training.

    >>> len(course_map().axes[0].texts) == len(STATIONS) + 1
    True
    """
    figure = Figure(figsize=(11.4, 3.9), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, 15.25), ylim=(0.3, 5.1))
    axis.axis("off")
    boxes = {}
    for name, ((x, y), text, colour) in STATIONS.items():
        corner = (x - WIDTH / 2, y - HEIGHT / 2)
        boxes[name] = FancyBboxPatch(
            corner, WIDTH, HEIGHT, boxstyle="round,pad=0,rounding_size=0.12", color=colour, zorder=2
        )
        axis.add_patch(boxes[name])
        axis.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3)
    for way, pairs in ARROWS.items():
        for start, end in (pair.split("-") for pair in pairs.split()):
            ends = {"posA": STATIONS[start][0], "posB": STATIONS[end][0]}
            patches = {"patchA": boxes[start], "patchB": boxes[end]}
            style = {"arrowstyle": "-|>", "mutation_scale": 13, "color": "0.35", "zorder": 1}
            axis.add_patch(FancyArrowPatch(**ends, **patches, connectionstyle=way, **style))
    axis.text(6.5, 3.85, "the TK-Loss: 02 to 06", ha="center", fontsize=10, color="0.35", style="italic")
    return figure
