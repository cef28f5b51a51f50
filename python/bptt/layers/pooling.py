"""From a sequence to one vector: its last step, the mean or the maximum of its steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from ..results import Array
from .base import Forward, Gradients, LengthsLayer, no_params
from .layout import Layout, Lengths, inside

# spread(dy (N, H), dx (T, N, H)) writes the gradient of the steps into dx, which is zero
Spread = Callable[[Array, Array], None]


class Pooling(LengthsLayer):
    """What the three have in common; a kind of pooling defines `_pool`, forward and backward."""

    _call_is_vjp = True

    keeps_steps = False

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = checks.flag("batch_first", batch_first)

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y (N, H).

        Parameters
        ----------
        x : array (T, N, H) or (N, T, H) with batch_first, float32 or float64
            Or unbatched (T, H), where y is (H,). What lies past the end of a sequence reaches
            nothing.
        lengths : array of int (N,), optional
            Of the sequences, 0..T; a sequence of length 0 gives a row of zeros. All T by default.
        """
        x = checks.float_array("x", x)
        layout = Layout.of(x, "H", self.batch_first)
        checked = layout.lengths(lengths, x)
        shape, dtype = x.shape, x.dtype
        steps = layout.time_major(x)
        T, N, H = steps.shape
        y, spread = self._pool(steps, np.full(N, T) if checked is None else checked)
        if not layout.batched:
            y = y[0]
        if not keep:
            return y, None, None

        def back(dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
            dx = None
            if "x" in wanted:
                dx = np.zeros(shape, dtype)
                spread(dy.reshape(N, H), layout.time_major(dx))
            return dx, None, no_params(wanted)

        return y, None, back

    def _pool(self, steps: Array, lengths: Lengths) -> tuple[Array, Spread]:
        """Return y (N, H) of steps (T, N, H), and the way back."""
        raise NotImplementedError


class LastStep(Pooling):
    """The last step of each sequence: y[n] = x[len_n - 1, n].

    Parameters
    ----------
    batch_first : bool
        Whether x is (N, T, H) instead of (T, N, H).
    """

    def _pool(self, steps: Array, lengths: Lengths) -> tuple[Array, Spread]:
        n = np.flatnonzero(lengths)
        return _picked(steps, n, (lengths[n] - 1, n))


class MaxOverTime(Pooling):
    """The largest value of each feature over the steps: y[n, h] = max over t < len_n of x[t, n, h].

    The gradient goes to the first step that has that value. A NaN is larger than everything.

    Parameters
    ----------
    batch_first : bool
        Whether x is (N, T, H) instead of (T, N, H).
    """

    def _pool(self, steps: Array, lengths: Lengths) -> tuple[Array, Spread]:
        T, _, H = steps.shape
        n = np.flatnonzero(lengths)
        first = np.zeros((len(n), H), np.intp)
        if len(n):
            there = inside(lengths[n], T)[..., np.newaxis]
            first = np.where(there, steps[:, n], -np.inf).argmax(axis=0)
        return _picked(steps, n, (first, n[:, np.newaxis], np.arange(H)))


class MeanOverTime(Pooling):
    """The mean of each feature over the steps: y[n] = sum over t < len_n of x[t, n] / len_n.

    Parameters
    ----------
    batch_first : bool
        Whether x is (N, T, H) instead of (T, N, H).
    """

    def _pool(self, steps: Array, lengths: Lengths) -> tuple[Array, Spread]:
        there = inside(lengths, len(steps))[..., np.newaxis]
        share = 1 / np.maximum(lengths, 1)[:, np.newaxis]
        # in float64: NumPy adds along this axis in one long chain
        total = np.sum(steps, axis=0, dtype=np.float64, where=there)

        def spread(dy: Array, dx: Array) -> None:
            np.copyto(dx, dy * share, where=there, casting="same_kind")

        return (total * share).astype(steps.dtype), spread


def _picked(steps: Array, n: Lengths, at: tuple[Lengths, ...]) -> tuple[Array, Spread]:
    """Pick steps[at] for the sequences n, the others have zeros."""
    y = np.zeros(steps.shape[1:], steps.dtype)
    y[n] = steps[at]

    def spread(dy: Array, dx: Array) -> None:
        dx[at] = dy[n]

    return y, spread
