"""One video: objects over a background, in front of each other, seen by a camera with a shutter and noise."""

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from maskfree_nb.data.dataset_folder import RenderedVideo
from maskfree_nb.data.embedded.actors import Actor, draw_actor
from maskfree_nb.data.embedded.camera import Camera, Shot, Wave, draw_camera

OBJECTS = {1: 0.45, 2: 0.4, 3: 0.15}  # how many, and with what probability
MOST_TRIES = 50
SHUTTER = (-0.15, 0.15)  # moments of exposure around a frame's time, in frames
LIGHT = 0.08  # share by which the light changes
NOISE = (1.5, 3.7)  # standard deviation, grey levels
LEAST_PIXELS = 24  # of an object that counts as visible


def render_video(rng: Generator, split: str, shot: Shot) -> RenderedVideo:
    """Draw a random scene and film it; photographs are those of the split, "train" or "val".

    >>> video = render_video(np.random.default_rng(0), "train", Shot(width=64, height=48, length=2))
    >>> video.frames.shape, video.masks.shape[1:]
    ((2, 48, 64, 3), (2, 48, 64))
    """
    camera = draw_camera(rng, split, shot)
    actors = _draw_actors(rng, split, camera)
    light, noise = Wave.draw(rng, LIGHT), rng.uniform(*NOISE)
    frames, coverages = [], []
    for t in range(shot.length):
        exposures = [_expose(camera, actors, t + moment) for moment in SHUTTER]
        colour, coverage = (np.mean(parts, 0) for parts in zip(*exposures, strict=True))
        colour = colour * (1 + light(t)) + rng.normal(0, noise, colour.shape)
        frames.append(colour.round().clip(0, 255).astype(np.uint8))
        coverages.append(coverage)
    masks = np.stack(coverages, 1) > 0.5  # [N, T, H, W]
    masks &= masks.sum((2, 3), keepdims=True) >= LEAST_PIXELS
    seen = masks.any((1, 2, 3))
    categories = tuple(actor.category for actor, is_seen in zip(actors, seen, strict=True) if is_seen)
    return RenderedVideo(np.stack(frames), masks[seen], categories)


def _draw_actors(rng: Generator, split: str, camera: Camera) -> list[Actor]:
    """Draw the objects, from back to front, where they do not mostly hide each other."""
    count = rng.choice(list(OBJECTS), p=list(OBJECTS.values()))
    actors = []
    for _ in range(MOST_TRIES):
        actor = draw_actor(rng, split, camera, actors)
        if actor is not None:
            actors.append(actor)
        if len(actors) == count:
            break
    return actors


def _expose(camera: Camera, actors: list[Actor], t: float) -> tuple[ndarray, ndarray]:
    """Return the colours [H, W, 3] at one moment and the visible coverage of every object [N, H, W]."""
    colour = camera.render(t)
    coverage = np.zeros((len(actors), *colour.shape[:2]))
    for n, actor in enumerate(actors):
        rendered = actor.render(t)
        if rendered is None:
            continue
        (rows, columns), alpha, surface = rendered
        coverage[:n, rows, columns] *= 1 - alpha
        coverage[n, rows, columns] = alpha
        colour[rows, columns] += alpha[..., None] * (surface - colour[rows, columns])
    return colour, coverage
