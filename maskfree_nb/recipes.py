"""Training settings by name."""

# Many short videos: a model of this size learns few long ones by heart.
DEMO_DATA = {"train_videos": 1600, "train_frames": 5}
DEMO = {
    "preset": "tiny",
    "criterion": {
        "supervision": "boxes",
        "matching": "filled",
        "box_warmup": 0.2,
        # with 10 queries and the official no-object weight, 0.1, several answer for one object; a larger one
        # dilutes the classes in the mean over queries, so the whole term counts for more
        "no_object_weight": 0.5,
        "class_weight": 5.0,
        # masks from boxes lack parts of objects that look like what is behind them; see `maskfree study fill`
        "fill_weight": 2.0,
        "fill_floor": 0.4,
    },
    "clips": {"num_frames": 3, "frame_range": 4},
    "steps": 3600,
    "batch_size": 8,
    "checkpoint_every": 400,
}

# What differs in the two trainings of `maskfree demo`: a first, short one, of a model whose masks serve as
# shapes only, and a second, from nothing, on the masks drawn after these shapes. As many frames in more
# steps teach more (`benchmarks/results/README.md`); TK-Loss, in the first, is given the longer clips.
FIRST = {"steps": 800, "batch_size": 4, "clips": DEMO["clips"]}
SECOND = {
    "steps": 4500,
    "batch_size": 4,
    "clips": {**DEMO["clips"], "num_frames": 2},
    "criterion": {**DEMO["criterion"], "supervision": "masks"},
}
