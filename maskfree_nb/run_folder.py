"""The folder of a training run: whose it is, its checkpoints, its log."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from accelerate import Accelerator

from maskfree_nb import atomic
from maskfree_nb.errors import InputError
from maskfree_nb.train_config import TrainConfig, read_train_config


def claim(out: Path, config: TrainConfig, resume: bool) -> None:
    """Refuse to mix two runs in one folder."""
    stored = out / "config.json"
    if not stored.exists():
        return
    if not resume:
        raise InputError(f"{out} already holds a run; go on with --resume, or choose another folder")
    before = asdict(read_train_config(stored))
    now = json.loads(json.dumps(asdict(config)))  # a tuple is stored as a list
    for name, value in now.items():
        if before[name] != value:
            raise InputError(
                f"{stored}: {name} was {before[name]!r}, now {value!r}; a resumed run keeps its settings"
            )


def save_checkpoint(accelerator: Accelerator, folder: Path, step: int, keep: int) -> None:
    """Write `step_*` beside its final place, then rename it: a checkpoint is whole or absent."""
    temporary, final = folder / f".step_{step:07d}", folder / f"step_{step:07d}"
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        os.replace(temporary, final)
        for old in sorted(folder.glob("step_*"))[:-keep]:
            shutil.rmtree(old)


def load_newest_checkpoint(accelerator: Accelerator, folder: Path) -> int:
    """Load the newest complete checkpoint; returns the step to go on from.

    Raises:
        InputError: it was saved by another number of processes.
    """
    found = sorted(folder.glob("step_*"))
    if not found:
        return 0
    processes = len(list(found[-1].glob("random_states_*.pkl")))
    if processes != accelerator.num_processes:
        raise InputError(
            f"{found[-1]}: was saved by {processes} processes, now there are {accelerator.num_processes}; a "
            "resumed run keeps their number, for a batch is batch_size clips of each"
        )
    accelerator.load_state(str(found[-1]))
    return int(found[-1].name.removeprefix("step_"))


def trim_log(path: Path, start: int) -> None:
    """Drop the lines of steps that will run again, and a line cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        if not line.endswith("}") or json.loads(line)["step"] >= start:
            break
        kept.append(line + "\n")
    atomic.write_text(path, "".join(kept))
