"""Options that come from JSON or the command line, checked by name and type before they are used."""

import inspect
from collections.abc import Callable, Sequence
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from maskfree_nb.errors import InputError

Made = TypeVar("Made")
PLAIN = {int: (int,), float: (int, float), str: (str,), bool: (bool,), dict: (dict,), NoneType: (NoneType,)}


def build(target: Callable[..., Made], options: dict, where: str) -> Made:
    """Call `target(**options)` (a dataclass, a module) with one clear error for an option it cannot take.

    Args:
        target: what to build; its signature says which options there are, and of which plain type.
        options: names and values.
        where: names the source of the options in errors.

    Raises:
        InputError: an unknown or missing name, or a value of another type.

    >>> from maskfree_nb.train_config import TrainConfig
    >>> build(TrainConfig, {"annotations": "a.json", "images": "frames", "steps": "many"}, "run.json")
    Traceback (most recent call last):
        ...
    maskfree_nb.errors.InputError: run.json: steps is 'many', expected int
    """
    known = inspect.signature(target).parameters
    for name, value in options.items():
        if name not in known:
            raise InputError(f"{where}: unknown option {name!r}; known options: {', '.join(known)}")
        kind = known[name].annotation
        if not _fits(value, kind):
            raise InputError(f"{where}: {name} is {value!r}, expected {_in_words(kind)}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and not options.get(name):
            raise InputError(f"{where}: {name!r} is missing")
    return target(**options)


def _fits(value: Any, kind: Any) -> bool:
    """Is the value of this type? Of types that are not plain, lists or choices of these, anything is."""
    if get_origin(kind) is UnionType:
        return any(_fits(value, each) for each in get_args(kind))
    if get_origin(kind) in (tuple, Sequence):
        each = get_args(kind)
        return (
            isinstance(value, list | tuple)
            and (get_origin(kind) is Sequence or len(value) == len(each))
            and all(_fits(part, each[0]) for part in value)
        )
    if kind not in PLAIN:
        return True
    return isinstance(value, PLAIN[kind]) and (kind is bool or not isinstance(value, bool))


def _in_words(kind: Any) -> str:
    """What `_fits` asks for.

    >>> _in_words(tuple[int, int] | None), _in_words(Sequence[int])
    ('[int, int] or null', '[int, ...]')
    """
    if get_origin(kind) is UnionType:
        return " or ".join(_in_words(each) for each in get_args(kind))
    if get_origin(kind) is Sequence:
        return f"[{_in_words(get_args(kind)[0])}, ...]"
    if get_origin(kind) is tuple:
        return f"[{', '.join(_in_words(each) for each in get_args(kind))}]"
    return "null" if kind is NoneType else kind.__name__
