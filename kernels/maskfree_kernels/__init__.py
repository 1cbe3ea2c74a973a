"""Triton kernels of the MaskFree losses and of deformable attention: one op a file."""

import triton

INTERPRETED = bool(triton.knobs.runtime.interpret)
