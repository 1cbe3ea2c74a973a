"""A trained model held against true masks: video AP, and what its masks add over their boxes."""

from dataclasses import dataclass
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.data.ytvis import load_ytvis, verify_images
from maskfree_nb.evaluation.video_ap import VideoAP, boxes_as_masks, evaluate_videos, mean_track_iou
from maskfree_nb.inference import check_categories, load_trained, predict_set

DIGITS = 4  # of what is stored: shown with one digit, it must not be rounded twice


@dataclass(frozen=True)
class Report:
    """Results of one model on one data set.

    Attributes:
        results: in the YouTube-VIS format.
        ap: video AP of the predicted masks.
        box_fill_ap: the same after every mask was replaced by its filled box: what boxes alone are worth.
        mean_iou: mean over true tracks of the IoU with the best track of the same class, 0..1.
    """

    results: list[dict]
    ap: VideoAP
    box_fill_ap: VideoAP
    mean_iou: float

    def metrics(self) -> dict[str, float | None]:
        """The main figures in percent; None where there is nothing to score against."""
        figures = {name: self.ap.stats[name] for name in ("AP", "AP50", "AP75", "AR1", "AR10")}
        figures |= {"box_fill_AP": self.box_fill_ap.stats["AP"], "mean_IoU": self.mean_iou}
        return {name: round(100 * value, DIGITS) if value >= 0 else None for name, value in figures.items()}

    def classes(self) -> dict[str, float]:
        """AP of each class that has true tracks, in percent points."""
        rows = self.ap.per_category.values()
        return {row["name"]: round(100 * row["AP"], DIGITS) for row in rows if row["AP"] >= 0}

    def text(self) -> str:
        """The AP table, and the two figures that tell masks from boxes."""
        figures = {name: "-" if value is None else f"{value:.1f}" for name, value in self.metrics().items()}
        return (
            f"{self.ap.table()}\n"
            f"masks replaced by their boxes: AP {figures['box_fill_AP']}\n"
            f"mean IoU of true tracks with the best track of their class: {figures['mean_IoU']}"
        )

    def write(self, folder: str | Path) -> None:
        """Write `results.json`, and `metrics.json` with the main figures and `classes`, into `folder`."""
        atomic.write_json(Path(folder) / "results.json", self.results)
        metrics = {**self.metrics(), "classes": self.classes()}
        atomic.write_json(Path(folder) / "metrics.json", metrics, indent=2)


def evaluate_model(
    model_path: str | Path,
    annotations: str | Path,
    images: str | Path,
    *,
    image_size: int | None = None,
    refine: bool = False,
    temporal: bool = False,
    mask_scores: bool = False,
    progress: bool = True,
) -> Report:
    """Predict every video of a data set with true masks and score the result.

    Args:
        model_path: a `model.safetensors` of `train`.
        annotations, images: a YouTube-VIS JSON file with masks, and the folder its file names are in.
        image_size: the shortest edge that frames are resized to, in pixels; None: the size trained at.
        refine, temporal: redraw the masks along the colours of the frames, and along the matches between
            them, see `predict_video`.
        mask_scores: score each track by how sure its mask is, too.
        progress: show a progress bar.

    Raises:
        InputError: bad data, or a model of other categories.
    """
    model, metadata = load_trained(model_path)
    videos = load_ytvis(annotations, images, masks=True)
    check_categories(model_path, metadata, videos)
    verify_images(videos)
    size = image_size or metadata["image_size"]
    options = {"image_size": size, "refine": refine, "temporal": temporal, "mask_scores": mask_scores}
    results = predict_set(model, videos, **options, progress=progress)
    return Report(
        results=results,
        ap=evaluate_videos(annotations, results),
        box_fill_ap=evaluate_videos(annotations, boxes_as_masks(results)),
        mean_iou=mean_track_iou(annotations, results),
    )
