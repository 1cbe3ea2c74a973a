"""The moving parts of a scene: objects on their paths, and the camera over its background."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageDraw
from scipy.ndimage import map_coordinates

from maskfree_nb.data.embedded.photographs import PHOTOGRAPHS, random_crop, recolour
from maskfree_nb.data.embedded.pose import Pose
from maskfree_nb.data.embedded.shapes import CLASSES, outline

OVERSAMPLING = 2  # texture pixels a frame pixel: bilinear sampling of a smooth texture keeps its sharpness
EDGE_SAMPLES = 8  # outline samples a frame pixel, along each axis
MARGIN = 40  # pixels of background around the frame, for the camera to move over


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
class Actor:
    """One object: what it looks like, and its way through the video."""

    category: int
    polygon: ndarray  # [V, 2]
    texture: ndarray  # [h, w, 3], OVERSAMPLING pixels for each frame pixel at `scale`
    middle: ndarray  # position (x, y) at the middle of the video, pixels
    velocity: ndarray  # pixels a frame
    half_length: float  # of the video, frames
    scale: float
    rotation: float
    spin: float  # radians a frame
    growth: float  # share a frame
    sway: tuple[Wave, Wave]
    bend: tuple[Wave, Wave, Wave]  # stretch, twist, wobble
    lobes: int

    def pose(self, t: float) -> Pose:
        """Where it is at time t, in frames."""
        since = t - self.half_length
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

    def render(
        self, t: float, width: int, height: int
    ) -> tuple[tuple[slice, slice], ndarray, ndarray] | None:
        """Return the window (rows, columns) it occupies, and there its coverage [h, w], its colour [h, w, 3]."""
        pose = self.pose(t)
        corners = pose.to_image(self.polygon)
        low = np.maximum(np.floor(corners.min(0)), 0).astype(int)
        high = np.minimum(np.ceil(corners.max(0)), (width, height)).astype(int)
        if (high <= low).any():
            return None
        size = high - low
        fine = Image.new("L", tuple((size * EDGE_SAMPLES).tolist()))
        ImageDraw.Draw(fine).polygon(
            [tuple(p) for p in ((corners - low) * EDGE_SAMPLES - 0.5).tolist()], fill=255
        )
        coverage = np.asarray(fine.reduce(EDGE_SAMPLES), dtype=np.float64) / 255

        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        points = pose.to_object(np.stack([x, y], -1)) * self.scale
        return (slice(low[1], high[1]), slice(low[0], high[0])), coverage, sample(self.texture, points)


def draw_actor(
    rng: Generator, split: str, background: str, width: int, height: int, length: int, category: int
) -> Actor:
    """Draw a random object of a class; its texture comes from another photograph than the background's."""
    scale = rng.uniform(0.24, 0.36) * height
    name = rng.choice([other for other in PHOTOGRAPHS if other != background])
    side = int(2.6 * scale)
    piece = random_crop(name, split, (side, side), np.exp(rng.uniform(np.log(0.5), np.log(1.5))), rng)
    angle, chroma = rng.uniform(0, 2 * np.pi), rng.uniform(15, 70)
    piece = recolour(
        piece,
        mean=np.array([rng.uniform(60, 200), chroma * np.cos(angle), chroma * np.sin(angle)]),
        contrast=rng.uniform(0.15, 0.7),
        saturation=rng.uniform(0.3, 0.8),
        hue=rng.uniform(0, 2 * np.pi),
    )
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, 3.0)
    if rng.random() < 0.25:
        speed += 4.0
    return Actor(
        category=category,
        polygon=outline(CLASSES[category], rng),
        texture=magnify(piece),
        middle=rng.uniform((0.1, 0.1), (0.9, 0.9)) * (width, height),
        velocity=speed * np.array([np.cos(heading), np.sin(heading)]),
        half_length=(length - 1) / 2,
        scale=scale,
        rotation=rng.uniform(0, 2 * np.pi),
        spin=rng.normal(0, 0.07),
        growth=rng.normal(0, 0.012),
        sway=(Wave.draw(rng, 4.0), Wave.draw(rng, 4.0)),
        bend=(Wave.draw(rng, 0.15), Wave.draw(rng, 0.35), Wave.draw(rng, 0.12)),
        lobes=int(rng.integers(2, 4)),
    )


@dataclass(frozen=True, eq=False)
class Camera:
    """A background that is panned, zoomed, turned and shaken."""

    photograph: str
    plate: ndarray  # [h, w, 3]
    velocity: ndarray  # pixels a frame
    half_length: float
    zoom: float  # share a frame
    roll: float  # radians a frame
    shake: tuple[Wave, Wave]

    def render(self, t: float, width: int, height: int) -> ndarray:
        """Return the background at time t, [height, width, 3]."""
        since = t - self.half_length
        scale, turn = np.exp(self.zoom * since), self.roll * since
        x, y = np.meshgrid(np.arange(width) + 0.5 - width / 2, np.arange(height) + 0.5 - height / 2)
        cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
        offset = self.velocity * since + np.array([wave(t) for wave in self.shake])
        return sample(self.plate, np.stack([cos * x - sin * y, sin * x + cos * y], -1) + offset)


def draw_camera(rng: Generator, split: str, width: int, height: int, length: int) -> Camera:
    """Draw a random background with its motion."""
    name = rng.choice(PHOTOGRAPHS)
    size = (width + 2 * MARGIN, height + 2 * MARGIN)
    piece = random_crop(name, split, size, np.exp(rng.uniform(np.log(0.5), np.log(1.2))), rng)
    piece = recolour(
        piece, contrast=rng.uniform(0.5, 1.0), saturation=rng.uniform(0.3, 1.0), hue=rng.uniform(0, 2 * np.pi)
    )
    heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, 3.0)
    return Camera(
        photograph=name,
        plate=magnify(piece),
        velocity=speed * np.array([np.cos(heading), np.sin(heading)]),
        half_length=(length - 1) / 2,
        zoom=rng.normal(0, 0.006),
        roll=rng.normal(0, 0.006),
        shake=(Wave.draw(rng, 1.5, (2.5, 8)), Wave.draw(rng, 1.5, (2.5, 8))),
    )


def magnify(piece: ndarray) -> ndarray:
    """Enlarge a piece OVERSAMPLING times, smoothly: float32 [h, w, 3], 0..255."""
    image = Image.fromarray(piece.clip(0, 255).round().astype(np.uint8))
    image = image.resize((image.width * OVERSAMPLING, image.height * OVERSAMPLING), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def sample(texture: ndarray, points: ndarray) -> ndarray:
    """Read a texture bilinearly at points (x, y) [..., 2], frame pixels from its centre; mirrored outside."""
    height, width = texture.shape[:2]
    rows = points[..., 1] * OVERSAMPLING + (height - 1) / 2
    columns = points[..., 0] * OVERSAMPLING + (width - 1) / 2
    channels = [map_coordinates(texture[..., c], (rows, columns), order=1, mode="mirror") for c in range(3)]
    return np.stack(channels, -1)
