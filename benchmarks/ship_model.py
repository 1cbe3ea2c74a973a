"""Put the model of a finished demo into the package, with the record of how it was made.

    make demo && python benchmarks/ship_model.py runs/demo

Writes maskfree_nb/weights/tiny_shapes.safetensors and, beside it, tiny_shapes.json: the command, the
configurations and every twentieth line of the logs of both trainings, the data set with its hash, the figures
on held-out videos.
"""

import json
import shutil
import sys
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.pretrained import WEIGHTS

EVERY = 20  # lines of the log


def ship(demo: Path, name: str = "tiny_shapes") -> None:
    """Copy the model of the finished demo in folder `demo`, and write its record."""
    record = {
        "command": "make demo",
        **_training(demo, "second"),
        "first": _training(demo, "first"),
        "data": json.loads((demo / "data" / "dataset.json").read_text()),
        "metrics": json.loads((demo / "metrics.json").read_text()),
    }
    WEIGHTS.mkdir(exist_ok=True)
    shutil.copyfile(demo / "second" / "model.safetensors", WEIGHTS / f"{name}.safetensors")
    atomic.write_json(WEIGHTS / f"{name}.json", record)


def _training(demo: Path, name: str) -> dict:
    """The configuration of one training, with paths as seen from the demo's folder, and its log."""
    config = json.loads((demo / name / "config.json").read_text())
    for path in ("annotations", "images"):
        config[path] = str(Path(config[path]).relative_to(demo))
    log = [json.loads(line) for line in (demo / name / "log.jsonl").read_text().splitlines()]
    return {"config": config, "log": [line for line in log if line["step"] % EVERY == 0 or line is log[-1]]}


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
