"""From a video file to results and a film: what `maskfree predict` does."""

from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.data.video import read_frames, write_mp4
from maskfree_nb.inference import load_trained, predict_video, to_results
from maskfree_nb.viz.tracks import draw_tracks


def predict_source(
    model_path: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    image_size: int | None = None,
    min_score: float = 0.3,
    max_frames: int | None = None,
    refine: bool = False,
    temporal: bool = False,
    mask_scores: bool = False,
) -> None:
    """Segment and track the objects of a video file or a folder of frames.

    Writes `results.json` (YouTube-VIS results, all tracks) and `overlay.mp4` (tracks of at least `min_score`)
    into `out`. `refine`, `temporal` and `mask_scores` are those of `predict_video`.

    Raises:
        InputError: a model or a source that cannot be read, or an `out` that cannot be written into.
    """
    model, metadata = load_trained(model_path)
    frames, fps, _ = read_frames(source, max_frames=max_frames)
    for name in ("results.json", "overlay.mp4"):
        atomic.check_writable(Path(out) / name)
    size = image_size or metadata["image_size"]
    options = {"refine": refine, "temporal": temporal, "mask_scores": mask_scores}
    tracks = predict_video(model, frames, image_size=size, **options)
    results = to_results(1, tracks, [category["id"] for category in metadata["categories"]])
    film = draw_tracks(frames, tracks, metadata["categories"], min_score=min_score)
    atomic.write_json(Path(out) / "results.json", results)
    write_mp4(Path(out) / "overlay.mp4", film, fps=fps)
