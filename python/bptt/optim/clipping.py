"""Clipping of gradients, in place, by their norm or by value."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .. import _arguments, _checks, _core
from ..results import Array


def clip_grad_norm_(grads: Mapping[str, Array], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale gradients in place so that the norm of all together is at most `max_norm`.

    As ``torch.nn.utils.clip_grad_norm_``: all are multiplied by max_norm / (norm + 1e-6) where that
    is below 1. Pascanu et al. (2013).

    Parameters
    ----------
    grads : mapping of str to array
        Changed in place.
    max_norm : float
        At least 0.
    norm_type : float
        p of the p-norm, above 0; math.inf for the largest absolute value.

    Returns
    -------
    float
        The norm before. If it is NaN, so are all gradients afterwards.
    """
    arrays = _live(grads)
    max_norm = _checks.as_real("max_norm", max_norm, 0)
    norm_type = _checks.as_real("norm_type", norm_type, 0)
    if not norm_type:
        raise ValueError("norm_type is 0, must be above 0")
    with np.errstate(all="ignore"):
        norm = _norm(arrays, norm_type)
        factor = max_norm / (norm + 1e-6)
        if not factor >= 1:  # also where it is NaN
            for array in arrays:
                np.multiply(array, factor, out=array)
    return norm


def clip_grad_value_(grads: Mapping[str, Array], clip_value: float) -> None:
    """Clip each element of gradients, in place, to [-clip_value, clip_value]; NaN stays.

    As ``torch.nn.utils.clip_grad_value_``.

    Parameters
    ----------
    grads : mapping of str to array
        Changed in place.
    clip_value : float
        At least 0.
    """
    arrays = _live(grads)
    clip_value = _checks.as_real("clip_value", clip_value, 0)
    with np.errstate(all="ignore"):  # a bound beyond float32 becomes infinite
        for array in arrays:
            np.maximum(array, -clip_value, out=array)
            np.minimum(array, clip_value, out=array)


def _live(grads: object) -> list[Array]:
    """The arrays of a mapping, all of which can be changed in place."""
    if not isinstance(grads, Mapping):
        raise TypeError(f"grads is {_arguments.described(grads)}, must be a mapping by name")
    for name, array in grads.items():
        _checks.check_live(f"grads[{name!r}]", array)
    return list(grads.values())


def _norm(arrays: list[Array], p: float) -> float:
    """The p-norm of all elements, from sums in float64: exploded float32 gradients must not
    overflow where clipping is to help."""
    arrays = [array for array in arrays if array.size]
    if p == 2:
        return math.sqrt(sum(map(_core.sum_of_squares, arrays)))
    if p == math.inf:
        return float(np.max([0.0, *(np.maximum(a.max(), -a.min()) for a in arrays)]))
    total = sum(np.sum(np.abs(array, dtype=np.float64) ** p) for array in arrays)
    return float(np.float64(total) ** (1 / p))
