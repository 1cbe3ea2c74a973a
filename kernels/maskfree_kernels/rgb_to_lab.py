"""Frames to CIE-Lab maps: average pool, sRGB -> linear -> XYZ -> Lab, in one pass.

    c = ((v + .055) / 1.055)^2.4 if v > .04045 else v / 12.92,    XYZ = M c / white,
    f(u) = cbrt(u) if u > .008856 else 7.787 u + 16 / 116,
    L = 116 f(Y) - 16,    a = 500 (f(X) - f(Y)),    b = 200 (f(Y) - f(Z)),    v in 0..1, rounded down to 1/255

A program makes ROWS x COLUMNS pixels of the map. For strides 1, 2, 4, 8 and 16 it reads each row of the frame
in one piece (16 bytes a thread for uint8 and stride 4) and adds up groups of STRIDE neighbours; other strides
read pixel by pixel. Roots are an exponential of a logarithm and one Newton step, exact to about 1e-7.

Bytes: reads frames [..., 3, H, W] once, writes 12 a pixel of the map.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from maskfree_kernels.tables import INTERPRETED, aot_case

# Configs: by stride; 512 pixels of the frame's row(s) a warp and load, 128 of the map for stride 4.
CONFIGS = {
    1: dict(ROWS=1, COLUMNS=128, num_warps=1),
    2: dict(ROWS=2, COLUMNS=64, num_warps=1),
    4: dict(ROWS=4, COLUMNS=32, num_warps=1),
    8: dict(ROWS=4, COLUMNS=16, num_warps=1),
    16: dict(ROWS=4, COLUMNS=8, num_warps=1),
    "other": dict(ROWS=4, COLUMNS=32, num_warps=1),
    "interpreter": dict(ROWS=16, COLUMNS=32),
}
WIDE_STRIDES = (1, 2, 4, 8, 16)
DTYPES = (torch.uint8, torch.float32, torch.bfloat16, torch.float16, torch.float64)


@triton.jit
def _power_2_4(x):
    """x^2.4 = x² (x^0.2)², 0 < x."""
    root = tl.exp2(tl.log2(x) * 0.2)
    root4 = root * root * root * root
    root -= (root4 * root - x) / (5 * root4)
    return x * x * root * root


@triton.jit
def _lab_curve(u):
    root = tl.exp2(tl.log2(tl.maximum(u, 0.008)) * (1 / 3))
    root -= (root * root * root - u) / (3 * root * root)
    return tl.where(u > 0.008856, root, 7.787 * u + 16 / 116)


@triton.jit
def _linear(
    channel,
    y,
    first_column,
    h,
    w,
    W,
    STRIDE: tl.constexpr,
    WIDE: tl.constexpr,
    QUANTISE: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Pool one channel of the block's pixels and make it linear, [ROWS, COLUMNS]."""
    ROWS: tl.constexpr = y.shape[0]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    for i in range(STRIDE):
        row = channel + (y * STRIDE + i)[:, None] * W
        if WIDE:
            column = first_column * STRIDE + tl.arange(0, COLUMNS * STRIDE)
            inside = (y < h)[:, None] & (column < W)[None, :]
            values = tl.load(row + column[None, :], mask=inside, other=0).to(tl.float32)
            total += tl.sum(tl.reshape(values, [ROWS, COLUMNS, STRIDE]), 2)
        else:
            x = first_column + tl.arange(0, COLUMNS)
            inside = (y < h)[:, None] & (x < w)[None, :]
            for j in range(STRIDE):
                total += tl.load(row + (x * STRIDE + j)[None, :], mask=inside, other=0).to(tl.float32)
    mean = tl.div_rn(total, tl.full([ROWS, COLUMNS], STRIDE * STRIDE, tl.float32))
    if QUANTISE:
        mean = tl.floor(mean)
    v = mean * (1 / 255)
    return tl.where(v > 0.04045, _power_2_4((v + 0.055) * (1 / 1.055)), v * (1 / 12.92))


@triton.jit
def rgb_to_lab_fwd_kernel(
    frames,  # [F, 3, H, W]
    lab,  # out float32 [F, 3, h, w]
    H,
    W,
    h,
    w,
    STRIDE: tl.constexpr,
    WIDE: tl.constexpr,
    BGR: tl.constexpr,
    QUANTISE: tl.constexpr,
    ALIGN: tl.constexpr,  # surely divides W: rows start where wide loads may
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    if ALIGN > 1:  # a width of 1 is a constant, which takes no such hint
        W = W // ALIGN * ALIGN  # the same number, and the compiler sees its factor
    row_blocks = tl.cdiv(h, ROWS)
    frame = (tl.program_id(0) // row_blocks).to(tl.int64)
    y = tl.program_id(0) % row_blocks * ROWS + tl.arange(0, ROWS)
    first_column = tl.program_id(1) * COLUMNS
    frames += frame * 3 * H * W
    first = _linear(frames, y, first_column, h, w, W, STRIDE, WIDE, QUANTISE, COLUMNS)
    g = _linear(frames + H * W, y, first_column, h, w, W, STRIDE, WIDE, QUANTISE, COLUMNS)
    last = _linear(frames + 2 * H * W, y, first_column, h, w, W, STRIDE, WIDE, QUANTISE, COLUMNS)
    r, b = first, last
    if BGR:
        r, b = last, first
    fx = _lab_curve(0.412453 / 0.95047 * r + 0.357580 / 0.95047 * g + 0.180423 / 0.95047 * b)
    fy = _lab_curve(0.212671 * r + 0.715160 * g + 0.072169 * b)
    fz = _lab_curve(0.019334 / 1.08883 * r + 0.119193 / 1.08883 * g + 0.950227 / 1.08883 * b)

    x = first_column + tl.arange(0, COLUMNS)
    pixel = lab + frame * 3 * h * w + y[:, None] * w + x[None, :]
    inside = (y < h)[:, None] & (x < w)[None, :]
    tl.store(pixel, 116 * fy - 16, mask=inside)
    tl.store(pixel + h * w, 500 * (fx - fy), mask=inside)
    tl.store(pixel + 2 * h * w, 200 * (fy - fz), mask=inside)


@torch.library.custom_op("maskfree::rgb_to_lab", mutates_args=())
def _rgb_to_lab(frames: Tensor, stride: int, bgr: bool, quantise: bool) -> Tensor:
    """Launch once: frames [F, 3, H, W] -> Lab [F, 3, h, w]."""
    F, _, H, W = frames.shape
    h, w = H // stride, W // stride
    lab = torch.empty(F, 3, h, w, dtype=torch.float32, device=frames.device)
    if lab.numel() == 0:
        return lab
    wide = stride in WIDE_STRIDES
    launch = CONFIGS[stride if wide else "other"]
    if INTERPRETED:
        launch = CONFIGS["interpreter"]
    with torch.cuda.device_of(frames):
        rgb_to_lab_fwd_kernel[(F * triton.cdiv(h, launch["ROWS"]), triton.cdiv(w, launch["COLUMNS"]))](
            frames,
            lab,
            H,
            W,
            h,
            w,
            STRIDE=stride,
            WIDE=wide,
            BGR=bgr,
            QUANTISE=quantise,
            ALIGN=16 if W % 16 == 0 else 1,
            **launch,
        )
    return lab


@_rgb_to_lab.register_fake
def _(frames, stride, bgr, quantise):
    F, _, H, W = frames.shape
    return frames.new_empty(F, 3, H // stride, W // stride, dtype=torch.float32)


def rgb_to_lab(
    frames: Tensor, stride: int = 4, *, channel_order: str = "rgb", quantise: bool = True
) -> Tensor:
    """Convert frames to CIE-Lab at the resolution of the mask maps; see `maskfree_nb.tkloss.rgb_to_lab`.

    Args:
        frames: uint8, or float in 0..255, [..., 3, H, W].
        stride: pooling factor.
        channel_order: "rgb"; "bgr" swaps red and blue first.
        quantise: round the pooled colour down to a whole byte.

    Returns:
        float32 [..., 3, H // stride, W // stride].

    Raises:
        ValueError: an argument that the kernel does not take; it names the argument.
    """
    if frames.ndim < 3 or frames.shape[-3] != 3 or frames.dtype not in DTYPES:
        raise ValueError(
            f"frames are {frames.dtype} {list(frames.shape)}, expected uint8 or float [..., 3, H, W]"
        )
    if not isinstance(stride, int) or stride < 1:
        raise ValueError(f"stride is {stride!r}, expected an integer >= 1")
    if channel_order not in ("rgb", "bgr"):
        raise ValueError(f"channel_order is {channel_order!r}, expected 'rgb' or 'bgr'")
    flat = frames.detach().reshape(-1, *frames.shape[-3:]).contiguous()
    lab = _rgb_to_lab(flat, stride, channel_order == "bgr", quantise)
    return lab.reshape(*frames.shape[:-3], *lab.shape[-3:])


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    types = {"frames": "*u8", "lab": "*fp32"}
    cases = []
    for stride in (*WIDE_STRIDES, "other"):
        constexprs = {"STRIDE": 3, "WIDE": False} if stride == "other" else {"STRIDE": stride, "WIDE": True}
        constexprs |= {"BGR": True, "QUANTISE": True, "ALIGN": 16 if stride == 4 else 1}
        cases.append(aot_case(rgb_to_lab_fwd_kernel, types, constexprs, CONFIGS[stride]))
    return cases
