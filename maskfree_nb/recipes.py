"""Training settings that were measured, by name."""

DEMO = {
    "preset": "tiny",
    "criterion": {"supervision": "boxes"},
    "clips": {"num_frames": 3, "frame_range": 4},
    "steps": 3000,
    "batch_size": 4,
}
