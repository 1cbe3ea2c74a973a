"""Squared patch distances of a warp's pixels to one candidate: squared differences, then their box sum.

A block is a tuple of rows, each of LANES neighbouring columns: sums over rows stay in registers, sums over
columns are shuffles within the warp. Both run in the order of the torch reference.
"""

import triton
import triton.language as tl


@triton.jit
def load_colour(colour_map, place, plane, inside):
    """L, a and b at a place, zero where it is not inside the frame."""
    l_star = tl.load(colour_map + place, mask=inside, other=0.0)
    a_star = tl.load(colour_map + plane + place, mask=inside, other=0.0)
    b_star = tl.load(colour_map + 2 * plane + place, mask=inside, other=0.0)
    return l_star, a_star, b_star


@triton.jit
def box_sum(rows, lane, LANES: tl.constexpr, MARGIN: tl.constexpr):
    """Sum over windows of 2 MARGIN + 1 rows and lanes: a tuple of n rows -> a tuple of n - 2 MARGIN rows."""
    sums = ()
    for r in tl.static_range(len(rows) - 2 * MARGIN):
        column = rows[r]
        for i in tl.static_range(1, 2 * MARGIN + 1):
            column += rows[r + i]
        total = column
        if MARGIN > 0:
            total = tl.gather(column, tl.maximum(lane - MARGIN, 0), 0)
            for i in tl.static_range(1, 2 * MARGIN + 1):
                if i == MARGIN:
                    total += column
                else:
                    total += tl.gather(column, tl.minimum(tl.maximum(lane + i - MARGIN, 0), LANES - 1), 0)
        sums = sums + (total,)
    return sums


@triton.jit
def squared_distances(
    source, centre, offset, corner, size, beyond, lane, LANES: tl.constexpr, MARGIN: tl.constexpr
):
    """Squared distance of each pixel's patch to that at its offset, a tuple of rows.

    Args:
        source: pointer to the source frame's Lab [3, h, w].
        centre: the centre frame's colours, for each row and the MARGIN rows around: (L, a, b).
        offset, corner, size: (dy, dx); (y of the first row, x of the lanes); (h, w).
        beyond: for each row, the result where the candidate is outside the frame.
    """
    dy, dx = offset
    top, x = corner
    h, w = size
    in_columns = (x + dx).to(tl.uint32) < w.to(tl.uint32)  # negative numbers are large ones
    place = (top - MARGIN + dy) * w + x + dx
    difference = ()
    for r in tl.static_range(len(centre)):
        inside = in_columns & ((top - MARGIN + dy + r).to(tl.uint32) < h.to(tl.uint32))
        l_star, a_star, b_star = load_colour(source, place + r * w, h * w, inside)
        l_star -= centre[r][0]
        a_star -= centre[r][1]
        b_star -= centre[r][2]
        difference = difference + (l_star * l_star + a_star * a_star + b_star * b_star,)
    box = box_sum(difference, lane, LANES, MARGIN)
    squared = ()
    for r in tl.static_range(len(box)):
        inside = in_columns & ((top + dy + r).to(tl.uint32) < h.to(tl.uint32))
        squared = squared + (tl.where(inside, box[r], beyond[r]),)
    return squared
