"""The statistics of paired, interleaved timings, and nothing that measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Ratio(NamedTuple):
    """How many times faster: the median of the paired ratios and its 95 % interval."""

    median: float
    low: float
    high: float


def paired_ratio(peer: Sequence[float], ours: Sequence[float], resamples: int = 4000) -> Ratio:
    """Median of peer[r] / ours[r] over rounds r, with a percentile bootstrap interval.

    The seed is fixed, so a report made twice from one JSON states the same interval.
    """
    ratios = np.asarray(peer, np.float64) / np.asarray(ours, np.float64)
    draws = np.random.default_rng(0).integers(0, len(ratios), (resamples, len(ratios)))
    low, high = np.quantile(np.median(ratios[draws], axis=1), [0.025, 0.975])
    return Ratio(float(np.median(ratios)), float(low), float(high))


def geometric_mean(values: Sequence[float]) -> float:
    """exp of the mean logarithm; the values are positive and there is at least one."""
    return float(np.exp(np.mean(np.log(values))))
