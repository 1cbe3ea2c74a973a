"""Every choice that shapes a model, and the named sizes from a laptop's to the paper's."""

from dataclasses import dataclass, replace

from maskfree_nb.errors import InputError


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a Video Mask2Former; the defaults are the official ResNet-50 model of YouTube-VIS 2019.

    `dataclasses.asdict` gives plain JSON; `ModelConfig(**it)` reads it back.
    """

    num_classes: int = 40  # without the no-object class
    num_queries: int = 100
    depth: int = 50  # of the ResNet: 18, 34, 50 or 101
    stem_width: int = 64
    width: int = 64  # of the first stage; it doubles at each of the three that follow
    norm: str = "frozen_bn"  # of the ResNet: "frozen_bn" for pretrained weights, "gn" to train from scratch
    hidden_dim: int = 256
    mask_dim: int = 256
    heads: int = 8
    points: int = 4  # that each head of the pixel decoder samples from each map
    encoder_layers: int = 6  # of the pixel decoder
    encoder_ffn: int = 1024
    decoder_layers: int = 9  # of the video decoder
    decoder_ffn: int = 2048
    mask_stride: int = 4  # image pixels to a mask pixel: 4, or 2 for small images

    def __post_init__(self):
        allowed = {"depth": (18, 34, 50, 101), "norm": ("frozen_bn", "gn"), "mask_stride": (4, 2)}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise InputError(f"model config: {name} is {getattr(self, name)!r}, expected one of {values}")
        if self.hidden_dim % self.heads or self.hidden_dim % 4:
            raise InputError(
                f"model config: hidden_dim is {self.hidden_dim}, expected a multiple of 4 and of heads, "
                f"which is {self.heads}"
            )


PRESETS = {
    "tiny": ModelConfig(
        depth=18, stem_width=16, width=16, norm="gn", num_queries=10, hidden_dim=64, mask_dim=32, heads=4,
        encoder_layers=1, encoder_ffn=128, decoder_layers=3, decoder_ffn=256,
    ),
    "small": ModelConfig(
        depth=18, stem_width=32, width=32, norm="gn", num_queries=30, hidden_dim=128, mask_dim=64, heads=8,
        encoder_layers=3, encoder_ffn=512, decoder_layers=6, decoder_ffn=512,
    ),
    "r50": ModelConfig(depth=50),
    "r101": ModelConfig(depth=101),
}  # fmt: skip


def model_config(preset: str, *, num_classes: int, **overrides) -> ModelConfig:
    """Return the configuration called `preset`, with `num_classes` classes and any field overridden.

    Raises:
        InputError: an unknown preset or field, or a value that no model can be built from.

    >>> model_config("tiny", num_classes=4, num_queries=20).num_queries
    20
    """
    if preset not in PRESETS:
        raise InputError(f"model preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    unknown = overrides.keys() - ModelConfig.__dataclass_fields__.keys()
    if unknown:
        raise InputError(
            f"model config: no field {', '.join(sorted(unknown))}; fields are "
            + ", ".join(ModelConfig.__dataclass_fields__)
        )
    return replace(PRESETS[preset], num_classes=num_classes, **overrides)
