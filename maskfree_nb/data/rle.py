"""Run-length encoded masks (COCO's RLE): columns first, runs of background and object in turn."""

import numpy as np
from pycocotools import mask as coco_mask

Rle = dict  # {"size": [height, width], "counts": str}


def encode(mask: np.ndarray) -> Rle:
    """Return the compressed RLE of a bool mask [H, W].

    >>> encode(np.eye(2, dtype=bool))
    {'size': [2, 2], 'counts': '0120'}
    """
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode("ascii")}


def decode(rle: Rle) -> np.ndarray:
    """Return the bool mask [H, W] of a compressed RLE.

    >>> decode({"size": [2, 2], "counts": "0120"}).tolist()
    [[True, False], [False, True]]
    """
    return coco_mask.decode(rle).astype(bool)


def area(rle: Rle) -> int:
    """Return the number of object pixels of a compressed RLE."""
    return int(coco_mask.area(rle))


def checked(rle, height: int, width: int) -> Rle:
    """Return `rle`, compressed or not, as a compressed RLE of which the runs are known to fill the frame.

    The C decoder trusts its input, so every run is read here first.

    Raises:
        ValueError: what is wrong with it, without the place, which the caller knows.

    >>> checked({"size": [2, 2], "counts": [0, 1, 2, 1]}, height=2, width=2)
    {'size': [2, 2], 'counts': '0120'}
    """
    if not isinstance(rle, dict) or "size" not in rle or "counts" not in rle:
        raise ValueError("expected null or an RLE with the fields size and counts")
    if rle["size"] != [height, width]:
        raise ValueError(f"size is {rle['size']}, the frame is [{height}, {width}] (height, width)")
    counts = rle["counts"]
    if isinstance(counts, list):
        if not all(type(run) is int for run in counts):
            raise ValueError("counts holds something that is not a whole number")
        runs = np.array(counts, dtype=np.float64)
    elif isinstance(counts, str):
        runs = _read_runs(counts)
    else:
        raise ValueError(f"counts is {type(counts).__name__}, expected a list of runs or a string")
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(f"its runs add up to {runs.sum():.0f} pixels, the frame has {height * width}")
    if isinstance(counts, list):
        counts = coco_mask.frPyObjects(rle, height, width)["counts"].decode("ascii")
    compressed = {"size": [height, width], "counts": counts}
    # pycocotools computes wrong intersections from runs of length 0 after the first
    return encode(decode(compressed)) if (runs[1:] == 0).any() else compressed


def _read_runs(counts: str) -> np.ndarray:
    """Return the runs of a compressed string: 5 bits a character, low bits first, each run from the fourth on
    stored as its difference to the run two before."""
    digits = np.frombuffer(counts.encode("utf-8"), dtype=np.uint8).astype(np.int64) - 48
    if len(digits) == 0 or (digits < 0).any() or (digits > 63).any() or digits[-1] & 32:
        raise ValueError("counts is not a complete RLE string")
    last = digits & 32 == 0
    first = np.concatenate(([True], last[:-1]))
    run = np.cumsum(first) - 1
    place = np.arange(len(digits)) - np.flatnonzero(first)[run]
    if place.max() > 5:
        raise ValueError("counts holds a run that is too long")
    runs = np.bincount(run, (digits & 31) * 32.0**place)
    negative = digits[last] & 16 != 0
    runs[negative] -= 32.0 ** (place[last][negative] + 1)
    for parity in (1, 2):
        runs[parity::2] = np.cumsum(runs[parity::2])
    return runs
