"""One video: objects over a background, in front of each other, seen by a camera with a shutter and noise."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from maskfree_nb.data.embedded.actors import Actor, Camera, Wave, draw_actor, draw_camera
from maskfree_nb.data.embedded.shapes import CLASSES

SHUTTER = (-0.2, 0.2)  # moments of exposure around a frame's time, in frames
LEAST_PIXELS = 24  # of an object that counts as visible


@dataclass(frozen=True, eq=False)
class RenderedVideo:
    """Frames with their true masks.

    Attributes:
        frames: uint8 [T, H, W, 3].
        masks: bool [N, T, H, W], the visible part of every object.
        categories: of the N objects, indices into `CLASSES`.
    """

    frames: ndarray
    masks: ndarray
    categories: tuple[int, ...]


def render_video(rng: Generator, split: str, width: int, height: int, length: int) -> RenderedVideo:
    """Draw a random scene and film it.

    >>> video = render_video(np.random.default_rng(0), "train", 64, 48, length=2)
    >>> video.frames.shape, video.masks.shape[1:]
    ((2, 48, 64, 3), (2, 48, 64))
    """
    camera = draw_camera(rng, split, width, height, length)
    count = rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2])
    actors = []
    for category in rng.integers(len(CLASSES), size=count):
        actor = draw_actor(rng, split, camera.photograph, width, height, length, int(category))
        if all(
            np.linalg.norm(actor.middle - other.middle) > 0.8 * (actor.scale + other.scale)
            for other in actors
        ):
            actors.append(actor)
    light, noise = Wave.draw(rng, 0.08), rng.uniform(0.5, 2.5)
    frames, coverages = [], []
    for t in range(length):
        exposures = [_expose(camera, actors, t + moment, width, height) for moment in SHUTTER]
        colour, coverage = (np.mean(parts, 0) for parts in zip(*exposures, strict=True))
        colour = colour * (1 + light(t)) + rng.normal(0, noise, colour.shape)
        frames.append(colour.round().clip(0, 255).astype(np.uint8))
        coverages.append(coverage)
    masks = np.stack(coverages, 1) > 0.5  # [N, T, H, W]
    masks &= masks.sum((2, 3), keepdims=True) >= LEAST_PIXELS
    seen = masks.any((1, 2, 3))
    return RenderedVideo(
        np.stack(frames), masks[seen], tuple(a.category for a, s in zip(actors, seen, strict=True) if s)
    )


def _expose(
    camera: Camera, actors: list[Actor], t: float, width: int, height: int
) -> tuple[ndarray, ndarray]:
    """Return the colours [H, W, 3] at one moment and the visible coverage of every object [N, H, W]."""
    colour = camera.render(t, width, height)
    coverage = np.zeros((len(actors), height, width))
    for n, actor in enumerate(actors):
        rendered = actor.render(t, width, height)
        if rendered is None:
            continue
        (rows, columns), alpha, texture = rendered
        coverage[:n, rows, columns] *= 1 - alpha
        coverage[n, rows, columns] = alpha
        colour[rows, columns] += alpha[..., None] * (texture - colour[rows, columns])
    return colour, coverage
