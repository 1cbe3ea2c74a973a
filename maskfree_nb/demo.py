"""The whole method in one command: data, training from boxes, masks for the boxes, training on these."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from maskfree_nb import atomic
from maskfree_nb.data.clips import video_frames
from maskfree_nb.data.embedded import make_embedded
from maskfree_nb.data.video import write_gif, write_mp4
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.evaluation.report import evaluate_model
from maskfree_nb.inference import load_trained, predict_video
from maskfree_nb.labelling import label_boxes
from maskfree_nb.launch import train_in_processes
from maskfree_nb.recipes import DEMO, DEMO_DATA, FIRST, SECOND
from maskfree_nb.train_config import TrainConfig
from maskfree_nb.viz.curves import plot_training
from maskfree_nb.viz.tracks import draw_tracks


def run_demo(out: str | Path, *, seed: int = 0, processes: int | None = None, **overrides) -> dict:
    """Make a data set, train on its boxes, evaluate on its held-out videos, and draw the result.

    A first, short training is from boxes alone. Its model draws masks into the training boxes, each after
    those of its class that are most like it (`shape_neighbours`), and a second model is trained on these. No
    true mask is trained on. A demo that was interrupted goes on where it stopped.

    Args:
        out: gets `data/`, `first/`, `masks.json`, `second/`, `results.json`, `metrics.json` (AP in percent
            points; `first` holds those of the first model, `refined` those of the masks redrawn along the
            colours, `temporal` along the matches between frames as well, `scored` of these with mask scores),
            `curves_first.png`, `curves.png`, `overlay.mp4` and `overlay.gif`.
        seed: of both trainings; the data set is always the same.
        processes: of each training, see `train_in_processes`.
        overrides: fields of `TrainConfig` other than the recipe's, e.g. `steps`, in both trainings.

    Returns:
        The content of `metrics.json`.
    """
    out, began = Path(out), time.perf_counter()
    data, images = out / "data", out / "data" / "train" / "JPEGImages"
    print(f"1/5 data: {make_embedded(data, **DEMO_DATA)}")

    def trained(name: str, recipe: dict, annotations: Path) -> Path:
        given = {"annotations": str(annotations), "images": str(images), "seed": seed}
        config = TrainConfig(**{**DEMO, **recipe, **given, **overrides})
        return train_in_processes(config, out / name, processes)

    print("2/5 the first training, from boxes alone")
    first = trained("first", FIRST, data / "train.json")
    print("3/5 its masks in the training boxes, after the shapes of their class")
    masks = out / "masks.json"
    if not masks.exists():
        with one_thread():
            print(label_boxes(first, data / "train.json", images, masks, shapes=True).text())
    print("4/5 the second training, on these masks")
    second = trained("second", SECOND, masks)

    print("5/5 evaluation and pictures")
    held_out = (data / "val.json", data / "val" / "JPEGImages")
    ways = {
        "first": (first, {}),
        "refined": (second, {"refine": True}),
        "temporal": (second, {"temporal": True}),
        "scored": (second, {"temporal": True, "mask_scores": True}),
    }
    with one_thread():
        report = evaluate_model(second, *held_out)
        others = {
            name: evaluate_model(model, *held_out, progress=False, **flags).metrics()
            for name, (model, flags) in ways.items()
        }
    report.write(out)
    print(report.text())
    print(f"the first model: AP {others['first']['AP']:.1f}")
    print(f"masks redrawn along the colours (--refine): AP {others['refined']['AP']:.1f}")
    print(f"and along the matches between frames (--temporal): AP {others['temporal']['AP']:.1f}")
    print(f"with tracks scored by their masks too (--mask-scores): AP {others['scored']['AP']:.1f}")
    plot_training(out / "first" / "log.jsonl", out / "curves_first.png")
    plot_training(out / "second" / "log.jsonl", out / "curves.png")
    draw_first_videos(second, data, out)
    seconds = round(time.perf_counter() - began, 1)
    metrics = {**report.metrics(), **others, "seconds": seconds, "seed": seed}
    atomic.write_json(out / "metrics.json", metrics, indent=2)
    print(f"AP {metrics['AP']:.1f} in {metrics['seconds'] / 60:.1f} minutes; all of it is in {out}")
    return metrics


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one CPU thread: on small frames several cost more than they bring."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draw_first_videos(model_path: Path, data: Path, out: Path, count: int = 3) -> None:
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
