"""Every shipped configuration of every kernel compiles for real GPUs; what the compiler made of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROCESSES = 2
TARGETS = ("sm_80", "sm_90", "sm_100", "gfx942")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What `compile_kernels.py` prints, run once without the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    command = [sys.executable, Path(__file__).with_name("compile_kernels.py"), str(PROCESSES)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout)


def describe(row):
    return f"{row['kernel']} for {row['target']} with {row['constexprs']}"


def test_every_kernel_compiles_for_every_target(compiled):
    rows = [row for row in compiled["rows"] if row["binary_bytes"] > 0 and not row["ones"]]
    made = {(row["kernel"], row["target"]) for row in rows}
    assert made == {(kernel, target) for kernel in compiled["kernels"] for target in TARGETS}


def test_every_kernel_compiles_for_sizes_of_one(compiled):
    rows = [row for row in compiled["rows"] if row["binary_bytes"] > 0 and row["ones"]]
    assert {row["kernel"] for row in rows} == set(compiled["kernels"])


@pytest.mark.parametrize("target", ["sm_80", "sm_90"])
def test_no_register_spills(compiled, target):
    rows = [row for row in compiled["rows"] if row["target"] == target]
    assert rows
    assert not [f"{describe(row)}: {row['spill_bytes']} bytes" for row in rows if row["spill_bytes"]]


@pytest.mark.parametrize(
    "kernel, access, size",
    [
        ("rgb_to_lab_fwd_kernel", "widest_load", 16),
        ("projection_fwd_kernel", "widest_load", 16),
        ("projection_bwd_kernel", "widest_store", 16),
        ("ms_deform_attn_fwd_kernel", "widest_load", 8),  # halves: 4 channels a thread
        ("ms_deform_attn_bwd_kernel", "widest_load", 8),
    ],
)
def test_main_accesses_are_wide(compiled, kernel, access, size):
    rows = [row for row in compiled["rows"] if row["kernel"] == kernel and access in row]
    rows = [row for row in rows if row["constexprs"].get("ALIGN") != "1"]  # rows of any length start anywhere
    assert rows
    assert not [f"{describe(row)}: {row[access]} bytes" for row in rows if row[access] < size]
