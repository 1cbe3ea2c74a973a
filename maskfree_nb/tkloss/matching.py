"""Step 2 of the TK-Loss: of the candidates, the K nearest patches that are near enough."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb import backend as backends
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss.candidates import Offsets, pad_by_reach, shifted

BORDERS = ("clean", "zero")
NONE = 255  # in `index`: no match in this place


@dataclass(frozen=True)
class Matches:
    """The matches of every pixel of every frame pair: found once per clip, used by all instances and layers.

    For pair (a, b) and pixel (y, x) of frame b, candidate s is pixel (y + dy, x + dx) of frame a, where
    (dy, dx) = offsets[s].

    Attributes:
        bits: int32 [B, P, ceil(S/32), h, w]; bit s % 32 of word s // 32 is set where candidate s is a match.
        offsets: the S candidates, a tuple of (dy, dx).
        frame_pairs: the P pairs (source a, centre b).
        index: uint8 [B, P, K, h, w], the matches' numbers, most similar first, 255 = none; or None.
        distance: float32 [B, P, K, h, w], their patch distances, inf = none; or None.

    >>> from maskfree_nb.tkloss import disk_offsets, match_patches
    >>> lab = torch.zeros(1, 2, 3, 4, 4)
    >>> lab[0, 0, 0, 1, 1] = lab[0, 1, 0, 2, 2] = 90.0  # one bright pixel, moved by one
    >>> matches = match_patches(lab, [(0, 1)], disk_offsets(2), k=1, return_index=True)
    >>> matches.neighbours(pair=0, y=2, x=2)
    [(1, 1, 0.0)]
    """

    bits: Tensor
    offsets: Offsets
    frame_pairs: tuple[tuple[int, int], ...]
    index: Tensor | None = None
    distance: Tensor | None = None

    def keep(self) -> Tensor:
        """Return bool [B, P, S, h, w]: is candidate s a match?"""
        return unpack_bits(self.bits, len(self.offsets), dim=2)

    def count(self) -> Tensor:
        """Return int64 [B, P, h, w]: the number of matches of every pixel, 0..K."""
        return sum((self.bits >> place) & 1 for place in range(32)).sum(dim=2)

    def neighbours(self, pair: int, y: int, x: int, clip: int = 0) -> list[tuple[int, int, float | None]]:
        """Return (y', x', distance) of the matched pixels of frame a, most similar first.

        Without `index` the distance is None and the order that of the offsets. A match that lies outside the
        frame (border "zero") is no pixel and is left out.
        """
        if self.index is None or self.distance is None:
            kept = unpack_bits(self.bits[clip, pair, :, y, x], len(self.offsets), dim=0)
            found = [(s, None) for s in kept.nonzero()[:, 0].tolist()]
        else:
            numbers = self.index[clip, pair, :, y, x].tolist()
            distances = self.distance[clip, pair, :, y, x].tolist()
            found = [(s, d) for s, d in zip(numbers, distances, strict=True) if s != NONE]
        height, width = self.bits.shape[-2:]
        places = [(y + self.offsets[s][0], x + self.offsets[s][1], d) for s, d in found]
        return [(v, u, d) for v, u, d in places if 0 <= v < height and 0 <= u < width]


def match_patches(
    lab: Tensor,
    frame_pairs: list[tuple[int, int]],
    offsets: Offsets,
    *,
    k: int = 5,
    threshold: float = 0.05,
    patch_size: int = 3,
    border: str = "clean",
    return_index: bool = False,
    backend: str = "auto",
) -> Matches:
    """Match every pixel with at most K patches of the other frame of each pair.

    S_p = top-K of the candidates by patch distance, of those the ones with exp(-d/2) >= D
    (Algorithm 1, line 11, of MaskFreeVIS, CVPR 2023). `knn_match` defines the distance d and the borders.

    Args:
        lab: float32 [B, T, 3, h, w] or [T, 3, h, w], from `rgb_to_lab`.
        frame_pairs: (source a, centre b) pairs, from `frame_pairs`.
        offsets: candidates, from `disk_offsets` or `grid_offsets`.
        k: K, the most matches a pixel may have.
        threshold: D in 0..1, the least similarity exp(-d/2); 0.05 means d <= 5.99. 0 keeps all K.
        patch_size: 1, 3, 5, ...: the side of a patch in pixels.
        border: "clean" or "zero".
        return_index: also keep the matches in order, with their distances (for pictures).
        backend: "auto", "torch" or "triton".

    Raises:
        InputError: an option outside its range; it names the option.

    >>> from maskfree_nb.tkloss import disk_offsets
    >>> matches = match_patches(torch.rand(3, 3, 8, 8), [(0, 1), (1, 2), (2, 0)], disk_offsets(2))
    >>> matches.bits.shape
    torch.Size([1, 3, 1, 8, 8])
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold is {threshold!r}, expected a similarity in 0..1")
    lab = lab.unsqueeze(0) if lab.ndim == 4 else lab
    op = backends.kernels().knn_match if backends.resolve(backend, lab) == "triton" else knn_match
    bits, index, distance = op(
        lab,
        frame_pairs,
        offsets,
        k=k,
        max_distance=-2 * math.log(threshold) if threshold > 0 else math.inf,
        patch_size=patch_size,
        border=border,
        return_index=return_index,
    )
    return Matches(bits, tuple(offsets), tuple(frame_pairs), index, distance)


@torch.no_grad()
def knn_match(
    lab: Tensor,
    frame_pairs: list[tuple[int, int]],
    offsets: Offsets,
    *,
    k: int,
    max_distance: float,
    patch_size: int = 3,
    border: str = "clean",
    return_index: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Find the K nearest candidate patches within `max_distance`: the plain torch definition.

    d(p, q)² = Σ over patch places i and the 3 channels of (Lab_b(p + i) - Lab_a(q + i))². For one offset
    q - p it is a box sum of the squared difference of two shifted frames: no patch is ever copied.
    Patch pixels outside the frame are Lab (0, 0, 0). Of equal distances the lower offset index is the nearer.

    Args:
        lab: float32 [B, T, 3, h, w].
        frame_pairs, offsets, k, patch_size, return_index: as in `match_patches`.
        max_distance: the largest d of a match, -2 ln D.
        border: "clean": a candidate centre outside the frame does not exist. "zero": it is a patch of zeros
            that may take one of the K places, as in the published code.

    Returns:
        bits int32 [B, P, ceil(S/32), h, w]; with `return_index` also index uint8 and distance float32, both
        [B, P, K, h, w], else None, None. `Matches` describes them.
    """
    _check_options(lab, frame_pairs, offsets, k, patch_size, border, return_index)
    sources, centres = zip(*frame_pairs, strict=True)
    height, width = lab.shape[-2:]
    margin = patch_size // 2
    patched = F.pad(lab, [margin] * 4)  # patches reach so far beyond the frame
    centre = patched[:, centres]  # [B, P, 3, h + 2 margin, w + 2 margin]
    source = pad_by_reach(patched, offsets)[:, sources]
    in_frame = pad_by_reach(lab.new_ones(height, width), offsets).bool()
    beyond = lab.new_tensor(math.inf)  # the squared distance to a candidate outside the frame
    if border == "zero":
        beyond = _box_sum(centre.square().sum(2), patch_size)

    shape = (len(lab), len(frame_pairs), height, width)
    nearest = [torch.full(shape, _key(math.inf), device=lab.device) for _ in range(k)]  # most similar first
    for s, offset in enumerate(offsets):
        difference = centre - shifted(source, offset, height + 2 * margin, width + 2 * margin)
        squared = _box_sum(difference.square_().sum(2), patch_size)  # [B, P, h, w]
        squared = torch.where(shifted(in_frame, offset, height, width), squared, beyond)
        # a float >= 0 orders like its bit pattern: one integer orders by distance, then by offset index
        key = squared.view(torch.int32).long().bitwise_left_shift_(16).add_(s)
        for place in range(k):
            nearest[place], key = torch.minimum(nearest[place], key), torch.maximum(nearest[place], key)

    keys = torch.stack(nearest, dim=2)  # [B, P, K, h, w]
    matched = keys < _key(min(max_distance**2, torch.finfo(torch.float32).max)) + (1 << 16)
    number = torch.where(matched, keys & 0xFFFF, len(offsets))  # [B, P, K, h, w], S = none
    bits = _pack(number, len(offsets))
    if not return_index:
        return bits, None, None
    index = number.masked_fill(~matched, NONE).to(torch.uint8)
    distance = (keys >> 16).int().view(torch.float32).sqrt().masked_fill(~matched, math.inf)
    return bits, index, distance


def unpack_bits(bits: Tensor, count: int, dim: int) -> Tensor:
    """Turn words of 32 bits along `dim` into `count` booleans along `dim`."""
    s = torch.arange(count, device=bits.device)
    place = (s % 32).int().view([-1] + [1] * (bits.ndim - dim - 1))  # [S, 1, ...]
    return ((bits.index_select(dim, s // 32) >> place) & 1).bool()


def _pack(number: Tensor, count: int) -> Tensor:
    """Set bit `number` of every match: [B, P, K, h, w] in 0..count, count = none -> [B, P, words, h, w]."""
    batch, pairs, _, height, width = number.shape
    bits = number.new_zeros(batch, pairs, (count + 31) // 32, height, width, dtype=torch.int32)
    for word in range(bits.shape[2]):
        bit_of = torch.tensor([1 << s % 32 if s // 32 == word and s < count else 0 for s in range(count + 1)])
        bit_of = bit_of.to(number.device, torch.int32)
        for place in number.unbind(2):
            bits[:, :, word] |= bit_of.index_select(0, place.flatten()).view(place.shape)
    return bits


def _key(squared: float) -> int:
    """Return the lowest key of a squared distance."""
    return int(torch.tensor(squared, dtype=torch.float32).view(torch.int32)) << 16


def _box_sum(squared: Tensor, size: int) -> Tensor:
    """Sum over every size x size window: [..., h + size - 1, w + size - 1] -> [..., h, w]."""
    rows, columns = squared.shape[-2] - size + 1, squared.shape[-1] - size + 1
    summed = sum(squared[..., i : i + rows, :] for i in range(size))
    return sum(summed[..., i : i + columns] for i in range(size))


def _check_options(lab, frame_pairs, offsets, k, patch_size, border, return_index) -> None:
    if lab.ndim != 5 or lab.shape[2] != 3:
        raise InputError(f"lab has shape {list(lab.shape)}, expected [B, T, 3, h, w]")
    if lab.dtype != torch.float32:
        raise InputError(f"lab is {lab.dtype}, expected torch.float32")
    for pair in frame_pairs:
        if not all(0 <= t < lab.shape[1] for t in pair):
            raise InputError(f"frame pair {tuple(pair)} does not fit lab with T = {lab.shape[1]} frames")
    if not frame_pairs or not offsets:
        raise InputError("frame_pairs and offsets need at least one entry each")
    if not isinstance(k, int) or k < 1:
        raise InputError(f"k is {k!r}, expected an integer >= 1")
    if not isinstance(patch_size, int) or patch_size < 1 or patch_size % 2 == 0:
        raise InputError(f"patch_size is {patch_size!r}, expected an odd integer >= 1")
    if border not in BORDERS:
        raise InputError(f"border is {border!r}, expected 'clean' or 'zero'")
    if return_index and len(offsets) > NONE:
        raise InputError(f"return_index takes at most {NONE} candidates, offsets has {len(offsets)}")
