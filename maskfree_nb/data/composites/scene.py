"""One composite: a clip, and the objects of other clips that are pasted on it."""

from dataclasses import replace

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from maskfree_nb.data.composites.layers import Cutout, Layer
from maskfree_nb.data.composites.source import SourceClips, objects
from maskfree_nb.data.dataset_folder import RenderedVideo
from maskfree_nb.data.tracks import Video

OVERSAMPLING = 2  # pixels of the canvas, on which is pasted, a pixel of the frame
OBJECTS = {2: 0.4, 3: 0.4, 4: 0.2}  # how many in all, and with what probability
LEAST_OBJECTS = min(OBJECTS)
LEAST_PIXELS = 12  # of an object that counts as visible
BACKGROUND_ZOOM = (1.0, 1.6)  # 1: just covers the frame
OWN_CENTRE = (0.2, 0.8)  # of the background's first object, shares of the frame; its crop is chosen so
OBJECT_SIDE = (0.18, 0.4)  # square root of area, as a share of that of the frame
MOST_EXTENT = 0.85  # share of the frame's width or height
OBJECT_CENTRE = (0.15, 0.85)  # of a pasted object's box halfway through, shares of the frame
DRIFT = 1.0  # pixels a frame at most, besides the object's own motion
MOST_HIDDEN = 0.5  # of the smaller of two boxes, halfway through
MOST_PLACES = 10  # that are tried for less hiding


def render_composite(
    rng: Generator, source: SourceClips, split: str, length: int, canvas: tuple[int, int]
) -> RenderedVideo:
    """Draw a random composite; it may turn out to have fewer than two visible objects."""
    background, cutouts = _draw_scene(rng, source, split, length, canvas)
    frames, coverages = [], []
    for t in range(length):
        colour = background.cut(source.frame(background.video, background.times[t]), t, (0, 0, *canvas))
        coverage = np.zeros((len(cutouts), *colour.shape[:2]), dtype=np.float32)
        for n, cutout in enumerate(cutouts):
            mask = cutout.mask(t)
            window = None if mask is None else cutout.layer.window(mask, t, canvas)
            if window is None:
                continue
            area = np.s_[window[1] : window[3], window[0] : window[2]]
            alpha = cutout.layer.cut(mask, t, window) / 255
            pixels = source.frame(cutout.layer.video, cutout.layer.times[t])
            colour[area] += alpha[..., None] * (cutout.layer.cut(pixels, t, window) - colour[area])
            coverage[:n][:, *area] *= 1 - alpha
            coverage[n][area] = alpha
        frames.append(_reduce(colour).round().clip(0, 255).astype(np.uint8))
        coverages.append([_reduce(c) for c in coverage])
    masks = np.stack(coverages, 1) > 0.5  # [N, T, H, W]; no two of them share a pixel
    masks &= masks.sum((2, 3), keepdims=True) >= LEAST_PIXELS
    seen = masks.any((1, 2, 3))
    categories = tuple(source.category(c.track) for c, is_seen in zip(cutouts, seen, strict=True) if is_seen)
    return RenderedVideo(np.stack(frames), masks[seen], categories)


def _draw_scene(
    rng: Generator, source: SourceClips, split: str, length: int, canvas: tuple[int, int]
) -> tuple[Layer, list[Cutout]]:
    """Draw the background, and the objects from back to front."""
    video = source.backgrounds[rng.integers(len(source.backgrounds))]
    others = [other for other in source.videos if other is not video]
    background = _draw_background(rng, source, video, split, length, canvas)
    cutouts = [Cutout(background, track, feathered=False) for track in objects(video)]
    total = rng.choice(list(OBJECTS), p=list(OBJECTS.values()))
    pasted = min(max(total - len(cutouts), 1), len(others))
    for index in rng.choice(len(others), pasted, replace=False):
        cutout = _draw_pasted(rng, source, others[index], split, length, canvas, cutouts)
        if cutout is not None:
            cutouts.append(cutout)
    return background, [cutouts[n] for n in rng.permutation(len(cutouts))]


def _draw_background(
    rng: Generator, source: SourceClips, video: Video, split: str, length: int, canvas: tuple[int, int]
) -> Layer:
    """Draw a crop of a clip that fills the canvas, and has the middle of its first object inside."""
    times = source.draw_times(rng, video, split, length)
    size = np.array(source.frame(video, times[0]).size)
    scale = max(canvas / size) * rng.uniform(*BACKGROUND_ZOOM)
    room = canvas - scale * size  # <= 0
    layer = Layer(source, video, times, bool(rng.integers(2)), scale, origin=rng.uniform(room, 0))
    found = Cutout(layer, objects(video)[0], feathered=False).box()
    if found is None:
        return layer
    centre = scale * _centre(found[1])
    low, high = (share * np.array(canvas) - centre for share in OWN_CENTRE)
    return replace(layer, origin=np.clip(np.clip(layer.origin, low, high), room, 0))


def _draw_pasted(
    rng: Generator,
    source: SourceClips,
    video: Video,
    split: str,
    length: int,
    canvas: tuple[int, int],
    others: list[Cutout],
) -> Cutout | None:
    """Draw an object of a clip, its size, and a place where it and the others do not mostly hide each other.

    Returns None if none of the drawn frames has it.
    """
    track = objects(video)[rng.integers(len(objects(video)))]
    times = source.draw_times(rng, video, split, length, track)
    direction = rng.normal(size=2)
    drift = OVERSAMPLING * DRIFT * rng.random() * direction / np.linalg.norm(direction)
    layer = Layer(source, video, times, bool(rng.integers(2)), 1.0, np.zeros(2), drift)
    cutout = Cutout(layer, track, feathered=True)
    found = cutout.box()
    if found is None:
        return None
    t, box = found
    side = np.sqrt(np.asarray(cutout.mask(t)).mean() / 255 * np.prod(cutout.mask(t).size))
    wanted = np.exp(rng.uniform(*np.log(OBJECT_SIDE))) * np.sqrt(np.prod(canvas))
    extent = MOST_EXTENT * min(np.array(canvas) / (box[2:] - box[:2]))
    scale = min(wanted / side, extent, OVERSAMPLING)  # nothing is magnified in the frame
    for _ in range(MOST_PLACES):
        centre = rng.uniform(*OBJECT_CENTRE, 2) * canvas
        origin = centre - scale * _centre(box) - drift * t
        placed = replace(cutout, layer=replace(layer, scale=scale, origin=origin))
        if all(_hidden(placed, other) <= MOST_HIDDEN for other in others):
            break
    return placed


def _hidden(a: Cutout, b: Cutout) -> float:
    """Return how much of the smaller of two objects' boxes the other's covers, halfway through."""
    first, second = (_placed_box(cutout) for cutout in (a, b))
    if first is None or second is None:
        return 0.0
    common = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    smaller = min(np.prod(box[2:] - box[:2]) for box in (first, second))
    return np.prod(common.clip(0)) / smaller


def _placed_box(cutout: Cutout) -> ndarray | None:
    found = cutout.box()
    if found is None:
        return None
    t, box = found
    return box * cutout.layer.scale + np.tile(cutout.layer.origin + cutout.layer.velocity * t, 2)


def _centre(box: ndarray) -> ndarray:
    return (box[:2] + box[2:]) / 2


def _reduce(pixels: ndarray) -> ndarray:
    """Return the means [H, W, ...] over squares of the canvas."""
    height, width = (side // OVERSAMPLING for side in pixels.shape[:2])
    squares = pixels.reshape(height, OVERSAMPLING, width, OVERSAMPLING, *pixels.shape[2:])
    return squares.mean((1, 3))
