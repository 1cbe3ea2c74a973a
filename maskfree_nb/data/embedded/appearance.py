"""What backgrounds and objects look like: pieces of photographs, recoloured.

Objects of a class are made of the same stuff and have a hue of their own, as animals of a kind do; no
background is made of it. They differ from what is behind them in their mean colour, but many fade into it
towards one end, where only their texture tells.
"""

import numpy as np
from numpy import ndarray
from numpy.random import Generator
from PIL import Image

from maskfree_nb.data.embedded.photographs import BACKGROUNDS, SURFACES, random_crop

OVERSAMPLING = 2  # texture pixels a frame pixel: bilinear sampling of a smooth texture keeps its sharpness

# The numbers below were tuned until the statistics of the data set (maskfree_nb/data/statistics.py) came near
# those of real clips. Colours are luma and chroma differences (YCbCr) in grey levels; deviations are of luma.
BACKGROUND_SATURATION = (0.2, 0.6)
BACKGROUND_HUE_TURN = 0.8  # radians, standard deviation
OBJECT_MAGNIFICATION = (0.4, 1.2)
OBJECT_DEVIATION = (12.0, 46.0)
OBJECT_SHADE = (0.0, 60.0)  # from the middle of an object to its edge
OBJECT_DISTANCE = (30.0, 100.0)  # of its mean colour from that of the background behind it
FADED_DISTANCE = (2.5, 11.0)  # the same, at the end where an object fades into its background;
FADING_DEVIATION = 20.0  # such an object has at least this texture of its own
FADING_SHARE = 0.9  # of the objects of that much texture
FADE = (-0.6, 0.2)  # where along an object fading begins, and where it is complete: -1 and 1 are its ends
HUES = {"arrow": 0.6, "crescent": 2.2, "cross": 3.7, "star": 5.3}  # radians in the plane of chroma
HUE_SPREAD = 0.3  # radians, standard deviation, of the objects of a class
TINT = 0.35  # chroma that the texture's luma brings along
LUMA_RANGE, CHROMA_LIMIT = (40.0, 215.0), 75.0  # of an object's mean colour
MOST_GAIN = 3.0  # no flat crop is amplified to noise

TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
TO_RGB = np.linalg.inv(TO_YCC)


def draw_background(
    rng: Generator,
    split: str,
    size: tuple[int, int],
    magnification: tuple[float, float],
    contrast: tuple[float, float],
) -> tuple[str, ndarray]:
    """Return the name of a random photograph of a split, and a texture for `size` (width, height) from it.

    Its magnification and its contrast are drawn from the ranges given, see `Style`.
    """
    name = str(rng.choice(BACKGROUNDS))
    piece = random_crop(name, split, size, _log_uniform(rng, magnification), rng)
    colours = _turn_hue(piece @ TO_YCC.T, rng.normal(0, BACKGROUND_HUE_TURN))
    mean = colours.mean((0, 1))
    colours = (colours - mean) * _gain(colours[..., 0], rng.uniform(*contrast)) + mean
    colours[..., 1:] *= rng.uniform(*BACKGROUND_SATURATION)
    return name, _texture(colours)


def draw_surface(rng: Generator, split: str, kind: str, behind: ndarray, side: int) -> ndarray:
    """Return a texture for an object of `side` x `side` pixels.

    Args:
        split: whose photographs are used, "train" or "val".
        kind: the class of the object.
        behind: mean colour behind it, RGB [3] in 0..255.
    """
    name = str(rng.choice(SURFACES[kind]))
    piece = random_crop(name, split, (side, side), _log_uniform(rng, OBJECT_MAGNIFICATION), rng)
    hue = HUES[kind] + rng.normal(0, HUE_SPREAD)
    luma = (piece @ TO_YCC.T)[..., 0]
    luma = (luma - luma.mean()) * _gain(luma, rng.uniform(*OBJECT_DEVIATION))
    around = TO_YCC @ behind
    mean = _step_away(rng, around, hue, OBJECT_DISTANCE)
    if luma.std() > FADING_DEVIATION and rng.random() < FADING_SHARE:
        fade = _ramp(rng, side, FADE)[..., None]
        mean = (1 - fade) * mean + fade * _step_away(rng, around, hue, FADED_DISTANCE)
    colours = mean + luma[..., None] * (1.0, TINT * np.cos(hue), TINT * np.sin(hue))
    colours[..., 0] += _shade(rng, side)
    return _texture(colours)


def sample(texture: ndarray, points: ndarray) -> ndarray:
    """Read a texture bilinearly.

    Args:
        texture: float32 [h, w, 3], OVERSAMPLING texture pixels a frame pixel.
        points: float [..., 2], (x, y) in frame pixels from the texture's centre; clamped to its edge.

    Returns:
        float64 [..., 3].
    """
    height, width = texture.shape[:2]
    row = np.clip(points[..., 1] * OVERSAMPLING + (height - 1) / 2, 0, height - 1.001)
    column = np.clip(points[..., 0] * OVERSAMPLING + (width - 1) / 2, 0, width - 1.001)
    top, left = row.astype(np.intp), column.astype(np.intp)
    down, right = (row - top)[..., None], (column - left)[..., None]
    pixels, corner = texture.reshape(-1, 3), top * width + left
    upper = pixels.take(corner, 0) * (1 - right) + pixels.take(corner + 1, 0) * right
    lower = pixels.take(corner + width, 0) * (1 - right) + pixels.take(corner + width + 1, 0) * right
    return upper * (1 - down) + lower * down


def _step_away(rng: Generator, colour: ndarray, hue: float, distance: tuple[float, float]) -> ndarray:
    """Return a colour at a distance from `colour`, towards a hue and brighter or darker, within the range."""
    slope = rng.uniform(-0.9, 0.9)  # share of the luma
    step = rng.uniform(*distance) * np.array(
        [slope, *np.sqrt(1 - slope**2) * np.array([np.cos(hue), np.sin(hue)])]
    )
    if not LUMA_RANGE[0] < colour[0] + step[0] < LUMA_RANGE[1]:
        step[0] = -step[0]
    moved = colour + step
    moved[1:] *= min(1.0, CHROMA_LIMIT / np.linalg.norm(moved[1:]))
    return moved


def _shade(rng: Generator, side: int) -> ndarray:
    """Return a slope of light across a square, [side, side], 0 in its middle."""
    return rng.uniform(*OBJECT_SHADE) * _along(rng, side)


def _ramp(rng: Generator, side: int, limits: tuple[float, float]) -> ndarray:
    """Return a ramp across a square in a random direction, [side, side], from 0 to 1 between the limits."""
    first, last = limits
    return np.clip((_along(rng, side) - first) / (last - first), 0, 1)


def _along(rng: Generator, side: int) -> ndarray:
    """Return the place of each pixel of a square along a random direction, [side, side], 0 in its middle."""
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    return np.cos(angle) * x + np.sin(angle) * y


def _gain(luma: ndarray, deviation: float) -> float:
    """Return the factor that gives luma this standard deviation, at most MOST_GAIN."""
    return min(deviation / (luma.std() + 1e-6), MOST_GAIN)


def _turn_hue(colours: ndarray, angle: float) -> ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return colours @ np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])


def _log_uniform(rng: Generator, limits: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _texture(colours: ndarray) -> ndarray:
    """Turn a piece into RGB and enlarge it OVERSAMPLING times, smoothly: float32 [h, w, 3], 0..255."""
    image = Image.fromarray((colours @ TO_RGB.T).clip(0, 255).round().astype(np.uint8))
    image = image.resize((image.width * OVERSAMPLING, image.height * OVERSAMPLING), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)
