"""Films in a notebook: what plays is what was given; strips show the frames asked for."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.data.video import read_frames
from maskfree_nb.errors import InputError
from maskfree_nb.viz.film import Film, film_strip


def bars(num_frames: int = 5, height: int = 24, width: int = 40) -> torch.Tensor:
    """A white bar that wanders over a coloured ground, one column of 4 pixels a frame."""
    ground = torch.tensor([30, 90, 160], dtype=torch.uint8).view(1, 3, 1, 1)
    frames = ground.repeat(num_frames, 1, height, width)
    for t in range(num_frames):
        frames[t, :, :, 4 * t : 4 * t + 4] = 255
    return frames


@pytest.mark.parametrize("num_frames, fps", [(5, 8.0), (1, 6.0), (3, 2.5)])
def test_an_animated_png_plays_what_it_was_given(num_frames, fps):
    frames = bars(num_frames)
    bundle = Film(frames, fps)._repr_mimebundle_()
    assert set(bundle) == {"image/png", "text/plain"}
    image = Image.open(io.BytesIO(base64.b64decode(bundle["image/png"])))
    stills = [np.array(still.convert("RGB")) for still in ImageSequence.Iterator(image)]
    played = torch.from_numpy(np.stack(stills)).permute(0, 3, 1, 2)
    assert_close(played, frames, **TOL["exact"])  # of two colours, so the palette loses none
    if num_frames > 1:
        assert image.info["loop"] == 0
        assert image.info["duration"] == pytest.approx(1000 / fps, abs=0.5)


def test_a_video_plays_what_it_was_given(tmp_path):
    frames = bars(6)
    bundle = Film(frames, 4, kind="mp4")._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"}
    [content] = re.findall(r'<video .*src="data:video/mp4;base64,([^"]+)"></video>$', bundle["text/html"])
    (tmp_path / "film.mp4").write_bytes(base64.b64decode(content))
    read, fps, _ = read_frames(tmp_path / "film.mp4")
    assert fps == 4
    assert (read.float() - frames.float()).abs().mean() < 3  # chroma is halved across the bar's edges


@pytest.mark.parametrize("kind", ["png", "mp4"])
def test_its_name_holds_no_address_and_no_path(kind):
    assert repr(Film(bars(), 6, kind=kind)) == f"Film(5 frames of 40x24, 6 a second, {kind})"


def test_another_kind_is_named():
    with pytest.raises(InputError, match="kind of film is 'gif', expected one of png, mp4"):
        Film(bars(), kind="gif")


def test_a_strip_shows_the_frames_asked_for():
    frames = bars()
    figure = film_strip({"plain": frames, "inverted": 255 - frames}, [4, 1], title="bars")
    rows = np.array(figure.axes).reshape(2, 2)
    assert [axis.get_title() for axis in rows[0]] == ["frame 4", "frame 1"]
    assert [row[0].get_ylabel() for row in rows] == ["plain", "inverted"]
    assert figure.get_suptitle() == "bars"
    for row, shown in zip(rows, (frames, 255 - frames), strict=True):
        for axis, t in zip(row, (4, 1), strict=True):
            [image] = axis.get_images()
            assert_close(torch.from_numpy(image.get_array().data), shown[t].permute(1, 2, 0), **TOL["exact"])


def test_a_strip_of_all_frames():
    assert len(film_strip({"plain": bars(3)}).axes) == 3
