"""The page of the stored studies: its numbers, verdicts and commands are those of the files it is made of."""

import importlib
import json
import shlex
import statistics
from pathlib import Path

import pytest

from maskfree_nb import cli, study
from maskfree_nb.recipes import DEMO, DEMO_DATA
from maskfree_nb.studies import STUDIES, plan

FOLDER = Path(__file__).parents[1] / "benchmarks"
DATA = {
    "version": 3, "seed": 0, "width": 128, "height": 96, **DEMO_DATA,
    "val_videos": 50, "val_frames": 10, "sha256": "0123456789abcdef" * 4,
}  # fmt: skip
SOURCE = {"kind": "composites", "source_sha256": "fedcba9876543210" * 4}


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("results_page")


def seeds(*aps: float, **more) -> list[dict]:
    return [
        {"seed": n, "AP": ap, "AP50": 80.5, "AP75": 31.25, "mean_iou": 70.0, "box_fill": 2.0, **more}
        for n, ap in enumerate(aps)
    ]


def store(folder: Path, aps: dict[str, list], stem: str = "study", **changes) -> None:
    name = stem.removeprefix("study_") if stem[6:] in STUDIES else "main"
    rows = [{"name": row, "label": STUDIES[name].rows[row].label, "seeds": runs} for row, runs in aps.items()]
    content = {"name": name, "data": DATA, "settings": {**DEMO, "steps": 1500}, "rows": rows, **changes}
    (folder / f"{stem}.json").write_text(json.dumps(content))


def cells(page: str, start: str) -> list[str]:
    """The cells after the first one of the first table line that starts so."""
    line = next(line for line in page.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def text(results, folder: Path) -> str:
    return results.page(folder, results.read_studies(folder))


def test_the_page_in_the_repository_is_that_of_the_stored_studies(results):
    folder = FOLDER / "results"
    assert (folder / "README.md").read_text() == text(results, folder), "run `make results`"
    for path in folder.glob("study*.json"):
        assert 1000 < path.with_suffix(".png").stat().st_size < 60_000


def test_the_same_files_give_the_same_page_and_figures(results, tmp_path):
    store(tmp_path, {"masks": seeds(60, 62), "boxes": seeds(50)})
    store(tmp_path, {"k5": seeds(41, 45, 44), "k1": seeds(40)}, "study_k")
    seen = []
    for _ in range(2):
        results.write_page(tmp_path)
        files = ("README.md", "study.png", "study_k.png")
        seen.append([(tmp_path / name).read_bytes() for name in files])
    assert seen[0] == seen[1]
    assert all(f"]({name})" in seen[0][0].decode() for name in ("study.png", "study_k.png"))


def test_the_contents_name_every_section_once(results):
    page = text(results, FOLDER / "results")
    sections = [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]
    named = [line[3:].split("](#") for line in page.splitlines() if line.startswith("- [")]
    assert [title for title, _ in named] == sections and len(set(sections)) == len(sections)
    places = {title: place.removesuffix(")") for title, place in named}
    assert places["K, the most matches of a pixel"] == "k-the-most-matches-of-a-pixel"


def test_cells_are_mean_and_spread_over_the_seeds(results, tmp_path):
    aps = [41.0, 44.5, 47.9]
    classes = [{"star": 10.0}, {"star": 20.0}, {"star": 60.0}]
    runs = [{**run, "classes": each} for run, each in zip(seeds(*aps, seconds=90), classes, strict=True)]
    store(tmp_path, {"r3": runs, "r1": seeds(39.96)}, "study_radius")
    page = text(results, tmp_path)
    mean, spread = statistics.mean(aps), statistics.stdev(aps)
    assert cells(page, "R = 3")[0] == f"{mean:.1f} ± {spread:.1f}"
    assert cells(page, "R = 3")[-2:] == ["3", "1.5"]  # seeds, minutes
    assert cells(page, "R = 1")[0] == "40.0" and cells(page, "R = 1")[-2:] == ["1", ""]
    assert "**One seed** (R = 1): the spread is not known" in page
    assert cells(page[page.index("<details>") :], "R = 3") == ["30.0"]
    assert "peak MB" not in page and "verdict" not in page  # not stored; not the main study


@pytest.mark.parametrize(
    ("change", "flipped"),
    [
        ({}, None),
        ({"masks": seeds(59.8, 60.0)}, "true masks (the oracle)"),
        ({"masks": seeds(62, 63)}, "projection + pairwise + TK, share of the oracle's AP"),
        ({"boxinst": seeds(54.1, 55)}, "projection + pairwise + TK, over projection + pairwise"),
        ({"projection": seeds(51.6)}, "projection + pairwise + TK, over projection"),
    ],
)
def test_each_verdict_depends_on_its_numbers(results, tmp_path, change, flipped):
    met = {
        "masks": seeds(60, 61),
        "boxes": seeds(56, 57),
        "boxinst": seeds(54, 55),
        "projection": seeds(51.5),
    }
    store(tmp_path, {**met, **change})
    page = text(results, tmp_path)
    verdicts = {
        line.split("|")[1].strip(): line.split("|")[-2].strip()
        for line in page[page.index("| comparison") :].splitlines()[2:6]
    }
    assert len(verdicts) == 4
    assert [what for what, verdict in verdicts.items() if verdict == "**not met**"] == [flipped] * bool(
        flipped
    )


def test_what_learns_from_drawn_masks_is_held_against_what_drew_them_without_a_bar(results, tmp_path):
    rows = {"masks": seeds(60), "boxes": seeds(45), "boxes_drawn": seeds(51), "boxinst_drawn": seeds(50)}
    store(tmp_path, rows)
    page, drawn = text(results, tmp_path), "masks drawn by projection + pairwise"
    assert cells(page, f"{drawn} + TK, share of the oracle's AP") == ["85.0 %", "1 and 1", "", ""]
    assert cells(page, f"{drawn} + TK, over projection + pairwise + TK") == ["+6.0 AP", "1 and 1", "", ""]
    assert cells(page, f"{drawn} + TK, over {drawn}") == ["+1.0 AP", "1 and 1", "", ""]
    assert "two trainings" in page


def test_a_difference_has_a_standard_error_where_both_rows_have_several_seeds(results, tmp_path):
    store(tmp_path, {"boxes": seeds(40, 44), "boxinst": seeds(38, 39, 40), "projection": seeds(30)})
    page = text(results, tmp_path)
    error = (8 / 2 + 1 / 3) ** 0.5  # variances over numbers of seeds
    over = "projection + pairwise + TK, over projection"
    assert cells(page, f"{over} + pairwise") == [f"+3.0 ± {error:.1f} AP", "2 and 3", "2 AP", "met"]
    assert cells(page, over) == ["+12.0 AP", "2 and 1", "5 AP", "met"]
    assert "(the oracle)" not in page  # a row that is not stored is not listed


def test_shares_are_of_the_oracle_of_as_many_steps(results, tmp_path):
    rows = {
        "oracle_400": seeds(20),
        "boxes_400": seeds(18),
        "oracle_800": seeds(40, 50),
        "boxes_800": seeds(27),
    }
    store(tmp_path, {**rows, "boxinst_1600": seeds(30)}, "study_length")
    page = text(results, tmp_path)
    shares = page[page.index("share of the oracle's AP") :]
    assert cells(shares, "boxes, 400 steps") == ["90 %"] and cells(shares, "boxes, 800 steps") == ["60 %"]
    assert "1600 steps" not in shares and "| oracle" not in shares
    assert "Training: as many steps as the row says, of " in page
    store(tmp_path, {"boxes_5": seeds(20)}, "study_share")
    assert text(results, tmp_path).count("share of the oracle's AP") == 1


def test_a_run_that_several_studies_show_is_named(results, tmp_path):
    store(tmp_path, {"k5": seeds(40), "k1": seeds(30)}, "study_k")
    store(tmp_path, {"r5": seeds(40), "r1": seeds(31), "r3": seeds(30, 31)}, "study_radius")
    store(tmp_path, {"boxes": seeds(41, 42)})
    page = text(results, tmp_path)
    assert "*K = 5* is one run with *R = 5* of other tables" in page
    assert "*R = 5* is one run with *K = 5* of other tables" in page
    assert page.count("is one run with") == 2


def test_the_command_trains_what_is_stored(results, tmp_path, monkeypatch, capsys):
    settings = {
        **DEMO,
        "steps": 700,
        "criterion": {**DEMO["criterion"], "box_warmup": 0.3, "tk": {"radius": 2}},
        "clips": {"num_frames": DEMO["clips"]["num_frames"]},  # the recipe's frame_range was not there yet
    }
    store(tmp_path, {"k1": seeds(40, 41), "k3": seeds(42), "k5": seeds(43, 44)}, "study_k", settings=settings)
    page = text(results, tmp_path)
    calls = []
    monkeypatch.setattr(study, "run_study", lambda *words, **options: calls.append((words, options)))
    for line in page[page.index("```sh") :].split("```")[1].splitlines()[1:]:
        cli.main([*shlex.split(line)[1:], "--out", str(tmp_path / "run")])
    assert [(words[0], options["rows"], options["seeds"]) for words, options in calls] == [
        ("k", ["k1", "k5"], [0, 1]),
        ("k", ["k3"], [0]),
    ]
    for _, options in calls:
        changed = {key: options[key] for key in options.keys() - {"rows", "seeds", "jobs", "make_data"}}
        assert changed.pop("data") is None  # the study's own sizes
        assert changed.pop("clips").keys() == {"frame_range"}
        assert changed == {"steps": 700, "criterion": {"box_warmup": 0.3, "tk": {"radius": 2}}}


def test_composites_of_the_recipes_sizes_have_a_command(results, tmp_path, monkeypatch, capsys):
    data = {**DATA, **SOURCE, **DEMO_DATA}
    store(tmp_path, {"masks": seeds(40), "boxes": seeds(30)}, "study_composites", data=data)
    page = text(results, tmp_path)
    calls = []
    monkeypatch.setattr(study, "run_study", lambda *words, **options: calls.append((words, options)))
    (line,) = page[page.index("```sh") :].split("```")[1].splitlines()[1:]
    cli.main([*shlex.split(line)[1:], "--out", str(tmp_path / "run")])
    ((words, options),) = calls
    assert words[0] == "main" and options["rows"] == ["masks", "boxes"]
    assert options["make_data"].func.__name__ == "make_composites"
    assert options["make_data"].keywords == {"annotations": "instances.json", "images": "JPEGImages"}


def test_a_study_of_given_clips_says_so_and_has_a_command(results, tmp_path, monkeypatch, capsys):
    data = {"videos": 16, "frames": 577, "objects": 17, "sha256": "a" * 64, **SOURCE, "kind": "clips"}
    settings = {**DEMO, "clips": {**DEMO["clips"], "image_sizes": [96]}}
    store(tmp_path, {"masks": seeds(40), "boxes": seeds(30)}, "study_clips", data=data, settings=settings)
    page = text(results, tmp_path)
    assert "16 real clips with 17 objects in 577 frames" in page and SOURCE["source_sha256"][:16] in page
    assert "held-out frames of" not in page and "verdict" not in page
    calls = []
    monkeypatch.setattr(study, "run_study", lambda *words, **options: calls.append((words, options)))
    (line,) = page[page.index("```sh") :].split("```")[1].splitlines()[1:]
    cli.main([*shlex.split(line)[1:], "--out", str(tmp_path / "run")])
    ((words, options),) = calls
    assert words[0] == "main" and options["data"] == {} and options["clips"] == {"image_sizes": [96]}
    assert options["make_data"].func.__name__ == "make_given_clips"


def test_alarms_of_the_logs_are_listed_and_silence_is_not(results, tmp_path):
    heard = {"alarms": ["step 99: the masks have vanished (they fill 0.06 of their boxes): why; do this"]}
    store(tmp_path, {"no_warmup": seeds(1, **heard), "recipe": seeds(20)}, "study_collapse")
    lines = text(results, tmp_path).splitlines()
    first = lines.index("Alarms of the logs:")
    assert lines[first + 2 : first + 4] == [
        "- no box warm-up, seed 0, step 99: the masks have vanished (they fill 0.06 of their boxes)",
        "",
    ]
    store(tmp_path, {"recipe": seeds(20)}, "study_collapse")
    assert "Alarms" not in text(results, tmp_path)


def test_a_study_with_settings_of_its_own_names_only_what_differs_from_these(results, tmp_path):
    settings = study.merged(study.merged(DEMO, plan("switches").settings), {"steps": 300})
    store(tmp_path, {"recipe": seeds(40)}, "study_switches", settings=settings)
    line = "maskfree study switches --rows recipe --seeds 0 --set steps=300"
    assert line in text(results, tmp_path).splitlines()


def test_composites_have_their_code_and_no_bars(results, tmp_path, monkeypatch):
    data = {**DATA, **SOURCE, "train_videos": 800}
    runs = {"masks": seeds(40, peak_mb=912), "boxes": seeds(30)}
    store(tmp_path, runs, "study_composites", data=data)
    store(tmp_path, {"masks": seeds(50)})
    page = text(results, tmp_path)
    main, composites = page.split("\n## ")[1:3]
    assert "verdict" in main and "```sh" in main
    assert "verdict" not in composites and SOURCE["source_sha256"][:16] in composites
    assert cells(composites, "true masks (the oracle)")[-2:] == ["1", "912"]
    calls = []
    monkeypatch.setattr(study, "run_study", lambda *words, **options: calls.append((words, options)))
    exec(composites.split("```")[1].removeprefix("python"), {})
    ((words, options),) = calls
    assert words[0] == "main" and options["rows"] == ["masks", "boxes"] and options["steps"] == 1500
    assert options["data"]["train_videos"] == 800 and not options["data"].keys() & {
        "version",
        "sha256",
        "kind",
    }
    assert options["make_data"].func.__name__ == "make_composites"
