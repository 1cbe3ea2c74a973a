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
    y, x = pixel
    h, w = size
    logit, one_plus, sigmoid = own
    WORDS: tl.constexpr = len(words)
    LAYERS: tl.constexpr = len(logit)
    matches = count_bits(words[0])
    for i in tl.static_range(1, WORDS):
        matches += count_bits(words[i])
    trips = tl.max(matches, 0)
    loss = ()
    for _ in tl.static_range(LAYERS):
        loss = loss + (tl.zeros(x.shape, tl.float32),)
    for start in range(0, trips, 32):
        separate = ()  # product of u(x) u(y)
        together = ()  # product of u(x + y)
        for _ in tl.static_range(LAYERS):
            separate = separate + (tl.full(x.shape, 1.0, tl.float32),)
            together = together + (tl.full(x.shape, 1.0, tl.float32),)
        for _trip in range(start, tl.minimum(start + 32, trips)):
            word = words[0]
            base = tl.zeros(x.shape, tl.int32)
            for i in tl.static_range(1, WORDS):  # the first word that has a bit left
                base = tl.where(word == 0, 32 * i, base)
                word = tl.where(word == 0, words[i], word)
            lowest = word & -word
            s = (
                base
                + (lowest.to(tl.uint32, bitcast=True).to(tl.float32).to(tl.int32, bitcast=True) >> 23)
                - 127
            )
            left = ()
            for i in tl.static_range(WORDS):
                left = left + (tl.where(base == 32 * i, words[i] ^ lowest, words[i]),)
            words = left

            found = word != 0
            dy = tl.load(offsets + 2 * s, mask=found, other=0)
            dx = tl.load(offsets + 2 * s + 1, mask=found, other=0)
            if CENTRE:
                other_y, other_x = y + dy, x + dx
            else:
                other_y, other_x = y - dy, x - dx
            found &= (other_y >= 0) & (other_y < h) & (other_x >= 0) & (other_x < w)
            place = other_y * w + other_x
            if not CENTRE:
                found &= tl.load(region + place, mask=found, other=0) != 0

            weight = tl.where(found, scale, 0.0)
            new_slope = ()
            new_loss = ()
            new_separate = ()
            new_together = ()
            for i in tl.static_range(LAYERS):
                value = tl.load(other + i * layer_size + place, mask=found, other=0.0).to(tl.float32) * LOG2_E
                both_plus, both_sigmoid = one_plus_and_sigmoid(value + logit[i])
                new_slope = new_slope + (slope[i] + weight * (sigmoid[i] - both_sigmoid),)
                if CENTRE:
                    value_plus = 1 + tl.exp2(-tl.abs(value))
                    linear = tl.maximum(tl.minimum(value, -logit[i]), tl.minimum(-value, logit[i]))
                    new_loss = new_loss + (loss[i] + tl.maximum(linear, 0.0),)  # 0 where the value is
                    new_separate = new_separate + (
                        separate[i] * tl.where(found, value_plus * one_plus[i], 1.0),
                    )
                    new_together = new_together + (together[i] * tl.where(found, both_plus, 1.0),)
            slope = new_slope
            if CENTRE:
                loss, separate, together = new_loss, new_separate, new_together
        if CENTRE:
            logs = ()
            for i in tl.static_range(LAYERS):
                logs = logs + (loss[i] + tl.log2(separate[i] / together[i]),)
            loss = logs
    return slope, loss, trips
