"""README: every figure in it is that of a stored result."""

import importlib
import json
import math
import statistics
from pathlib import Path

import pytest

from maskfree_nb.criterion import CriterionConfig
from maskfree_nb.fitted_masks import LEAST_SPAN
from maskfree_nb.recipes import DEMO, FIRST, SECOND
from maskfree_nb.shape_neighbours import K
from maskfree_nb.study import merged
from maskfree_nb.viz.study import Study, StudyRow, read_study

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def readme() -> str:
    """The text, with one space between words."""
    return " ".join((ROOT / "README.md").read_text().split())


def frames_seen(settings: dict) -> int:
    return settings["steps"] * settings["batch_size"] * settings["clips"]["num_frames"]


def stored(name: str) -> Study:
    return read_study(ROOT / f"benchmarks/results/study{name}.json")


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
        ("and tracks ranked by `--mask-scores`", metrics["scored"]),
    ):
        shown = " | ".join(f"{figures[name]:.1f}" for name in ("AP", "AP50", "AP75", "mean_IoU"))
        assert f"| {title} | {shown} |" in readme
    assert f"| its masks replaced by their boxes | {metrics['box_fill_AP']:.1f} |" in readme
    assert f"took {metrics['seconds'] / 60:.0f} minutes on two CPU cores" in readme
    boxes = json.loads((ROOT / "maskfree_nb/weights/tiny_boxes.json").read_text())
    assert f"one training of {boxes['config']['steps']} steps" in readme
    quoted = "{AP:.1f} AP on the same videos, {mean_IoU:.1f} mean IoU".format(**boxes["metrics"])
    assert f"has {quoted}" in readme


def test_readme_quotes_the_main_study(readme):
    fresh, scored, chosen = (stored(name) for name in ("_fresh_steps", "_fresh_steps_scored", "_steps"))
    assert scored.data["flags"] == ["--mask-scores"]
    for row in fresh.rows:
        shown = [row.text(figure) for figure in ("AP", "AP50", "AP75", "mean_iou")]
        assert f"| {' | '.join([row.label, *shown, scored.row(row.name).text('AP')])} |" in readme
    assert all(len(row.seeds) == 3 for each in (fresh, scored, chosen) for row in each.rows)  # "three seeds"
    for study in (fresh, scored, chosen):
        assert all(study.settings[name] == SECOND[name] for name in ("steps", "batch_size", "clips"))
    given = "steps={steps} batch_size={batch_size}".format(**SECOND)
    given += f" clips.num_frames={SECOND['clips']['num_frames']}"
    rows = " ".join(row.name for row in chosen.rows)
    assert f"`maskfree study main --out runs/study_steps --rows {rows} --set {given}`" in readme
    longest = max(seed["seconds"] for row in chosen.rows for seed in row.seeds)
    assert f"at most {math.ceil(longest / 60)} minutes on one core" in readme and longest < 20 * 60
    assert f"on *the {fresh.data['fresh']['val_videos']}*, videos that the recipe was not chosen by" in readme
    assert f"the span of masks drawn into boxes, {LEAST_SPAN}, was set with" in readme
    shares = f"In one training boxes keep {fresh.share_of_oracle():.0%} of the oracle's AP"
    assert f"{shares} ({chosen.share_of_oracle():.0%} on the 50)." in readme


def test_readme_quotes_what_class_shapes_bring(readme):
    fresh, chosen, best, first = (
        stored(name) for name in ("_fresh_steps", "_steps", "_steps_temporal_scored", "_fresh")
    )
    share, on_50, with_both = (f"{s.share_of_oracle('boxes_shapes'):.0%}" for s in (fresh, chosen, best))
    assert f"**With class shapes boxes keep {share} of the oracle's AP** ({on_50} on the 50;" in readme
    assert best.data["flags"] == ["--temporal", "--mask-scores"]
    aps = [best.row(name).text("AP") for name in ("boxes_shapes", "masks")]
    assert "with `--temporal --mask-scores` there {}, {} of {}).".format(with_both, *aps) in readme
    short = max(seed["seconds"] for seed in chosen.row("boxes_short").seeds) / 60
    drawing = max(seed["drawing_seconds"] for seed in chosen.row("boxes_shapes").seeds) / 60
    minutes = f"{math.ceil(short)} minutes on one core, the drawing at most {math.ceil(drawing)},"
    assert f"The short training takes at most {minutes}" in readme
    assert f"the {K} nearest shapes of its class" in readme
    before, then = (
        each["steps"] * each["batch_size"] * each["clips"]["num_frames"] for each in (FIRST, SECOND)
    )
    assert "sees a quarter more frames than the oracle" in readme and 0.2 < before / then < 0.3
    shown = "for {steps} steps of {batch_size} clips, of three frames, draws masks into".format(**FIRST)
    assert shown in readme and FIRST["clips"]["num_frames"] == 3
    without, with_tk = (first.row(name) for name in ("boxinst_shapes", "boxes_shapes"))
    assert f"without it {without.text('AP')} (two seeds), with it {with_tk.text('AP')}." in readme
    assert len(without.seeds) == 2 and abs(without.mean("AP") - with_tk.mean("AP")) < 2  # "nor need it"


def test_readme_quotes_what_tk_loss_adds(readme):
    names = ("_fresh_steps", "_steps", "_fresh", "", "_fresh_unfilled")
    fresh, chosen, first, first_chosen, unfilled = (stored(name) for name in names)
    redrawn = stored("_fresh_redrawn")
    assert first.settings["clips"]["num_frames"] == 3
    on_top, on_50, in_first, in_first_on_50, unfilled_on_top = (
        gain(study, "boxes", "boxinst") for study in (fresh, chosen, first, first_chosen, unfilled)
    )
    assert f"{on_top} AP on top of projection + pairwise ({on_50} on the 50)" in readme
    assert f"with three frames a clip, it is {in_first} ({in_first_on_50} on the 50)" in readme
    alone, both = (gain(first, row, "projection") for row in ("tk", "boxes"))
    assert f"by itself TK-Loss adds {alone} to projection, with the pairwise loss {both}." in readme
    with_fill, without = (study.row("projection").mean("AP") for study in (first, unfilled))
    assert f"projection has {with_fill:.1f} with it and {without:.1f} without;" in readme
    both = gain(unfilled, "boxes", "projection")
    assert f"together change that by {both}, and TK-Loss on top of pairwise by {unfilled_on_top}." in readme
    assert redrawn.data["flags"] == ["--refine"]
    of_all, of_boxes = (redrawn.row(name).mean("AP") for name in ("projection", "boxes"))
    assert f"projection alone then reaches {of_all:.1f} of the {of_boxes:.1f} that boxes reach." in readme


def test_readme_quotes_the_published_weight(readme):
    names = ("_weight_steps", "_fresh_weight_steps", "_steps", "_fresh_steps")
    weight, fresh_weight, main, fresh = (stored(name) for name in names)
    published = weight.row("w0.5")
    on_300 = difference(fresh_weight.row("w0.5"), fresh.row("boxinst"))
    on_50 = difference(published, main.row("boxinst"))
    assert f"TK-Loss adds {on_300} AP on the 300 and {on_50} on the 50 (two seeds)." in readme
    assert len(published.seeds) == 2 and "--set criterion.tk_weight=0.5" in readme
    assert CriterionConfig().tk_weight == 5  # "a tenth of the recipe's"
    clips, clips_weight = stored("_clips"), stored("_clips_weight")
    assert clips_weight.row("w0.5").mean("mean_iou") < clips.row("boxes").mean("mean_iou")  # "rather better"


def test_readme_quotes_the_composites(readme):
    study, weight = stored("_composites_steps"), stored("_composites_weight_steps")
    masks, boxes, boxinst, light = (
        *(study.row(name) for name in ("masks", "boxes", "boxinst")),
        weight.row("w0.5"),
    )
    assert {len(row.seeds) for row in (masks, boxes, boxinst, light)} == {2}
    data = f"({study.data['width']}x{study.data['height']}, {study.settings['steps']} steps, no fill loss,"
    assert f"**Composites of real video** {data} two seeds): {masks.mean('AP'):.1f} AP from masks" in readme
    with_it = f"{light.mean('AP'):.1f} with it at the published weight ({difference(light, boxinst)})"
    assert f"{boxinst.mean('AP'):.1f} from boxes without TK-Loss, {with_it}," in readme
    assert f"{boxes.mean('AP'):.1f} at the recipe's ({difference(boxes, boxinst)})." in readme


def test_readme_quotes_the_first_study(readme):
    first, now = stored("_fresh"), stored("_fresh_steps")
    shares = {
        name: f"{first.share_of_oracle(name):.0%}" for name in ("boxes", "boxes_shapes", "boxes_shapes_on")
    }
    oracle = first.row("masks").text("AP")
    assert f"Of {oracle} AP from masks, boxes keep {shares['boxes']} there" in readme
    assert f"and {shares['boxes_shapes']} with class shapes; {shares['boxes_shapes_on']} where" in readme
    assert f"draws without shapes, adds {gain(first, 'boxes_drawn', 'boxes')} AP." in readme
    same = {row.name for row in first.rows} & {row.name for row in now.rows} - {"boxes_short"}
    assert all(first.row(name).mean("AP") < now.row(name).mean("AP") for name in same)  # "all of it is lower"
    assert frames_seen(first.settings) == frames_seen(now.settings)
    gains = {name: now.row(name).mean("AP") - first.row(name).mean("AP") for name in same}
    assert max(gains, key=gains.get) == "masks"  # "the oracle most of all"


def test_readme_quotes_the_study_of_finer_composites(readme):
    fine, weight = (stored(f"_composites_{name}") for name in ("fine", "weight"))
    data, recipe = fine.data, weight.row("w5")
    assert f"({data['width']}x{data['height']}, {fine.settings['steps']} steps from `tiny_boxes`)" in readme
    assert fine.settings["init"] == "tiny_boxes" and weight.data == data
    assert 10 * fine.settings["criterion"]["tk_weight"] == CriterionConfig().tk_weight == 5
    masks, boxes, boxinst = (fine.row(name).mean("AP") for name in ("masks", "boxes", "boxinst"))
    assert f"less with it: {masks:.1f} AP from masks, {boxes:.1f} from boxes with TK-Loss at the" in readme
    assert f"published weight, {boxinst:.1f} without it, {gain(fine, 'boxes', 'boxinst')}, lower" in readme
    pairs = zip(fine.row("boxes").values("AP"), fine.row("boxinst").values("AP"), strict=True)
    assert [a < b for a, b in pairs] == [True] * 3 and "lower with each of three seeds;" in readme
    assert f"at the recipe's {recipe.mean('AP'):.1f} (one seed)." in readme and len(recipe.seeds) == 1


def test_readme_quotes_the_study_of_real_clips(readme):
    clips, coarse = (stored(f"_clips{name}") for name in ("", "_coarse"))
    for row in clips.rows:
        shown = " | ".join(row.text(figure) for figure in ("AP", "AP50", "AP75", "mean_iou"))
        assert f"| {row.label} | {shown} |" in readme
    settings, data = clips.settings, clips.data
    (height,) = settings["clips"]["image_sizes"]
    assert f"{data['videos']} clips of DAVIS 2016" in readme and settings["init"] == "tiny_boxes"
    minutes = clips.row("boxes").mean("seconds") / 60
    took = "{steps} steps of {batch_size} clips of that height took".format(**settings)
    assert f"({took} {minutes:.0f} minutes on one CPU core; this is {DEMO['steps']} steps of 8)" in readme
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
    main, long = stored("_steps"), stored("_long")
    assert main.settings["steps"] == SECOND["steps"] and long.settings["steps"] == DEMO["steps"]
    expected = main.row("boxes_shapes")
    on_300 = stored("_fresh_steps").row("boxes_shapes").text("AP")
    shown = (
        f"Expect {expected.text('AP')} AP on these 50, which also served to choose the recipe, {on_300} on"
    )
    assert f"{shown} 300 others: that is what three seeds" in readme and len(expected.seeds) == 3
    given = "--rows boxes_short boxes_shapes --set steps={steps} batch_size={batch_size}".format(**SECOND)
    assert f"{given} clips.num_frames={SECOND['clips']['num_frames']}`" in readme
    boxes = long.row("boxes")  # of which `tiny_boxes` is a third seed
    metrics = json.loads((ROOT / "maskfree_nb/weights/tiny_boxes.json").read_text())["metrics"]
    assert [seed["seed"] for seed in boxes.seeds] == [1, 2] and metrics["seed"] == 0
    runs = [metrics["AP"], *boxes.values("AP")]
    assert f"({statistics.mean(runs):.1f} ± {statistics.stdev(runs):.1f} AP over three seeds)" in readme


def test_readme_gives_the_commands_of_the_demo_s_trainings(readme):
    assert "--steps {steps} --batch-size {batch_size} ".format(**FIRST) in readme
    second = "--steps {steps} --batch-size {batch_size} --supervision masks ".format(**SECOND)
    assert second in readme and SECOND["criterion"]["supervision"] == "masks"
    assert f"--set clips.num_frames={SECOND['clips']['num_frames']}" in readme


def test_the_shipped_model_lies_within_the_spread_that_readme_states():
    row = stored("_steps").row("boxes_shapes")
    metrics = json.loads((ROOT / "maskfree_nb/weights/tiny_shapes.json").read_text())["metrics"]
    assert abs(metrics["AP"] - row.mean("AP")) < 2 * row.spread("AP")


def test_readme_quotes_the_ablations(readme, benchmarks):
    ablations = [stored(f"_{name}") for name in ("k", "radius", "threshold", "patch", "colour")]
    found = [row.mean("AP") for study in ablations for row in study.rows]
    assert f"all lie between {min(found):.1f} and {max(found):.1f} AP" in readme
    order, frames = (stored(f"_{name}") for name in ("order", "frames"))
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
    assert f"and {to:.0f}% of it is towards the truth, the rest away from it;" in readme
    assert f"away from it; of the gradient of the pairwise loss {to_pairwise:.0f}% is towards it." in readme
    # what is said in words, there, in notebook 09 and on the page of results
    assert weak < strong / 2 and to < 50 < 60 < to_pairwise < pull("tk", "pairwise")[1]
    right = rows["boxinst"].mean("tk_right_to")
    assert right > 10 * rows["boxinst"].mean("tk_right_away") and right > 2 * weak


def test_readme_quotes_the_drawn_masks(readme):
    embedded, clips = json.loads((ROOT / "benchmarks/results/labels.json").read_text()).values()
    for labels, start in (
        (embedded, "has a mean IoU of "),
        (clips, "told it nothing new (models with TK-Loss at a weight of 0.5): "),
    ):
        means = [
            statistics.mean(run[way] for run in labels["runs"]) for way in ("found", "redrawn", "labelled")
        ]
        found, redrawn, labelled = (f"{mean:.1f}" for mean in means)
        given = f"{labelled} in given" if labels is embedded else f"{labelled} in the"
        assert f"{start}{found} by itself, {redrawn} with `--refine`, {given} boxes" in readme
    (run,) = embedded["runs"]
    assert f"boxes, and {run['labelled_shapes']:.1f} there with `--shapes`," in readme
    least, *_, best = embedded["spans"]
    assert f"at least {best['from']} ({best['share']:.0f}% of them) the mean IoU is {best['iou']}," in readme
    assert f"below {least['to']} ({least['share']:.0f}%) it is {least['iou']}." in readme
    assert clips["spans"][-1]["share"] > 85  # nearly every span was high


def gain(study: Study, row: str, base: str, figure: str = "AP") -> str:
    """The difference of two rows of a study in a figure and its standard error."""
    return difference(study.row(row), study.row(base), figure)


def difference(row: StudyRow, base: StudyRow, figure: str = "AP") -> str:
    """The difference of two rows in a figure and its standard error."""
    error = math.hypot(*(each.spread(figure) / math.sqrt(len(each.seeds)) for each in (row, base)))
    return f"{row.mean(figure) - base.mean(figure):+.1f} ± {error:.1f}"
