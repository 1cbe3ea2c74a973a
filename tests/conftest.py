"""Fixtures shared by all tests: where the golden numbers and the real clips are."""

import os
from pathlib import Path

import hypothesis
import pytest
import torch

# Before anything imports triton: without a GPU its kernels run under the interpreter.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Shared machines stall: no deadline, and the same examples in every run.
hypothesis.settings.register_profile("maskfree", deadline=None, derandomize=True)
hypothesis.settings.load_profile("maskfree")

DATA = Path(__file__).parent / "data"


def pytest_configure(config: pytest.Config) -> None:
    """Keep coverage out of the notebooks' kernels: nbval cannot start it there for a bare `--cov`."""
    config.option.cov_source = None  # pytest-cov has its own copy


def oracle_folder() -> Path:
    """The folder of golden numbers: MASKFREE_ORACLE, or the subset kept in the repository."""
    return Path(os.environ.get("MASKFREE_ORACLE", DATA / "oracle"))


@pytest.fixture(scope="session")
def oracle() -> Path:
    """The folder of golden numbers."""
    return oracle_folder()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real clips; skips where it is missing."""
    folder = os.environ.get("MASKFREE_REAL_DATA")
    if not folder:
        pytest.skip("MASKFREE_REAL_DATA does not name the folder of the real clips")
    if not Path(folder).is_dir():
        pytest.skip(f"MASKFREE_REAL_DATA={folder} is not a folder")
    return Path(folder)


@pytest.fixture
def benchmarks(monkeypatch) -> None:
    """Make the modules of `benchmarks/` importable."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
