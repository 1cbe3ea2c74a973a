"""The objects: outline, texture, and a way through the video."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageDraw

from maskfree_nb.data.embedded.appearance import draw_surface, sample
from maskfree_nb.data.embedded.camera import Camera, Shot, Wave, direction
from maskfree_nb.data.embedded.pose import Pose
from maskfree_nb.data.embedded.shapes import CLASSES, outline

EDGE_SAMPLES = 8  # outline samples a frame pixel, along each axis
SIZE = (0.3, 0.42)  # reach of an object, of the frame's height
PASSING_SHARE, PASSING_SPEED = 0.25, (5.0, 8.0)  # of the objects that enter or leave
CROWDING = 0.65  # least distance of two objects, of the sum of their reaches
TILT = 0.5  # radians, standard deviation of an object's rotation in the middle of the video
SPIN, GROWTH = 0.07, 0.012  # a frame, standard deviations: radians, share
SWAY = 4.0  # pixels
STRETCH, TWIST, WOBBLE = 0.12, 0.3, 0.09  # at most, see `Pose`


@dataclass(frozen=True, eq=False)
class Actor:
    """One object: what it looks like, and its way through the video."""

    shot: Shot
    category: int
    polygon: ndarray  # [V, 2]
    texture: ndarray  # fits the polygon at `scale`
    middle: ndarray  # position (x, y) at the middle of the video, pixels
    velocity: ndarray  # pixels a frame
    scale: float  # pixels a unit of the polygon
    rotation: float
    spin: float  # radians a frame
    growth: float  # share a frame
    sway: tuple[Wave, Wave]
    bend: tuple[Wave, Wave, Wave]  # stretch, twist, wobble
    lobes: int

    def pose(self, t: float) -> Pose:
        """Where it is at time t, in frames."""
        since = self.shot.since_middle(t)
        x, y = self.middle + self.velocity * since + np.array([wave(t) for wave in self.sway])
        stretch, twist, wobble = (wave(t) for wave in self.bend)
        return Pose(
            centre=(x, y),
            scale=self.scale * np.exp(self.growth * since),
            rotation=self.rotation + self.spin * since,
            stretch=np.exp(stretch),
            twist=twist,
            wobble=wobble,
            lobes=self.lobes,
        )

    def render(self, t: float) -> tuple[tuple[slice, slice], ndarray, ndarray] | None:
        """Draw the object at time t.

        Returns:
            The window of the frame it lies in (rows, columns), and there its coverage [h, w] in 0..1 and its
            colour [h, w, 3]; None while it is outside the frame.
        """
        pose = self.pose(t)
        corners = pose.to_image(self.polygon)
        low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0)), (self.shot.width, self.shot.height)).astype(int)
        if (high <= low).any():
            return None
        fine = Image.new("L", tuple(((high - low) * EDGE_SAMPLES).tolist()))
        vertices = (corners - low) * EDGE_SAMPLES - 0.5
        ImageDraw.Draw(fine).polygon(vertices.ravel().tolist(), fill=255)
        coverage = np.asarray(fine.reduce(EDGE_SAMPLES)) / 255
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        colour = sample(self.texture, pose.to_object(np.stack([x, y], -1)) * self.scale)
        return (slice(low[1], high[1]), slice(low[0], high[0])), coverage, colour


def draw_actor(rng: Generator, split: str, camera: Camera, others: list[Actor]) -> Actor | None:
    """Draw a random object with its way through the video; None where the others leave no room."""
    shot = camera.shot
    scale = rng.uniform(*SIZE) * shot.height
    middle, velocity = _draw_passing(rng, shot) if rng.random() < PASSING_SHARE else _draw_staying(rng, shot)
    if any(np.linalg.norm(middle - a.middle) < CROWDING * (scale + a.scale) for a in others):
        return None
    category = int(rng.integers(len(CLASSES)))
    return Actor(
        shot=shot,
        category=category,
        polygon=outline(CLASSES[category], rng),
        texture=draw_surface(rng, split, CLASSES[category], _behind(camera, middle, scale), int(2.6 * scale)),
        middle=middle,
        velocity=velocity,
        scale=scale,
        rotation=rng.normal(0, TILT),
        spin=rng.normal(0, SPIN),
        growth=rng.normal(0, GROWTH),
        sway=(Wave.draw(rng, SWAY), Wave.draw(rng, SWAY)),
        bend=(Wave.draw(rng, STRETCH), Wave.draw(rng, TWIST), Wave.draw(rng, WOBBLE)),
        lobes=int(rng.integers(2, 4)),
    )


def _draw_staying(rng: Generator, shot: Shot) -> tuple[ndarray, ndarray]:
    """Return place and velocity, in the middle of the video, of an object that stays in the frame."""
    place = rng.uniform(0.2, 0.8, 2) * (shot.width, shot.height)
    return place, direction(rng) * rng.uniform(*shot.style.object_speed)


def _draw_passing(rng: Generator, shot: Shot) -> tuple[ndarray, ndarray]:
    """Return place and velocity, in the middle of the video, of an object that enters or leaves then."""
    along, (axis, side) = rng.uniform(0.2, 0.8), divmod(int(rng.integers(4)), 2)
    place = np.array([along, along])
    place[axis] = side
    outward = np.zeros(2)
    outward[axis] = 2 * side - 1
    velocity = rng.choice([-1, 1]) * (outward + 0.7 * direction(rng)) * rng.uniform(*PASSING_SPEED)
    return place * (shot.width, shot.height), velocity


def _behind(camera: Camera, middle: ndarray, reach: float) -> ndarray:
    """Return the mean colour [3] of the background around `middle`, in the middle of the video."""
    (left, top), (right, bottom) = (np.maximum(middle + side * reach, 0).astype(int) for side in (-1, 1))
    return camera.render((camera.shot.length - 1) / 2)[top:bottom, left:right].mean((0, 1))
