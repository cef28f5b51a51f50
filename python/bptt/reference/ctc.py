"""The CTC loss in plain NumPy and in logarithms: the half of `bptt.reference` that is not layers.

Written to be read: this is the specification that the compiled loss is tested against.

Letters: T steps, N sequences, C classes, S labels of a target, K = 2S + 1 states: the labels with a
blank before, between and after them. A path goes through the states from one of the first two to
one of the last two, at each step on by 0, 1 or 2 states: never past a label, nor past a blank
between equal labels. Each state it is in at a step emits its class, with the probability that the
softmax gives it. The probability of a target is the sum over all paths; alpha sums over their
beginnings, beta over their ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _arguments as check
from ..results import Array

Index = NDArray[np.intp]


def ctc_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    input_lengths: ArrayLike,
    target_lengths: ArrayLike,
    blank: int = 0,
    zero_infinity: bool = False,
) -> tuple[float, Array]:
    """Connectionist temporal classification [1]_, as torch.nn.functional.ctc_loss of log_softmax.

    A network spells a target if, at each step, it emits a class or a blank, so that the target
    remains when repetitions, and then blanks, are left out. The loss of a sequence is the negative
    logarithm of the probability that the softmax of its logits gives to all that spells its target.

    Parameters
    ----------
    logits : array, float32 or float64, shape (T, N, C)
        Before the softmax. T and N may be 0.
    targets : array_like of int, shape (N, S) or (sum of target_lengths,)
        Labels, in 0..C-1 without `blank`: padded with anything, or one target after the other.
    input_lengths : array_like of int, shape (N,)
        Number of steps of each sequence, from 0 to T. What logits holds past a sequence's end, NaN
        included, reaches nothing, and dlogits is 0 there.
    target_lengths : array_like of int, shape (N,)
        Number of labels of each target, from 0 on.
    blank : int, default 0
        The class that stands for no label.
    zero_infinity : bool, default False
        Count the loss of a sequence too short for its target, which is infinite, as 0, and its
        gradient as 0 instead of NaN.

    Returns
    -------
    value : float
        Mean over N of each loss divided by its target's length, or by 1 if that is 0. The mean of
        none is NaN.
    dlogits : array, shape (T, N, C)
        Gradient of value with respect to logits; NaN within a sequence whose loss is not finite.

    Raises
    ------
    TypeError
        An argument has a type or dtype it must not have; the message opens with its name.
    ValueError
        An argument has a shape or value it must not have; the message opens with its name.
    MemoryError
        The result does not fit into memory.

    References
    ----------
    .. [1] A. Graves, S. Fernández, F. Gomez and J. Schmidhuber, "Connectionist temporal
       classification: labelling unsegmented sequence data with recurrent neural networks", ICML
       2006.

    Examples
    --------
    Of two steps, "1" is spelt by 1 blank, blank 1 and 1 1, each as probable as the fourth way:

    >>> import numpy as np
    >>> from bptt import functional as F
    >>> value, dlogits = F.ctc_loss(np.zeros((2, 1, 2)), [[1]], [2], [1])
    >>> round(float(np.exp(-value)), 6)
    0.75
    """
    given = check.floats("logits", logits)
    if given.ndim != 3 or not given.shape[2]:
        raise ValueError(f"logits has shape {given.shape}, must be (T, N, C) with C at least 1")
    T, N, C = given.shape
    given_targets = check.integers("targets", targets)
    padded = given_targets.ndim == 2
    if given_targets.ndim != 1 and not (padded and len(given_targets) == N):
        raise ValueError(
            f"targets has shape {given_targets.shape}, must be (N, S) with N = {N} "
            "or one target after the other in one axis"
        )
    input_sizes = check.lengths_within("input_lengths", input_lengths, N, T, "T")
    sizes = check.lengths_within(
        "target_lengths",
        target_lengths,
        N,
        given_targets.shape[-1],
        "S" if padded else "len(targets)",
    )
    if not padded and sizes.sum() != len(given_targets):
        raise ValueError(
            f"target_lengths has the sum {sizes.sum()}, "
            f"must have the sum len(targets) = {len(given_targets)}"
        )
    blank = check.integer("blank", blank, 0, C - 1, "0 to C-1")
    zero_infinity = check.flag("zero_infinity", zero_infinity)
    rows = _labels(given_targets, sizes, C, blank)

    exact = given.astype(np.float64)
    value = 0.0 if N else np.nan
    dlogits = np.zeros_like(given)
    for n, (row, length) in enumerate(zip(rows, input_sizes, strict=True)):
        loss, gradient = sequence_loss(exact[:length, n], row, blank)
        if zero_infinity and loss == np.inf:
            loss, gradient = 0.0, np.zeros_like(gradient)
        weight = 1 / (N * max(len(row), 1))
        value += loss * weight
        dlogits[:length, n] = gradient * weight
    return float(value), dlogits


def _labels(targets: NDArray[Any], lengths: Index, C: int, blank: int) -> list[Index]:
    """Check the labels of N targets, (N, S) or one after the other, as far as each is long."""
    ends = np.cumsum(lengths)
    rows = [
        (targets[n] if targets.ndim == 2 else targets[end - length :])[:length]
        for n, (end, length) in enumerate(zip(ends, lengths, strict=True))
    ]
    for row in rows:
        wrong = row[(row < 0) | (row >= C) | (row == blank)]
        if wrong.size:
            raise ValueError(
                f"targets has the value {wrong[0]}, must be in 0..C-1 = 0..{C - 1} "
                f"without blank = {blank}"
            )
    return [row.astype(np.intp) for row in rows]


@np.errstate(all="ignore")
def sequence_loss(logits: Array, target: Index, blank: int) -> tuple[float, Array]:
    """Return -log p(target | logits) and its gradient with respect to the logits (T, C)."""
    T = len(logits)
    if T == 0:
        return (np.inf if len(target) else 0.0), np.zeros_like(logits)
    log_y = log_softmax(logits)
    state = np.full(2 * len(target) + 1, blank)
    state[1::2] = target
    log_emission = log_y[:, state]  # (T, K)

    log_alpha = log_entering(state, log_emission)
    log_beta = log_entering(state[::-1], log_emission[::-1, ::-1])[
        ::-1, ::-1
    ]  # the same from the end
    log_paths = log_alpha + log_emission + log_beta  # through each state at each step
    log_p = np.logaddexp.reduce(log_paths[0])  # every path is somewhere at step 0
    # the softmax less the share of the paths that emit a class at a step
    dlogits = np.exp(log_y)
    np.subtract.at(dlogits, (np.arange(T)[:, np.newaxis], state), np.exp(log_paths - log_p))
    if not np.isfinite(log_p):  # no path, or NaN: there are no shares
        dlogits[:] = np.nan
    return -log_p, dlogits


def log_entering(state: Index, log_emission: Array) -> Array:
    """Log of the sum over all ways to each state at each step, its own emission left out (T, K)."""
    may_skip = np.zeros(len(state), bool)
    may_skip[3::2] = state[3::2] != state[1:-2:2]
    entering = np.full_like(log_emission, -np.inf)
    entering[0, :2] = 0
    for t in range(1, len(entering)):
        left = entering[t - 1] + log_emission[t - 1]
        entering[t] = left
        entering[t, 1:] = np.logaddexp(entering[t, 1:], left[:-1])
        skipping = np.where(may_skip[2:], left[:-2], -np.inf)
        entering[t, 2:] = np.logaddexp(entering[t, 2:], skipping)
    return entering


def log_softmax(logits: Array) -> Array:
    """Return logits (T, C) less a number for each step, so that the sum of exp is 1."""
    less = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.sum(np.exp(less), axis=1, keepdims=True))
    log_y: Array = less - log_sum
    return log_y
