"""Losses: functions f(y, target, **options) -> (value, dy), to be used alone or in a training step.

Options are fixed with functools.partial. A loss of every step does not know the lengths of
sequences: mark the targets past each end with ignore_index.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import _arguments, _checks
from .results import Array

_REDUCTIONS = ("mean", "sum")


def mse_loss(y: Array, target: Any, *, reduction: str = "mean") -> tuple[float, Array]:
    """Squared error, as torch.nn.functional.mse_loss.

    Parameters
    ----------
    y : array, float32 or float64
    target : array of the shape and dtype of y
        Lists and integers are converted.
    reduction : {"mean", "sum"}
        Over all elements. The mean of none is NaN.

    Returns
    -------
    value : float
    dy : array
        Gradient of value with respect to y.
    """
    y = _checks.as_float_array("y", y)
    target = _checks.as_array("target", target, y.dtype)
    _arguments.shaped("target", target, "the shape of y", y.shape)
    reduction = _checks.as_choice("reduction", reduction, _REDUCTIONS)
    count = y.size if reduction == "mean" else 1
    difference = y - target
    # float64 here costs nothing to speak of, and no sum of squares overflows
    value = float(np.sum(np.square(difference, dtype=np.float64)))
    return _ratio(value, count), difference * (2 / max(count, 1))


def cross_entropy(
    y: Array, target: Any, *, ignore_index: int = -100, reduction: str = "mean"
) -> tuple[float, Array]:
    """Negative logarithm of the softmax of y at the target, as torch.nn.functional.cross_entropy.

    Unlike there, classes are the last axis of y.

    Parameters
    ----------
    y : array (..., C), float32 or float64
        Logits.
    target : array of int (...)
        Classes in 0..C-1, or `ignore_index`.
    ignore_index : int
        Targets of this value add nothing to value and dy, and are not counted in the mean.
    reduction : {"mean", "sum"}
        Over all targets that count. If there are none, the mean is NaN and dy is zero.

    Returns
    -------
    value : float
    dy : array (..., C)
        Gradient of value with respect to y.
    """
    y = _checks.as_float_array("y", y)
    if not y.ndim or not y.shape[-1]:
        raise ValueError(f"y has shape {y.shape}, must be (..., C) with C at least 1")
    C = y.shape[-1]
    target = _checks.as_integers("target", target, "the shape of y without classes", y.shape[:-1])
    ignore_index = _checks.as_size("ignore_index", ignore_index, least=-(2**63))
    reduction = _checks.as_choice("reduction", reduction, _REDUCTIONS)
    target = target.reshape(-1)
    counted = np.flatnonzero(target != ignore_index)
    classes = target[counted]
    wrong = classes[(classes < 0) | (classes >= C)]
    if wrong.size:
        raise ValueError(
            f"target has the value {wrong[0]}, must be in 0..C-1 = 0..{C - 1} "
            f"or ignore_index = {ignore_index}"
        )
    classes = classes.astype(np.intp)
    count = len(counted) if reduction == "mean" else 1

    rows = np.arange(len(counted))
    logits = y.reshape(-1, C)[counted]
    logits = logits - logits.max(axis=1, keepdims=True)  # at most 0: nothing overflows
    exp = np.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    losses = np.log(total[:, 0]) - logits[rows, classes]
    dlogits = exp / total  # the softmax
    dlogits[rows, classes] -= 1
    dlogits /= max(count, 1)
    dy = np.zeros((target.size, C), y.dtype)
    dy[counted] = dlogits
    return _ratio(float(np.sum(losses, dtype=np.float64)), count), dy.reshape(y.shape)


def _ratio(total: float, count: int) -> float:
    return total / count if count else math.nan
