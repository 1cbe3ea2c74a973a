"""Step 4 of the TK-Loss: which pairs of frames of a tube are compared."""

from maskfree_nb.errors import InputError

TUBES = ("cyclic", "sequential", "dense")


def frame_pairs(num_frames: int, tube: str = "cyclic") -> list[tuple[int, int]]:
    """Return the pairs (source a, centre b) of a tube of `num_frames` frames.

    L_temp = Σ_t L^(t → t^),  t^ = (t + 1) mod T  (Algorithm 1, lines 5 and 16, of MaskFreeVIS, CVPR 2023).
    In a pair (a, b) every pixel of frame b looks for its matches in frame a.

    Args:
        num_frames: T >= 2.
        tube: `cyclic`: (0,1), (1,2), ..., (T-1,0); `sequential`: the same without the closing pair;
            `dense`: every (i, j) with i < j, as in the published three-frame configuration.

    Raises:
        InputError: fewer than two frames, or an unknown tube.

    >>> frame_pairs(3)
    [(0, 1), (1, 2), (2, 0)]
    >>> frame_pairs(2)
    [(0, 1), (1, 0)]
    >>> frame_pairs(3, "dense")
    [(0, 1), (0, 2), (1, 2)]
    """
    if num_frames < 2:
        raise InputError(f"a tube of {num_frames} frame has no frame pair; the TK-Loss needs T >= 2 frames")
    if tube == "cyclic":
        return [(t, (t + 1) % num_frames) for t in range(num_frames)]
    if tube == "sequential":
        return [(t, t + 1) for t in range(num_frames - 1)]
    if tube == "dense":
        return [(i, j) for i in range(num_frames) for j in range(i + 1, num_frames)]
    raise InputError(f"tube is {tube!r}, expected one of {', '.join(TUBES)}")
