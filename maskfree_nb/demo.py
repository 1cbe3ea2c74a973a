"""The whole method in one command: data, training from boxes, evaluation, pictures."""

import time
from pathlib import Path

import torch

from maskfree_nb import atomic
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.video import write_gif, write_mp4
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.evaluation.report import evaluate_model
from maskfree_nb.inference import draw_tracks, load_trained, predict_video
from maskfree_nb.launch import train_in_processes
from maskfree_nb.recipes import DEMO, DEMO_DATA
from maskfree_nb.train_config import TrainConfig
from maskfree_nb.viz.curves import plot_training


def run_demo(out: str | Path, *, seed: int = 0, processes: int | None = None, **overrides) -> dict:
    """Make a data set, train on its boxes, evaluate on its held-out videos, and draw the result.

    A demo that was interrupted goes on where it stopped.

    Args:
        out: gets `data/`, `train/`, `results.json`, `metrics.json` (AP in percent points; `refined` holds
            those of the masks redrawn along the colours, `temporal` along the matches between frames as
            well), `curves.png`, `overlay.mp4` and `overlay.gif`.
        seed: of the training; the data set is always the same.
        processes: of the training, see `train_in_processes`.
        overrides: fields of `TrainConfig` other than the recipe's, e.g. `steps`.

    Returns:
        The content of `metrics.json`.
    """
    out, began = Path(out), time.perf_counter()
    data = out / "data"
    print(f"1/4 data: {make_embedded(data, **DEMO_DATA)}")
    print("2/4 training from boxes alone")
    config = TrainConfig(
        **{
            **DEMO,
            "annotations": str(data / "train.json"),
            "images": str(data / "train" / "JPEGImages"),
            "seed": seed,
            **overrides,
        }
    )
    model_path = train_in_processes(config, out / "train", processes)
    print("3/4 evaluation")
    held_out = (model_path, data / "val.json", data / "val" / "JPEGImages")
    report = evaluate_model(*held_out)
    redrawn = {
        name: evaluate_model(*held_out, progress=False, **{flag: True}).metrics()
        for name, flag in (("refined", "refine"), ("temporal", "temporal"))
    }
    report.write(out)
    print(report.text())
    print(f"masks redrawn along the colours (--refine): AP {redrawn['refined']['AP']:.1f}")
    print(f"and along the matches between frames (--temporal): AP {redrawn['temporal']['AP']:.1f}")
    print("4/4 pictures")
    plot_training(out / "train" / "log.jsonl", out / "curves.png")
    draw_best_videos(model_path, data, out)
    seconds = round(time.perf_counter() - began, 1)
    metrics = {**report.metrics(), **redrawn, "seconds": seconds, "seed": seed}
    atomic.write_json(out / "metrics.json", metrics, indent=2)
    print(f"AP {metrics['AP']:.1f} in {metrics['seconds'] / 60:.1f} minutes; all of it is in {out}")
    return metrics


def draw_best_videos(model_path: Path, data: Path, out: Path, count: int = 3) -> None:
    """Draw the predicted tracks over the first `count` held-out videos, one after another."""
    model, metadata = load_trained(model_path)
    videos = load_ytvis(data / "val.json", data / "val" / "JPEGImages", masks=False)
    drawn = []
    for video in videos.videos[:count]:
        frames = video_frames(videos, video)
        tracks = predict_video(model, frames, image_size=metadata["image_size"])
        drawn.append(draw_tracks(frames, tracks, metadata["categories"], min_score=0.3))
    film = torch.cat(drawn)
    write_mp4(out / "overlay.mp4", film, fps=6)
    write_gif(out / "overlay.gif", film, fps=6)
