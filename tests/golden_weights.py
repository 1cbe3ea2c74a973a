"""The weights of the golden model: a random number rule for every tensor name, nothing stored."""

import zlib

import numpy as np
import torch
from torch import Tensor


def golden_weight(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Return the float32 tensor that the golden numbers' README gives to `name`: the first rule that fits."""
    z = np.random.default_rng([seed, zlib.crc32(name.encode("ascii"))]).standard_normal(shape)
    leaf = name.rsplit(".", 1)[-1]
    n_in = np.prod(shape[1:])
    if leaf == "running_var":
        value = 0.5 + np.abs(z)
    elif leaf == "running_mean":
        value = 0.1 * z
    elif "sampling_offsets" in name:
        value = 1.5 * z if leaf == "bias" else 0.5 * z / np.sqrt(shape[1])
    elif any(part in name for part in ("level_embed", "query_feat", "query_embed")):
        value = z
    elif "relative_position_bias_table" in name:
        value = 0.5 * z
    elif len(shape) == 1 and leaf == "weight":
        value = (0.4 if name.endswith("conv3.norm.weight") else 1.0) * (1 + 0.1 * z)
    elif len(shape) == 1:
        value = 0.1 * z
    elif "predictor" in name and name.endswith(("out_proj.weight", "linear2.weight")):
        value = 0.25 * z / np.sqrt(shape[1])
    elif "predictor" in name and name.endswith("in_proj_weight"):
        value = np.repeat([2.0, 2.0, 0.5], shape[1])[:, None] * z / np.sqrt(shape[1])
    elif name.startswith("backbone.") and len(shape) == 4 and shape[-1] != 4:
        value = z * np.sqrt(2 / n_in)
    else:
        value = z / np.sqrt(n_in)
    return torch.from_numpy(value.astype(np.float32))
