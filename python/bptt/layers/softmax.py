"""The softmax that all kinds of attention end in: over keys, of which some may not be there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..results import Array


@np.errstate(invalid="ignore", over="ignore")
def softmax(scores: Array, there: NDArray[np.bool_] | None) -> Array:
    """Turn scores into weights along the last axis, in place, and return them.

    Where `there`, which is broadcast, is False, the weight is 0, even if it is so for a whole row.
    """
    if there is not None:
        np.copyto(scores, -np.inf, where=~there)
    scores -= scores.max(axis=-1, keepdims=True, initial=-np.inf)  # at most 0: nothing overflows
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    if there is not None:
        np.copyto(scores, 0, where=~there)  # is 0 or, in a row without keys, NaN
    return scores


def softmax_backward(weights: Array, dweights: Array) -> Array:
    """Return the gradient of the scores: w_i (dw_i - sum over j of w_j dw_j)."""
    dscores = weights * dweights
    dscores -= weights * dscores.sum(axis=-1, keepdims=True)
    return dscores
