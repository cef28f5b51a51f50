"""Truncated back-propagation through time: a long sequence piece by piece."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..layers.module import Module
from ..results import Array
from .step import Loss, value_and_grad


def truncated(
    model: Module,
    loss: Loss,
    x: Any,
    target: Any,
    k1: int,
    k2: int | None = None,
    state: Any = None,
    *,
    lengths: Any = None,
) -> Iterator[tuple[Any, dict[str, Array], Any]]:
    """Walk through a long sequence in pieces of k1 new steps, with a gradient for each.

    BPTT(h; h') of Williams and Peng [1]_ with h = k2 and h' = k1. The piece of the steps [a, b),
    b = a+k1, has a window that begins k2-k1 steps before a, or at 0. From the state stored for its
    begin it is computed with the weights as they are now, which the caller may change between
    pieces; the loss is that of the new steps, and the gradient goes back through the whole window,
    k2 steps, but not into the state it begins with.

    The state stored for a window's begin stems from the weights that the window before had, the
    latest that have seen the steps before it; with k2 = k1 it is the state after the piece before,
    handed on. A layer without a state, such as attention or positions, sees one window at a time.

    Parameters
    ----------
    model : Module
        A recurrent layer or a Sequential with one, which has a y for each step and reads forward
        only. Its mode (train or eval) is left as it is; in train mode each window draws new masks
        of dropout.
    loss : callable
        f(y, target) -> (value, dy), as for `value_and_grad`, which sees the new steps alone.
    x : array (T, N, ...), or (N, T, ...) if the recurrent layers are batch_first
        Or unbatched (T, ...). Integers are taken for indices, (T, N) or (N, T) or (T,).
    target : array
        One entry a step, on the same axis as x.
    k1 : int
        New steps in a piece; the last piece may have fewer.
    k2 : int, optional
        Steps in a window, at least k1, which is the default. The last may have fewer, as the piece.
    state : optional
        The model's state before the first step, zero by default.
    lengths : array of int (N,), optional
        Of the sequences, 0..T, for the layers that take them. The loss does not know them.

    Yields
    ------
    value
        The loss of the new steps, for `cross_entropy` and `mse_loss` their mean.
    grads : dict of str to array
        Its gradients by the names of `model.params`, for an optimiser.
    state
        The model's state after the new steps.

    Raises
    ------
    TypeError, ValueError
        An argument has the wrong type, shape or values.

    References
    ----------
    .. [1] R. J. Williams and J. Peng, "An efficient gradient-based algorithm for on-line training
       of recurrent network trajectories", Neural Computation 2(4), 490-501, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import bptt
    >>> model = bptt.Sequential(bptt.GRU(3, 8, rng=0), bptt.Linear(8, 1, rng=1))
    >>> optimizer = bptt.SGD(model.params, lr=0.1)
    >>> x, target = np.ones((1000, 4, 3), np.float32), np.zeros((1000, 4, 1), np.float32)
    >>> for value, grads, state in bptt.truncated(model, bptt.mse_loss, x, target, 50, 100):
    ...     optimizer.step(grads)
    >>> value < 1e-3
    True
    """
    value_and_grad(model, loss)  # checks both
    if not model.stateful:
        raise ValueError(f"model is {model!r}, must have a state")
    for part in model.modules():
        if getattr(part, "bidirectional", False):
            raise ValueError(f"model has the layer {part!r}, must have none that is bidirectional")
    x = checks.real_array("x", x)
    batched = x.ndim >= (2 if x.dtype.kind in "iu" else 3)
    axis = 1 - model.batch_axis if batched else 0  # of the steps
    if x.ndim <= axis:
        raise ValueError(f"x has shape {x.shape}, must have an axis of steps")
    T = x.shape[axis]
    target = checks.real_array("target", target)
    if target.ndim <= axis or target.shape[axis] != T:
        raise ValueError(
            f"target has shape {target.shape}, must have the T = {T} steps of x on axis {axis}"
        )
    k1 = checks.size("k1", k1)
    k2 = k1 if k2 is None else checks.size("k2", k2, least=k1)
    model._refuse_unused(None, lengths)
    if lengths is not None:
        N = x.shape[1 - axis] if batched else 1
        lengths = checks.lengths("lengths", lengths, N, T, "T")
    return _Walk(model, loss, x, target, axis, lengths).pieces(k1, k2, copy.deepcopy(state))


def _steps(array: NDArray[Any], axis: int, a: int, b: int) -> NDArray[Any]:
    return array[:, a:b] if axis else array[a:b]


class _Walk(NamedTuple):
    """What stays the same from piece to piece."""

    model: Module
    loss: Loss
    x: NDArray[Any]
    target: NDArray[Any]
    axis: int  # of the steps
    lengths: NDArray[np.intp] | None

    def pieces(self, k1: int, k2: int, stored: Any) -> Iterator[tuple[Any, dict[str, Array], Any]]:
        T, begin = self.x.shape[self.axis], 0
        for a in range(0, T, k1):
            b = min(a + k1, T)
            # where the next window begins, if there is one
            following = max(0, b - (k2 - k1)) if b < T else begin
            state = stored
            if begin < following < b:
                stored = self.run(begin, following, state, keep=False)[1]
            value, grads, last = self.window(begin, a, b, state)
            if following == b:
                stored = last
            begin = following
            yield value, grads, copy.deepcopy(last)

    def window(
        self, begin: int, new: int, end: int, state: Any
    ) -> tuple[Any, dict[str, Array], Any]:
        """Return value and gradients of the steps from `new` on, and the state at the end."""
        y, last, pullback = self.run(begin, end, state, keep=True)
        if y.ndim <= self.axis or y.shape[self.axis] != end - begin:
            steps = f"{end - begin} steps on axis {self.axis}"
            raise ValueError(f"model gives y of shape {y.shape}, must have {steps}")
        value, dy_new = self.loss(
            _steps(y, self.axis, new - begin, end - begin), _steps(self.target, self.axis, new, end)
        )
        dy = np.zeros_like(y)
        _steps(dy, self.axis, new - begin, end - begin)[...] = dy_new
        return value, pullback(dy, None, ("params",)).params, last

    def run(self, begin: int, end: int, state: Any, keep: bool) -> tuple[Any, Any, Any]:
        """Return y, the state and the pullback of some steps."""
        lengths = None if self.lengths is None else np.clip(self.lengths - begin, 0, end - begin)
        return self.model._run(_steps(self.x, self.axis, begin, end), state, lengths, keep)
