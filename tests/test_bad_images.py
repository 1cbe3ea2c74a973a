"""Image files that are missing, damaged, or not what the annotations say."""

import re
from dataclasses import replace

import drawn_videos
import pytest
from PIL import Image

from maskfree_nb.data.ytvis import verify_images
from maskfree_nb.errors import InputError


@pytest.fixture
def fresh(tmp_path):
    """A video set of its own, to be damaged, and the path of frame 2 of video 3."""
    videos = drawn_videos.load(tmp_path, drawn_videos.draw(tmp_path))
    return videos, tmp_path / "JPEGImages" / "3" / "00002.jpg"


def truncate(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def save_png(path, cut):
    Image.effect_noise((64, 48), 50).save(path, format="PNG")
    if cut:
        truncate(path)


DAMAGE = {
    "missing": (lambda path: path.unlink(), "does not exist"),
    "truncated": (truncate, "cannot be read as an image: image file is truncated"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as an image: cannot identify"),
    "text": (lambda path: path.write_text("not an image"), "cannot be read as an image: cannot identify"),
    "header only": (lambda path: path.write_bytes(path.read_bytes()[:100]), "cannot be read as an image: "),
    "size": (
        lambda path: Image.new("RGB", (48, 64)).save(path),
        "is 48x64 pixels, the annotations say 64x48 (width x height)",
    ),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "cannot be read as an image: "),
    "truncated png": (lambda path: save_png(path, cut=True), "cannot be read as an image: "),
}


@pytest.mark.parametrize("decode_at_most", [4096, 0], ids=["decoded", "headers"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_image(fresh, damage, decode_at_most):
    videos, path = fresh
    change, message = DAMAGE[damage]
    verify_images(videos, decode_at_most)
    change(path)
    with pytest.raises(InputError, match=re.escape(message)) as error:
        verify_images(videos, decode_at_most)
    assert str(error.value).startswith(f"{videos.source}: video 3: file_names[2]: {path} ")


@pytest.mark.parametrize("decode_at_most", [4096, 0], ids=["decoded", "headers"])
def test_unusual_but_whole_images(fresh, decode_at_most):
    videos, path = fresh
    path.write_bytes(path.read_bytes() + bytes(64))
    verify_images(videos, decode_at_most)
    save_png(path, cut=False)
    verify_images(videos, decode_at_most)


def test_missing_image_folder(fresh, tmp_path):
    videos = replace(fresh[0], image_root=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"nowhere: no such folder, expected the images of .*train\.json"):
        verify_images(videos)


@pytest.mark.parametrize("given", [".", "set", "set/JPEGImages/3"])
def test_neighbouring_image_folder_is_named(tmp_path, given):
    """Folders too high or too low: the message names the one that the file names are relative to."""
    folder = tmp_path / "set"
    folder.mkdir()
    videos = drawn_videos.load(folder, drawn_videos.draw(folder))
    with pytest.raises(InputError, match="does not exist; ") as error:
        verify_images(replace(videos, image_root=tmp_path / given))
    assert f" in {videos.image_root}: " in str(error.value)


def test_missing_image_elsewhere_too(fresh, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="does not exist; file_names are relative to the folder"):
        verify_images(replace(fresh[0], image_root=tmp_path / "empty"))


def test_missing_image_of_an_absolute_path(fresh, tmp_path):
    (video, *_), name = fresh[0].videos, str(tmp_path / "gone" / "0.jpg")
    video = replace(video, file_names=(name, *video.file_names[1:]))
    with pytest.raises(InputError, match=f"{name} does not exist; its whole path stands in file_names"):
        verify_images(replace(fresh[0], videos=(video,)))
