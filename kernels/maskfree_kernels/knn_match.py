"""The K nearest candidate patches of every pixel, as a bitmask over the candidates.

For pair (a, b), pixel p of frame b and candidate s at p + o_s in frame a, with Lab zero outside the frame,

    d²(p, s) = sum over the patch places i and 3 channels of (Lab_a(p + o_s + i) - Lab_b(p + i))²;

the K smallest d² not above max_distance² are the matches; of equal distances the lower s is the nearer.

A program is one warp: LANES neighbouring columns, ROWS rows, all candidates, CHUNK at a time. d² is a box sum
of squared differences (`patch_distance`); the PATCH // 2 outer lanes at either end only lend it columns.
No [S, h, w] tensor exists. The K best so far are K registers a pixel; candidates come in rising s and only a
strictly smaller d² moves in, so ties keep the lowest s. A chunk in which no pixel of the warp finds anything
nearer than its K-th best skips the insertion. Sums run in the order of the torch reference and without fused
multiply-add, so that backends agree on distances to the last bit or two, and on matches.

Bytes: reads Lab [B, T, 3, h, w] once as source and once as centre (12 each a pixel and pair, the rest from
cache), writes 4 ceil(S / 32) a pixel and pair, with return_index 5 K more.
"""

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from maskfree_kernels.patch_distance import box_sum, load_colour, squared_distances
from maskfree_kernels.tables import INTERPRETED, TABLE_TAGS, aot_case, device_table

MOST_K = 16
MOST_CANDIDATES = 225  # R = 7, dense
PATCH_SIZES = (1, 3, 5)
NOWHERE = 1 << 20  # the offset of the entries that fill the last chunk: outside any frame

# Configs: ROWS x (LANES - PATCH + 1) pixels a program, CHUNK candidates at a time.
CONFIGS = {
    "few pixels": dict(ROWS=2, LANES=32, CHUNK=3, num_warps=1, enable_fp_fusion=False),
    "many pixels": dict(ROWS=4, LANES=32, CHUNK=3, num_warps=1, enable_fp_fusion=False),
    "long lists": dict(ROWS=1, LANES=32, CHUNK=3, num_warps=1, enable_fp_fusion=False),
    "interpreter": dict(ROWS=4, LANES=128, CHUNK=3, num_warps=1, enable_fp_fusion=False),
}


def config(pixels: int, k: int) -> dict:
    """Return the launch configuration for `pixels` = B P h w and lists of `k`."""
    if INTERPRETED:
        return CONFIGS["interpreter"]
    if k > 8:
        return CONFIGS["long lists"]
    return CONFIGS["many pixels" if k <= 5 and pixels > 1 << 20 else "few pixels"]


@triton.jit
def _insert(squared, s, nearest, numbers):
    """Put candidate s into the sorted lists, behind all entries that are not farther."""
    new_nearest = ()
    new_numbers = ()
    for k in tl.static_range(len(nearest)):
        value, number = squared, s
        if k > 0:
            moves_down = squared < nearest[k - 1]
            value = tl.where(moves_down, nearest[k - 1], squared)
            number = tl.where(moves_down, numbers[k - 1], s)
        nearer = squared < nearest[k]
        new_nearest = new_nearest + (tl.where(nearer, value, nearest[k]),)
        new_numbers = new_numbers + (tl.where(nearer, number, numbers[k]),)
    return new_nearest, new_numbers


@triton.jit
def knn_match_fwd_kernel(
    lab,  # [B, T, 3, h, w]
    bits,  # out int32 [B, P, WORDS, h, w]
    index,  # out uint8 [B, P, K, h, w]
    distance,  # out float32 [B, P, K, h, w]
    offsets,  # int32 [S rounded up to CHUNK, 2]
    frame_pairs,  # int32 [P, 2]
    T,
    P,
    S,
    h,
    w,
    limit,  # the smallest squared distance that is too far
    K: tl.constexpr,
    WORDS: tl.constexpr,
    PATCH: tl.constexpr,
    ZERO_BORDER: tl.constexpr,
    WITH_INDEX: tl.constexpr,
    ROWS: tl.constexpr,
    LANES: tl.constexpr,
    CHUNK: tl.constexpr,
):
    MARGIN: tl.constexpr = PATCH // 2
    row_blocks = tl.cdiv(h, ROWS)
    pair = tl.program_id(0) // row_blocks  # b P + p
    top = tl.program_id(0) % row_blocks * ROWS
    lane = tl.arange(0, LANES)
    x = tl.program_id(1) * (LANES - 2 * MARGIN) - MARGIN + lane
    in_columns = (x >= 0) & (x < w)
    own = in_columns & (lane >= MARGIN) & (lane < LANES - MARGIN)

    area = h * w
    clip = lab + (pair // P).to(tl.int64) * T * 3 * area
    source = clip + tl.load(frame_pairs + 2 * (pair % P)) * 3 * area
    centre_map = clip + tl.load(frame_pairs + 2 * (pair % P) + 1) * 3 * area
    centre = ()
    centre_squared = ()
    for r in tl.static_range(ROWS + 2 * MARGIN):
        y = top + r - MARGIN
        inside = in_columns & (y >= 0) & (y < h)
        l_star, a_star, b_star = load_colour(centre_map, y * w + x, area, inside)
        centre = centre + ((l_star, a_star, b_star),)
        centre_squared = centre_squared + (l_star * l_star + a_star * a_star + b_star * b_star,)
    to_zero = box_sum(centre_squared, lane, LANES, MARGIN)  # squared distances to a patch of zeros

    nearest = ()  # ROWS lists of K squared distances, rising
    numbers = ()  # their candidates
    for _ in tl.static_range(ROWS):
        row_nearest = ()
        row_numbers = ()
        for _ in tl.static_range(K):
            row_nearest = row_nearest + (tl.where(own, limit, 0.0),)  # lent columns take nothing
            row_numbers = row_numbers + (tl.full([LANES], 255, tl.int32),)
        nearest = nearest + (row_nearest,)
        numbers = numbers + (row_numbers,)

    for first in range(0, S, CHUNK):
        squared = ()  # CHUNK tuples of ROWS
        best = ()  # ROWS, over the chunk
        for i in tl.static_range(CHUNK):
            offset = (tl.load(offsets + 2 * (first + i)), tl.load(offsets + 2 * (first + i) + 1))
            beyond = ()
            for r in tl.static_range(ROWS):
                if ZERO_BORDER:
                    beyond = beyond + (tl.where(first + i < S, to_zero[r], float("inf")),)
                else:
                    beyond = beyond + (float("inf"),)
            rows = squared_distances(source, centre, offset, (top, x), (h, w), beyond, lane, LANES, MARGIN)
            squared = squared + (rows,)
            row_best = ()
            for r in tl.static_range(ROWS):
                row_best = row_best + (rows[r] if i == 0 else tl.minimum(best[r], rows[r]),)
            best = row_best
        wanted = best[0] < nearest[0][K - 1]
        for r in tl.static_range(1, ROWS):
            wanted |= best[r] < nearest[r][K - 1]
        if tl.max(wanted.to(tl.int32), 0) > 0:
            for i in tl.static_range(CHUNK):
                next_nearest = ()
                next_numbers = ()
                for r in tl.static_range(ROWS):
                    row_nearest, row_numbers = _insert(squared[i][r], first + i, nearest[r], numbers[r])
                    next_nearest = next_nearest + (row_nearest,)
                    next_numbers = next_numbers + (row_numbers,)
                nearest = next_nearest
                numbers = next_numbers

    for r in tl.static_range(ROWS):
        written = own & (top + r < h)
        pixel = (top + r) * w + x
        for word in tl.static_range(WORDS):
            packed = tl.zeros([LANES], tl.int32)
            for k in tl.static_range(K):
                here = (nearest[r][k] < limit) & (numbers[r][k] // 32 == word)
                packed |= tl.where(here, 1 << (numbers[r][k] % 32), 0)
            tl.store(bits + (pair.to(tl.int64) * WORDS + word) * area + pixel, packed, mask=written)
        if WITH_INDEX:
            for k in tl.static_range(K):
                found = nearest[r][k] < limit
                place = (pair.to(tl.int64) * K + k) * area + pixel
                tl.store(index + place, tl.where(found, numbers[r][k], 255).to(tl.uint8), mask=written)
                root = tl.where(found, tl.sqrt_rn(nearest[r][k]), float("inf"))
                tl.store(distance + place, root, mask=written)


@torch.library.custom_op("maskfree::knn_match", mutates_args=(), tags=TABLE_TAGS)
def _knn_match(
    lab: Tensor,
    frame_pairs: list[int],
    offsets: list[int],
    k: int,
    max_distance: float,
    patch_size: int,
    zero_border: bool,
    return_index: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Launch once: bits, index, distance (the last two empty unless `return_index`)."""
    outputs = _outputs(lab, frame_pairs, offsets, k, return_index)
    bits = outputs[0]
    if bits.numel() == 0:
        return outputs
    B, P, words, h, w = bits.shape
    launch = config(B * P * h * w, k)
    s = len(offsets) // 2
    rows, columns = launch["ROWS"], launch["LANES"] - patch_size + 1
    with torch.cuda.device_of(lab):
        knn_match_fwd_kernel[(B * P * triton.cdiv(h, rows), triton.cdiv(w, columns))](
            lab,
            *outputs,
            device_table((*offsets, *[NOWHERE] * (-s % launch["CHUNK"] * 2)), lab.device),
            device_table(tuple(frame_pairs), lab.device),
            lab.shape[1],
            P,
            s,
            h,
            w,
            _limit(max_distance),
            K=k,
            WORDS=words,
            PATCH=patch_size,
            ZERO_BORDER=zero_border,
            WITH_INDEX=return_index,
            **launch,
        )
    return outputs


@_knn_match.register_fake
def _(lab, frame_pairs, offsets, k, max_distance, patch_size, zero_border, return_index):
    return _outputs(lab, frame_pairs, offsets, k, return_index)


def _outputs(lab, frame_pairs, offsets, k, return_index) -> tuple[Tensor, Tensor, Tensor]:
    B, _, _, h, w = lab.shape
    P, words = len(frame_pairs) // 2, (len(offsets) // 2 + 31) // 32
    listed = (B, P, k, h, w) if return_index else (0,)
    return (
        torch.empty(B, P, words, h, w, dtype=torch.int32, device=lab.device),
        torch.empty(listed, dtype=torch.uint8, device=lab.device),
        torch.empty(listed, dtype=torch.float32, device=lab.device),
    )


def _limit(max_distance: float) -> float:
    """Return the smallest normal float32 above max_distance²."""
    float32 = np.finfo(np.float32)
    with np.errstate(over="ignore"):
        above = np.nextafter(np.float32(min(max_distance**2, float32.max)), np.float32(np.inf))
    return float(max(above, float32.tiny))


def knn_match(
    lab: Tensor,
    frame_pairs: list[tuple[int, int]],
    offsets: tuple[tuple[int, int], ...],
    *,
    k: int,
    max_distance: float,
    patch_size: int = 3,
    border: str = "clean",
    return_index: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Find the K nearest candidate patches within `max_distance`; see `maskfree_nb.tkloss.knn_match`.

    Args:
        lab: float32 [B, T, 3, h, w].
        frame_pairs: P pairs (source a, centre b) of frame numbers below T.
        offsets: S <= 225 candidates (dy, dx).
        k: 1..16.
        max_distance: the largest patch distance of a match.
        patch_size: 1, 3 or 5.
        border: "clean": candidates outside the frame do not exist; "zero": they are patches of zeros.
        return_index: also return the matches' numbers and distances, nearest first.

    Returns:
        bits int32 [B, P, ceil(S/32), h, w]; index uint8 [B, P, K, h, w] (255 = none) and distance float32
        (inf = none), or None, None.

    Raises:
        ValueError: an argument that the kernel does not take; it names the argument and the torch backend.
    """
    if lab.ndim != 5 or lab.shape[2] != 3 or lab.dtype != torch.float32:
        raise ValueError(f"lab is {lab.dtype} {list(lab.shape)}, expected torch.float32 [B, T, 3, h, w]")
    if not all(0 <= t < lab.shape[1] for pair in frame_pairs for t in pair):
        raise ValueError(f"frame_pairs {list(frame_pairs)} do not fit lab with T = {lab.shape[1]} frames")
    if border not in ("clean", "zero"):
        raise ValueError(f"border is {border!r}, expected 'clean' or 'zero'")
    if not 1 <= k <= MOST_K or len(offsets) > MOST_CANDIDATES or patch_size not in PATCH_SIZES:
        raise ValueError(
            f"the kernel takes k in 1..{MOST_K}, at most {MOST_CANDIDATES} offsets, patch_size 1, 3 or 5, "
            f"not k = {k}, {len(offsets)} offsets, patch_size = {patch_size}; use backend='torch'"
        )
    pairs = [t for pair in frame_pairs for t in pair]
    steps = [step for offset in offsets for step in offset]
    lab, zero = lab.detach().contiguous(), border == "zero"
    bits, index, distance = _knn_match(lab, pairs, steps, k, max_distance, patch_size, zero, return_index)
    return (bits, index, distance) if return_index else (bits, None, None)


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    tables = dict(bits="*i32", offsets="*i32", frame_pairs="*i32")
    types = dict(lab="*fp32", index="*u8", distance="*fp32", limit="fp32", **tables)
    shapes = {
        "few pixels": dict(K=8, WORDS=1, PATCH=3, ZERO_BORDER=True, WITH_INDEX=False),
        "many pixels": dict(K=5, WORDS=3, PATCH=3, ZERO_BORDER=False, WITH_INDEX=False),
        "long lists": dict(K=MOST_K, WORDS=8, PATCH=5, ZERO_BORDER=True, WITH_INDEX=True),
    }
    return [aot_case(knn_match_fwd_kernel, types, shape, CONFIGS[name]) for name, shape in shapes.items()]
