"""Small integer tables that kernels read: candidate offsets and frame pairs, one copy per device."""

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
def device_table(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Return `numbers` as int32 on `device`; the copy happens once, so later launches need no host sync."""
    return torch.tensor(numbers, dtype=torch.int32, device=device)
