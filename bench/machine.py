"""The machine as the operating system describes it: model, caches, instruction sets, cores."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from limit import Caches

# What each ISA of the kernels needs from the CPU, best first.
FEATURES = {
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma"},
    "avx2": {"avx2", "fma"},
    "baseline": set[str](),
}


def _cpuinfo(field: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    raise OSError(f"/proc/cpuinfo names no {field}")


def cpu() -> str:
    """The model name, with family and model numbers, which a virtual machine cannot shorten."""
    numbers = ".".join(_cpuinfo(field) for field in ("cpu family", "model", "stepping"))
    return f"{_cpuinfo('model name')} ({numbers})"


def system() -> str:
    return f"{platform.system()} {platform.release()} {platform.machine()}"


def cores() -> int:
    return len(os.sched_getaffinity(0))


def busy_seconds() -> float:
    """Time that our cores have worked, for anybody: all but idle and waiting for a disk."""
    names = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name in names:
            user, nice, system, _, _, *interrupts_and_stolen = map(int, fields[:8])
            ticks += user + nice + system + sum(interrupts_and_stolen)
    return ticks / os.sysconf("SC_CLK_TCK")


def process_seconds(pid: int) -> float:
    """Time that all threads of one process have worked."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def isas() -> list[str]:
    """Names of the ISAs this CPU can run, best first."""
    flags = set(_cpuinfo("flags").split())
    return [name for name, needed in FEATURES.items() if needed <= flags]


def caches() -> Caches:
    """Sizes of the data caches of the first core."""
    sizes = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if (index / "type").read_text().strip() != "Instruction":
            level = int((index / "level").read_text())
            sizes[level] = 1024 * int((index / "size").read_text().strip().removesuffix("K"))
    return Caches(sizes[1], sizes[2], sizes[3])
