"""From frames to tracks: run a trained model over whole videos."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from maskfree_nb.data import rle
from maskfree_nb.data.clips import PADDING, video_frames
from maskfree_nb.data.frames import resize_shortest_edge
from maskfree_nb.data.ytvis import VideoSet
from maskfree_nb.errors import InputError, InputWarning
from maskfree_nb.mean_field import finer
from maskfree_nb.model.checkpoints import load_model, read_metadata
from maskfree_nb.model.mask2former import VideoMask2Former, normalise_frames, pad_to_multiple
from maskfree_nb.model.postprocess import Instances, top_instances
from maskfree_nb.model.video_decoder import Prediction
from maskfree_nb.temporal_links import temporal_links
from maskfree_nb.tkloss.lab import rgb_to_lab

LARGE_VIDEO = 20_000_000  # pixels of all frames of a video


def load_trained(path: str | Path) -> tuple[VideoMask2Former, dict]:
    """Load a model of `train`, on the GPU if there is one, and what it knows of its data.

    Returns:
        (model, metadata): metadata has `categories` (`id` and `name` of each class) and `image_size` (the
        shortest edge that it was trained at, in pixels, or None).

    Raises:
        InputError: the file cannot be read, is another program's, or was not written by `train`.
    """
    model, metadata = load_model(path), read_metadata(path)
    if not {"categories", "image_size"} <= metadata.keys():
        raise InputError(f"{path}: holds weights without category names; `maskfree train` writes both")
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), metadata


def check_categories(model_path: str | Path, metadata: dict, videos: VideoSet) -> None:
    """Raise InputError unless the classes of a trained model are those of a data set, in their order."""
    names = [category.name for category in videos.categories]
    trained = [category["name"] for category in metadata["categories"]]
    if names != trained:
        raise InputError(
            f"{model_path}: was trained for {', '.join(trained)}; {videos.source} has {', '.join(names)}; "
            "the same classes are needed, in all: train on these first"
        )


class Seen(NamedTuple):
    """One video as a model has seen it."""

    prediction: Prediction  # of the last layer, a batch of one clip
    frames: Tensor  # uint8 [T, 3, H, W], resized and padded with zeros, on the model's device
    valid_hw: tuple[int, int]  # height and width without the padding


class Ready(NamedTuple):
    """The frames of one video as models see them."""

    frames: Tensor  # uint8 [T, 3, H, W], resized and padded with zeros
    valid_hw: tuple[int, int]  # height and width without the padding


def ready_video(frames: Tensor, image_size: int | None = None) -> Ready:
    """Resize uint8 frames [T, 3, H, W] to a shortest edge in pixels, and pad them to multiples of 32."""
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
        raise InputError(
            f"frames are {frames.dtype} {list(frames.shape)}, expected torch.uint8 [T, 3, H, W], RGB, 0..255"
        )
    if image_size is not None and min(frames.shape[-2:]) != image_size:
        frames = resize_shortest_edge(frames, image_size)
    return Ready(pad_to_multiple(frames, PADDING), tuple(frames.shape[-2:]))


@torch.no_grad()
def see_video(model: VideoMask2Former, frames: Tensor, image_size: int | None = None) -> Seen:
    """Resize uint8 frames [T, 3, H, W] to a shortest edge in pixels, pad them, and show all to the model."""
    ready = ready_video(frames, image_size)
    model.eval()
    height, width = ready.valid_hw
    if len(frames) * height * width > LARGE_VIDEO:
        warnings.warn(
            f"all {len(frames)} frames of {width}x{height} are seen at once: memory and time grow with their "
            "pixels; image_size (--image-size 160) makes them smaller",
            InputWarning,
            stacklevel=3,
        )
    padded = ready.frames.to(next(model.parameters()).device)
    valid = normalise_frames(padded[..., :height, :width])
    return Seen(model(pad_to_multiple(valid, PADDING)[None])[-1], padded, ready.valid_hw)


@torch.no_grad()
def predict_video(
    model: VideoMask2Former,
    frames: Tensor,
    *,
    image_size: int | None = None,
    max_instances: int = 10,
    refine: bool = False,
    temporal: bool = False,
    mask_scores: bool = False,
) -> Instances:
    """Find and follow the instances of one video; all frames are seen at once, so identities need no linking.

    Args:
        model: a trained model; its device is used.
        frames: uint8 [T, 3, H, W], RGB.
        image_size: the shortest edge that frames are resized to first, in pixels; None: as they are.
        max_instances: how many (query, class) pairs are kept.
        refine: redraw the masks along the colours of the frames, at twice the resolution of the mask maps;
            slower, sharper.
        temporal: redraw them along the matches between frames as well (`temporal_links`); several times
            slower still. Implies `refine`.
        mask_scores: score each track by how sure its mask is, too, see `top_instances`.

    Returns:
        `Instances`, best first, with masks at H x W.
    """
    size = tuple(frames.shape[-2:])
    seen = see_video(model, frames, image_size)
    padded_hw, lab, links = tuple(seen.frames.shape[-2:]), None, None
    if refine or temporal:
        lab = rgb_to_lab(seen.frames, finer(model.config.mask_stride), quantise=False)
        links = temporal_links(lab) if temporal else None
    options = {"k": max_instances, "lab": lab, "links": links, "mask_scores": mask_scores}
    found = top_instances(seen.prediction, seen.valid_hw, size, padded_hw, **options)
    return Instances(*(tensor.cpu() for tensor in found))


def predict_set(
    model: VideoMask2Former,
    videos: VideoSet,
    *,
    image_size: int | None = None,
    refine: bool = False,
    temporal: bool = False,
    mask_scores: bool = False,
    progress: bool = True,
) -> list[dict]:
    """Predict every video of a set as `predict_video` does; returns YouTube-VIS results, see `to_results`."""
    options = {"image_size": image_size, "refine": refine, "temporal": temporal, "mask_scores": mask_scores}
    results = []
    for video in tqdm(videos.videos, disable=not progress, mininterval=2.0, desc="predict"):
        frames = video_frames(videos, video)
        tracks = predict_video(model, frames, **options)
        results += to_results(video.id, tracks, [category.id for category in videos.categories])
    return results


def to_results(video_id: int, tracks: Instances, category_ids: Iterable[int]) -> list[dict]:
    """Tracks as YouTube-VIS results: `video_id category_id score segmentations`, one RLE or None a frame."""
    category_ids = list(category_ids)
    return [
        {
            "video_id": video_id,
            "category_id": category_ids[label],
            "score": score,
            "segmentations": [rle.encode(mask.numpy()) if mask.any() else None for mask in masks],
        }
        for score, label, masks in zip(
            tracks.scores.tolist(), tracks.labels.tolist(), tracks.masks, strict=True
        )
    ]
