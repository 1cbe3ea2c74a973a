"""A run's configuration from a command line."""

import argparse
import copy
import json
from dataclasses import asdict
from pathlib import Path

from maskfree_nb.errors import InputError
from maskfree_nb.options import build
from maskfree_nb.recipes import DEMO
from maskfree_nb.train_config import TrainConfig, read_train_config

RECIPES = {"demo": DEMO}


def training_config(options: argparse.Namespace) -> TrainConfig:
    """Put a run's configuration together: the file or recipe, then the flags, then `--set`."""
    stored = options.out / "config.json"
    source = options.config or (stored if options.resume and stored.exists() else None)
    values = _stored_values(source) if source else {}
    for name in ("annotations", "images", "preset", "steps", "batch_size", "seed"):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    if options.supervision is not None:
        values["criterion"] = {**values.get("criterion", {}), "supervision": options.supervision}
    if options.image_size is not None:
        values["clips"] = {**values.get("clips", {}), "image_sizes": [options.image_size]}
    for setting in options.set:
        assign(values, setting)
    return build(TrainConfig, values, str(source or "command line"))


def _stored_values(source: Path) -> dict:
    """The options of a configuration file, or of a recipe that comes with the package."""
    if not source.exists():
        if str(source) in RECIPES:
            return copy.deepcopy(RECIPES[str(source)])
        raise InputError(
            f"{source}: no such configuration; give the config.json of a run, or a recipe of the package: "
            + ", ".join(RECIPES)
        )
    return asdict(read_train_config(source))


def assign(values: dict, setting: str) -> None:
    """Apply one `a.b=value`; the value is JSON where it can be read as such, else text."""
    key, equals, text = setting.partition("=")
    if not equals:
        raise InputError(f"--set {setting}: expected KEY=VALUE, e.g. clips.num_frames=5")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *parents, last = key.split(".")
    for parent in parents:
        group = values.get(parent, {})
        if not isinstance(group, dict):
            raise InputError(f"--set {setting}: {parent} is an option, not a group of options")
        values[parent] = dict(group)
        values = values[parent]
    values[last] = value
