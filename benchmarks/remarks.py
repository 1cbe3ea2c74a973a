"""What is said below the tables of the results page, by study: sentences, typed by hand."""

from maskfree_nb.recipes import FIRST

DRAWN = (
    "Behind a row of masks that another *draws* are two trainings, that of the other and one of its own on "
    "the masks that the other drew into the training boxes (`maskfree label`): twice the steps, no true mask "
    "(but how far masks are raised, to a span of 0.9, was chosen by those of 120 training videos)."
)
BEFORE_SHAPES = (
    f"Before a row of *class shapes* a model is trained from boxes for {FIRST['steps']} steps of "
    f"{FIRST['batch_size']} clips, a row of its own; `maskfree label --shapes` draws its masks after those "
    "of their class that are most like each (`shape_neighbours.py`), and the row trains on these for as many "
    "steps as the oracle"
)
NO_MASK = (
    "No true mask is trained on; the constants of the shapes were chosen by those of the first 300 training "
    "videos."
)
SHAPES = (
    f" {BEFORE_SHAPES}: from nothing, or *going on* from the weights of the short training, a start that the "
    f"oracle does not have. {NO_MASK}"
)
STEPS = (
    f"{BEFORE_SHAPES}. {NO_MASK} `make demo` trains so, by two processes. The short trainings, of 3 frames a "
    "clip, and the masks that they drew are those of the study in 1500 steps, below: as many frames in fewer "
    "steps. The steps were chosen by one seed of the oracle, on the 50 videos."
)
PUBLISHED = (
    "The published code (SysCV/MaskFreeVIS) multiplies its TK-Loss by 0.1, and by the weight of its mask "
    "losses, 5: a weight of 0.5 here, where the recipe has 5. The runs of weight 5 are those of the main "
    "study in as many steps, above."
)
DAVIS = (
    "The clips are of DAVIS 2016, cut into frames to train on and frames to score with: the same objects and "
    "places are in both. Neither they nor their annotations are part of this project."
)
REMARKS = {
    "study_steps": STEPS,
    "study_fresh_steps": STEPS,
    "study": DRAWN + SHAPES,
    "study_fresh": DRAWN + SHAPES,
    "study_fresh_redrawn": DRAWN,
    "study_weight_steps": PUBLISHED,
    "study_fresh_weight_steps": PUBLISHED,
    "study_composites_steps": f"{DAVIS} In more steps than in the "
    "next but one table all rows have learnt more, and TK-Loss at the weight of the recipe harms.",
    "study_composites_weight_steps": PUBLISHED,
    "study_composites": DAVIS,
    "study_composites_fine": "In frames of this size composites look to the losses more as real clips do, by "
    "`maskfree data stats`. A tenth of the weight, because at the whole of it TK-Loss took more away: see "
    "*the weight of TK-Loss, composites of real video*, chosen after that run.",
    "study_composites_weight": "What grows with the weight is the part that is missing inside of objects "
    "(*missing, far*): at weight 5 an elephant and a bear lose the lower half, which is in shade (seen in "
    "pictures). The runs of weight 0.5 are those of the main study in finer "
    "frames, above.",
    "study_clips": "The clips are of DAVIS 2016, their frames resized to a height of 160 pixels. The oracle, "
    "which sees their true masks, says how well this model can draw them. `tiny_boxes` was trained "
    "with TK-Loss, on the embedded videos: no row is free of it. What TK-Loss changes most is a swan: "
    "without it, the masks take in the bank and the water between neck and back, which move against it.",
    "study_clips_coarse": "As above, but with frames of 96 pixels, and so with masks of 24 x 43 cells.",
    "study_clips_weight": "The runs of weight 5 are those of the main study of these clips, above. A tenth "
    "of the weight adds little to the pairwise loss here.",
    "study_length": "Ablations of 800 steps of 4 clips are trainings in which true masks are worth little "
    "more than boxes; in the main study, of nearly four times as many clips, the gap is wider.",
    "study_start": "What the oracle makes of the start that the row which goes on has in the main study. "
    "Both seeds have the start of its seed 0.",
    "study_long": "`tiny_boxes`, which ships as well, is a third run of the training of *projection + "
    "pairwise + TK*, by two processes.",
    "study_collapse": "*every patch matches* sounds its alarm, but did not fail in so short a run.",
}
