"""What kernel modules share: small tables on the device, and how a configuration is listed."""

from functools import lru_cache

import torch
from torch import Tensor

OPTIONS = ("num_warps", "num_stages", "maxnreg", "enable_fp_fusion")


@lru_cache(maxsize=256)
def device_table(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Return `numbers` as int32 on `device`; the copy happens once, so later launches need no host sync."""
    return torch.tensor(numbers, dtype=torch.int32, device=device)


def aot_case(kernel, types: dict, constexprs: dict, launch: dict) -> tuple:
    """Return (kernel, signature, constexprs, options) for `triton.compile(ASTSource(...))`.

    Args:
        kernel: the jit function.
        types: of its run-time arguments, e.g. {"lab": "*fp32"}; arguments not named are int32.
        constexprs, launch: its constexpr arguments; those of a configuration come with the launch options.
    """
    options = {name: launch[name] for name in OPTIONS if name in launch}
    constexprs = constexprs | {name: value for name, value in launch.items() if name not in OPTIONS}
    signature = {
        name: "constexpr" if name in constexprs else types.get(name, "i32") for name in kernel.arg_names
    }
    return kernel, signature, constexprs, options
