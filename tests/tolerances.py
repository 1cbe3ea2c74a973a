"""Every tolerance of the tests, in one table: how far two numbers may be apart, and why."""

TOL = {
    # golden numbers: the tolerances that their READMEs state
    "oracle losses": dict(rtol=1e-5, atol=0.0),
    "oracle gradients": dict(rtol=0.0, atol=1e-6),
    "oracle similarities": dict(rtol=0.0, atol=1e-6),
    "oracle Lab": dict(rtol=0.0, atol=1e-4),
    "oracle pair term": dict(rtol=0.0, atol=1e-13),
    "oracle pred_masks": dict(rtol=0.0, atol=2e-4),
    "oracle pred_logits": dict(rtol=0.0, atol=2e-5),
    "oracle backbone": dict(rtol=0.0, atol=1e-4),
    "oracle model, other": dict(rtol=0.0, atol=2e-5),
    "oracle deformable attention, float64": dict(rtol=0.0, atol=1e-12),
    "oracle deformable attention, float32": dict(rtol=0.0, atol=1e-4),
    "oracle matching cost": dict(rtol=0.0, atol=1e-9),  # float64, stored to 1e-15
    "oracle class cost": dict(rtol=0.0, atol=2e-7),  # float32 softmax of float32 logits
    "oracle evaluation": dict(rtol=0.0, atol=1e-9),
    # the matcher
    "sampled integral": dict(rtol=0.0, atol=5e-3),  # 400 x 400 midpoints against the closed form
    # the same sums in another order, carried through six optimiser steps
    "two processes against one": dict(rtol=1e-3, atol=0.0),
    # criterion
    "float32 sums": dict(rtol=1e-5, atol=1e-6),
    # a filled box: mean of the middle 2x2 of 4x4 pixels (bilinear) against the mean of all 16 (area)
    "stride-4 mean against bilinear": dict(rtol=0.05, atol=0.0),
    # the model
    "golden weight sums": dict(rel=1e-12, abs=1e-9),  # float64 sums of up to 2.4 million values, in any order
    "float64": dict(rtol=0.0, atol=1e-12),
    "float32 grid": dict(rtol=0.0, atol=1e-6),  # float64 values at places rounded to float32
    "transformers": dict(rtol=0.0, atol=1e-5),  # another implementation of the same model
    "model, clips apart or together": dict(rtol=0.0, atol=1e-9),  # float64, sums in another order
    "model, bfloat16": dict(rtol=0.0, atol=0.05),  # mask logits of size 1, 8 bits of mantissa
    # files of frames, in grey levels of 255
    "rounded grey level": {"rtol": 0.0, "atol": 1.0},
    "exact": {"rtol": 0.0, "atol": 0.0},
    "mp4 round trip": {"rtol": 0.0, "atol": 6.0},  # H.264 at crf 20, and back from YUV
    "GIF round trip": {"rtol": 0.0, "atol": 12.0},  # 256 colours, dithered
    # kernels against the reference in float64; halves are rounded twice (in the interpreter cut off)
    "float32 places, large map": {"rtol": 0.0, "atol": 0.02},  # 1e-3 of a pixel on a map of 2049 x 4096
    "kernel float64": {"rtol": 1e-9, "atol": 1e-12},
    "kernel float32": {"rtol": 1e-5, "atol": 1e-6},
    "kernel bfloat16": {"rtol": 3 * 2**-8, "atol": 1e-6},
    "kernel float16": {"rtol": 3 * 2**-11, "atol": 1e-6},
    # the TK-Loss
    "patch distance": {"rtol": 1e-6, "atol": 2e-6},  # float32 sums of 27 squares of Lab values up to 100
    # shapes in boxes: float32 places of cells, and a softmax of ratios of sums of 576 cells
    "shapes": {"rtol": 1e-5, "atol": 1e-4},
    # the embedded data set and the statistics of clips
    "near real clips": dict(rtol=1 / 3, atol=1e-3),  # asked for: a third; 0.1 percent points for the rarest
    "counted ratio": dict(rtol=1e-6, atol=1e-7),  # the same integers, their ratios averaged in float32
    "stored ratio": dict(rtol=0.0, atol=1e-4),  # stored with four decimals, and a few cells on the threshold
    "pose there and back": dict(rtol=0.0, atol=1e-11),  # float64, some ten operations on numbers up to 100
    "texture": dict(rtol=0.0, atol=2e-3),  # the last row is read 0.001 pixels before its centre
    # a stored model evaluated again: a mask pixel on the threshold may flip on another processor
    "AP again": dict(rtol=0.0, atol=0.3),  # percent points
}
