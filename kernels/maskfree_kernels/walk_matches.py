"""One program's walk through the matches of its pixels: gradient and loss of a few decoder layers at once.

Every pixel has a word (or some words) with a bit for each match. In every step each pixel takes its lowest
bit, finds the other pixel of that match and reads its logits: after as many steps as the most matched pixel
has matches, all are done.

With logits x of the other pixel and y of the own one, and u(z) = 1 + exp(-|z|), the term of a match is

    softplus(x) + softplus(y) - softplus(x + y) = max(0, min(x, -y), min(-x, y)) + log(u(x) u(y) / u(x + y))

without cancellation. The fractions are between 1/2 and 4: those of 32 matches are multiplied up, then one
logarithm is taken. Logits are in units of log 2: exp2 is one instruction, exp is not.
"""

import triton
import triton.language as tl

from maskfree_kernels.reverse_matches import count_bits

LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def one_plus_and_sigmoid(z):
    """1 + 2^-|z| and 1 / (1 + 2^-z)."""
    power = tl.exp2(-tl.abs(z))
    one_plus = 1 + power
    root = tl.rsqrt(one_plus)  # one instruction; a division takes eight
    return one_plus, tl.where(z >= 0, 1.0, power) * root * root


@triton.jit
def _take_match(words, pixel, size, offsets, region, CENTRE: tl.constexpr):
    """Take each pixel's lowest bit; return the words left, the other pixels' places, and where they count."""
    y, x = pixel
    h, w = size
    word = words[0]
    base = tl.zeros(x.shape, tl.int32)
    for i in tl.static_range(1, len(words)):  # the first word that has a bit left
        base = tl.where(word == 0, 32 * i, base)
        word = tl.where(word == 0, words[i], word)
    lowest = word & -word
    exponent = lowest.to(tl.uint32, bitcast=True).to(tl.float32).to(tl.int32, bitcast=True) >> 23
    s = base + exponent - 127
    left = ()
    for i in tl.static_range(len(words)):
        left = left + (tl.where(base == 32 * i, words[i] ^ lowest, words[i]),)

    counts = word != 0
    dy = tl.load(offsets + 2 * s, mask=counts, other=0)
    dx = tl.load(offsets + 2 * s + 1, mask=counts, other=0)
    other_y, other_x = y - dy, x - dx
    if CENTRE:
        other_y, other_x = y + dy, x + dx
    counts &= (other_y >= 0) & (other_y < h) & (other_x >= 0) & (other_x < w)
    place = other_y * w + other_x
    if not CENTRE:
        counts &= tl.load(region + place, mask=counts, other=0) != 0
    return left, place, counts


@triton.jit
def _add_match(other, layer_size, counts, scale, own, slope, terms, CENTRE: tl.constexpr):
    """Add each pixel's match, where it counts, to slopes and, if CENTRE, to the three parts of the loss."""
    logit, one_plus, sigmoid = own
    linear, separate, together = terms
    weight = tl.where(counts, scale, 0.0)
    new_slope = ()
    new_linear = ()
    new_separate = ()
    new_together = ()
    for i in tl.static_range(len(slope)):
        value = tl.load(other + i * layer_size, mask=counts, other=0.0).to(tl.float32) * LOG2_E
        both_plus, both_sigmoid = one_plus_and_sigmoid(value + logit[i])
        new_slope = new_slope + (slope[i] + weight * (sigmoid[i] - both_sigmoid),)
        if CENTRE:
            value_plus = 1 + tl.exp2(-tl.abs(value))
            part = tl.maximum(tl.minimum(value, -logit[i]), tl.minimum(-value, logit[i]))
            new_linear = new_linear + (linear[i] + tl.maximum(part, 0.0),)  # 0 where value is
            new_separate = new_separate + (separate[i] * tl.where(counts, value_plus * one_plus[i], 1.0),)
            new_together = new_together + (together[i] * tl.where(counts, both_plus, 1.0),)
    if CENTRE:
        terms = (new_linear, new_separate, new_together)
    return new_slope, terms


@triton.jit
def walk_matches(
    words, pixel, size, offsets, other, layer_size, region, scale, own, slope, CENTRE: tl.constexpr
):
    """Visit the matches set in `words`.

    Args:
        words: a tuple of int32 [BLOCK].
        pixel, size: (y, x) of the pixels; (h, w).
        offsets: pointer to int32 [S, 2].
        other: pointer to the other frame's logits in the first layer; layers are layer_size apart.
        region: pointer to uint8 [h, w], where centres count.
        scale: 1 / normaliser.
        own: per layer the pixels' logits, 1 + 2^-|logit| and sigmoids: three tuples of LAYERS tensors.
        slope: the gradient so far, a tuple of LAYERS tensors.
        CENTRE: the pixels are centres and `other` is the source frame; else the other way round.

    Returns:
        slope with scale * gradient added; the loss in units of log 2 (if CENTRE), likewise; the steps taken.
    """
    zero = tl.zeros(pixel[1].shape, tl.float32)
    matches = count_bits(words[0])
    for i in tl.static_range(1, len(words)):
        matches += count_bits(words[i])
    steps = tl.max(matches, 0)
    loss = ()
    zeros = ()
    ones = ()
    for _ in tl.static_range(len(slope)):
        loss = loss + (zero,)
        zeros = zeros + (zero,)
        ones = ones + (zero + 1,)
    for start in range(0, steps, 32):
        terms = (zeros, ones, ones)  # the linear part, products of u(x) u(y), products of u(x + y)
        for _step in range(start, tl.minimum(start + 32, steps)):
            words, place, counts = _take_match(words, pixel, size, offsets, region, CENTRE)
            if tl.max(counts.to(tl.int32), 0) > 0:
                slope, terms = _add_match(other + place, layer_size, counts, scale, own, slope, terms, CENTRE)
        if CENTRE:
            linear, separate, together = terms
            sums = ()
            for i in tl.static_range(len(slope)):
                sums = sums + (loss[i] + linear[i] + tl.log2(separate[i] / together[i]),)
            loss = sums
    return slope, loss, steps
