"""Settings of the process: threads, denormals, memory, and what this build and machine are."""

from __future__ import annotations

import platform

import numpy as np

from bptt import _core

__all__ = [
    "free_memory",
    "get_num_threads",
    "set_flush_denormal",
    "set_num_threads",
    "show_config",
]


def get_num_threads() -> int:
    """Threads that a large enough call from this thread uses."""
    return _core.get_num_threads()


def set_num_threads(n: int) -> None:
    """Set the number of threads of calls to come.

    No bit of any result depends on it. Without this call it is the environment variable
    BPTT_NUM_THREADS or, without that, the least of OpenMP's own number, the CPUs this process may
    run on and its cgroup's quota.

    Parameters
    ----------
    n : int
        From 1 to 1024; it may exceed the number of cores.

    Raises
    ------
    TypeError, ValueError
        n is not an integer, or out of range.
    """
    _core.set_num_threads(n)


def set_flush_denormal(mode: bool) -> None:
    """Choose whether the compiled functions take denormal numbers for zero, as they do by default.

    With False they compute with them, as NumPy does; a decaying state is then many times slower.
    The caller's own floating-point mode is never changed.

    Parameters
    ----------
    mode : bool
        Whether to flush.
    """
    _core.set_flush_denormal(mode)


def free_memory() -> None:
    """Give back the memory that calls have left for calls to come (at most 512 MiB)."""
    _core.free_memory()


def show_config() -> None:
    """Print version, instruction set, threads, OpenMP runtime and compiler."""
    from bptt import __version__

    rows = {
        "bptt": __version__,
        "instruction set": f"{_core.isa()} (of {', '.join(_core.isas())}; BPTT_ISA forces one)",
        "threads": str(_core.get_num_threads()),
        "OpenMP runtime": _core.openmp_runtime(),
        "compiler": _core.compiler,
        "flush denormals": str(_core.get_flush_denormal()),
        "NumPy": np.__version__,
        "Python": platform.python_version(),
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:{width}}  {value}")
