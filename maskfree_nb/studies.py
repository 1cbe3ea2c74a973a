"""What each study compares: the rows of its table, and how each differs from the recipe."""

from dataclasses import dataclass, field, replace

from maskfree_nb.errors import InputError
from maskfree_nb.recipes import FIRST


@dataclass(frozen=True)
class Row:
    """One way to train.

    Attributes:
        label: for readers.
        options: what differs from the recipe, as fields of `TrainConfig`; nested ones add to the recipe's.
        share: of the training videos, evenly spaced, 0..1.
        contrast: of all frames, those held out as well, 0..1: less makes the videos homogeneous.
        teacher: the row whose model, of the same seed, draws the masks that this one is trained on: those of
            the training boxes, see `labelling`. "": none.
        shapes: the teacher draws each mask after those of its class that are most like it.
        goes_on: from the teacher's weights, not from nothing.
    """

    label: str
    options: dict = field(default_factory=dict)
    share: float = 1.0
    contrast: float = 1.0
    teacher: str = ""
    shapes: bool = False
    goes_on: bool = False

    def __post_init__(self):
        if self.teacher and (self.share < 1 or self.contrast < 1):
            raise ValueError(f"row {self.label!r}: masks are drawn for all videos as they are, or not at all")
        if (self.shapes or self.goes_on) and not self.teacher:
            raise ValueError(f"row {self.label!r}: shapes and goes_on are of a teacher; it has none")


@dataclass(frozen=True)
class Plan:
    """A study.

    Attributes:
        question: what its rows differ in.
        rows: by name.
        data: sizes of the data set other than the recipe's.
        style: how the embedded data set is filmed; other than its default, no other data set will do.
        settings: what differs from the recipe in every row, as `Row.options`.
    """

    question: str
    rows: dict[str, Row]
    data: dict = field(default_factory=dict)
    style: str = "handheld"
    settings: dict = field(default_factory=dict)


def _criterion(label: str, **options) -> Row:
    return Row(label, {"criterion": options})


def _drawn(label: str, teacher: str, shapes: bool = False, goes_on: bool = False) -> Row:
    options = {"criterion": {"supervision": "masks"}}
    return Row(label, options, teacher=teacher, shapes=shapes, goes_on=goes_on)


def _short(label: str, **options) -> Row:
    label += ", {steps} steps of {batch_size} clips".format(**FIRST)
    return Row(label, {**FIRST, "criterion": options})


def _tk(label: str, **options) -> Row:
    return Row(label, {"criterion": {"tk": options}})


SHARES = (0.05, 0.1, 0.25, 0.5, 1.0)
STUDIES = {
    "main": Plan(
        "what supervises the masks",
        {
            "masks": _criterion("true masks (the oracle)", supervision="masks"),
            "boxes": _criterion("projection + pairwise + TK"),
            "boxinst": _criterion("projection + pairwise", supervision="boxinst"),
            "tk": _criterion("projection + TK", pairwise_weight=0.0),
            "projection": _criterion("projection", supervision="boxinst", pairwise_weight=0.0),
            "boxes_drawn": _drawn("masks drawn by projection + pairwise + TK", "boxes"),
            "boxinst_drawn": _drawn("masks drawn by projection + pairwise", "boxinst"),
            "boxes_short": _short("projection + pairwise + TK"),
            "boxinst_short": _short("projection + pairwise", supervision="boxinst"),
            "boxes_shapes": _drawn("class shapes, short projection + pairwise + TK", "boxes_short", True),
            "boxes_shapes_on": _drawn(
                "class shapes, going on from the short training", "boxes_short", True, True
            ),
            "boxinst_shapes": _drawn("class shapes, short projection + pairwise", "boxinst_short", True),
        },
    ),
    "k": Plan("K, the most matches of a pixel", {f"k{k}": _tk(f"K = {k}", k=k) for k in (1, 3, 5, 7)}),
    "radius": Plan(
        "R, the reach of the window in mask pixels",
        {
            **{f"r{radius}": _tk(f"R = {radius}", radius=radius) for radius in (1, 3, 5, 7)},
            "official": _tk("3 x 3 grid, 3 apart", window="grid", radius=1, dilation=3),
        },
    ),
    "threshold": Plan(
        "D, the least similarity of a match",
        {f"d{d}": _tk(f"D = {d}", threshold=d) for d in (0.0005, 0.005, 0.05, 0.2, 0.5)},
    ),
    "patch": Plan(
        "the side of a patch in mask pixels",
        {f"p{side}": _tk(f"{side} x {side}", patch_size=side) for side in (1, 3, 5)},
    ),
    "weight": Plan(
        "the weight of TK-Loss, beside a pairwise weight of 5",
        {
            f"w{weight}": _criterion(f"weight {weight}", tk_weight=float(weight))
            for weight in (0.5, 1, 2, 5, 20)
        },
    ),
    "tube": Plan(
        "which frames of a tube of five are paired",
        {
            tube: Row(tube, {"criterion": {"tk": {"tube": tube}}, "clips": {"num_frames": 5}})
            for tube in ("cyclic", "sequential", "dense")
        },
    ),
    "frames": Plan(
        "T, the frames of a tube",
        {
            f"t{count}": Row(f"T = {count}", {"clips": {"num_frames": count, "frame_range": 6}})
            for count in (2, 3, 5, 7)
        },
        {"train_videos": 1143, "train_frames": 7},
    ),
    "colour": Plan(
        "the colour space of patches and neighbours",
        {space: _tk(space.upper(), colour_space=space) for space in ("lab", "rgb")},
    ),
    "order": Plan(
        "the order of the frames of a tube of five",
        {order: Row(order, {"clips": {"order": order}}) for order in ("chronological", "shuffled")},
        settings={"clips": {"num_frames": 5}},  # of three, every order pairs the same frames
    ),
    "warmup": Plan(
        "the share of the steps with filled boxes as the target",
        {
            **{
                f"warm_{percent}": _criterion(f"{percent} %", box_warmup=percent / 100)
                for percent in (10, 20, 40, 60)
            },
            "decay": _criterion("fading, 5 to 95 %", box_warmup=0.05, box_ramp=0.9),
        },
    ),
    "fill": Plan(
        "the least share of its box that a mask is asked to fill",
        {
            "none": _criterion("no fill loss", fill_weight=0.0),
            **{
                f"fill_{percent}": _criterion(f"{percent} %", fill_floor=percent / 100)
                for percent in (30, 40, 50)
            },
        },
    ),
    "share": Plan(
        "the share of the training videos",
        {
            f"{supervision}_{round(100 * share)}": Row(
                f"{supervision}, {round(100 * share)} %",
                {"criterion": {"supervision": supervision}},
                share,
            )
            for share in SHARES
            for supervision in ("boxes", "boxinst")
        },
    ),
}

STUDIES["length"] = Plan(
    "for how many steps of four clips is trained",
    {
        f"{name}_{steps}": Row(
            f"{name}, {steps} steps", {"criterion": {"supervision": supervision}, "steps": steps}
        )
        for steps in (400, 800, 1600, 3200)
        for name, supervision in (("oracle", "masks"), ("boxes", "boxes"), ("boxinst", "boxinst"))
    },
    settings={"batch_size": 4},
)

FINE = {"model": {"mask_stride": 2}}
STUDIES["variants"] = Plan(
    "other weights, matches and maps, from nothing and without the fill loss",
    {
        "masks": _criterion("true masks (the oracle)", supervision="masks"),
        "boxes": Row("the recipe, less the fill loss"),
        "boxinst": _criterion("without TK", supervision="boxinst"),
        "tk_1": _criterion("TK weight 1 (recipe: 5)", tk_weight=1.0),
        "pairwise_1": _criterion("pairwise weight 1 (recipe: 5)", pairwise_weight=1.0),
        "boxinst_1": _criterion("the same without TK", supervision="boxinst", pairwise_weight=1.0),
        "mild": _criterion(
            "both weights 1, D = 0.005", pairwise_weight=1.0, tk_weight=1.0, tk={"threshold": 0.005}
        ),
        "fine": Row("masks of stride 2 (recipe: 4)", FINE),
        "masks_fine": Row("oracle, stride 2", {**FINE, "criterion": {"supervision": "masks"}}),
    },
    settings={"criterion": {"fill_weight": 0.0}},
)
FROM_TINY_BOXES = {
    "init": "tiny_boxes",
    "steps": 400,
    "batch_size": 4,
    "learning_rate": 4e-4,
    "warmup_steps": 20,
    "criterion": {"box_warmup": 0.0},
}
STUDIES["switches"] = Plan(
    "other weights, neighbours and matches, in 400 more steps from tiny_boxes",
    {
        "recipe": Row("the recipe"),
        "masks": _criterion("true masks (the oracle)", supervision="masks"),
        "boxinst": _criterion("without TK", supervision="boxinst"),
        "tk": _criterion("without pairwise", pairwise_weight=0.0),
        "pairwise_1": _criterion("pairwise weight 1 (recipe: 5)", pairwise_weight=1.0),
        "boxinst_1": _criterion("the same without TK", supervision="boxinst", pairwise_weight=1.0),
        "tk_20": _criterion("TK weight 20 (recipe: 5)", tk_weight=20.0),
        "near": _criterion("neighbours 1 pixel away (recipe: 2)", pairwise_dilation=1),
        "like": _criterion("neighbours of similarity 0.6 (recipe: 0.3)", pairwise_threshold=0.6),
        "unlike": _criterion("neighbours of similarity 0.1", pairwise_threshold=0.1),
        "loose": _tk("matches of similarity 0.0005 (recipe: 0.05)", threshold=0.0005),
        "tube_5": Row("T = 5, 3 clips a step", {"clips": {"num_frames": 5}, "batch_size": 3}),
    },
    settings=FROM_TINY_BOXES,
)
STUDIES["fixed"] = Plan(
    "what supervises the masks, under a fixed camera before a fine, strong texture",
    STUDIES["main"].rows,
    style="fixed",
)
STUDIES["collapse"] = Plan(
    "when training from boxes fails, in 400 steps of 4 clips",
    {
        "recipe": Row("the recipe, less the fill loss"),
        "no_warmup": _criterion("no box warm-up", box_warmup=0.0),
        "no_warmup_fill": _criterion("no box warm-up, but the fill loss", box_warmup=0.0, fill_weight=2.0),
        "slow": Row("learning rate 1e-5", {"learning_rate": 1e-5}),
        "much_tk": _criterion("TK weight 500", tk_weight=500.0),
        "all_match": _tk("every patch matches (D = 0)", threshold=0.0),
        "fog": Row("homogeneous video (contrast 10 %)", contrast=0.1),
    },
    settings={"steps": 400, "batch_size": 4, "criterion": {"fill_weight": 0.0}},
)


def plan(name: str, rows: list[str] | None = None) -> Plan:
    """Return the study called `name`, with those of its rows that are wanted (None: all).

    Raises:
        InputError: no such study or row, or a row without the one before it that it learns from.

    >>> list(plan("colour").rows)
    ['lab', 'rgb']
    """
    if name not in STUDIES:
        raise InputError(f"study is {name!r}, expected one of {', '.join(STUDIES)}")
    study = STUDIES[name]
    for row in rows or ():
        if row not in study.rows:
            raise InputError(f"row of the study is {row!r}, expected one of {', '.join(study.rows)}")
    chosen = {row: study.rows[row] for row in rows or study.rows}
    for number, (name, row) in enumerate(chosen.items()):
        if row.teacher and row.teacher not in list(chosen)[:number]:
            raise InputError(
                f"row {name} learns from masks that {row.teacher} draws: name {row.teacher} before it"
            )
    return replace(study, rows=chosen)
