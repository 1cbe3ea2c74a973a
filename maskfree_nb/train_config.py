"""All that decides a training run, in one JSON file."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from maskfree_nb.errors import InputError
from maskfree_nb.options import build


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run; stored as `config.json` in the run's folder.

    Attributes:
        annotations, images: the YouTube-VIS JSON file and the folder its file names are in; paths or text.
        preset, model: a preset's name and what differs from it (`ModelConfig` fields).
        criterion: `CriterionConfig` fields, the supervision among them.
        clips: `ClipConfig` fields: frames a clip, range, order, augmentation.
        steps, batch_size: optimiser steps; clips a step and process.
        learning_rate, backbone_factor, weight_decay, clip_norm, warmup_steps: AdamW with a linear rise and a
            cosine decay; the backbone learns `backbone_factor` times as fast.
        ema_decay: of the moving average of the weights that is kept as the result; 0: the weights themselves.
        init: a model to start from: one of `train`, the name of one that comes with the package
            (`pretrained`), or an official or Hugging Face checkpoint of the same shape; None: from nothing.
            The class head is drawn anew but where one of `train` knows the very classes of the annotations.
        checkpoint_every, keep_checkpoints: steps between checkpoints, and how many of them stay.
        mixed_precision: `no` or `bf16`.
        workers: processes that load clips; 0: none beside the training process.
        seed: of weights and clips.
    """

    annotations: str
    images: str
    preset: str = "tiny"
    model: dict = field(default_factory=dict)
    criterion: dict = field(default_factory=dict)
    clips: dict = field(default_factory=dict)
    steps: int = 4000
    batch_size: int = 4
    learning_rate: float = 1e-3
    backbone_factor: float = 1.0
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    warmup_steps: int = 100
    ema_decay: float = 0.0
    init: str | None = None
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    mixed_precision: str = "no"
    workers: int = 0
    seed: int = 0

    def __post_init__(self):
        for name in ("annotations", "images", "init"):
            if isinstance(path := getattr(self, name), Path):
                object.__setattr__(self, name, str(path))
        for name, valid, expected in (
            ("steps", self.steps >= 1, "at least 1"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
            ("learning_rate", self.learning_rate >= 0, "at least 0"),
            ("backbone_factor", self.backbone_factor >= 0, "at least 0"),
            ("weight_decay", self.weight_decay >= 0, "at least 0"),
            ("warmup_steps", self.warmup_steps >= 0, "at least 0"),
            ("clip_norm", self.clip_norm > 0, "above 0"),
            ("ema_decay", 0 <= self.ema_decay < 1, "0 <= ema_decay < 1"),
            ("checkpoint_every", self.checkpoint_every >= 1, "at least 1"),
            ("keep_checkpoints", self.keep_checkpoints >= 1, "at least 1"),
            ("mixed_precision", self.mixed_precision in ("no", "bf16"), "no or bf16"),
            ("workers", self.workers >= 0, "at least 0"),
            ("seed", self.seed >= 0, "at least 0"),
        ):
            if not valid:
                raise InputError(f"training option {name} is {getattr(self, name)!r}, expected {expected}")


def read_train_config(path: str | Path) -> TrainConfig:
    """Read a `config.json`.

    Raises:
        InputError: no such file, no JSON, an unknown or a missing option.
    """
    try:
        options = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot read the configuration: {error}") from None
    return build(TrainConfig, options, str(path))
