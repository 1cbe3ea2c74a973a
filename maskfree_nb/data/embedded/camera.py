"""The camera over its background, and what all that moves shares: the size of the shot, and waves."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from maskfree_nb.data.embedded.appearance import draw_background, sample
from maskfree_nb.data.embedded.style import STYLES, Style

MARGIN = 40  # pixels of background around the frame, for the camera to move over


@dataclass(frozen=True)
class Shot:
    """Size of the frames in pixels, their number, and how they are filmed."""

    width: int
    height: int
    length: int
    style: Style = STYLES["handheld"]

    def since_middle(self, t: float) -> float:
        """Return the frames that have passed since the middle of the shot."""
        return t - (self.length - 1) / 2


@dataclass(frozen=True)
class Wave:
    """amplitude * sin(rate * t + phase), t in frames."""

    amplitude: float
    rate: float
    phase: float

    @classmethod
    def draw(cls, rng: Generator, amplitude: float, period: tuple[float, float] = (8.0, 24.0)) -> "Wave":
        """Draw a wave of up to `amplitude`, of a period in frames within `period`."""
        return cls(amplitude * rng.random(), 2 * np.pi / rng.uniform(*period), rng.uniform(0, 2 * np.pi))

    def __call__(self, t: float) -> float:
        return self.amplitude * np.sin(self.rate * t + self.phase)


@dataclass(frozen=True, eq=False)
class Camera:
    """A background that is panned, zoomed, rolled and shaken."""

    shot: Shot
    photograph: str
    plate: ndarray  # texture
    velocity: ndarray  # pixels a frame
    zoom: float  # share a frame
    roll: float  # radians a frame
    shake: tuple[Wave, Wave]

    def render(self, t: float) -> ndarray:
        """Return the background at time t, float [H, W, 3]."""
        width, height = self.shot.width, self.shot.height
        since = self.shot.since_middle(t)
        scale, turn = np.exp(self.zoom * since), self.roll * since
        x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
        cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
        offset = self.velocity * since + np.array([wave(t) for wave in self.shake])
        return sample(self.plate, np.stack([cos * x - sin * y, sin * x + cos * y], -1) + offset)


def draw_camera(rng: Generator, split: str, shot: Shot) -> Camera:
    """Draw a random background with its motion."""
    style, size = shot.style, (shot.width + 2 * MARGIN, shot.height + 2 * MARGIN)
    name, plate = draw_background(rng, split, size, style.magnification, style.contrast)
    return Camera(
        shot=shot,
        photograph=name,
        plate=plate,
        velocity=direction(rng) * rng.uniform(*style.camera_speed),
        zoom=rng.normal(0, style.zoom),
        roll=rng.normal(0, style.roll),
        shake=(Wave.draw(rng, style.shake, (2.5, 8)), Wave.draw(rng, style.shake, (2.5, 8))),
    )


def direction(rng: Generator) -> ndarray:
    """Draw a unit vector (x, y)."""
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
