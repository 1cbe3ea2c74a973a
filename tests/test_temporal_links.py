"""Links of a video against a plain search, and at its ends."""

import math

import pytest
import torch
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.temporal_links import FRAMES, PATCH, RADIUS, TOLERANCE, K, Links, temporal_links

HEIGHT, WIDTH = 9, 11


def distances(lab: torch.Tensor, centre: int, source: int, y: int, x: int) -> dict[int, float]:
    """The squared patch distance of a pixel of frame `centre` to all within reach in frame `source`."""
    margin = PATCH // 2
    padded = torch.nn.functional.pad(lab, [margin] * 4)
    patch = padded[centre, :, y : y + PATCH, x : x + PATCH]
    return {
        (source * HEIGHT + v) * WIDTH + u: float(
            (patch - padded[source, :, v : v + PATCH, u : u + PATCH]).square().sum()
        )
        for v in range(HEIGHT)
        for u in range(WIDTH)
        if (v - y) ** 2 + (u - x) ** 2 <= RADIUS**2
    }


@pytest.mark.parametrize("count", [2, 4, 6])
def test_every_pixel_is_linked_to_the_nearest_patches_of_the_frames_around(count):
    lab = 25 * torch.rand(count, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(count))
    links = temporal_links(lab)
    assert links.places.shape == links.weights.shape == (count * HEIGHT * WIDTH, 2 * FRAMES * K)
    for t, y, x in [(0, 0, 0), (count // 2, 4, 5), (count - 1, HEIGHT - 1, 3)]:
        wanted = {}
        for source in range(max(0, t - FRAMES), min(count, t + FRAMES + 1)):
            if source != t:
                near = sorted(distances(lab, t, source, y, x).items(), key=lambda pair: pair[1])[:K]
                wanted |= {p: math.exp(-d / (2 * 3 * PATCH**2 * TOLERANCE**2)) for p, d in near}
        row = (t * HEIGHT + y) * WIDTH + x
        real = links.weights[row] > 0
        found = dict(zip(links.places[row][real].tolist(), links.weights[row][real].tolist(), strict=True))
        assert found.keys() == wanted.keys()
        for place, weight in wanted.items():
            assert found[place] == pytest.approx(weight, rel=1e-4)
        assert_close(links.total()[row], torch.tensor(sum(wanted.values())), **TOL["float32 sums"])


def test_a_video_of_one_frame_has_no_links():
    links = temporal_links(torch.rand(1, 3, 4, 4))
    assert (links.weights == 0).all()
    values = torch.rand(2, 1, 4, 4)
    assert (links.heard(values) == 0).all()


def test_a_frame_smaller_than_the_reach_is_linked_within_itself():
    links = temporal_links(torch.rand(3, 3, 1, 2))
    assert ((links.places >= 0) & (links.places < 6)).all()
    assert ((links.weights > 0).sum(1) == 2 * 2).all(), "two pixels in each of two other frames"


def test_what_is_heard_is_the_weighted_sum_for_each_mask():
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(0, 2 * 3 * 4, (24, 5), generator=generator, dtype=torch.int32)
    weights, values = torch.rand(24, 5, generator=generator), torch.randn(3, 2, 3, 4, generator=generator)
    heard = Links(places, weights).heard(values)
    wanted = torch.stack([(each.flatten()[places.long()] * weights).sum(1).view(2, 3, 4) for each in values])
    assert_close(heard, wanted, **TOL["float32 sums"])
