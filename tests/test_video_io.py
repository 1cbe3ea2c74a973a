"""Frames in and out: folders, mp4, avi, GIF, and what a damaged one says."""

import av
import numpy as np
import pytest
import torch
from PIL import Image
from tolerances import TOL
from torch.testing import assert_close

from maskfree_nb.data.video import frame_rate, read_frames, stream_frames, write_gif, write_mp4
from maskfree_nb.errors import InputError


def moving_ramp(num_frames: int = 9, height: int = 36, width: int = 52) -> torch.Tensor:
    """Smooth grey frames uint8 [T, 3, H, W], brighter to the right and from frame to frame."""
    time = torch.arange(num_frames).view(-1, 1, 1, 1)
    return (40 + 2 * torch.arange(width) + 8 * time).expand(-1, 3, height, -1).to(torch.uint8)


def save_image(path, frame: torch.Tensor, **options) -> None:
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(path, **options)


def write_avi(path, frames: torch.Tensor) -> None:
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10, bit_rate=4_000_000)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[-2:], "yuv420p"
        for frame in frames:
            pixels = np.ascontiguousarray(frame.permute(1, 2, 0))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode())


# ---------------------------------------------------------------------------------------------------- folders


def test_images_come_in_natural_order(tmp_path):
    frames = torch.randint(0, 256, (3, 3, 5, 7), dtype=torch.uint8)
    for name, frame in zip(("frame2.png", "frame10.PNG", "frame9.png"), frames, strict=True):
        save_image(tmp_path / name, frame)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._frame2.png").write_text("what some systems leave beside a file")
    found, fps, names = read_frames(tmp_path)
    assert names == ["frame2.png", "frame9.png", "frame10.PNG"]
    assert fps == 6
    assert_close(found, frames[[0, 2, 1]], **TOL["exact"])
    assert read_frames(tmp_path, max_frames=2)[2] == names[:2]
    assert [name for name, _ in stream_frames(tmp_path)] == names


def test_grey_images_and_turned_photographs(tmp_path):
    pixels = torch.randint(0, 256, (3, 4, 6), dtype=torch.uint8)
    grey = Image.fromarray(pixels[0].numpy())
    grey.save(tmp_path / "0.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright: turn by 90 degrees to see it so
    grey.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "1.png", exif=turned)
    frames = read_frames(tmp_path)[0]
    assert_close(frames, pixels[:1].expand(2, 3, -1, -1), **TOL["exact"])


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match=r"nowhere: no such file or folder"):
        read_frames(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"holds no image, expected files \*\.jpg, \*\.jpeg, \*\.png"):
        read_frames(tmp_path)
    with pytest.raises(InputError, match="max_frames is 0, expected at least 1"):
        read_frames(tmp_path, max_frames=0)
    save_image(tmp_path / "0.png", moving_ramp(1)[0])
    save_image(tmp_path / "1.png", moving_ramp(1, height=30)[0])
    with pytest.raises(InputError, match=r"frame 1.png is 52x30 pixels, 0.png is 52x36 \(width x height\)"):
        read_frames(tmp_path)
    assert read_frames(tmp_path, max_frames=1)[0].shape == (1, 3, 36, 52)


@pytest.mark.parametrize("keep", [0.6, 0.0])
def test_a_damaged_jpeg_is_named(tmp_path, keep):
    save_image(tmp_path / "0.jpg", moving_ramp(1)[0])
    content = (tmp_path / "0.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=r"1\.jpg: cannot be read as an image"):
        read_frames(tmp_path)


# ----------------------------------------------------------------------------------------------------- videos


def test_mp4_round_trip(tmp_path):
    frames = moving_ramp()
    write_mp4(tmp_path / "film.mp4", frames, fps=12.5)
    found, fps, names = read_frames(tmp_path / "film.mp4")
    assert fps == frame_rate(tmp_path / "film.mp4") == 12.5
    assert names == [f"{number:05d}" for number in range(len(frames))]
    assert_close(found.float(), frames.float(), **TOL["mp4 round trip"])
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_odd_sizes_are_padded_with_their_border(tmp_path):
    frames = moving_ramp(2, height=35, width=51)
    write_mp4(tmp_path / "film.mp4", frames, fps=6)
    found = read_frames(tmp_path / "film.mp4")[0].float()
    padded = torch.nn.functional.pad(frames.float(), (0, 1, 0, 1), mode="replicate")
    assert_close(found, padded, **TOL["mp4 round trip"])


def test_mp4_is_what_browsers_play(tmp_path):
    write_mp4(tmp_path / "film.mp4", iter(moving_ramp(2)), fps=6)
    with av.open(str(tmp_path / "film.mp4")) as film:
        context = film.streams.video[0].codec_context
        assert (context.name, context.pix_fmt) == ("h264", "yuv420p")
    content = (tmp_path / "film.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # the index comes first: it plays while it loads


def test_avi(tmp_path):
    write_avi(tmp_path / "film.avi", moving_ramp())
    found, fps, _ = read_frames(tmp_path / "film.avi")
    assert fps == 10
    assert_close(found.float(), moving_ramp().float(), **TOL["mp4 round trip"])


@pytest.mark.parametrize("degrees, turns", [(90, 1), (-90, -1), (180, 2)])
def test_a_turned_phone_gives_upright_frames(tmp_path, degrees, turns):
    frames = moving_ramp(2)
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=6)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[-2:], "yuv420p"
        stream.set_display_rotation(degrees)  # counterclockwise
        for frame in frames:
            pixels = np.ascontiguousarray(frame.permute(1, 2, 0))
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode())
    found = read_frames(tmp_path / "film.mp4")[0]
    upright = torch.rot90(frames, turns, dims=(-2, -1))
    assert_close(found.float(), upright.float(), **TOL["mp4 round trip"])


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_a_video_cut_short_tells_how_many_frames_are_good(tmp_path, share):
    frames = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    write_mp4(tmp_path / "whole.mp4", frames, fps=6)
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"cut\.mp4: is cut short or damaged: \d+ frames could") as error:
        read_frames(tmp_path / "cut.mp4")
    good = int(str(error.value).partition("max_frames=")[2])
    assert 0 < good < len(frames)
    whole = read_frames(tmp_path / "whole.mp4")[0]
    assert_close(read_frames(tmp_path / "cut.mp4", max_frames=good)[0], whole[:good], **TOL["exact"])


def test_a_video_cut_between_two_packets(tmp_path):
    write_mp4(tmp_path / "whole.mp4", torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8), fps=6)
    with av.open(str(tmp_path / "whole.mp4")) as film:
        third = [packet.pos for packet in film.demux(film.streams.video[0])][3]
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:third])
    with pytest.raises(
        InputError, match=r"3 frames could be read, then the file ends, though its index lists 8"
    ):
        read_frames(tmp_path / "cut.mp4")


def test_a_mkv_that_ends_before_it_says(tmp_path):
    with av.open(str(tmp_path / "whole.mkv"), "w") as film:
        stream = film.add_stream("libx264", rate=6)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for pixels in np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        film.mux(stream.encode())
    whole = read_frames(tmp_path / "whole.mkv")[0]
    assert len(whole) == 12
    content = (tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: int(0.6 * len(content))])
    with pytest.raises(InputError, match=r"ends at \d\.\d seconds, though it declares 2\.0\.") as error:
        read_frames(tmp_path / "cut.mkv")
    good = int(str(error.value).partition("max_frames=")[2])
    assert 0 < good < 9
    assert_close(read_frames(tmp_path / "cut.mkv", max_frames=good)[0], whole[:good], **TOL["exact"])


def test_no_video(tmp_path):
    (tmp_path / "text.mp4").write_text("a" * 1000)
    with pytest.raises(InputError, match=r"text\.mp4: cannot be read as a video .* may be cut short"):
        read_frames(tmp_path / "text.mp4")
    with av.open(str(tmp_path / "sound.wav"), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        silence.sample_rate = 8000
        file.mux(stream.encode(silence))
    with pytest.raises(InputError, match=r"sound\.wav: holds no video stream"):
        read_frames(tmp_path / "sound.wav")


# ---------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("write, name", [(write_mp4, "film.mp4"), (write_gif, "film.gif")])
def test_a_failed_write_leaves_the_old_file(tmp_path, write, name):
    (tmp_path / name).write_bytes(b"old")

    def failing():
        yield from moving_ramp(2)
        raise RuntimeError("the model ran out of memory")

    with pytest.raises(RuntimeError):
        write(tmp_path / name, failing(), 6)
    with pytest.raises(InputError, match="there is no frame to write"):
        write(tmp_path / name, moving_ramp(0), 6)
    with pytest.raises(InputError, match="fps is 0, expected"):
        write(tmp_path / name, moving_ramp(1), 0)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"old"


def test_gif(tmp_path):
    frames = moving_ramp(5)
    write_gif(tmp_path / "film.gif", frames, fps=10)
    with Image.open(tmp_path / "film.gif") as image:
        assert (image.n_frames, image.size, image.info["loop"]) == (5, (52, 36), 0)
        for number, frame in enumerate(frames):
            image.seek(number)
            assert image.info["duration"] == 100
            found = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
            assert_close(found.float(), frame.float(), **TOL["GIF round trip"])


@pytest.mark.real_data
def test_a_real_avi(real_data):
    path = real_data / "vtest" / "vtest.avi"
    frames, fps, _ = read_frames(path, max_frames=12)
    assert frames.shape == (12, 3, 576, 768)
    assert fps == 10
    assert frames.float().std() > 20
