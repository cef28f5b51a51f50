"""bench/resident.py: memory that a call takes and gives back before its end is seen."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

MIB = 1 << 20


def test_peak():
    peak = import_module("resident").peak
    passing = 64 * MIB

    def run() -> np.ndarray:
        np.ones(passing, np.uint8)
        return np.ones(16 * MIB, np.uint8)

    kept, taken = peak(run)
    assert taken == pytest.approx(passing, abs=MIB)
    again = peak(run)[1]  # the earlier peak, and what is there already, count no more
    assert again == pytest.approx(passing, abs=MIB)
    assert peak(lambda: np.ones(4 * MIB, np.uint8))[1] == pytest.approx(4 * MIB, abs=MIB)
    assert kept.all()


def test_memory_that_malloc_holds_is_no_hiding_place():
    """Small blocks come from the heap, which malloc keeps when they are freed."""
    blocks = [np.ones(64 << 10, np.uint8) for _ in range(512)]
    blocks = blocks[-1:]  # the last one keeps the heap from shrinking
    taken = import_module("resident").peak(
        lambda: [np.ones(64 << 10, np.uint8) for _ in range(512)]
    )[1]
    assert taken == pytest.approx(32 * MIB, abs=MIB)
