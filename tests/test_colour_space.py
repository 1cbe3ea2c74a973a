"""The colours that patches are compared by: RGB where it is asked for, in the range of Lab."""

import pytest
import torch

from maskfree_nb.errors import InputError
from maskfree_nb.tkloss import TKLoss


def test_rgb_is_compared_as_it_is_where_the_colour_space_says_so():
    frames = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    frames[0, 0, :4] = 255  # red above, in frame 0
    frames[1, 0, :4] = 51
    colours = TKLoss(colour_space="rgb").lab(frames)
    assert colours.shape == (2, 3, 2, 2)
    torch.testing.assert_close(colours[:, 0, 0], torch.tensor([[100.0, 100.0], [20.0, 20.0]]))
    assert not colours[:, 1:].any() and not colours[:, :, 1].any()
    # d <= 82: the reds are 80 apart in RGB, 85 in Lab
    options = {"radius": 1, "patch_size": 1, "region": "frame", "threshold": 1.56e-18}
    in_rgb = TKLoss(colour_space="rgb", **options).match(frames).count()
    in_lab = TKLoss(**options).match(frames).count()
    assert in_rgb.tolist() != in_lab.tolist()


def test_an_unknown_colour_space_is_refused():
    with pytest.raises(InputError, match="colour_space is 'hsv', expected one of lab, rgb"):
        TKLoss(colour_space="hsv")
