"""Compile every shipped configuration of every kernel for four GPUs on a machine without one; print JSON.

Each line says what came out, from the binaries themselves: bytes of spilled or stacked registers, registers,
shared memory, and the widest global load and store in bytes. Runs in a process of its own: under
TRITON_INTERPRET=1 there is nothing to compile.
"""

import importlib
import json
import pkgutil
import re
import subprocess
import sys
import tempfile
from multiprocessing import Pool
from pathlib import Path

import maskfree_kernels
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def all_modules() -> list:
    names = (module.name for module in pkgutil.iter_modules(maskfree_kernels.__path__))
    return [importlib.import_module(f"maskfree_kernels.{name}") for name in names]


def shipped() -> list[tuple]:
    return [case for module in all_modules() if hasattr(module, "aot_cases") for case in module.aot_cases()]


def launched_kernels() -> set[str]:
    """The names of all kernels of the package, shipped or not."""
    return {name for module in all_modules() for name in vars(module) if name.endswith("_kernel")}


def first_of_each_kernel() -> list[int]:
    names = [case[0].__name__ for case in shipped()]
    return [names.index(name) for name in dict.fromkeys(names)]


def compile_one(job: tuple[int, str, bool]) -> dict:
    """Compile one case; `ones`: as at a launch with all sizes 1, which Triton makes constants."""
    number, target, ones = job
    kernel, signature, constexprs, options = shipped()[number]
    if ones:
        sizes = dict.fromkeys((name for name, kind in signature.items() if kind == "i32"), 1)
        signature, constexprs = signature | dict.fromkeys(sizes, "constexpr"), constexprs | sizes
    pointers = [place for place, kind in enumerate(signature.values()) if kind.startswith("*")]
    aligned = {(place,): [["tt.divisibility", 16]] for place in pointers}  # as torch allocates
    source = ASTSource(kernel, signature, constexprs, aligned)
    assembly = triton.compile(source, target=TARGETS[target], options=options).asm
    row = {"kernel": kernel.__name__, "target": target, "ones": ones, "types": signature}
    row["constexprs"] = {name: str(value) for name, value in constexprs.items()}
    return row | (nvidia_figures(assembly) if "cubin" in assembly else amd_figures(assembly))


def nvidia_figures(assembly: dict) -> dict:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(assembly["cubin"])
        report = subprocess.run(
            [CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True
        )
    registers, stack, shared, local = re.search(
        r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", report.stdout
    ).groups()
    return {
        "binary_bytes": len(assembly["cubin"]),
        "registers": int(registers),
        "spill_bytes": int(stack) + int(local),
        "shared_bytes": int(shared),
        "widest_load": widest("ld.global", assembly["ptx"]),
        "widest_store": widest("st.global", assembly["ptx"]),
    }


def widest(instruction: str, ptx: str) -> int:
    """Bytes of a thread's widest access."""
    accesses = re.findall(re.escape(instruction) + r"[\w.:]*?(?:\.v(\d))?\.[bfsu](\d+)\s", ptx)
    return max((int(count or 1) * int(bits) // 8 for count, bits in accesses), default=0)


def amd_figures(assembly: dict) -> dict:
    text = assembly["amdgcn"]
    registers, spilled = (
        int(re.search(rf"\.{name}:\s+(\d+)", text).group(1)) for name in ("vgpr_count", "vgpr_spill_count")
    )
    return {"binary_bytes": len(assembly["hsaco"]), "registers": registers, "spill_bytes": 4 * spilled}


if __name__ == "__main__":
    jobs = [(number, target, False) for target in TARGETS for number in range(len(shipped()))]
    jobs += [(number, "sm_90", True) for number in first_of_each_kernel()]
    with Pool(int(sys.argv[1])) as pool:
        rows = pool.map(compile_one, jobs, chunksize=1)
    print(json.dumps({"rows": rows, "kernels": sorted(launched_kernels())}))
