"""What kernel modules share: small tables on the device, how a configuration is listed, who runs it."""

from functools import cache

import torch
import triton
from torch import Tensor

OPTIONS = ("num_warps", "num_stages", "maxnreg", "enable_fp_fusion")

# whether kernels are interpreted; triton decided when it was first imported, maybe long before this package
INTERPRETED = not isinstance(triton.language.zeros, triton.JITFunction)

# of the ops that call `device_table`: torch.compile must not record its first copy into a CUDA graph
TABLE_TAGS = (torch.Tag.cudagraph_unsafe,)


@cache
def device_table(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Return `numbers` as int32 on `device`; the copy happens once, so later launches need no host sync.

    Tables are kept for good: a CUDA graph that was recorded with one reads it wherever it lay.
    """
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
