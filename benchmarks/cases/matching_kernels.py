"""Lab maps and patch matching: the floor, the unfold formulation, our torch path, torch.compile."""

import itertools
import math

import torch
from contenders import Disagreement
from gpu import KernelCase, poisoned
from naive import best, patch_similarity
from scene import moving_scene
from torch import Tensor
from torch.nn import functional as F

from maskfree_nb import backend, tkloss
from maskfree_nb.tkloss import disk_offsets, frame_pairs, grid_offsets
from maskfree_nb.tkloss.lab import RGB_TO_XYZ

FRAMES, K, THRESHOLD = 5, 5, 0.05
MAX_DISTANCE = -2 * math.log(THRESHOLD)
WINDOWS = {"official": (grid_offsets(1, 3), "zero"), "R=5": (disk_offsets(5), "clean")}
SETTINGS = {"R50": (384, 640), "Swin-L": (480, 864)}
CLIPS = 32  # of a batch that fills the chip
MARGIN = 1e-3  # so close to each other, float32 and float64 may rank two distances differently


def cases(device: torch.device, small: bool) -> list[KernelCase]:
    """Return both ops for a clip of each setting and for many clips; nothing on a CPU: there torch runs."""
    if device.type != "cuda":
        return []
    found = []
    for setting, size in ({"small": (64, 96)} if small else SETTINGS).items():
        clip = moving_scene(FRAMES, *size, instances=4)[0].to(device)[None]
        batch = clip.expand(CLIPS, -1, -1, -1, -1).contiguous()
        found += [_lab_case(setting, clip), _lab_case(f"{setting}, {CLIPS} clips", batch)]
        for window in WINDOWS:
            for against in ("unfold", "torch", "torch.compile"):
                if against != "torch.compile" or (setting, window) == ("R50", "official"):
                    found.append(_matching_case(setting, window, tkloss.rgb_to_lab(clip), against))
        found.append(
            _matching_case(f"{setting}, {CLIPS} clips", "official", tkloss.rgb_to_lab(batch), "torch")
        )
    return found


def _lab_case(setting: str, frames: Tensor) -> KernelCase:
    kernel = backend.kernels().rgb_to_lab
    return KernelCase(
        "rgb_to_lab",
        {"setting": setting, "against": "torch"},
        ours=lambda: {"lab": kernel(frames)},
        baseline=lambda: {"lab": tkloss.rgb_to_lab(frames)},
        reference=lambda: {"lab": _lab_float64(frames)},
        bytes=frames.nbytes + 4 * frames.numel() // 16,
    )


def _lab_float64(frames: Tensor) -> Tensor:
    colour = F.avg_pool2d(frames.flatten(0, -4).double(), 4).floor() / 255
    linear = torch.where(colour > 0.04045, ((colour + 0.055) / 1.055) ** 2.4, colour / 12.92)
    matrix = torch.tensor(RGB_TO_XYZ, dtype=torch.float64, device=frames.device)
    xyz = torch.einsum("ij,njhw->nihw", matrix, linear)
    x, y, z = torch.where(xyz > 0.008856, xyz ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    lab = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)
    return lab.view(*frames.shape[:-2], *lab.shape[-2:])


def _matching_case(setting: str, window: str, lab: Tensor, against: str) -> KernelCase:
    offsets, border = WINDOWS[window]
    pairs = frame_pairs(FRAMES)
    options = {"k": K, "max_distance": MAX_DISTANCE, "border": border}
    kernel = backend.kernels().knn_match

    def ours() -> dict[str, Tensor]:
        return {"bits": kernel(lab, pairs, offsets, **options)[0]}

    def plain() -> dict[str, Tensor]:
        return {"bits": tkloss.knn_match(lab, pairs, offsets, **options)[0]}

    def unfold() -> dict[str, Tensor]:
        match = _unfold_official if window == "official" else _unfold_dense
        return {"keep": torch.stack([match(maps, pairs, offsets) for maps in lab])}

    baselines = {"unfold": unfold, "torch": plain, "torch.compile": torch.compile(plain)}
    count = tkloss.Matches(ours()["bits"], offsets, tuple(pairs)).count().float().mean().item()
    words = (len(offsets) + 31) // 32
    return KernelCase(
        f"knn_match, {window}",
        {"setting": setting, "against": against, "matches_per_pixel": round(count, 3)},
        ours,
        baselines[against],
        bar=100.0 if (window, against) == ("R=5", "unfold") else None,
        bytes=lab.nbytes + 4 * words * lab.numel() // 3,
        floor_bar=2.0 if window == "official" else None,
        check=lambda: _check_matching(lab, pairs, offsets, **options),
    )


def _check_matching(lab: Tensor, pairs: list, offsets: tuple, **options) -> dict[str, float]:
    """Compare matches of fresh noisy maps with all distances in float64, and with the torch path.

    All clips are compared, since their number decides on the launch configuration; and so are the bits
    without `return_index`, which are what is timed.
    """
    lab = lab + 0.1 * torch.randn_like(lab)
    kernel = backend.kernels().knn_match
    with poisoned():
        bits, index, distance = kernel(lab, pairs, offsets, return_index=True, **options)
        timed = kernel(lab, pairs, offsets, **options)[0]
    if not torch.equal(timed, bits):
        raise Disagreement("knn_match: the matches without and with return_index differ")
    unlike = (bits != tkloss.knn_match(lab, pairs, offsets, **options)[0]).float().mean().item()
    worst = 0.0
    for clip, (p, (a, b)) in itertools.product(range(len(lab)), enumerate(pairs)):
        exact = _all_distances(lab[clip, a].double(), lab[clip, b].double(), offsets, options["border"])
        found = index[clip, p] != 255  # [K, h, w]
        kept = exact.gather(0, index[clip, p].long().where(found, 0))
        worst = max(worst, (kept - distance[clip, p]).abs().where(found, 0).max().item())
        farthest = exact.topk(K, dim=0, largest=False).values[-1].clamp(max=MAX_DISTANCE) + MARGIN
        fewest = (exact <= MAX_DISTANCE - MARGIN).sum(0).clamp(max=K)
        if (found & (kept > farthest)).any() or (found.sum(0) < fewest).any() or not worst <= MARGIN:
            raise Disagreement(
                f"knn_match: clip {clip}, pair {a, b}: the matches are not the nearest candidates"
            )
    return {"distance": worst, "words unlike the torch path": unlike}


def _all_distances(source: Tensor, centre: Tensor, offsets: tuple, border: str) -> Tensor:
    """Patch distances of all candidates, [S, h, w]; inf where one does not exist."""
    h, w = source.shape[-2:]
    patches = [F.unfold(maps[None], 3, padding=1).view(27, h, w) for maps in (source, centre)]
    reach = max(max(abs(dy), abs(dx)) for dy, dx in offsets)
    padded = F.pad(patches[0], [reach] * 4)
    inside = F.pad(torch.ones_like(source[0]), [reach] * 4)
    found = []
    for dy, dx in offsets:
        rows, columns = slice(reach + dy, reach + dy + h), slice(reach + dx, reach + dx + w)
        distance = (padded[:, rows, columns] - patches[1]).norm(dim=0)
        if border == "clean":
            distance = distance.where(inside[rows, columns] > 0, math.inf)
        found.append(distance)
    return torch.stack(found)


def _unfold_official(lab: Tensor, pairs: list, _offsets: tuple) -> Tensor:
    """Return keep sets [P, 9, h, w] in the unfold formulation."""
    similarities = torch.cat([patch_similarity(lab[a], lab[b]) for a, b in pairs])
    return best(similarities) * (similarities >= THRESHOLD)


def _unfold_dense(lab: Tensor, pairs: list, offsets: tuple) -> Tensor:
    """Return keep sets [P, 81, h, w]: a patch is a column, a window 11 x 11 of them, of which 81 are used."""
    h, w = lab.shape[-2:]
    disk = torch.tensor([(dy + 5) * 11 + dx + 5 for dy, dx in offsets], device=lab.device)
    patches = F.unfold(lab, 3, padding=1).view(len(lab), 27, h, w)
    exists = F.unfold(torch.ones_like(lab[:1, :1]), 11, padding=5).view(121, h, w)[disk]
    found = []
    for a, b in pairs:
        windows = F.unfold(patches[a][None], 11, padding=5).view(27, 121, h, w)[:, disk]
        similarity = (-0.5 * (windows - patches[b][:, None]).norm(dim=0)).exp() * exists
        found.append(best(similarity[None]) * (similarity >= THRESHOLD))
    return torch.cat(found)
