"""The package as it is installed: one list of dependencies, no stolen names, a wheel that works elsewhere."""

import json
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

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
