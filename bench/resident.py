"""How much memory a call takes at its peak, as the kernel counts the pages of this process."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")


def peak(run: Callable[[], _T], release: Callable[[], None] | None = None) -> tuple[_T, int]:
    """The result of run(), and by how many bytes the resident size rose at most until it was there.

    What malloc holds of freed memory is given back first, and by `release` what a library holds
    for calls to come, for a call could take its own from there unseen. *Measured*: it hides up to
    a third of what a call of PyTorch's takes. And not from ru_maxrss, which never falls: importing
    the library may have taken more than the call.
    """
    gc.collect()
    if release is not None:
        release()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark falls to the present size
    before = _high_water()
    result = run()
    return result, _high_water() - before


def _high_water() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status names no VmHWM")
