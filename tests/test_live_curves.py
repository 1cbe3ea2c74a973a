"""The curves of a run while it trains."""

import json
import time

import pytest

from maskfree_nb.viz import live


class Handle:
    def __init__(self):
        self.pictures = []

    def update(self, picture) -> None:
        self.pictures.append(picture)


@pytest.fixture
def handle(monkeypatch) -> Handle:
    """What `display` returns, recording what it is given."""
    handle = Handle()
    monkeypatch.setattr(live, "display", lambda *shown, display_id: handle)
    return handle


def write_steps(path, count: int) -> None:
    path.write_text("".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(count)))


def is_png(picture) -> bool:
    return picture.data.startswith(b"\x89PNG")


def test_the_last_state_of_the_log_is_drawn(handle, tmp_path):
    with live.LiveCurves(tmp_path / "log.jsonl", seconds=60):
        write_steps(tmp_path / "log.jsonl", 3)
    assert len(handle.pictures) == 1 and is_png(handle.pictures[0])


def test_it_redraws_while_the_body_runs(handle, tmp_path):
    write_steps(tmp_path / "log.jsonl", 3)
    with live.LiveCurves(tmp_path / "log.jsonl", seconds=0.01):
        deadline = time.monotonic() + 60
        while len(handle.pictures) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        seen = len(handle.pictures)
    assert seen >= 2 and all(map(is_png, handle.pictures))


def test_without_a_log_nothing_is_drawn(handle, tmp_path):
    with live.LiveCurves(tmp_path / "log.jsonl", seconds=0.01):
        time.sleep(0.05)
    assert handle.pictures == []


def test_an_interrupted_run_is_drawn_and_still_interrupted(handle, tmp_path):
    write_steps(tmp_path / "log.jsonl", 3)
    curves = live.LiveCurves(tmp_path / "log.jsonl", seconds=60)
    with pytest.raises(KeyboardInterrupt), curves:
        raise KeyboardInterrupt
    assert len(handle.pictures) == 1
    assert not curves._thread.is_alive()
