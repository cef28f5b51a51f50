"""Losses of numbers, f(y, target, **options) -> (value, dy): y and target are of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..results import Array
from .reduction import as_reduction, pair, reduced


@np.errstate(all="ignore")
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
    difference = _difference(y, target)
    reduction = as_reduction(reduction)
    # float64 here costs nothing to speak of, and no sum of squares overflows
    return reduced(np.square(difference, dtype=np.float64), 2 * difference, reduction)


@np.errstate(all="ignore")
def l1_loss(y: Array, target: Any, *, reduction: str = "mean") -> tuple[float, Array]:
    """Absolute error, as torch.nn.functional.l1_loss.

    Parameters
    ----------
    y, target, reduction
        As of `mse_loss`.

    Returns
    -------
    value : float
    dy : array
        Gradient of value with respect to y; 0 where y is target.
    """
    difference = _difference(y, target)
    reduction = as_reduction(reduction)
    return reduced(np.abs(difference), np.sign(difference), reduction)


@np.errstate(all="ignore")
def huber_loss(
    y: Array, target: Any, *, delta: float = 1.0, reduction: str = "mean"
) -> tuple[float, Array]:
    """Squared error that grows linearly from delta on [1]_, as torch.nn.functional.huber_loss.

    With d = \\|y - target\\|::

        d*d / 2                if d <= delta
        delta * (d - delta/2)  otherwise

    Parameters
    ----------
    y, target, reduction
        As of `mse_loss`.
    delta : float
        Above 0.

    Returns
    -------
    value : float
    dy : array
        Gradient of value with respect to y, from -delta to delta before the reduction.

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical
       Statistics 35(1), 73-101, 1964.
    """
    difference = _difference(y, target)
    delta = checks.real("delta", delta, 0)
    if not delta:
        raise ValueError("delta is 0.0, must be above 0")
    reduction = as_reduction(reduction)
    slope = np.clip(difference, -delta, delta)
    # both cases in one, of which neither squares a large number
    return reduced(slope * (difference - slope / 2), slope, reduction)


@np.errstate(all="ignore")
def smooth_l1_loss(
    y: Array, target: Any, *, beta: float = 1.0, reduction: str = "mean"
) -> tuple[float, Array]:
    """Absolute error that is squared below beta [1]_, as torch.nn.functional.smooth_l1_loss.

    This is the Huber loss with delta = beta, divided by beta.

    Parameters
    ----------
    y, target, reduction
        As of `mse_loss`.
    beta : float
        At least 0; with 0 this is `l1_loss`.

    Returns
    -------
    value : float
    dy : array
        Gradient of value with respect to y, from -1 to 1 before the reduction.

    References
    ----------
    .. [1] R. Girshick, "Fast R-CNN", ICCV 2015, arXiv:1504.08083.
    """
    difference = _difference(y, target)
    beta = checks.real("beta", beta, 0)
    reduction = as_reduction(reduction)
    slope = np.clip(difference / beta, -1, 1) if beta else np.sign(difference)
    return reduced(slope * (difference - slope * (beta / 2)), slope, reduction)


def _difference(y: object, target: object) -> Array:
    """What the losses are of, after a check of both."""
    y, target = pair(y, target)
    return y - target
