"""The four classes: outlines that are not convex, so that a box is a poor mask.

An outline is a closed polygon around the origin, float64 [V, 2] as (x, y), of reach about 1; proportions vary
from object to object. A class is known by its outline and by what it is made of (`photographs.SURFACES`).
"""

import numpy as np
from numpy import ndarray
from numpy.random import Generator

CLASSES = ("arrow", "crescent", "cross", "star")


def outline(name: str, rng: Generator) -> ndarray:
    """Return the polygon of one object of class `name`, with proportions drawn from `rng`.

    >>> outline("star", np.random.default_rng(0)).shape[1]
    2
    """
    corners = {"arrow": _arrow, "crescent": _crescent, "cross": _cross, "star": _star}[name](rng)
    return _subdivide(corners - _centroid(corners), longest=0.12)


def _arrow(rng: Generator) -> ndarray:
    shaft, head, neck = rng.uniform(0.2, 0.28), rng.uniform(0.6, 0.75), rng.uniform(-0.05, 0.15)
    right = [(1.0, 0.0), (neck, head), (neck, shaft), (-1.0, shaft)]
    return np.array(right + [(x, -y) for x, y in right[:0:-1]])


def _crescent(rng: Generator) -> ndarray:
    thickness, horn = rng.uniform(0.55, 0.7), rng.uniform(1.85, 2.15)
    outer = np.linspace(-horn, horn, 40)
    tip = np.array([np.cos(horn), np.sin(horn)])
    # the inner arc passes through both tips and through (1 - thickness, 0)
    inner_x = 1.0 - thickness
    centre = (tip @ tip - inner_x**2) / (2.0 * (tip[0] - inner_x))
    radius = inner_x - centre
    inner_horn = np.arctan2(tip[1], tip[0] - centre)
    inner = np.linspace(inner_horn, -inner_horn, 40)[1:-1]
    return np.concatenate(
        [
            np.stack([np.cos(outer), np.sin(outer)], 1),
            np.stack([centre + radius * np.cos(inner), radius * np.sin(inner)], 1),
        ]
    )


def _cross(rng: Generator) -> ndarray:
    half = rng.uniform(0.22, 0.29)
    arms = rng.uniform(0.85, 1.0, 4)
    corners = []
    for quarter, arm in enumerate(arms):
        turn = np.pi / 2 * quarter
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        corners += [rotation @ point for point in ((arm, -half), (arm, half), (half, half))]
    return np.array(corners)


def _star(rng: Generator) -> ndarray:
    radius = np.tile([1.0, rng.uniform(0.4, 0.5)], 5)
    angle = np.arange(10) * np.pi / 5
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _centroid(polygon: ndarray) -> ndarray:
    following = np.roll(polygon, -1, 0)
    cross = polygon[:, 0] * following[:, 1] - following[:, 0] * polygon[:, 1]
    return ((polygon + following) * cross[:, None]).sum(0) / (3.0 * cross.sum())


def _subdivide(polygon: ndarray, longest: float) -> ndarray:
    pieces = []
    for start, end in zip(polygon, np.roll(polygon, -1, 0), strict=True):
        count = int(np.ceil(np.linalg.norm(end - start) / longest))
        pieces.append(start + (end - start) * (np.arange(count) / count)[:, None])
    return np.concatenate(pieces)
