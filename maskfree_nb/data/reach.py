"""How far 'outside every box is background' travels into the boxes, along what the losses link.

A box says for certain what is not the object: everything outside. Both consistency losses pass that on, from
pixel to linked pixel: the pairwise loss within a frame, TK-Loss from frame to frame. With true masks at hand
one can count how much of the background inside a box it reaches in so many steps, and how much of the object
it wrongly eats on the way. What one kind of link reaches already, the other cannot add.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from maskfree_nb.boxloss.pairwise import colour_affinity, neighbour_offsets
from maskfree_nb.data.frames import read_frame
from maskfree_nb.data.statistics import AFFINITY_THRESHOLD, DILATION, THRESHOLD, K, masks_and_boxes
from maskfree_nb.data.tracks import Video, VideoSet
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import disk_offsets
from maskfree_nb.tkloss.lab import rgb_to_lab
from maskfree_nb.tkloss.matching import Matches, match_patches
from maskfree_nb.tkloss.tube import frame_pairs

HOPS = (1, 2, 3, 4, 6, 8, 12, 16)
LINKS = ("pairwise", "tk", "both")
RADIUS = 5


@dataclass(frozen=True)
class Reach:
    """What 'background' has reached after each of `HOPS` steps, means over clips, shares in 0..1.

    Attributes:
        links: `pairwise`, `tk` or `both`.
        background: share of the background inside the boxes that was reached.
        objects: share of the objects that was reached, by mistake.
    """

    links: str
    background: tuple[float, ...]
    objects: tuple[float, ...]


def background_reach(video_set: VideoSet, stride: int = 4, *, num_frames: int = 5) -> list[Reach]:
    """Follow the links of the first `num_frames` frames of each video from the outside of each box.

    A step goes from every reached pixel to every pixel inside the box that is linked to it, in either
    direction. Neighbours: the eight at distance 2 whose colour similarity is at least 0.3. Matches: K = 5,
    D = 0.05, R = 5, 3x3 patches, over the cyclic tube. Maps and clean borders as in `clip_statistics`.

    Args:
        video_set: with masks, from `load_ytvis(..., masks=True)`.
        stride: image pixels a cell of the map.
        num_frames: T, of the tube; shorter videos are left out.

    Returns:
        One row for each of `LINKS`.

    Raises:
        InputError: the set was read without masks, or no video has an object and enough frames.
    """
    if not video_set.has_masks:
        raise InputError(f"{video_set.source}: was read without masks, but reach is counted with true masks")
    videos = [video for video in video_set.videos if video.tracks and video.length >= num_frames]
    if not videos:
        raise InputError(f"{video_set.source}: no video of {num_frames} frames has an annotation")
    shares = torch.stack([_clip_reach(video_set, video, stride, num_frames) for video in videos])
    mean = shares.nanmean(0)  # [links, 2, hops]
    return [Reach(name, *(tuple(row.tolist()) for row in mean[n])) for n, name in enumerate(LINKS)]


def _clip_reach(video_set: VideoSet, video: Video, stride: int, num_frames: int) -> Tensor:
    """The shares of one clip, float64 [links, 2, hops]; NaN where there is nothing to reach."""
    frames = torch.stack([read_frame(video_set, video, t) for t in range(num_frames)])
    lab = rgb_to_lab(frames, stride, quantise=False)
    masks, boxes = masks_and_boxes(video, num_frames, stride)  # bool [N, T, h, w]
    pairs = frame_pairs(num_frames, "cyclic")
    matches = match_patches(lab, pairs, disk_offsets(RADIUS), k=K, threshold=THRESHOLD)
    pairwise, tk = neighbour_links(lab), match_links(matches)
    return torch.stack([
        torch.stack(_reached(links, masks.flatten(1), boxes.flatten(1)))
        for links in (pairwise, tk, torch.cat([pairwise, tk], dim=1))
    ])  # fmt: skip


def _reached(links: Tensor, masks: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of background and of objects after each of `HOPS`, of bool [N, T*h*w] each: float64 [hops]."""
    reached, background, objects = ~boxes, [], []
    first, second = torch.cat([links, links.flip(0)], dim=1)
    for hop in range(1, HOPS[-1] + 1):
        grown = reached.clone()
        instance, link = reached[:, first].nonzero(as_tuple=True)
        grown[instance, second[link]] = True
        reached = grown
        if hop in HOPS:
            inside = reached & boxes
            background.append((inside & ~masks).sum().double() / (boxes & ~masks).sum())
            objects.append((inside & masks).sum().double() / (boxes & masks).sum())
    return torch.stack(background), torch.stack(objects)


def neighbour_links(lab: Tensor) -> Tensor:
    """The pairs of like neighbours in frames [T, 3, h, w]: int64 [2, links], places in T*h*w.

    >>> neighbour_links(torch.zeros(1, 3, 1, 4))
    tensor([[0, 1],
            [2, 3]])
    """
    bits = colour_affinity(lab[None], dilation=DILATION, threshold=AFFINITY_THRESHOLD, border="clean")[0]
    w = lab.shape[-1]
    links = []
    for k, (dy, dx) in list(enumerate(neighbour_offsets(DILATION)))[4:]:  # the other four say the same
        first = ((bits >> k) & 1).flatten().nonzero()[:, 0]
        links.append(torch.stack([first, first + dy * w + dx]))
    return torch.cat(links, dim=1)


def match_links(matches: Matches) -> Tensor:
    """The matched pairs of a clip: int64 [2, links], places in T*h*w, the centre's first."""
    keep = matches.keep()[0]  # [P, S, h, w]
    h, w = keep.shape[-2:]
    links = []
    for (source, centre), kept in zip(matches.frame_pairs, keep, strict=True):
        s, y, x = kept.nonzero(as_tuple=True)
        offset = torch.tensor(matches.offsets)[s]  # [links, 2]
        places = ((centre * h + y) * w + x, (source * h + y + offset[:, 0]) * w + x + offset[:, 1])
        links.append(torch.stack(places))
    return torch.cat(links, dim=1)
