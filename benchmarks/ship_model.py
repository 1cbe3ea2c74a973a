"""Put the model of a finished demo into the package, with the record of how it was made.

    make demo && python benchmarks/ship_model.py runs/demo

Writes maskfree_nb/weights/tiny_boxes.safetensors and, beside it, tiny_boxes.json: the command, the
configuration, the data set with its hash, the figures on held-out videos, every twentieth line of the log.
"""

import json
import shutil
import sys
from pathlib import Path

from maskfree_nb import atomic
from maskfree_nb.pretrained import WEIGHTS

EVERY = 20  # lines of the log


def ship(demo: Path, name: str = "tiny_boxes") -> None:
    """Copy the model of the demo in folder `demo`, and write its record."""
    config = json.loads((demo / "train" / "config.json").read_text())
    for path in ("annotations", "images"):
        config[path] = str(Path(config[path]).relative_to(demo))
    log = [json.loads(line) for line in (demo / "train" / "log.jsonl").read_text().splitlines()]
    record = {
        "command": "make demo",
        "config": config,
        "data": json.loads((demo / "data" / "dataset.json").read_text()),
        "metrics": json.loads((demo / "metrics.json").read_text()),
        "log": [line for line in log if line["step"] % EVERY == 0 or line is log[-1]],
    }
    WEIGHTS.mkdir(exist_ok=True)
    shutil.copyfile(demo / "train" / "model.safetensors", WEIGHTS / f"{name}.safetensors")
    atomic.write_json(WEIGHTS / f"{name}.json", record)


if __name__ == "__main__":
    ship(Path(sys.argv[1]))
