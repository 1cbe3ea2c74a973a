"""The course as it is stored: executed in order, small, linked, and with pictures that need no network.

`make test` also executes every notebook (nbval); see the Makefile.
"""

import ast
import re
from functools import cache
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
COURSE = (
    "00_quickstart",
    "01_boxes_as_masks",
    "02_patch_candidates",
    "03_knn_matching",
    "04_consistency_loss",
    "05_cyclic_tube",
    "06_kernels",
    "07_video_mask2former",
    "08_train_maskfreevis",
    "09_evaluate",
)
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))
CHECKED = "# NBVAL_CHECK_OUTPUT"
MOST_LINES, MOST_BYTES = 12, 1_000_000
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
# an absolute path into somebody's machine, or the address of an object
PRIVATE = re.compile(
    r"(?<![\w.:/])/(?:tmp|home|root|work|var|mnt|opt|usr|Users|private)/\S*|\bat 0x[0-9a-f]{6,}"
)

each_notebook = pytest.mark.parametrize(
    "path", LESSONS + SOLUTIONS, ids=lambda path: path.stem + f" ({path.parent.name})"
)
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@cache
def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose(path: Path) -> str:
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def pictures(path: Path) -> list[str]:
    """The stored PNGs, in base64 without line breaks."""
    shown = [output.get("data", {}) for cell in code_cells(path) for output in cell.outputs]
    return ["".join(data["image/png"].split()) for data in shown if "image/png" in data]


def texts(output: nbformat.NotebookNode) -> list[str]:
    """What an output says, pictures apart."""
    data = output.get("data", {})
    return [output.get("text", "")] + [str(data[kind]) for kind in data if not kind.startswith("image/")]


def definitions(source: str) -> set[str]:
    """The functions and classes that a piece of Python defines at its top; cell magics are no Python."""
    lines = ["pass" if re.match(r"\s*[%!]", line) else line for line in source.splitlines()]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.parse("\n".join(lines)).body if isinstance(node, kinds)}


@cache
def public_names() -> set[str]:
    """Every public function and class of the library and of the kernels."""
    files = [*(ROOT / "maskfree_nb").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")]
    names = set().union(*(definitions(file.read_text()) for file in files))
    return {name for name in names if not name.startswith("_")}


def test_the_course_is_complete():
    assert [path.stem for path in LESSONS] == list(COURSE)
    assert [path.stem for path in SOLUTIONS] == list(COURSE)


def test_the_names_of_the_library_are_found():
    assert {
        "TKLoss",
        "knn_match",
        "frame_pairs",
        "projection_loss",
        "plot_training",
        "aot_cases",
    } <= public_names()
    assert definitions("%matplotlib inline\nclass A:\n    def b(self): ...\ndef c(): ...") == {"A", "c"}


@each_notebook
def test_every_cell_was_executed_in_order_without_an_error(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert cell.source.strip(), f"cell {cell.id} is empty"
        for output in cell.outputs:
            assert output.output_type != "error", f"cell {cell.id} ended in an error"
            assert output.get("name") != "stderr", f"cell {cell.id} complains: {output.text[:200]}"
            assert output.get("execution_count", cell.execution_count) == cell.execution_count


@each_notebook
def test_a_notebook_is_small_and_holds_nothing_of_the_machine_that_ran_it(path):
    assert path.stat().st_size < MOST_BYTES
    notebook = read(path)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code_cells(path):
        assert "execution" not in cell.metadata, f"cell {cell.id} carries the times of its run"
        for text in (text for output in cell.outputs for text in texts(output)):
            found = PRIVATE.search(text)
            assert not found, f"cell {cell.id} prints {found[0]}"
            assert str(ROOT) not in text, f"cell {cell.id} prints where the repository is"


@pytest.mark.parametrize("text", ["saved to /tmp/x.png", "<object at 0x7f12ab34cd>", "File '/home/me/a.py'"])
def test_what_is_private(text):
    assert PRIVATE.search(text)
    assert not PRIVATE.search("https://arxiv.org/abs/2303.15904, ../runs/home/x, 3/tmp/4, mask 0x0f")


@each_notebook
def test_code_cells_are_short(path):
    long = {cell.id: len(cell.source.splitlines()) for cell in code_cells(path)}
    assert {name: lines for name, lines in long.items() if lines > MOST_LINES} == {}


@each_notebook
def test_nothing_of_the_library_is_defined_again(path):
    for cell in code_cells(path):
        assert definitions(cell.source) & public_names() == set(), f"in cell {cell.id}"


@each_notebook
def test_links_resolve(path):
    later = {f"{name}.ipynb" for name in COURSE}
    for target in LINK.findall(prose(path)):
        if not target.startswith(("http://", "https://", "attachment:")):
            assert (path.parent / target).exists() or Path(target).name in later, target


@each_lesson
def test_a_lesson_leads_to_its_neighbours(path):
    links = LINK.findall(prose(path))
    place = COURSE.index(path.stem)
    for neighbour in (*COURSE[max(place - 1, 0) : place], *COURSE[place + 1 : place + 2]):
        assert f"{neighbour}.ipynb" in links


@each_lesson
def test_a_lesson_checks_some_of_what_it_prints(path):
    checked = [cell for cell in code_cells(path) if CHECKED in cell.source]
    assert len([cell for cell in checked if cell.outputs]) >= 2


@each_lesson
def test_a_lesson_has_three_exercises_with_solutions(path):
    solutions = path.parent / "solutions" / path.name
    assert solutions in SOLUTIONS
    assert re.search(r"^#+ Exercises\b", prose(path), re.MULTILINE)
    numbers = re.findall(r"^#{2,4} (?:Exercise )?([1-9])\b", prose(solutions), re.IGNORECASE | re.MULTILINE)
    assert numbers == ["1", "2", "3"]


@pytest.mark.slow
@each_notebook
def test_pictures_show_without_a_network(path):
    from nbconvert import HTMLExporter  # takes seconds to import

    html, _ = HTMLExporter(template_name="lab", embed_images=True).from_filename(str(path))
    sources = re.findall(r"<img[^>]*?\bsrc=[\"']?([^\"'\s>]{,80})", html)
    assert [source for source in sources if not source.startswith("data:")] == []
    for picture in pictures(path):
        assert f"data:image/png;base64,{picture[:400]}" in html
    assert pictures(path) or path in SOLUTIONS
