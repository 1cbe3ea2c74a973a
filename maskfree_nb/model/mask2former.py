"""Video Mask2Former: from a clip to the class and the mask tube of every query."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskfree_nb.errors import InputError
from maskfree_nb.model.config import PRESETS, ModelConfig, model_config
from maskfree_nb.model.pixel_decoder import PixelDecoder
from maskfree_nb.model.resnet import ResNet
from maskfree_nb.model.video_decoder import Prediction, VideoDecoder

__all__ = [
    "PRESETS",
    "Features",
    "ModelConfig",
    "Prediction",
    "VideoMask2Former",
    "model_config",
    "normalise_frames",
    "pad_to_multiple",
]

PIXEL_MEAN = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0..255
PIXEL_STD = (58.395, 57.12, 57.375)


class Features(NamedTuple):
    """What the model sees before any query asks."""

    backbone: dict[str, Tensor]  # "stem", "res2", .., "res5": [B, T, C, h, w] at strides 2, 4, 8, 16, 32
    levels: list[Tensor]  # three maps [B, T, C, h, w] at strides 32, 16, 8
    mask_features: Tensor  # [B, T, mask_dim, h, w]


class VideoMask2Former(nn.Module):
    """Mask2Former for video instance segmentation (Cheng et al., arXiv 2112.01527 and 2112.10764).

    Backbone and pixel decoder see each frame alone; the decoder's queries see all frames together, so that
    one query is one object in the whole clip.

    Args:
        config: see `model_config`.

    >>> model = VideoMask2Former(model_config("tiny", num_classes=4))
    >>> predictions = model(torch.zeros(1, 2, 3, 64, 96))
    >>> len(predictions), predictions[-1].logits.shape, predictions[-1].masks.shape
    (4, torch.Size([1, 10, 5]), torch.Size([1, 10, 2, 16, 24]))
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.depth, config.stem_width, config.width, config.norm)
        self.sem_seg_head = nn.ModuleDict({
            "pixel_decoder": PixelDecoder(config, self.backbone.channels),
            "predictor": VideoDecoder(config),
        })  # fmt: skip

    def forward(self, frames: Tensor) -> list[Prediction]:
        """Predict the objects of a batch of clips.

        Args:
            frames: float [B, T, 3, H, W] from `normalise_frames`; H and W multiples of 32.

        Returns:
            One Prediction for the learnt queries and one after each decoder layer; the last is the answer,
            all are trained. h, w = H, W / config.mask_stride.

        Raises:
            InputError: frames of another shape.
        """
        features = self.features(frames)
        return self.sem_seg_head["predictor"](features.levels, features.mask_features)

    def features(self, frames: Tensor) -> Features:
        """Return the maps of backbone and pixel decoder for `frames` [B, T, 3, H, W]."""
        if frames.dim() != 5 or frames.shape[2] != 3 or frames.shape[3] % 32 or frames.shape[4] % 32:
            raise InputError(
                f"frames have the shape {list(frames.shape)}, expected [B, T, 3, H, W] with H and W multiples"
                " of 32; pad_to_multiple pads them"
            )
        clips = frames.shape[:2]
        maps = self.backbone(frames.flatten(0, 1))
        levels, mask_features = self.sem_seg_head["pixel_decoder"](maps)
        return Features(
            {name: m.unflatten(0, clips) for name, m in maps.items()},
            [level.unflatten(0, clips) for level in levels],
            mask_features.unflatten(0, clips),
        )


def normalise_frames(frames: Tensor, valid_hw: Sequence[tuple[int, int]] | Tensor | None = None) -> Tensor:
    """Return (frame - mean) / std with ImageNet's mean and standard deviation of each colour.

    Args:
        frames: uint8 RGB (or float in 0..255) [..., 3, H, W].
        valid_hw: for padded frames [B, T, 3, H, W], the (height, width) of each clip without its padding,
            which becomes 0.

    Returns:
        float32, same shape.

    >>> normalise_frames(torch.zeros(3, 1, 1, dtype=torch.uint8)).flatten()
    tensor([-2.1179, -2.0357, -1.8044])
    """
    mean, std = (_of_each_colour(numbers, frames.device) for numbers in (PIXEL_MEAN, PIXEL_STD))
    out = (frames - mean) / std
    for clip, (height, width) in zip(out, valid_hw, strict=True) if valid_hw is not None else ():
        clip[..., height:, :] = 0
        clip[..., width:] = 0
    return out


def _of_each_colour(numbers: tuple[float, ...], device: torch.device) -> Tensor:
    """Return [3, 1, 1]; filled on the device, so that no copy makes it wait."""
    return torch.stack([torch.full((1, 1), number, device=device) for number in numbers])


def pad_to_multiple(frames: Tensor, multiple: int = 32) -> Tensor:
    """Pad frames [..., H, W] with zeros at the bottom and on the right, to multiples of `multiple`.

    >>> pad_to_multiple(torch.zeros(3, 90, 120)).shape
    torch.Size([3, 96, 128])
    """
    H, W = frames.shape[-2:]
    return F.pad(frames, (0, -W % multiple, 0, -H % multiple))
