"""A run's configuration from a command line."""

import argparse
import json
from dataclasses import asdict

from maskfree_nb.errors import InputError
from maskfree_nb.options import build
from maskfree_nb.train_config import TrainConfig, read_train_config


def training_config(options: argparse.Namespace) -> TrainConfig:
    """Put a run's configuration together: the file, then the flags, then `--set`."""
    stored = options.out / "config.json"
    source = options.config or (stored if options.resume and stored.exists() else None)
    values = asdict(read_train_config(source)) if source else {}
    for name in ("annotations", "images", "preset", "steps", "batch_size", "seed"):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    if options.supervision is not None:
        values["criterion"] = {**values.get("criterion", {}), "supervision": options.supervision}
    for setting in options.set:
        assign(values, setting)
    return build(TrainConfig, values, str(source or "command line"))


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
        values[parent] = dict(values.get(parent, {}))
        values = values[parent]
    values[last] = value
