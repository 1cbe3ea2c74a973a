"""The folder of a made data set: made once, kept, and nothing that is in it ever removed."""

import json
from dataclasses import asdict, dataclass

import pytest

from maskfree_nb.data.dataset_folder import make_folder
from maskfree_nb.errors import InputError


@dataclass(frozen=True)
class Numbers:
    """A data set of one file."""

    version: int
    seed: int
    sha256: str = ""


WANTED = Numbers(1, 0)


def fill(made):
    made.mkdir()
    (made / "train.json").write_text("made")
    return "ab" * 32


def no_fill(made):
    raise AssertionError("is not to be made")


def files_of(folder) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("empty", [False, True])
def test_a_folder_that_is_missing_or_empty_is_filled(tmp_path, empty):
    folder = tmp_path / "runs" / "data"
    if empty:
        folder.mkdir(parents=True)
    summary = make_folder(folder, WANTED, fill)
    assert summary == Numbers(1, 0, "ab" * 32)
    assert json.loads((folder / "dataset.json").read_text()) == asdict(summary)
    assert sorted(path.name for path in folder.iterdir()) == ["dataset.json", "train.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["data"]


def test_a_link_to_an_empty_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    make_folder(tmp_path / "data", WANTED, fill)
    assert (tmp_path / "data").is_symlink() and (tmp_path / "disk" / "train.json").exists()


def test_the_same_data_set_is_kept_with_all_else_in_its_folder(tmp_path):
    summary = make_folder(tmp_path / "data", WANTED, fill)
    (tmp_path / "data" / "drawn.json").write_text("mine")
    before = files_of(tmp_path)
    assert make_folder(tmp_path / "data", WANTED, no_fill) == summary
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("wanted", "words"), [(Numbers(1, 5), "seed 5 was"), (Numbers(2, 5), "version 2, seed 5 was")], ids=str
)
def test_another_data_set_is_refused_with_what_is_there_and_what_was_asked_for(tmp_path, wanted, words):
    made = make_folder(tmp_path / "data", WANTED, fill)
    (tmp_path / "data" / "drawn.json").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(InputError) as error:
        make_folder(tmp_path / "data", wanted, no_fill)
    assert str(error.value) == (
        f"{tmp_path / 'data'}: holds another data set ({made}), one with {words} asked for; "
        "name another folder, or remove it"
    )
    assert files_of(tmp_path) == before


def test_a_data_set_of_another_kind_is_refused_with_what_it_is(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"videos": 3, "sha256": "ab" * 32, "kind": "clips"}))
    with pytest.raises(
        InputError, match=r"another kind or release \(videos 3, kind clips\), one with version 1"
    ):
        make_folder(tmp_path, WANTED, no_fill)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.json"]


def test_what_was_interrupted_is_made_anew(tmp_path):
    def interrupted(made):
        fill(made)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_folder(tmp_path / "data", WANTED, interrupted)
    assert not any(tmp_path.iterdir())
    make_folder(tmp_path / "data", WANTED, fill)
    assert (tmp_path / "data" / "train.json").read_text() == "made"


@pytest.mark.parametrize("same", [True, False])
def test_of_two_that_make_it_at_once_the_first_wins(tmp_path, same):
    def overtaken(made):
        make_folder(tmp_path / "data", WANTED if same else Numbers(1, 5), fill)
        return fill(made)

    if same:
        assert make_folder(tmp_path / "data", WANTED, overtaken).sha256 == "ab" * 32
    else:
        with pytest.raises(InputError, match="holds another data set"):
            make_folder(tmp_path / "data", WANTED, overtaken)
    assert json.loads((tmp_path / "data" / "dataset.json").read_text())["seed"] == (0 if same else 5)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
