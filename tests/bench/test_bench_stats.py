"""bench/stats.py: means, and intervals that hold what they promise."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest


def test_geometric_mean():
    stats = import_module("stats")
    assert stats.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert stats.geometric_mean([0.5]) == pytest.approx(0.5)


def test_paired_ratio():
    stats = import_module("stats")
    assert stats.paired_ratio([3.0] * 15, [1.5] * 15) == (2.0, 2.0, 2.0)
    # a drift common to both libraries leaves the paired ratios alone
    drift = np.linspace(1, 3, 15)
    assert stats.paired_ratio(2 * drift, drift) == pytest.approx((2, 2, 2))


def test_bootstrap_interval_covers():
    """The 95 % interval holds the true median in about 95 of 100 experiments."""
    stats = import_module("stats")
    rng = np.random.default_rng(3)
    found = [stats.paired_ratio(rng.lognormal(0, 0.1, 15), [1.0] * 15, 500) for _ in range(200)]
    assert all(ratio.low <= ratio.median <= ratio.high for ratio in found)
    assert 0.88 <= np.mean([ratio.low <= 1 <= ratio.high for ratio in found]) <= 0.99
