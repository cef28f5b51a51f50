"""What this machine can do, so that a speed can be given as a share of it.

`python bench/probe.py` prints a table; `--json` the same numbers. The work is in probe.cpp, which
is compiled when first needed and kept in the user's cache folder.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import machine
import text
from limit import Rates

HERE = Path(__file__).parent
SOURCES = HERE.parent / "csrc"
FLAGS = {
    "avx512": ["-mavx2", "-mfma", "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw"],
    "avx2": ["-mavx2", "-mfma"],
    "baseline": [],
}
COMMON = ["-std=c++17", "-O3", "-ffp-contract=off", "-march=x86-64", "-fPIC", "-shared", "-pthread"]
WINDOWS = 8  # the best of so many counts


@cache
def _library(isa: str) -> ctypes.CDLL:
    """probe.cpp for one ISA; the file's name holds a hash of all it was made from."""
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if compiler is None:
        raise SystemExit("the probe needs a C++ compiler: install g++ or set CXX")
    command = [compiler, *COMMON, *FLAGS[isa], f"-DBPTT_ISA={isa}", f"-I{SOURCES}"]
    files = [HERE / "probe.cpp", SOURCES / "isa" / "math.h", SOURCES / "isa" / "simd.h"]
    made_from = " ".join(command).encode() + b"".join(file.read_bytes() for file in files)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bptt-bench"
    target = folder / f"probe-{isa}-{hashlib.sha256(made_from).hexdigest()[:16]}.so"
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(f".{os.getpid()}")
        subprocess.run([*command, str(files[0]), "-o", str(unfinished)], check=True)
        unfinished.replace(target)
    library = ctypes.CDLL(str(target))
    for name in ("fma_rate", "sigmoid_rate", "tanh_rate", "clock_rate", "read_rate"):
        function = getattr(library, name)
        function.restype = ctypes.c_double
        size = [ctypes.c_size_t] if name == "read_rate" else []
        function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_double, *size]
    return library


def buffer_sizes(threads: int) -> dict[str, int]:
    """Bytes a thread reads to meet each level: well inside it and well outside the one before."""
    l1, l2, l3 = machine.caches()
    return {
        "L1": l1 // 2,
        "L2": l2 // 2,
        "L3": max(2 * l2, l3 // (2 * threads)),
        "memory": max(64 << 20, 3 * l3 // threads),
    }


def measure(isa: str, threads: int, seconds: float = 0.8) -> Rates:
    """All rates with `threads` threads; takes about `seconds` once the library is compiled."""
    library = _library(isa)
    window = (threads, WINDOWS, seconds / 8 / WINDOWS)  # eight numbers are measured
    return Rates(
        fma=library.fma_rate(*window),
        sigmoid=library.sigmoid_rate(*window),
        tanh=library.tanh_rate(*window),
        bandwidth={
            level: library.read_rate(*window, size) for level, size in buffer_sizes(threads).items()
        },
        clock=library.clock_rate(*window),
    )


def table(found: dict[tuple[str, int], Rates]) -> str:
    """One line for each ISA and number of threads."""
    levels = ["L1", "L2", "L3", "memory"]
    columns = ["isa", "threads", "GHz", "GF/s", "sigmoid G/s", "tanh G/s", "cycles: sigmoid"]
    header = [*columns, "tanh", *(f"{level} GB/s" for level in levels)]
    rows = [header]
    for (isa, threads), rates in found.items():
        cycles = [threads * rates.clock / rate for rate in (rates.sigmoid, rates.tanh)]
        rows.append(
            [
                isa,
                str(threads),
                f"{rates.clock / 1e9:.2f}",
                f"{rates.fma / 1e9:.0f}",
                f"{rates.sigmoid / 1e9:.2f}",
                f"{rates.tanh / 1e9:.2f}",
                *(f"{c:.2f}" for c in cycles),
                *(f"{rates.bandwidth[level] / 1e9:.0f}" for level in levels),
            ]
        )
    return text.table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    threads = sorted({1, machine.cores()})
    found = {(isa, n): measure(isa, n) for isa in machine.isas() for n in threads}
    caches = machine.caches()
    if options.json:
        rates = [{"isa": isa, "threads": n, **r._asdict()} for (isa, n), r in found.items()]
        about = {"cpu": machine.cpu(), "system": machine.system(), "caches": caches._asdict()}
        print(json.dumps({**about, "rates": rates}, indent=1))
        return
    print(f"{machine.cpu()}, {machine.cores()} cores, {machine.system()}")
    sizes = ", ".join(f"{name.upper()} {size >> 10} KiB" for name, size in caches._asdict().items())
    print(f"{sizes}; ISAs {', '.join(machine.isas())}; rates are of all threads together")
    print(table(found))


if __name__ == "__main__":
    main()
