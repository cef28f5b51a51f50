"""What losses have in common: checks of y and the target, and the sum or mean."""

from __future__ import annotations

import math

import numpy as np

from .. import _arguments, _checks
from ..results import Array

_REDUCTIONS = ("mean", "sum")


def pair(y: object, target: object) -> tuple[Array, Array]:
    """Check an array and a target of its shape and dtype."""
    y = _checks.as_float_array("y", y)
    target = _checks.as_array("target", target, y.dtype)
    return y, _arguments.shaped("target", target, "the shape of y", y.shape)


def as_reduction(value: object) -> str:
    """Check the name of a reduction."""
    return _checks.as_choice("reduction", value, _REDUCTIONS)


def reduced(losses: Array, slopes: Array, reduction: str) -> tuple[float, Array]:
    """Value and gradient from each loss and its own gradient, which is overwritten."""
    total = float(np.sum(losses, dtype=np.float64))
    if reduction == "sum":
        return total, slopes
    slopes /= max(losses.size, 1)
    return total / losses.size if losses.size else math.nan, slopes
