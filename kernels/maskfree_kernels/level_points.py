"""Where the points of deformable attention lie: their four corners on a level's map."""

import triton
import triton.language as tl


@triton.jit
def level_point(locations, weights, levels, level, sample, in_query, ACC: tl.constexpr):
    """Each query's point on a level: corner, fractions, weight; and the level's h, w, start in S."""
    h = tl.load(levels + 3 * level)
    w = tl.load(levels + 3 * level + 1)
    start = tl.load(levels + 3 * level + 2)
    x = tl.load(locations + 2 * sample, in_query, 0.0).to(ACC) * w - 0.5
    y = tl.load(locations + 2 * sample + 1, in_query, 0.0).to(ACC) * h - 0.5
    weight = tl.load(weights + sample, in_query, 0.0).to(ACC)
    column, row = tl.floor(x), tl.floor(y)
    return row.to(tl.int32), column.to(tl.int32), y - row, x - column, weight, h, w, start


@triton.jit
def corner_place(row, column, h, w, start, in_query):
    """Position in S of a pixel of the level, and whether there is such a pixel."""
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w) & in_query
    return start + row * w + column, inside
