"""Pieces of source beside each other, in a notebook: a kernel and its reference."""

import html
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getsource
from textwrap import dedent
from types import ModuleType


@dataclass(frozen=True)
class SideBySide:
    """Two titled listings; a notebook shows them as two columns, a terminal one below the other."""

    titles: tuple[str, str]
    listings: tuple[str, str]

    def _repr_html_(self) -> str:
        cell = 'style="text-align:left; vertical-align:top; padding-right:1em"'
        code = 'style="font-size:11px; line-height:1.35; font-family:monospace; white-space:pre-wrap"'
        heads = "".join(f"<th {cell}>{html.escape(title)}</th>" for title in self.titles)
        texts = (html.escape(listing) for listing in self.listings)
        cells = "".join(f"<td {cell}><pre {code}>{text}</pre></td>" for text in texts)
        return f"<table><tr>{heads}</tr><tr>{cells}</tr></table>"

    def __repr__(self) -> str:
        return "\n\n".join(
            f"# {title}\n{listing}" for title, listing in zip(self.titles, self.listings, strict=True)
        )


def excerpt(source: ModuleType | Callable, first: str, last: str) -> str:
    """Return the lines of a module or function from the one with `first` to the next one with `last`.

    The indentation that all of them share is taken away.

    Raises:
        ValueError: no such lines.

    >>> print(excerpt(SideBySide, "titles:", "listings:"))
    titles: tuple[str, str]
    listings: tuple[str, str]
    """
    lines = getsource(source).splitlines()
    try:
        start = next(i for i, line in enumerate(lines) if first in line)
        end = next(i for i in range(start, len(lines)) if last in lines[i])
    except StopIteration:
        raise ValueError(f"no lines from {first!r} to {last!r} in {source}") from None
    return dedent("\n".join(lines[start : end + 1]))
