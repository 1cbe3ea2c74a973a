"""The package as it is installed: one list of dependencies, no stolen names, a wheel that works elsewhere."""

import importlib
import json
import math
import re
import statistics
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

from maskfree_nb.criterion import CriterionConfig
from maskfree_nb.study import merged
from maskfree_nb.viz.study import Study, StudyRow, read_study

ROOT = Path(__file__).parents[1]
NAME = re.compile(r"[A-Za-z0-9_.-]+")


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_dependency_is_pinned(project):
    pinned = {
        NAME.match(line).group()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["notebooks"], *extras["test"]]
    assert [name for entry in wanted if (name := NAME.match(entry).group()) not in pinned] == []


def test_the_conda_environment_says_what_pyproject_says(project):
    lines = [line.strip() for line in (ROOT / "environment.yml").read_text().splitlines()]
    assert "- -e .[all]" in lines and "- -c constraints.txt" in lines
    python = next(line for line in lines if line.startswith("- python="))
    assert project["requires-python"] == f">={python.removeprefix('- python=')}"


def test_the_name_kernels_is_not_ours(tmp_path):
    """It belongs to another package, which transformers looks for; ours must not stand in its way."""
    assert not (ROOT / "kernels" / "__init__.py").exists()
    find = "from importlib.util import find_spec; spec = find_spec('kernels'); print(spec and spec.origin)"
    found = subprocess.run(
        [sys.executable, "-c", find], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert str(ROOT) not in found.stdout


def test_the_library_imports_the_kernels_in_one_place():
    importers = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "maskfree_nb").rglob("*.py")
        if re.search(
            r"^\s*(from|import) maskfree_kernels|import_module\(.maskfree_kernels", path.read_text(), re.M
        )
    ]
    assert importers == ["maskfree_nb/backend.py"]
    for path in (ROOT / "kernels").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) maskfree_nb", path.read_text(), re.M), path


def test_no_file_is_too_long():
    for folder in ("maskfree_nb", "kernels", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert path.read_text().count("\n") <= 300, path


def test_readme_quotes_the_stored_benchmark():
    report = json.loads((ROOT / "benchmarks/results/tkloss-cpu.json").read_text())
    readme = " ".join((ROOT / "README.md").read_text().split())
    assert len(report["cases"]) == 2  # a moving scene, and the worst case
    for case in report["cases"]:
        memory = case["baseline"]["peak_bytes"] / case["ours"]["peak_bytes"]
        assert f"{case['ratio']:.1f} times faster in {memory:.1f} times less" in readme


def test_readme_quotes_the_stored_model():
    metrics = json.loads((ROOT / "maskfree_nb/weights/tiny_boxes.json").read_text())["metrics"]
    readme = " ".join((ROOT / "README.md").read_text().split())
    shown = (metrics[name] for name in ("AP", "AP50", "AP75", "mean_IoU"))
    assert "| boxes alone | " + " | ".join(f"{value:.1f}" for value in shown) + " |" in readme
    redrawn = (metrics["refined"][name] for name in ("AP", "AP50", "AP75", "mean_IoU"))
    sharper = "| the same masks, redrawn by `--refine` | "
    assert sharper + " | ".join(f"{value:.1f}" for value in redrawn) + " |" in readme
    assert f"| its masks replaced by their boxes | {metrics['box_fill_AP']:.1f} |" in readme
    assert f"took {metrics['seconds'] / 60:.0f} minutes on two CPU cores" in readme


def test_readme_quotes_the_stored_studies():
    fresh, redrawn, unfilled, chosen, composites = (
        read_study(ROOT / f"benchmarks/results/study{name}.json")
        for name in ("_fresh", "_fresh_redrawn", "_fresh_unfilled", "", "_composites")
    )
    readme = " ".join((ROOT / "README.md").read_text().split())
    for row in fresh.rows:
        shown = " | ".join(row.text(figure) for figure in ("AP", "AP50", "AP75", "mean_iou"))
        assert f"| {row.label} | {shown} |" in readme
    longest = max(seed["seconds"] for row in chosen.rows for seed in row.seeds)
    assert f"at most {math.ceil(longest / 60)} minutes on one core" in readme
    assert f"scored on {fresh.data['fresh']['val_videos']} videos that no choice was made by" in readme
    shares = f"Boxes keep {fresh.share_of_oracle():.0%} of the oracle's AP"
    assert (
        f"{shares}; on the 50 videos that the recipe was chosen by, {chosen.share_of_oracle():.0%}." in readme
    )
    sharper = [redrawn.row(name).mean("AP") for name in ("masks", "boxes")]
    sentence = "the oracle reaches {:.1f} and boxes {:.1f}, {:.0%} of it."
    assert redrawn.data["fresh"]["refine"]
    assert sentence.format(*sharper, redrawn.share_of_oracle()) in readme
    long = read_study(ROOT / "benchmarks/results/study_fresh_demo.json")
    assert [len(long.row(name).seeds) for name in ("masks", "boxes", "boxinst")] == [3, 2, 3]
    sentence = "{} AP from masks, {} from boxes ({:.0%} of it; two seeds), {} without TK-Loss."
    aps = [long.row(name).text("AP") for name in ("masks", "boxes", "boxinst")]
    assert sentence.format(*aps[:2], long.share_of_oracle(), aps[2]) in readme
    tk = [gain(study, "boxes", "boxinst") for study in (fresh, chosen, unfilled)]
    assert f"changes the AP by {tk[0]} on top of projection + pairwise ({tk[1]} on the 50)" in readme
    alone, both = (gain(fresh, row, "projection") for row in ("tk", "boxes"))
    assert f"By itself TK-Loss adds {alone} to projection, with the pairwise loss {both}." in readme
    assert f"projection reaches {unfilled.row('projection').mean('AP'):.1f} by itself" in readme
    both = gain(unfilled, "boxes", "projection")
    assert f"together change that by {both}, and TK-Loss on top of pairwise by {tk[2]}." in readme
    real = [composites.row(name).mean("AP") for name in ("masks", "boxes", "boxinst")]
    assert "({:.1f} AP from masks, {:.1f} from boxes with TK-Loss, {:.1f} without;".format(*real) in readme


def test_readme_quotes_the_study_of_finer_composites():
    fine, weight = (
        read_study(ROOT / f"benchmarks/results/study_composites_{name}.json") for name in ("fine", "weight")
    )
    readme = " ".join((ROOT / "README.md").read_text().split())
    data, recipe = fine.data, weight.row("w5")
    assert f"({data['width']}x{data['height']}, {fine.settings['steps']} steps from the shipped" in readme
    assert fine.settings["init"] == "tiny_boxes" and weight.data == data
    assert 10 * fine.settings["criterion"]["tk_weight"] == CriterionConfig().tk_weight == 5
    masks, boxes, boxinst = (fine.row(name).mean("AP") for name in ("masks", "boxes", "boxinst"))
    assert f"worse with it: {masks:.1f} AP from masks, {boxes:.1f} from boxes with a tenth of the" in readme
    assert f"weight of TK-Loss, {boxinst:.1f} without it, {gain(fine, 'boxes', 'boxinst')}, lower" in readme
    pairs = zip(fine.row("boxes").values("AP"), fine.row("boxinst").values("AP"), strict=True)
    assert [a < b for a, b in pairs] == [True] * 3 and "lower with each of three seeds;" in readme
    assert f"at the whole weight {recipe.mean('AP'):.1f} (one seed)." in readme and len(recipe.seeds) == 1


def test_readme_quotes_the_study_of_real_clips():
    clips, coarse = (
        read_study(ROOT / f"benchmarks/results/study_clips{name}.json") for name in ("", "_coarse")
    )
    readme = " ".join((ROOT / "README.md").read_text().split())
    for row in clips.rows:
        shown = " | ".join(row.text(figure) for figure in ("AP", "AP50", "AP75", "mean_iou"))
        assert f"| {row.label} | {shown} |" in readme
    settings, data = clips.settings, clips.data
    (height,) = settings["clips"]["image_sizes"]
    assert f"{data['videos']} clips of DAVIS 2016" in readme and settings["init"] == "tiny_boxes"
    seeds = {row.name: len(row.seeds) for row in clips.rows}
    assert (
        f"{settings['steps']} steps of {settings['batch_size']} clips, frames {height} pixels high; "
        f"{seeds['tk']} seeds, {seeds['boxes']} with the pairwise loss, {seeds['masks']} of the oracle:"
        in readme
    )
    assert seeds["projection"] == seeds["tk"] and seeds["boxes"] == seeds["boxinst"]
    added = [gain(clips, *rows, "mean_iou") for rows in (("tk", "projection"), ("boxes", "boxinst"))]
    assert (
        f"TK-Loss adds {added[0]} mean IoU to projection, and {added[1]} to projection + pairwise" in readme
    )
    assert f"so few objects: {gain(clips, 'boxes', 'boxinst')})." in readme
    tracks = json.loads((ROOT / "benchmarks/results/track_ious_clips.json").read_text())
    swan, of_all = tracks["tracks"].index("blackswan"), {}
    for row in tracks["rows"]:
        means = [statistics.mean(ious) for ious in zip(*(run["ious"] for run in row["seeds"]), strict=True)]
        of_all[row["name"]] = means
    gains = [a - b for a, b in zip(of_all["boxes"], of_all["boxinst"], strict=True)]
    assert "About half of the latter is one clip, a swan: without TK-Loss" in readme and (
        gains[swan] == max(gains) and 0.4 < gains[swan] / sum(gains) < 0.6
    )
    (low,) = coarse.settings["clips"]["image_sizes"]
    assert merged(coarse.settings, {"clips": settings["clips"]}) == settings
    none = gain(coarse, "boxes", "boxinst", "mean_iou")
    assert f"With frames {low} pixels high, and so coarser masks, it is {none}." in readme
    assert f"Boxes keep {clips.share_of_oracle():.0%} of the AP of the oracle, which has" in readme


def test_readme_quotes_the_demo_s_spread_and_the_ablations(benchmarks):
    readme = " ".join((ROOT / "README.md").read_text().split())
    long = read_study(ROOT / "benchmarks/results/study_demo.json")
    demo = long.row("boxes")
    shipped = json.loads((ROOT / "maskfree_nb/weights/tiny_boxes.json").read_text())["metrics"]
    runs = [shipped["AP"], *demo.values("AP")]
    assert [seed["seed"] for seed in demo.seeds] == [1, 2] and shipped["seed"] == 0
    minutes = [seed["seconds"] / 60 for row in long.rows for seed in row.seeds]
    assert f"({min(minutes):.0f} to {max(minutes):.0f} minutes on one core)" in readme
    assert f"Expect {statistics.mean(runs):.1f} ± {statistics.stdev(runs):.1f} AP" in readme
    assert "reached {:.1f} and {:.1f}".format(*demo.values("AP")) in readme

    ablations = [
        read_study(ROOT / f"benchmarks/results/study_{name}.json")
        for name in ("k", "radius", "threshold", "patch", "colour")
    ]
    found = [row.mean("AP") for study in ablations for row in study.rows]
    assert f"all lie between {min(found):.1f} and {max(found):.1f} AP" in readme
    order, frames = (
        read_study(ROOT / f"benchmarks/results/study_{name}.json") for name in ("order", "frames")
    )
    found = [row.mean("AP") for row in frames.rows]
    assert f"2 to 7 frames, {min(found):.1f} to {max(found):.1f};" in readme
    orders = [order.row(name).mean("AP") for name in ("chronological", "shuffled")]
    assert "frames in order {:.1f}, shuffled {:.1f}.".format(*orders) in readme
    seed_ap = importlib.import_module("results_page").SEED_AP
    assert f"differ in nothing but the seed can be {seed_ap} AP apart" in readme


def test_readme_quotes_which_way_the_losses_pull():
    content = json.loads((ROOT / "benchmarks/results/pulls.json").read_text())
    readme = " ".join((ROOT / "README.md").read_text().split())
    rows = {row["name"]: StudyRow(row["name"], row["label"], tuple(row["seeds"])) for row in content["rows"]}

    def pull(row: str, loss: str) -> tuple[float, float]:
        """On wrong cells, and how many percent of it are towards the truth."""
        to, away = (rows[row].mean(f"{loss}_wrong_{way}") for way in ("to", "away"))
        return to + away, 100 * to / (to + away)

    (weak, to), (strong, to_pairwise) = pull("boxinst", "tk"), pull("boxinst", "pairwise")
    sentence = (
        f"and {to:.0f}% of it is towards the truth, the rest away from it; of that of the pairwise loss "
    )
    assert f"{sentence}{to_pairwise:.0f}% is towards it." in readme
    # what is said in words, there, in notebook 09 and on the page of results
    assert weak < strong / 2 and to < 50 < 60 < to_pairwise < pull("tk", "pairwise")[1]
    right = rows["boxinst"].mean("tk_right_to")
    assert right > 10 * rows["boxinst"].mean("tk_right_away") and right > 2 * weak


def test_readme_quotes_the_drawn_masks():
    readme = " ".join((ROOT / "README.md").read_text().split())
    stored = json.loads((ROOT / "benchmarks/results/labels.json").read_text())["embedded"]
    (run,), (*_, best) = stored["runs"], stored["spans"]
    least = stored["spans"][0]
    found, redrawn, labelled = (f"{run[way]:.1f}" for way in ("found", "redrawn", "labelled"))
    assert (
        f"a mean IoU of {found} by itself, {redrawn} with `--refine`, and {labelled} in given boxes" in readme
    )
    assert f"at least {best['from']} ({best['share']:.0f}% of them) the mean IoU is {best['iou']}" in readme
    assert f"below {least['to']} ({least['share']:.0f}%) it is {least['iou']}," in readme


def gain(study: Study, row: str, base: str, figure: str = "AP") -> str:
    """The difference of two rows in a figure and its standard error."""
    pair = study.row(row), study.row(base)
    error = math.hypot(*(each.spread(figure) / math.sqrt(len(each.seeds)) for each in pair))
    return f"{pair[0].mean(figure) - pair[1].mean(figure):+.1f} ± {error:.1f}"


@pytest.mark.slow
def test_the_wheel_trains_and_evaluates_in_an_empty_environment(tmp_path):
    def run(*command: str, cwd: Path = tmp_path) -> str:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=True)
    python, maskfree = str(tmp_path / "venv/bin/python"), str(tmp_path / "venv/bin/maskfree")
    constraints = str(ROOT / "constraints.txt")
    run(python, "-m", "pip", "install", "-q", "-c", constraints, "torch", "triton")
    run(python, "-m", "pip", "install", "-q", "-c", constraints, str(wheel))
    run(python, "-c", "from maskfree_nb.data.embedded import make_embedded as make;"
        "make('data', train_videos=4, val_videos=2)")  # fmt: skip
    data = ["--annotations", "data/train.json", "--images", "data/train/JPEGImages"]
    run(
        maskfree,
        "train",
        "run",
        *data,
        "--steps",
        "3",
        "--batch-size",
        "2",
        "--set",
        "criterion.box_warmup=0.4",
    )
    held_out = ["--annotations", "data/val.json", "--images", "data/val/JPEGImages"]
    printed = run(maskfree, "eval", "run/model.safetensors", *held_out, "--out", "eval")
    assert "AP50" in printed
    assert "AP" in json.loads((tmp_path / "eval/metrics.json").read_text())
    where = run(python, "-c", "import maskfree_nb, maskfree_kernels; print(maskfree_nb.__file__)")
    assert where.startswith(str(tmp_path))
