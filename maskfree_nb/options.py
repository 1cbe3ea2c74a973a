"""Options that come from JSON or the command line, checked by name and type before they are used."""

import inspect
from collections.abc import Callable
from typing import TypeVar

from maskfree_nb.errors import InputError

Made = TypeVar("Made")
PLAIN = {int: (int,), float: (int, float), str: (str,), bool: (bool,), dict: (dict,)}


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
        kinds = PLAIN.get(known[name].annotation)
        if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            raise InputError(f"{where}: {name} is {value!r}, expected {known[name].annotation.__name__}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and not options.get(name):
            raise InputError(f"{where}: {name!r} is missing")
    return target(**options)
