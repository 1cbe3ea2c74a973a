"""Reach: links between the right pixels, shares that can be counted by hand, the command and its section."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskfree_nb.data import rle
from maskfree_nb.data.annotations import write_annotations
from maskfree_nb.data.reach import HOPS, LINKS, background_reach, match_links, neighbour_links
from maskfree_nb.data.tracks import Category, Track, Video
from maskfree_nb.data.ytvis import load_ytvis
from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import disk_offsets, match_patches

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def make_set(folder: Path, frames: list[np.ndarray], mask: np.ndarray, box: tuple) -> tuple[Path, Path]:
    names = tuple(f"v/{t}.png" for t in range(len(frames)))
    (folder / "v").mkdir(parents=True)
    for name, frame in zip(names, frames, strict=True):
        Image.fromarray(frame).save(folder / name)
    height, width = mask.shape
    boxes = np.tile(np.float32(box), (len(frames), 1))
    track = Track(1, 0, boxes, tuple(rle.encode(mask) for _ in frames))
    video = Video(1, width, height, len(frames), names, (track,))
    write_annotations(folder / "val.json", [Category(1, "thing")], [video], masks=True)
    return folder / "val.json", folder


@pytest.fixture
def flat(tmp_path):
    """Grey frames with a black square, which is the object, in the middle of its box of 8 x 8 cells."""
    frame = np.full((48, 64, 3), 128, np.uint8)
    frame[20:28, 28:36] = 0
    mask = np.zeros((48, 64), bool)
    mask[20:28, 28:36] = True
    return make_set(tmp_path / "flat", [frame] * 5, mask, (16, 8, 48, 40))


def test_background_of_one_colour_is_reached_and_an_object_of_another_is_not(flat):
    videos = load_ytvis(*flat, masks=True)
    pairwise, tk, both = background_reach(videos)
    assert [row.links for row in (pairwise, tk, both)] == list(LINKS)
    # neighbours 2 away reach its two outer rings in one step, the rest in the second
    assert pairwise.background[:2] == (pytest.approx((64 - 16) / 60), 1.0)
    for row in (pairwise, both):
        assert row.background[-1] == 1.0 and set(row.objects) == {0.0}
    assert set(tk.objects) == {0.0}
    for row in (pairwise, tk, both):
        assert len(row.background) == len(HOPS) and list(row.background) == sorted(row.background)
    alone = zip(pairwise.background, tk.background, strict=True)
    assert all(b >= max(parts) for b, parts in zip(both.background, alone, strict=True))


def test_an_object_of_the_colour_of_its_background_is_reached_too(tmp_path):
    mask = np.zeros((48, 64), bool)
    mask[20:28, 28:36] = True
    flat = make_set(tmp_path / "s", [np.full((48, 64, 3), 128, np.uint8)] * 5, mask, (16, 8, 48, 40))
    pairwise, _, both = background_reach(load_ytvis(*flat, masks=True))
    assert pairwise.objects[-1] == 1.0 and both.objects[-1] == 1.0


def test_neighbours_are_linked_once_and_stay_in_the_frame():
    links = neighbour_links(torch.zeros(2, 3, 3, 5)).T.tolist()
    assert len({frozenset(link) for link in links}) == len(links)
    expected = set()
    for t, y, x in np.ndindex(2, 3, 5):
        for dy, dx in ((0, 2), (2, 0), (2, 2), (2, -2)):
            if y + dy < 3 and 0 <= x + dx < 5:
                expected.add((t * 15 + y * 5 + x, t * 15 + (y + dy) * 5 + x + dx))
    assert {tuple(link) for link in links} == expected


def test_matches_are_linked_where_neighbours_says():
    lab = torch.randn(1, 3, 3, 6, 7, generator=torch.Generator().manual_seed(0))
    matches = match_patches(lab, [(0, 1), (1, 2), (2, 0)], disk_offsets(2), k=2, threshold=1e-6)
    expected = {
        ((b * 6 + y) * 7 + x, (a * 6 + v) * 7 + u)
        for p, (a, b) in enumerate(matches.frame_pairs)
        for y in range(6)
        for x in range(7)
        for v, u, _ in matches.neighbours(p, y, x)
    }
    assert expected and {tuple(link) for link in match_links(matches).T.tolist()} == expected


def test_videos_that_are_too_short_are_an_error(flat):
    videos = load_ytvis(*flat, masks=True)
    with pytest.raises(InputError, match="no video of 6 frames has an annotation"):
        background_reach(videos, num_frames=6)
    with pytest.raises(InputError, match="was read without masks"):
        background_reach(load_ytvis(*flat, masks=False))


def test_the_command_stores_each_set_and_the_page_has_its_section(flat, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    command, section = (importlib.import_module(name) for name in ("link_reach", "reach_section"))
    out = tmp_path / "out"
    out.mkdir()
    assert section.reach_section(out) == []
    for name in ("one", "two"):
        command.main([name, *map(str, flat), "--out", str(out)])
    stored = json.loads((out / "reach.json").read_text())
    assert list(stored["sets"]) == ["one", "two"] and stored["sets"]["one"] == stored["sets"]["two"]
    assert Image.open(out / "reach.png").size == (800, 310)
    (text,) = section.reach_section(out)
    assert "| one, /4 | 100.0 (0.0) |" in text and "| +0.0 |" in text
