"""Training settings by name."""

# Not yet measured as a whole. What limits it: the model learns few long videos by heart, so the demo makes
# many short ones; 4500 steps of a model of this size, from nothing, see each of them about 20 times.
DEMO_DATA = {"train_videos": 800, "train_frames": 5}
DEMO = {
    "preset": "tiny",
    # the official no-object weight, 0.1, is meant for 100 queries: with 10, several answer for one object
    "criterion": {"supervision": "boxes", "box_warmup": 0.25, "no_object_weight": 1.0},
    "clips": {"num_frames": 3, "frame_range": 4},
    "steps": 4500,
    "batch_size": 4,
    "checkpoint_every": 500,
}
