"""Where an object is at one moment and how it is deformed: a map of the plane with an exact inverse."""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray


@dataclass(frozen=True)
class Pose:
    """A twisting, wobbling object, stretched, rotated, scaled and moved.

    The point (r, angle) of the object is twisted to (r, angle + twist r), pushed out to
    r (1 + wobble sin(lobes angle)), and then mapped affinely. As each step can be undone, the texture
    deforms with the outline.
    """

    centre: tuple[float, float]  # pixels (x, y)
    scale: float  # pixels of one unit
    rotation: float  # radians
    stretch: float = 1.0  # x grows by it, y shrinks by it
    twist: float = 0.0  # radians a unit
    wobble: float = 0.0  # in 0..1
    lobes: int = 2

    def to_image(self, points: ndarray) -> ndarray:
        """Map points of the object, float [..., 2] as (x, y), to pixels.

        >>> Pose(centre=(5, 7), scale=2, rotation=np.pi / 2).to_image(np.array([1.0, 0.0])).round(6).tolist()
        [5.0, 9.0]
        """
        radius, angle = _polar(points)
        angle = angle + self.twist * radius
        radius = radius * self._bulge(angle)
        x, y = radius * np.cos(angle) * self.stretch, radius * np.sin(angle) / self.stretch
        cos, sin = self.scale * np.cos(self.rotation), self.scale * np.sin(self.rotation)
        return np.stack([cos * x - sin * y + self.centre[0], sin * x + cos * y + self.centre[1]], -1)

    def to_object(self, points: ndarray) -> ndarray:
        """Map pixels, float [..., 2] as (x, y), to points of the object: the inverse of `to_image`."""
        dx, dy = points[..., 0] - self.centre[0], points[..., 1] - self.centre[1]
        cos, sin = np.cos(self.rotation) / self.scale, np.sin(self.rotation) / self.scale
        x, y = (cos * dx + sin * dy) / self.stretch, (cos * dy - sin * dx) * self.stretch
        radius, angle = _polar(np.stack([x, y], -1))
        radius = radius / self._bulge(angle)
        angle = angle - self.twist * radius
        return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)

    def _bulge(self, angle: ndarray) -> ndarray:
        return 1.0 + self.wobble * np.sin(self.lobes * angle)


def _polar(points: ndarray) -> tuple[ndarray, ndarray]:
    return np.hypot(points[..., 0], points[..., 1]), np.arctan2(points[..., 1], points[..., 0])
