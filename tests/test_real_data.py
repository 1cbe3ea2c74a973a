"""Real clips: boxes in, masks only for scoring; see CONTRIBUTING.md for where they come from."""

import json

import pytest

from maskfree_nb.cli import main

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


def test_train_and_eval_take_real_clips(real_data, tmp_path, capsys):
    annotations, images = real_data / "davis16_test/instances.json", real_data / "davis16_test/JPEGImages"
    data = ["--annotations", str(annotations), "--images", str(images)]
    small = ["clips.image_sizes=[96]", "clips.max_size=192", "criterion.box_warmup=0.3", "batch_size=2"]
    assert main(["train", str(tmp_path / "run"), *data, "--steps", "4", "--set", *small]) == 0
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert len(log) == 4 and log[-1]["loss_tk"] > 0 and 0 < log[-1]["matches_per_pixel"] < 5
    out = tmp_path / "eval"
    assert main(["eval", str(tmp_path / "run/model.safetensors"), *data, "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert all(0 <= metrics[name] <= 100 for name in ("AP", "AP50", "box_fill_AP", "mean_IoU"))
    videos = {result["video_id"] for result in json.loads((out / "results.json").read_text())}
    assert videos == {video["id"] for video in json.loads(annotations.read_text())["videos"]}
    assert "quadruped" in capsys.readouterr().out


def test_box_mode_does_not_see_the_masks_of_real_clips(real_data, tmp_path):
    from maskfree_nb.data.ytvis import load_ytvis

    annotations, images = real_data / "davis16_test/instances.json", real_data / "davis16_test/JPEGImages"
    videos = load_ytvis(annotations, images, masks=False).videos
    assert all(track.segmentations is None for video in videos for track in video.tracks)
