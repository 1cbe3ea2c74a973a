"""How a mask grows over a training: which query is shown, and what is drawn."""

import numpy as np
import torch
from torch import nn

from maskfree_nb.boxloss import box_masks
from maskfree_nb.model.config import model_config
from maskfree_nb.model.mask2former import VideoMask2Former
from maskfree_nb.model.video_decoder import Prediction
from maskfree_nb.viz.evolution import evolution_figure, object_probability

HEIGHT, WIDTH = 40, 60  # no multiples of 32
BOXES = torch.tensor([[8.0, 8.0, 24.0, 32.0], [torch.nan] * 4])


class Fixed(nn.Module):
    """A model of three queries: nothing, the object of BOXES, everything."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, frames):
        masks = torch.full((1, 3, 2, frames.shape[-2] // 4, frames.shape[-1] // 4), -9.0)
        masks[0, 1, 0, 2:8, 2:6] = 9.0
        masks[0, 2] = 9.0
        return [Prediction(torch.zeros(1, 3, 2), masks)]


def test_the_query_that_fits_the_boxes_is_shown():
    frames = torch.zeros(2, 3, HEIGHT, WIDTH, dtype=torch.uint8)
    probability = object_probability(Fixed(), frames, BOXES)
    assert probability.shape == (2, HEIGHT, WIDTH)
    filled = box_masks(BOXES[None], (HEIGHT, WIDTH), stride=1)[0]
    wrong = (probability > 0.5) != filled.bool()
    assert wrong.sum() == 4  # interpolation rounds the corners off
    assert wrong[0][[8, 8, 31, 31], [8, 23, 8, 23]].all()


def test_a_real_model_gives_probabilities():
    torch.manual_seed(0)
    model = VideoMask2Former(model_config("tiny", num_classes=2, num_queries=3))
    frames = torch.randint(0, 256, (2, 3, HEIGHT, WIDTH), dtype=torch.uint8)
    probability = object_probability(model, frames, BOXES)
    assert probability.shape == (2, HEIGHT, WIDTH)
    assert (probability >= 0).all() and (probability <= 1).all()


def test_a_column_a_model_and_dark_where_it_is_not_sure():
    frames = torch.full((2, 3, HEIGHT, WIDTH), 200, dtype=torch.uint8)
    nothing, half = torch.zeros(2, HEIGHT, WIDTH), torch.zeros(2, HEIGHT, WIDTH)
    half[..., :30] = 1.0
    figure = evolution_figure(frames, BOXES, {"step 0": nothing, "step 9": half})
    assert len(figure.axes) == 2 * 3
    assert [panel.get_title() for panel in figure.axes[:3]] == ["frames and box", "step 0", "step 9"]
    assert [len(panel.patches) for panel in figure.axes] == [1, 0, 0, 0, 0, 0]  # absent in the second frame
    assert [len(panel.collections) for panel in figure.axes[:3]] == [0, 0, 1]  # no line without a mask
    drawn = np.asarray(figure.axes[2].images[0].get_array())
    assert (drawn[:, :30] == 200).all() and (drawn[:, 30:] == 40).all()
    figure.draw_without_rendering()
