"""The command line of what measures the runs of a stored study, as `residual_errors.py` does."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from maskfree_nb.errors import InputError

ROOT = Path(__file__).resolve().parents[1]


def measure_study(
    text: str,
    write: Callable[[Path, Path, str | None], dict],
    tables: Callable[[dict], str],
    arguments: Sequence[str] | None = None,
) -> None:
    """Measure the study that the command line names, and print its tables.

    Args:
        text: what `--help` says.
        write: from the study's folder, the folder to write into and the files' name, if one was given, to
            the content of the file that it wrote.
        tables: of that content.
        arguments: of the command line; None: those of the process.
    """
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=text, formatter_class=formatter)
    parser.add_argument("study", type=Path, help="folder that `maskfree study` wrote")
    default = ROOT / "benchmarks" / "results"
    parser.add_argument("--out", type=Path, default=default, help="folder (default benchmarks/results)")
    parser.add_argument("--name", help="of the files written, without ending (default: as said above)")
    options = parser.parse_args(arguments)
    try:
        content = write(options.study, options.out, options.name)
    except InputError as error:
        sys.exit(str(error))
    print(tables(content))


def is_in_repository(folder: Path) -> bool:
    """Whether a folder is one of the repository's, and not in `runs`, which git ignores."""
    folder = folder.resolve()
    return folder.is_relative_to(ROOT) and not folder.is_relative_to((ROOT / "runs").resolve())
