"""Training with several processes of one machine, started from Python."""

import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from maskfree_nb import atomic
from maskfree_nb.errors import InputError
from maskfree_nb.train_config import TrainConfig, read_train_config
from maskfree_nb.training import train

# one thread each; and freed memory stays with the process (glibc), as every step asks for the same again
ON_CPU = {
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}


def train_in_processes(config: TrainConfig, out: str | Path, processes: int | None = None) -> Path:
    """Train as `train(config, out, resume=True)` does, sharing each batch out over processes.

    On a CPU two processes of one thread each are faster than one process of two threads (small models spend
    much of a step between operations), and they train the same model: the clips of a step and the weight of
    every term are the same.

    Args:
        config: the run; `batch_size` is that of all processes together.
        out: the run's folder.
        processes: how many; None: as many as a run in `out` began with; else one a GPU, or one
            for every two clips of the batch up to one a core.

    Returns:
        The path of `model.safetensors`.

    Raises:
        InputError: `processes` does not divide the batch, or the training failed (it has said why).
    """
    stored = Path(out) / "config.json"
    if processes is None and stored.exists():  # go on with as many as began
        each = read_train_config(stored).batch_size
        processes = config.batch_size // each if config.batch_size % each == 0 else None
    if processes is None:
        most = torch.cuda.device_count() or min(len(os.sched_getaffinity(0)), config.batch_size // 2)
        processes = max(n for n in range(1, max(most, 1) + 1) if config.batch_size % n == 0)
    if processes < 1 or config.batch_size % processes:
        raise InputError(f"{processes} processes cannot share a batch of {config.batch_size} clips evenly")
    config = replace(config, batch_size=config.batch_size // processes)
    if processes == 1:
        return train(config, out, resume=True)
    options = Path(out) / "options.json"
    atomic.write_json(options, asdict(config), indent=2)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    training = ["-m", "maskfree_nb.cli", "train", str(out), "--config", str(options), "--resume"]
    environment = ON_CPU if not torch.cuda.is_available() else {}
    done = subprocess.run([sys.executable, *launcher, *training], env={**os.environ, **environment})
    if done.returncode:
        raise InputError(f"the training in {out} ended with status {done.returncode}; its output says why")
    return Path(out) / "model.safetensors"
