"""README: every figure in it is that of a stored result."""

import importlib
import json
import math
import statistics
from pathlib import Path

import pytest

from maskfree_nb.criterion import CriterionConfig
from maskfree_nb.recipes import DEMO, FIRST, SECOND
from maskfree_nb.shape_neighbours import K
from maskfree_nb.study import merged
from maskfree_nb.viz.study import Study, StudyRow, read_study

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def readme() -> str:
    """The text, with one space between words."""
    return " ".join((ROOT / "README.md").read_text().split())


def test_readme_quotes_the_stored_benchmark(readme):
    report = json.loads((ROOT / "benchmarks/results/tkloss-cpu.json").read_text())
    assert len(report["cases"]) == 2  # a moving scene, and the worst case
    for case in report["cases"]:
        memory = case["baseline"]["peak_bytes"] / case["ours"]["peak_bytes"]
        assert f"{case['ratio']:.1f} times faster in {memory:.1f} times less" in readme


def test_readme_quotes_the_stored_models(readme):
    metrics = json.loads((ROOT / "maskfree_nb/weights/tiny_shapes.json").read_text())["metrics"]
    for title, figures in (
        ("after the first training", metrics["first"]),
        ("after the second, on masks that the first model drew", metrics),
        ("its masks, redrawn by `--refine`", metrics["refined"]),
        ("redrawn along matches too, by `--temporal`", metrics["temporal"]),
    ):
        shown = " | ".join(f"{figures[name]:.1f}" for name in ("AP", "AP50", "AP75", "mean_IoU"))
        assert f"| {title} | {shown} |" in readme
    assert f"| its masks replaced by their boxes | {metrics['box_fill_AP']:.1f} |" in readme
    assert f"took {metrics['seconds'] / 60:.0f} minutes on two CPU cores" in readme
    boxes = json.loads((ROOT / "maskfree_nb/weights/tiny_boxes.json").read_text())
    assert f"one training of {boxes['config']['steps']} steps" in readme
    quoted = "{AP:.1f} AP on the same videos, {mean_IoU:.1f} mean IoU".format(**boxes["metrics"])
    assert f"has {quoted}" in readme


def test_readme_quotes_the_stored_studies(readme):
    fresh, redrawn, unfilled, chosen, composites = (
        read_study(ROOT / f"benchmarks/results/study{name}.json")
        for name in ("_fresh", "_fresh_redrawn", "_fresh_unfilled", "", "_composites")
    )
    for row in fresh.rows:
        shown = " | ".join(row.text(figure) for figure in ("AP", "AP50", "AP75", "mean_iou"))
        assert f"| {row.label} | {shown} |" in readme
    two_seeds = {row.name for row in fresh.rows if len(row.seeds) == 2}
    assert "three seeds (two of the rows of 800 steps and of class shapes that have no TK)" in readme
    assert two_seeds == {"boxinst_short", "boxinst_shapes"}
    assert {len(row.seeds) for row in fresh.rows if row.name not in two_seeds} == {3}
    whole = [row for row in chosen.rows if not row.name.endswith("_short")]
    longest = max(seed["seconds"] for row in whole for seed in row.seeds)
    assert f"at most {math.ceil(longest / 60)} minutes on one core" in readme
    assert f"scored on {fresh.data['fresh']['val_videos']} videos that no choice was made by" in readme
    shares = f"In one training boxes keep {fresh.share_of_oracle():.0%} of the oracle's AP"
    assert (
        f"{shares}; on the 50 videos that the recipe was chosen by, {chosen.share_of_oracle():.0%}." in readme
    )
    sharper = [redrawn.row(name).mean("AP") for name in ("masks", "boxes")]
    sentence = "the oracle reaches {:.1f} and boxes {:.1f}, {:.0%} of it."
    assert redrawn.data["flags"] == ["--refine"]
    assert sentence.format(*sharper, redrawn.share_of_oracle()) in readme
    alone = redrawn.row("projection").mean("AP")
    assert f"projection alone then reaches {alone:.1f} of the {sharper[1]:.1f} above" in readme
    drawn = fresh.row("boxes_drawn").text("AP"), fresh.row("boxinst_drawn").text("AP")
    added = gain(fresh, "boxes_drawn", "boxes")
    share, share_of_50, share_redrawn = (
        f"{study.share_of_oracle('boxes_drawn'):.0%}" for study in (fresh, chosen, redrawn)
    )
    assert (
        f"boxes reach {drawn[0]} AP, {added} over the first, which is {share} of the oracle's "
        f"({share_of_50} on the 50; {share_redrawn} with all masks redrawn); without TK-Loss {drawn[1]}."
        in readme
    )
    long = read_study(ROOT / "benchmarks/results/study_fresh_long.json")
    assert [len(long.row(name).seeds) for name in ("masks", "boxes", "boxinst")] == [3, 2, 3]
    longer, steps = long.row("boxes").mean("AP"), long.settings["steps"]
    assert f"gains more in about the same time: {longer:.1f} AP after the {steps} steps above." in readme
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


def test_readme_quotes_what_class_shapes_bring(readme):
    fresh, chosen, fresh_start, start = (
        read_study(ROOT / f"benchmarks/results/study{name}.json")
        for name in ("_fresh", "", "_fresh_start", "_start")
    )
    on, anew = (
        [f"{study.share_of_oracle(name):.0%}" for study in (fresh, chosen)]
        for name in ("boxes_shapes_on", "boxes_shapes")
    )
    found_on, found_anew = (fresh.row(name).text("AP") for name in ("boxes_shapes_on", "boxes_shapes"))
    assert f"**With class shapes boxes keep {anew[0]} of the oracle.**" in readme
    assert f"as the oracle: {found_anew} AP, {anew[0]} of the oracle's ({anew[1]} on the 50)." in readme
    assert f"it is {found_on} AP, {on[0]} of that oracle's ({on[1]} on the 50);" in readme
    started = [  # of an oracle with the same start
        f"{study.row('boxes_shapes_on').mean('AP') / with_start.row('masks').mean('AP'):.0%}"
        for study, with_start in ((fresh, fresh_start), (chosen, start))
    ]
    assert start.settings["steps"] == chosen.settings["steps"] and start.settings["init"].endswith(
        "boxes_short/seed_0/model.safetensors"
    )
    sentence = "of the {} of an oracle that goes on from such weights as well (two seeds), {} ({} on the 50)."
    oracle = fresh_start.row("masks")
    assert sentence.format(oracle.text("AP"), *started) in readme and len(oracle.seeds) == 2
    short = {seed["seed"]: seed["seconds"] for seed in chosen.row("boxes_short").seeds}
    runs = [seed for name in ("boxes_shapes", "boxes_shapes_on") for seed in chosen.row(name).seeds]
    minutes = max(short[seed["seed"]] + seed["seconds"] for seed in runs) / 60
    assert f"take at most {math.ceil(minutes)} minutes on one core together" in readme
    drawing = max(seed["drawing_seconds"] for seed in runs) / 60
    assert f"the drawing at most {math.ceil(drawing)} more" in readme
    without = fresh.row("boxinst_shapes")
    seeds = {1: "one seed", 2: "two seeds"}[len(without.seeds)]
    assert f"without it, {without.text('AP')} ({seeds})." in readme
    assert abs(without.mean("AP") - fresh.row("boxes_shapes").mean("AP")) < 2  # "not TK-Loss"
    assert fresh.row("boxes_shapes").mean("AP") > fresh.row("boxes_drawn").mean("AP") + 2
    assert f"the {K} nearest shapes of its class" in readme
    clips = {"first": FIRST["steps"] * FIRST["batch_size"], "then": SECOND["steps"] * DEMO["batch_size"]}
    assert "a quarter more clips than the oracle" in readme and 0.2 < clips["first"] / clips["then"] < 0.3
    assert "for {steps} steps of {batch_size} clips, draws masks into".format(**FIRST) in readme


def test_readme_quotes_the_study_of_finer_composites(readme):
    fine, weight = (
        read_study(ROOT / f"benchmarks/results/study_composites_{name}.json") for name in ("fine", "weight")
    )
    data, recipe = fine.data, weight.row("w5")
    assert f"({data['width']}x{data['height']}, {fine.settings['steps']} steps from `tiny_boxes`)" in readme
    assert fine.settings["init"] == "tiny_boxes" and weight.data == data
    assert 10 * fine.settings["criterion"]["tk_weight"] == CriterionConfig().tk_weight == 5
    masks, boxes, boxinst = (fine.row(name).mean("AP") for name in ("masks", "boxes", "boxinst"))
    assert f"worse with it: {masks:.1f} AP from masks, {boxes:.1f} from boxes with a tenth of the" in readme
    assert f"weight of TK-Loss, {boxinst:.1f} without it, {gain(fine, 'boxes', 'boxinst')}, lower" in readme
    pairs = zip(fine.row("boxes").values("AP"), fine.row("boxinst").values("AP"), strict=True)
    assert [a < b for a, b in pairs] == [True] * 3 and "lower with each of three seeds;" in readme
    assert f"at the whole weight {recipe.mean('AP'):.1f} (one seed)." in readme and len(recipe.seeds) == 1


def test_readme_quotes_the_study_of_real_clips(readme):
    clips, coarse = (
        read_study(ROOT / f"benchmarks/results/study_clips{name}.json") for name in ("", "_coarse")
    )
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


def test_readme_quotes_the_spread_of_the_models_that_ship(readme):
    main, long = (read_study(ROOT / f"benchmarks/results/study{name}.json") for name in ("", "_long"))
    assert main.settings["steps"] == SECOND["steps"] and long.settings["steps"] == DEMO["steps"]
    expected = main.row("boxes_shapes_on")
    assert f"Expect {expected.text('AP')} AP: that is what three seeds" in readme and len(expected.seeds) == 3
    assert f"--rows boxes_short boxes_shapes_on --set steps={SECOND['steps']}`" in readme
    boxes = long.row("boxes")  # of which `tiny_boxes` is a third seed
    metrics = json.loads((ROOT / "maskfree_nb/weights/tiny_boxes.json").read_text())["metrics"]
    assert [seed["seed"] for seed in boxes.seeds] == [1, 2] and metrics["seed"] == 0
    runs = [metrics["AP"], *boxes.values("AP")]
    assert f"({statistics.mean(runs):.1f} ± {statistics.stdev(runs):.1f} AP over three seeds)" in readme
    minutes = [seed["seconds"] / 60 for row in long.rows for seed in row.seeds]
    assert f"({min(minutes):.0f} to {max(minutes):.0f} minutes on one core)" in readme


def test_readme_gives_the_commands_of_the_demo_s_trainings(readme):
    assert "--steps {steps} --batch-size {batch_size} ".format(**FIRST) in readme
    assert f"--steps {SECOND['steps']} --supervision {SECOND['criterion']['supervision']} " in readme


def test_the_shipped_model_lies_within_the_spread_that_readme_states():
    row = read_study(ROOT / "benchmarks/results/study.json").row("boxes_shapes_on")
    metrics = json.loads((ROOT / "maskfree_nb/weights/tiny_shapes.json").read_text())["metrics"]
    assert abs(metrics["AP"] - row.mean("AP")) < 2 * row.spread("AP")


def test_readme_quotes_the_ablations(readme, benchmarks):
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


def test_readme_quotes_which_way_the_losses_pull(readme):
    content = json.loads((ROOT / "benchmarks/results/pulls.json").read_text())
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


def test_readme_quotes_the_drawn_masks(readme):
    embedded, clips = json.loads((ROOT / "benchmarks/results/labels.json").read_text()).values()
    for stored, start in ((embedded, "has a mean IoU of "), (clips, "told it nothing new: ")):
        means = [
            statistics.mean(run[way] for run in stored["runs"]) for way in ("found", "redrawn", "labelled")
        ]
        found, redrawn, labelled = (f"{mean:.1f}" for mean in means)
        given = f"{labelled} in given" if stored is embedded else f"{labelled} in the"
        assert f"{start}{found} by itself, {redrawn} with `--refine`, {given} boxes" in readme
    (run,) = embedded["runs"]
    assert f"boxes, and {run['labelled_shapes']:.1f} there with `--shapes`," in readme
    least, *_, best = embedded["spans"]
    assert f"at least {best['from']} ({best['share']:.0f}% of them) the mean IoU is {best['iou']}," in readme
    assert f"below {least['to']} ({least['share']:.0f}%) it is {least['iou']}." in readme
    assert clips["spans"][-1]["share"] > 85  # nearly every span was high


def gain(study: Study, row: str, base: str, figure: str = "AP") -> str:
    """The difference of two rows in a figure and its standard error."""
    pair = study.row(row), study.row(base)
    error = math.hypot(*(each.spread(figure) / math.sqrt(len(each.seeds)) for each in pair))
    return f"{pair[0].mean(figure) - pair[1].mean(figure):+.1f} ± {error:.1f}"
