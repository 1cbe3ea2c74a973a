"""Matches turned round: for every pixel, the centres that it is a match of; and how many matches count.

Bit s of `reversed_bits` at pixel q is bit s of `bits` at q - o_s, where that pixel exists: q is match number
s of the centre q - o_s. `counts` adds up, for each pair, the set bits at pixels inside an instance's region;
each program leaves one partial count, integers, so that any order of adding gives the same sum.

Bytes: reads `bits` twice (the second time from cache, S times), writes it once, reads region [N, h, w] once a
pair. Independent of the number of layers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from maskfree_kernels.tables import aot_case, device_table

# Config: BLOCK pixels of one word at a time; a pair has at most MOST_COUNTS programs per clip and word.
CONFIG = dict(BLOCK=128, num_warps=4)
MOST_COUNTS = 128


@triton.jit
def count_bits(word):
    """Number of set bits of an int32."""
    v = word.to(tl.uint32, bitcast=True)
    v = (v & 0x55555555) + ((v >> 1) & 0x55555555)
    v = (v & 0x33333333) + ((v >> 2) & 0x33333333)
    v = (v & 0x0F0F0F0F) + ((v >> 4) & 0x0F0F0F0F)
    v = (v & 0x00FF00FF) + ((v >> 8) & 0x00FF00FF)
    return ((v & 0xFFFF) + (v >> 16)).to(tl.int32)


@triton.jit
def reverse_matches_kernel(
    bits,  # int32 [B, P, WORDS, h, w]
    reversed_bits,  # out, like bits: bit s at pixel q is bit s of `bits` at q - o_s
    counts,  # out int32 [P, B * WORDS * chunks]: matches inside regions
    region,  # uint8 [N, h, w]
    clip_index,  # int64 [N]
    offsets,  # int32 [S, 2]
    N,
    P,
    S,
    h,
    w,
    chunks,
    WORDS: tl.constexpr,
    ONE_CLIP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    chunk = tl.program_id(0) % chunks
    word = tl.program_id(0) // chunks % WORDS
    pair = tl.program_id(0) // (chunks * WORDS)  # b P + p
    clip = pair // P
    area = h * w
    start = (pair.to(tl.int64) * WORDS + word) * area
    matches = tl.zeros([BLOCK], tl.int32)
    for first in range(chunk * BLOCK, area, chunks * BLOCK):
        pixel = first + tl.arange(0, BLOCK)
        inside = pixel < area
        y, x = pixel // w, pixel % w
        turned = tl.zeros([BLOCK], tl.int32)
        for i in range(0, tl.minimum(S - 32 * word, 32)):
            centre_y = y - tl.load(offsets + 2 * (32 * word + i))
            centre_x = x - tl.load(offsets + 2 * (32 * word + i) + 1)
            exists = inside & (centre_y >= 0) & (centre_y < h) & (centre_x >= 0) & (centre_x < w)
            centre_word = tl.load(bits + start + centre_y * w + centre_x, mask=exists, other=0)
            turned |= ((centre_word >> i) & 1) << i
        tl.store(reversed_bits + start + pixel, turned, mask=inside)

        instances = tl.zeros([BLOCK], tl.int32)
        for n in range(0, N):
            here = inside
            if not ONE_CLIP:
                here = inside & (tl.load(clip_index + n) == clip)
            instances += tl.load(region + tl.cast(n, tl.int64) * area + pixel, mask=here, other=0).to(
                tl.int32
            )
        matches += instances * count_bits(tl.load(bits + start + pixel, mask=inside, other=0))
    parts = tl.num_programs(0) // P
    tl.store(counts + pair % P * parts + (clip * WORDS + word) * chunks + chunk, tl.sum(matches))


def reverse_matches(
    bits: Tensor, region: Tensor, clip_index: Tensor | None, offsets: list[int]
) -> tuple[Tensor, Tensor]:
    """Launch once.

    Args:
        bits: int32 [B, P, WORDS, h, w].
        region: uint8 [N, h, w].
        clip_index: int64 [N]; None if B = 1.
        offsets: dy, dx of candidate 0, dy, dx of candidate 1, ...

    Returns:
        reversed_bits like bits; counts int32 [P, parts], whose rows add up to the matches of each pair.
    """
    B, P, words, h, w = bits.shape
    chunks = max(1, min(triton.cdiv(h * w, CONFIG["BLOCK"]), MOST_COUNTS // (B * words)))
    reversed_bits = torch.empty_like(bits)
    counts = torch.empty(P, B * words * chunks, dtype=torch.int32, device=bits.device)
    reverse_matches_kernel[(B * P * words * chunks,)](
        bits,
        reversed_bits,
        counts,
        region,
        clip_index,
        device_table(tuple(offsets), bits.device),
        len(region),
        P,
        len(offsets) // 2,
        h,
        w,
        chunks,
        WORDS=words,
        ONE_CLIP=clip_index is None,
        **CONFIG,
    )
    return reversed_bits, counts


def aot_cases() -> list[tuple]:
    """Return (kernel, signature, constexprs, options) of every shipped configuration, to be compiled."""
    words = dict.fromkeys(("bits", "reversed_bits", "counts", "offsets"), "*i32")
    types = dict(**words, region="*u8", clip_index="*i64")
    return [aot_case(reverse_matches_kernel, types, dict(WORDS=3, ONE_CLIP=False), CONFIG)]
