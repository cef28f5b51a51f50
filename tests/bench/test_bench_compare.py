"""bench/compare.py: one error an array."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pytest


def test_errors():
    compare = import_module("compare")
    exact = np.arange(1.0, 33.0)
    assert compare.errors({"y": exact}, {"y": exact}) == {"y": 0.0}
    off = exact.astype(np.float32)
    off[0] += 1
    wanted = {"y": pytest.approx(1 / np.linalg.norm(exact))}
    assert compare.errors({"y": off}, {"y": exact}) == wanted
    few = {"y": pytest.approx(1 / 8)}  # the largest error over the largest value
    assert compare.errors({"y": off[:8]}, {"y": exact[:8]}) == few
    for wrong in (exact[:8], np.full(32, np.nan), np.full(32, np.inf)):
        assert compare.errors({"y": wrong}, {"y": exact}) == {"y": math.inf}
    assert compare.errors({}, {"y": exact}) == {"y": math.inf}
    assert compare.errors({"y": exact, "z": exact}, {"y": exact}) == {"y": math.inf}
    assert compare.errors({"y": np.zeros(32)}, {"y": exact}) == {"y": 1.0}


def test_a_library_that_disagrees_ends_the_program():
    compare = import_module("compare")
    exact = np.arange(1.0, 33.0)
    compare.require("torch", "a point", {"y": exact}, {"y": exact})
    with pytest.raises(SystemExit, match=r"torch disagrees at a point: error 1\.0e-0"):
        compare.require("torch", "a point", {"y": 1.01 * exact}, {"y": exact})
