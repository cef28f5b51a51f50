"""Losses of classes, f(y, target, **options) -> (value, dy): the last axis of y goes over them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _arguments, _checks
from ..results import Array
from .reduction import as_reduction, pair, reduced


@np.errstate(all="ignore")
def cross_entropy(
    y: Array,
    target: Any,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    lengths: Any = None,
    batch_first: bool = False,
    label_smoothing: float = 0.0,
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
    lengths : array of int (N,), optional
        Number of steps of each sequence, from 0 to T, where y is (T, N, C). Targets past a
        sequence's end are ignored, whatever they and y hold there.
    batch_first : bool
        Whether y is (N, T, C) instead of (T, N, C), which matters to `lengths` only.
    label_smoothing : float
        Share of each target that is spread evenly over all classes [1]_, from 0 to 1.

    Returns
    -------
    value : float
    dy : array (..., C)
        Gradient of value with respect to y.

    References
    ----------
    .. [1] C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR
       2016, arXiv:1512.00567.
    """
    counted = _Counted.of(y, target, ignore_index, reduction, lengths, batch_first)
    smoothing = _checks.as_real("label_smoothing", label_smoothing, 0, 1)
    logits = counted.y - counted.y.max(axis=1, keepdims=True)  # at most 0: nothing overflows
    exp = np.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    losses = np.log(total[:, 0]) - (1 - smoothing) * logits[counted.at_target]
    dlogits = exp / total  # the softmax
    dlogits[counted.at_target] -= 1 - smoothing
    if smoothing:  # else an infinite logit, which may be no target, would make NaN
        losses -= smoothing * logits.mean(axis=1)
        dlogits -= smoothing / logits.shape[1]
    return counted.reduced(losses, dlogits)


@np.errstate(all="ignore")
def nll_loss(
    y: Array,
    target: Any,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    lengths: Any = None,
    batch_first: bool = False,
) -> tuple[float, Array]:
    """Negative of y at the target, as torch.nn.functional.nll_loss.

    Unlike there, classes are the last axis of y.

    Parameters
    ----------
    y : array (..., C), float32 or float64
        Logarithms of probabilities.
    target, ignore_index, reduction, lengths, batch_first
        As of `cross_entropy`.

    Returns
    -------
    value : float
    dy : array (..., C)
        Gradient of value with respect to y.
    """
    counted = _Counted.of(y, target, ignore_index, reduction, lengths, batch_first)
    dy = np.zeros_like(counted.y)
    dy[counted.at_target] = -1
    return counted.reduced(-counted.y[counted.at_target], dy)


@np.errstate(all="ignore")
def binary_cross_entropy_with_logits(
    y: Array,
    target: Any,
    *,
    weight: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> tuple[float, Array]:
    """Cross-entropy of sigmoid(y), as torch.nn.functional.binary_cross_entropy_with_logits.

    ::

        -weight * (pos_weight*target*log(sigmoid(y)) + (1-target)*log(1-sigmoid(y)))

    Parameters
    ----------
    y : array, float32 or float64
        Logits.
    target : array of the shape and dtype of y
        Probabilities, 0 to 1. Lists and integers are converted.
    weight : array of the dtype of y, optional
        Of each element; its shape broadcasts to that of y. 1 by default.
    reduction : {"mean", "sum"}
        Over all elements. The mean, which weights do not change the count of, is NaN of none.
    pos_weight : array of the dtype of y, optional
        Of positive targets, for each class: its shape broadcasts to that of y. 1 by default.

    Returns
    -------
    value : float
    dy : array
        Gradient of value with respect to y.
    """
    y, target = pair(y, target)
    weight = _weight("weight", weight, y)
    reduction = as_reduction(reduction)
    positive = _weight("pos_weight", pos_weight, y) * target
    negative = 1 - target
    e = np.exp(-np.abs(y))  # at most 1: nothing overflows
    excess = np.log1p(e)  # of log(1 + e^y) over max(y, 0), and of log(1 + e^-y) over max(-y, 0)
    losses = positive * (np.maximum(-y, 0) + excess) + negative * (np.maximum(y, 0) + excess)
    larger, smaller = 1 / (1 + e), e / (1 + e)  # of sigmoid(y) and 1 - sigmoid(y)
    dy = negative * np.where(y < 0, smaller, larger) - positive * np.where(y < 0, larger, smaller)
    return reduced(weight * losses, weight * dy, reduction)


def _weight(name: str, value: object, y: Array) -> Array:
    """Check weights that broadcast to y; None is 1."""
    if value is None:
        return np.ones((), y.dtype)
    weight = _checks.as_array(name, value, y.dtype)
    try:
        return np.broadcast_to(weight, y.shape)
    except ValueError:
        raise ValueError(
            f"{name} has shape {weight.shape}, must broadcast to that of y, {y.shape}"
        ) from None


class _Counted(NamedTuple):
    """The n targets that count, and what belongs to them."""

    y: Array  # (n, C)
    at_target: tuple[NDArray[np.intp], NDArray[np.intp]]  # which entries of it the targets name
    row: NDArray[np.intp]  # (n,): where it is among all rows
    shape: tuple[int, ...]
    reduction: str

    @staticmethod
    def of(
        y: object,
        target: object,
        ignore_index: object,
        reduction: object,
        lengths: object,
        batch_first: object,
    ) -> _Counted:
        """Check the arguments of a loss of classes."""
        y = _checks.as_float_array("y", y)
        if not y.ndim or not y.shape[-1]:
            raise ValueError(f"y has shape {y.shape}, must be (..., C) with C at least 1")
        *rows, C = y.shape
        target = _checks.as_integers("target", target, "the shape of y without classes", (*rows,))
        ignore_index = _checks.as_size("ignore_index", ignore_index, least=-(2**63))
        reduction = as_reduction(reduction)
        counts = (target != ignore_index) & _within(lengths, batch_first, y.shape)
        row = np.flatnonzero(counts)
        classes = target.reshape(-1)[row]
        wrong = classes[(classes < 0) | (classes >= C)]
        if wrong.size:
            raise ValueError(
                f"target has the value {wrong[0]}, must be in 0..C-1 = 0..{C - 1} "
                f"or ignore_index = {ignore_index}"
            )
        at_target = np.arange(len(row)), classes.astype(np.intp)
        return _Counted(y.reshape(-1, C)[row], at_target, row, y.shape, reduction)

    def reduced(self, losses: Array, slopes: Array) -> tuple[float, Array]:
        """Value and dy from the losses (n,) and their gradients (n, C)."""
        value, slopes = reduced(losses, slopes, self.reduction)
        dy = np.zeros(self.shape, slopes.dtype)
        dy.reshape(-1, self.shape[-1])[self.row] = slopes
        return value, dy


def _within(lengths: object, batch_first: object, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether each target is within its sequence, in a shape that broadcasts to the targets'."""
    axes = "(N, T, C)" if _arguments.flag("batch_first", batch_first) else "(T, N, C)"
    if lengths is None:
        return np.ones((), bool)
    if len(shape) != 3:
        raise ValueError(f"lengths is given, must be None unless y is {axes}: it is {shape}")
    T, N = shape[1::-1] if batch_first else shape[:2]
    within = np.arange(T)[:, np.newaxis] < _arguments.lengths_within("lengths", lengths, N, T, "T")
    return within.T if batch_first else within
