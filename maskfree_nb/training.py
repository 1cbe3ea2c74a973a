"""Training: one process or many, resumable at any moment, one JSON line a step."""

import json
import math
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from maskfree_nb import atomic
from maskfree_nb.alarms import Alarms
from maskfree_nb.criterion import Criterion, CriterionConfig
from maskfree_nb.data.clips import ClipBatch, ClipConfig, ClipDataset, collate_clips
from maskfree_nb.data.ytvis import VideoSet, load_ytvis, verify_images
from maskfree_nb.errors import InputError, InputWarning, TrainingDiverged
from maskfree_nb.model.checkpoints import is_ours, load_model, load_official, read_metadata, save_model
from maskfree_nb.model.mask2former import ModelConfig, VideoMask2Former, model_config, normalise_frames
from maskfree_nb.options import build
from maskfree_nb.pretrained import pretrained
from maskfree_nb.run_folder import claim, load_newest_checkpoint, save_checkpoint, trim_log
from maskfree_nb.schedules import learning_rate_factor
from maskfree_nb.train_config import TrainConfig

LARGE_STEP = 4_000_000  # pixels of all frames of a step and process


def train(config: TrainConfig, out: str | Path, *, resume: bool = False, progress: bool = True) -> Path:
    """Train a model from `config` into the folder `out`.

    Leaves `config.json`, `log.jsonl` (one object a step), `checkpoints/step_*/` and, at the end,
    `model.safetensors`. What goes wrong without the loss saying so is printed, and logged: see `Alarms`. The
    clips of a step depend on the seed and the step alone, so a resumed run sees what the uninterrupted one
    would have seen; on a CPU it ends with the same weights.

    Args:
        config: the run.
        out: its folder; must not hold another run unless `resume`.
        resume: go on from the newest checkpoint, or start if there is none; a run that is done stays.
        progress: show a progress bar.

    Returns:
        The path of `model.safetensors`.

    Raises:
        InputError: bad data or options; raised before the first step.
        TrainingDiverged: a loss or gradient that is not finite.
    """
    out = Path(out)
    claim(out, config, resume)
    path = out / "model.safetensors"
    if path.exists():
        return path
    criterion_options = build(CriterionConfig, config.criterion, "option criterion")
    clip_options = build(ClipConfig, config.clips, "option clips")
    videos = load_ytvis(config.annotations, config.images, masks=criterion_options.supervision == "masks")
    verify_images(videos)
    _warn_of_large_clips(videos, clip_options, config.batch_size)

    AcceleratorState._reset_state()  # one process may train several times, as notebooks do
    accelerator = Accelerator(mixed_precision=config.mixed_precision, cpu=not torch.cuda.is_available())
    set_seed(config.seed)
    model = _build_model(config, videos)
    _check_queries(videos, model.config.num_queries)
    criterion = Criterion(criterion_options, model.config.mask_stride).to(accelerator.device)
    dataset = ClipDataset(
        videos, clip_options, config.seed, config.steps * config.batch_size * accelerator.num_processes
    )
    optimizer = torch.optim.AdamW(_parameter_groups(model, config), lr=config.learning_rate, fused=True)
    average = None
    if config.ema_decay > 0:
        average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        accelerator.register_for_checkpointing(average)
    model, optimizer = accelerator.prepare(model, optimizer)
    if average is not None:
        average.to(accelerator.device)
    accelerator.register_for_checkpointing(criterion)

    atomic.check_writable(out / "config.json")
    checkpoints = out / "checkpoints"
    start = load_newest_checkpoint(accelerator, checkpoints) if resume else 0
    if accelerator.is_main_process:
        atomic.write_json(out / "config.json", asdict(config), indent=2)
        trim_log(out / "log.jsonl", start)
    accelerator.wait_for_everyone()

    model.train()
    batches = _batches(accelerator, dataset, config, start)
    alarms = Alarms(criterion.tk_loss.options["k"])
    if start and accelerator.is_main_process:
        for line in (out / "log.jsonl").read_text().splitlines():
            alarms.update(json.loads(line))
    bar = tqdm(
        range(start, config.steps),
        initial=start,
        total=config.steps,
        disable=not (progress and accelerator.is_main_process),
        mininterval=2.0,
        desc=criterion_options.supervision,
    )
    with open(out / "log.jsonl", "a") if accelerator.is_main_process else open(os.devnull, "w") as log:
        for step in bar:
            began = time.perf_counter()
            figures = _step(accelerator, model, criterion, optimizer, next(batches), step, config)
            if average is not None:
                average.update_parameters(accelerator.unwrap_model(model))
            figures["seconds"] = round(time.perf_counter() - began, 4)
            heard = [] if criterion_options.supervision == "masks" else alarms.update(figures)
            log.write(_log_line(step, figures, heard))
            log.flush()
            for message in heard if accelerator.is_main_process else ():
                tqdm.write(f"alarm at step {step}: {message}")
            bar.set_postfix(loss=f"{figures['loss']:.3f}", refresh=False)
            if (step + 1) % config.checkpoint_every == 0 and step + 1 < config.steps:
                save_checkpoint(accelerator, checkpoints, step + 1, config.keep_checkpoints)

    if accelerator.is_main_process:
        result = average.module if average is not None else accelerator.unwrap_model(model)
        save_model(path, result, metadata=_model_metadata(videos, clip_options))
    accelerator.wait_for_everyone()
    return path


def _build_model(config: TrainConfig, videos: VideoSet) -> VideoMask2Former:
    classes = {"num_classes": len(videos.categories)}
    build(ModelConfig, {**config.model, **classes}, "option model")
    wanted = model_config(config.preset, **{**config.model, **classes})
    if config.init is None:
        if wanted.norm == "frozen_bn":
            warnings.warn(
                'model.norm is "frozen_bn", which is for pretrained weights, and there are none: '
                'give init, a checkpoint, or model.norm="gn"',
                InputWarning,
                stacklevel=3,
            )
        return VideoMask2Former(wanted)
    named = not Path(config.init).suffix
    init = pretrained(config.init) if named else Path(config.init)
    names, same_classes = [category.name for category in videos.categories], False
    if is_ours(init):
        found = load_model(init).config
        if replace(found, **classes) != wanted:
            raise InputError(
                f"{init}: holds another model ({found}) than the run asks for ({wanted}); choose its preset "
                "and its options of the model"
            )
        same_classes = [each["name"] for each in read_metadata(init).get("categories", ())] == names
    model = VideoMask2Former(wanted)
    load_official(model, init, reset_class_head=not same_classes)
    return model


def _warn_of_large_clips(videos: VideoSet, clips: ClipConfig, batch_size: int) -> None:
    """Warn where the frames of a step have very many pixels and nothing was said about their size."""
    if clips.image_sizes or clips.crop or clips.crop_share:
        return
    largest = max(videos.videos, key=lambda video: video.width * video.height)
    pixels = batch_size * clips.num_frames * largest.width * largest.height
    if pixels > LARGE_STEP:
        warnings.warn(
            f"{videos.source}: frames are up to {largest.width}x{largest.height} and trained on as they are, "
            f"{batch_size * clips.num_frames} a step: memory and time grow with their pixels; "
            "clips.image_sizes (--image-size 160) makes them smaller",
            InputWarning,
            stacklevel=3,
        )


def _check_queries(videos: VideoSet, queries: int) -> None:
    """Each object of a clip needs a query of its own."""
    for video in videos.videos:
        objects = sum(not track.is_crowd for track in video.tracks)
        if objects > queries:
            raise InputError(
                f"{videos.source}: video {video.id} has {objects} objects, the model only {queries} queries; "
                f"train with model.num_queries={objects} or more, or leave this video out"
            )


def _model_metadata(videos: VideoSet, clips: ClipConfig) -> dict:
    """What prediction needs besides the weights: category names, and the frame size trained at."""
    sizes = clips.image_sizes
    return {
        "categories": [{"id": category.id, "name": category.name} for category in videos.categories],
        "image_size": max(sizes) if sizes else None,
    }


def _parameter_groups(model: VideoMask2Former, config: TrainConfig) -> list[dict]:
    """No weight decay for norms, biases and embeddings; another rate for the backbone."""
    embeddings = {m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    groups: dict[tuple[bool, bool], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            learnt_code = parameter in embeddings or name.endswith("level_embed")
            decays = parameter.ndim > 1 and not learnt_code
            groups.setdefault((name.startswith("backbone."), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "weight_decay": config.weight_decay if decays else 0.0,
            "factor": config.backbone_factor if backbone else 1.0,
        }
        for (backbone, decays), parameters in groups.items()
    ]


def _batches(
    accelerator: Accelerator, dataset: ClipDataset, config: TrainConfig, start: int
) -> Iterator[ClipBatch]:
    """The batches of this process from step `start` on."""
    first = start * config.batch_size * accelerator.num_processes
    remaining = torch.utils.data.Subset(dataset, range(first, len(dataset)))
    loader = DataLoader(
        remaining,
        batch_size=config.batch_size,
        collate_fn=collate_clips,
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
    )
    return iter(accelerator.prepare_data_loader(loader, device_placement=False))


def _step(
    accelerator: Accelerator,
    model: torch.nn.Module,
    criterion: Criterion,
    optimizer: torch.optim.Optimizer,
    batch: ClipBatch,
    step: int,
    config: TrainConfig,
) -> dict[str, float]:
    """One optimiser step; returns the figures of its log line, averaged over processes."""
    factor = learning_rate_factor(step, config.steps, config.warmup_steps)
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * factor * group["factor"]
    batch = batch.to(accelerator.device)
    with accelerator.autocast():
        predictions = model(normalise_frames(batch.frames, batch.valid_hw))
    average = partial(accelerator.reduce, reduction="mean") if accelerator.num_processes > 1 else None
    loss, terms = criterion(predictions, batch, step / config.steps, average)

    figures = _average_over_processes(accelerator, {"loss": loss.detach(), **terms})
    if not math.isfinite(figures["loss"]):
        raise TrainingDiverged(_diverged(step, "loss", figures, batch))
    optimizer.zero_grad(set_to_none=True)
    accelerator.backward(loss)
    norm = float(accelerator.clip_grad_norm_(model.parameters(), config.clip_norm))
    if not math.isfinite(norm):
        raise TrainingDiverged(_diverged(step, "gradient", figures, batch))
    optimizer.step()
    return {"lr": config.learning_rate * factor, "gradient_norm": round(norm, 5), **figures}


def _average_over_processes(accelerator: Accelerator, values: dict[str, Tensor]) -> dict[str, float]:
    """The mean of each figure; of `box_fill`, NaN in a process without objects, over the other processes."""
    stacked = torch.stack([value.float().to(accelerator.device) for value in values.values()])
    counts = torch.tensor([float(name != "box_fill") for name in values], device=accelerator.device)
    counts = torch.maximum(counts, stacked.isfinite().float())
    stacked = stacked.where(counts > 0, 0)
    stacked = accelerator.reduce(stacked, reduction="sum") / accelerator.reduce(counts, reduction="sum")
    return {name: float(f"{value:.6g}") for name, value in zip(values, stacked.tolist(), strict=True)}


def _log_line(step: int, figures: dict[str, float], heard: list[str]) -> str:
    """One JSON object; a figure that does not exist in this batch (no object in any clip) is null."""
    known = {name: value if math.isfinite(value) else None for name, value in figures.items()}
    return json.dumps({"step": step, **known, **({"alarms": heard} if heard else {})}) + "\n"


def _diverged(step: int, what: str, figures: dict[str, float], batch: ClipBatch) -> str:
    clips = "; ".join(f"video {clip.video_id}, frames {list(clip.frame_indices)}" for clip in batch.targets)
    terms = ", ".join(f"{name} {value}" for name, value in figures.items() if name.startswith("loss"))
    return (
        f"step {step}: the {what} is not finite ({terms}); the batch was: {clips}. "
        "The last checkpoint is kept; start again with a lower learning rate."
    )
