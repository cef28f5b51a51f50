"""Recurrent layers, their back-propagation through time and the CTC loss, in plain NumPy.

The twin of `bptt.functional`: the same functions, which given the same arguments return the same
numbers, up to rounding. This module checks the arguments of the layers, whose arithmetic is in
`cells` and `time`; the loss is in `ctc`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .. import _arguments as check
from ..results import (
    Array,
    Cache,
    GRUForward,
    GRUGradients,
    LSTMForward,
    LSTMGradients,
    RNNForward,
    RNNGradients,
)
from . import cells, time

_SHARED = {
    "inputs": """
x : array_like, shape (T, N, I)
    Inputs, time first. T, N and I may be 0.
w_ih : array, float32 or float64, shape (G*H, I)
    Weights of the input. Their dtype is that of the whole call.
w_hh : array_like, shape (G*H, H)
    Weights of the state.
b_ih, b_hh : array_like, shape (G*H,), optional
    Biases of the two products, zero by default.
h_0 : array_like, shape (N, H), optional
    State h before the first step, zero by default.
""",
    "options": """
lengths : array_like of int, shape (N,), optional
    Number of steps of each sequence, from 0 to T in any order; T by default. What x holds past a
    sequence's end, NaN included, reaches nothing, and y is 0 there.
reverse : bool, default False
    Run each sequence from its own end to t = 0.
training : bool, default False
    Keep what the backward pass needs in `cache`.
checkpoint_every : int, optional
    k, with `training` only: keep no more than the state before every k-th step, from which the
    backward function computes the rest again, k steps at a time (Chen et al., 2016,
    arXiv:1604.06174). Gradients are the same, bit for bit. The cache shrinks from O(T) to O(T/k);
    the backward function takes O(k) while it runs, and the time of one more forward pass.
    `functional` rounds k up to a multiple of max(1, 64 // N).
out : ndarray, shape (T, N, H), optional
    y is written here and returned as y. Must have the dtype of w_ih, be writeable and aligned and
    have a contiguous last axis; its other strides are free.
""",
    "y": """
y : array, shape (T, N, H)
    h after each step.
h_n : array, shape (N, H)
    h after the last step taken (t = length-1, in reverse t = 0); h_0 where the length is 0.
""",
    "cache": """
cache : Cache or None
    For the backward function of the same name; None unless `training`.
""",
    "raises": """
Raises
------
TypeError
    An argument has a type or dtype it must not have; the message opens with its name. Python
    numbers, lists, bool and integer arrays are converted to the dtype of w_ih, arrays of another
    float dtype are not.
ValueError
    An argument has a shape or value it must not have; the message opens with its name.
MemoryError
    The result does not fit into memory.
""",
    "warning": """
Warnings
--------
The cache refers to x, the weights and the biases and need not copy them: changing them before the
last backward call that uses it gives wrong gradients, and is the caller's error.
""",
    "backward": """
The cache is not changed: the function may be called again on it. x and the weights of the forward
call must not have been changed in between.

Parameters
----------
cache : Cache
    What the forward function of the same name returned with ``training=True``.
dy : array_like, shape (T, N, H), optional
    Gradient of y, zero by default. What it holds past a sequence's end reaches nothing.
dh_n : array_like, shape (N, H), optional
    Gradient of h_n, zero by default.
""",
    "wrt": """
wrt : tuple, list, set or frozenset of str, optional
    Names of the gradients to compute; the others are None. By default those of all arguments.
    h is only computed if named.
""",
    "gradients": """
    One gradient an array argument of the forward function, named like it and of its shape, also
    where the argument was not given; None where `wrt` leaves it out. x is 0 past a sequence's end.
    The last field, h, of shape (T, N, H), is the total gradient of the state h after each step, by
    time t like y: dy[t], and what comes back through the steps taken after it (where that is the
    last, dh_n). It is 0 past a sequence's end, too.

Raises
------
TypeError
    `cache` is not of the forward function of the same name and module, or another argument has a
    type or dtype it must not have; the message opens with its name.
ValueError
    An argument has a shape or value it must not have; the message opens with its name.
""",
    "werbos": """
.. [1] P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proceedings of
   the IEEE 78(10), 1550-1560, 1990.
""",
}

_Function = TypeVar("_Function", bound=Callable[..., object])


def _documented(function: _Function) -> _Function:
    if function.__doc__:  # python -OO has none
        shared = {name: text.strip("\n") for name, text in _SHARED.items()}
        function.__doc__ = inspect.cleandoc(function.__doc__).format(**shared)
    return function


@_documented
def rnn_forward(
    x: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike | None = None,
    b_hh: ArrayLike | None = None,
    h_0: ArrayLike | None = None,
    *,
    nonlinearity: str = "tanh",
    slope: float = 0.01,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    training: bool = False,
    checkpoint_every: int | None = None,
    out: Array | None = None,
) -> RNNForward:
    """Run one layer of the simple recurrent network [1]_ over N sequences, G = 1.

    At each step::

        h = f(W_ih x + b_ih + W_hh h + b_hh)

    Parameters
    ----------
    {inputs}
    nonlinearity : str, default "tanh"
        f: "tanh", "relu", "leaky_relu", "sigmoid" or "identity".
    slope : float, default 0.01
        Slope of leaky_relu below 0, at least 0. The others ignore it.
    {options}

    Returns
    -------
    {y}
    {cache}

    {raises}

    {warning}

    References
    ----------
    .. [1] J. L. Elman, "Finding structure in time", Cognitive Science 14(2), 179-211, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> from bptt import functional as F
    >>> x, w_ih, w_hh = np.ones((5, 2, 3)), np.ones((4, 3)), np.zeros((4, 4))
    >>> y, h_n, cache = F.rnn_forward(x, w_ih, w_hh, nonlinearity="relu", training=True)
    >>> y.shape, float(h_n[0, 0])
    ((5, 2, 4), 3.0)
    >>> F.rnn_backward(cache, dh_n=np.ones_like(h_n), wrt=["b_ih"]).b_ih
    array([2., 2., 2., 2.])
    """
    given = check.inputs(1, x, w_ih, w_hh, b_ih, b_hh, h_0, None)
    cell = cells.RNN(check.nonlinearity(nonlinearity), check.slope(slope))
    y, h_n, _, cache = _checked_forward(
        cell, given, lengths, reverse, training, checkpoint_every, out
    )
    return RNNForward(y, h_n, cache)


@_documented
def rnn_backward(
    cache: Cache,
    dy: ArrayLike | None = None,
    dh_n: ArrayLike | None = None,
    *,
    wrt: Collection[str] | None = None,
) -> RNNGradients:
    """Back-propagate through the time [1]_ of a call of `rnn_forward`.

    relu'(0) is 0, leaky_relu'(0) is the slope.

    {backward}
    {wrt}

    Returns
    -------
    RNNGradients
    {gradients}

    References
    ----------
    {werbos}
    """
    return RNNGradients(*_checked_backward("rnn", RNNGradients._fields, cache, dy, dh_n, None, wrt))


@_documented
def lstm_forward(
    x: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike | None = None,
    b_hh: ArrayLike | None = None,
    h_0: ArrayLike | None = None,
    c_0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    training: bool = False,
    checkpoint_every: int | None = None,
    out: Array | None = None,
) -> LSTMForward:
    """Run one layer of long short-term memory [1]_ with forget gates [2]_ over N sequences.

    G = 4 gates in the order i f g o. At each step, with gx = W_ih x + b_ih, gh = W_hh h + b_hh::

        i = sigmoid(gx_i + gh_i)    f = sigmoid(gx_f + gh_f)
        g = tanh(gx_g + gh_g)       o = sigmoid(gx_o + gh_o)
        c = f*c + i*g               h = o*tanh(c)

    Parameters
    ----------
    {inputs}
    c_0 : array_like, shape (N, H), optional
        State c before the first step, zero by default.
    {options}

    Returns
    -------
    {y}
    c_n : array, shape (N, H)
        c after the last step taken.
    {cache}

    {raises}

    {warning}

    References
    ----------
    .. [1] S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Computation 9(8),
       1735-1780, 1997.
    .. [2] F. A. Gers, J. Schmidhuber and F. Cummins, "Learning to forget: continual prediction with
       LSTM", Neural Computation 12(10), 2451-2471, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> from bptt import functional as F
    >>> rng = np.random.default_rng(0)
    >>> x, w_ih, w_hh = (rng.standard_normal(s) for s in [(5, 2, 3), (16, 3), (16, 4)])
    >>> y, h_n, c_n, cache = F.lstm_forward(x, w_ih, w_hh, lengths=[5, 3], training=True)
    >>> bool((h_n == [y[4, 0], y[2, 1]]).all())
    True
    >>> g = F.lstm_backward(cache, dy=np.ones_like(y), wrt=("w_ih", "w_hh"))
    >>> g.w_hh.shape, g.x
    ((16, 4), None)
    """
    given = check.inputs(4, x, w_ih, w_hh, b_ih, b_hh, h_0, c_0)
    y, h_n, c_n, cache = _checked_forward(
        cells.LSTM(), given, lengths, reverse, training, checkpoint_every, out
    )
    return LSTMForward(y, h_n, c_n, cache)


@_documented
def lstm_backward(
    cache: Cache,
    dy: ArrayLike | None = None,
    dh_n: ArrayLike | None = None,
    dc_n: ArrayLike | None = None,
    *,
    wrt: Collection[str] | None = None,
) -> LSTMGradients:
    """Back-propagate through the time [1]_ of a call of `lstm_forward`.

    The gradient of h is that with c of the same step held fixed.

    {backward}
    dc_n : array_like, shape (N, H), optional
        Gradient of c_n, zero by default.
    {wrt}

    Returns
    -------
    LSTMGradients
    {gradients}

    References
    ----------
    {werbos}
    """
    return LSTMGradients(
        *_checked_backward("lstm", LSTMGradients._fields, cache, dy, dh_n, dc_n, wrt)
    )


@_documented
def gru_forward(
    x: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike | None = None,
    b_hh: ArrayLike | None = None,
    h_0: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    reverse: bool = False,
    training: bool = False,
    checkpoint_every: int | None = None,
    out: Array | None = None,
) -> GRUForward:
    """Run one layer of gated recurrent units [1]_ over N sequences.

    G = 3 gates in the order r z n, the reset gate r after the recurrent product as in PyTorch and
    cuDNN. At each step, with gx = W_ih x + b_ih, gh = W_hh h + b_hh::

        r = sigmoid(gx_r + gh_r)    z = sigmoid(gx_z + gh_z)
        n = tanh(gx_n + r*gh_n)     h = (1-z)*n + z*h

    Parameters
    ----------
    {inputs}
    {options}

    Returns
    -------
    {y}
    {cache}

    {raises}

    {warning}

    References
    ----------
    .. [1] K. Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
       machine translation", EMNLP 2014, arXiv:1406.1078.

    Examples
    --------
    >>> import numpy as np
    >>> from bptt import functional as F
    >>> rng = np.random.default_rng(0)
    >>> x, w_ih, w_hh = (rng.standard_normal(s) for s in [(5, 2, 3), (12, 3), (12, 4)])
    >>> y, h_n, cache = F.gru_forward(x, w_ih, w_hh, reverse=True, training=True)
    >>> bool((h_n == y[0]).all())
    True
    >>> F.gru_backward(cache, dh_n=np.ones_like(h_n)).h_0.shape
    (2, 4)
    """
    given = check.inputs(3, x, w_ih, w_hh, b_ih, b_hh, h_0, None)
    y, h_n, _, cache = _checked_forward(
        cells.GRU(), given, lengths, reverse, training, checkpoint_every, out
    )
    return GRUForward(y, h_n, cache)


@_documented
def gru_backward(
    cache: Cache,
    dy: ArrayLike | None = None,
    dh_n: ArrayLike | None = None,
    *,
    wrt: Collection[str] | None = None,
) -> GRUGradients:
    """Back-propagate through the time [1]_ of a call of `gru_forward`.

    {backward}
    {wrt}

    Returns
    -------
    GRUGradients
    {gradients}

    References
    ----------
    {werbos}
    """
    return GRUGradients(*_checked_backward("gru", GRUGradients._fields, cache, dy, dh_n, None, wrt))


def _checked_forward(
    cell: cells.Cell,
    given: check.Inputs,
    lengths: object,
    reverse: object,
    training: object,
    checkpoint_every: object,
    out: object,
) -> tuple[Array, Array, Array, Cache | None]:
    T, N, _ = given.x.shape
    H = given.w_hh.shape[1]
    row_lengths = check.lengths(lengths, T, N)
    backwards = check.flag("reverse", reverse)
    keep = check.flag("training", training)
    every = check.checkpoint_every(checkpoint_every, keep)
    target = check.out(out, given.x.dtype, (T, N, H))
    check.size(T, N, H, given.x.dtype)
    if target is not None:  # the cache refers to what is given, and out may lie over it
        given = check.Inputs._make(
            a.copy() if a is not None and np.may_share_memory(a, target) else a for a in given
        )
    y, h_n, c_n, cache = time.forward(
        cell, *given, lengths=row_lengths, reverse=backwards, checkpoint_every=every
    )
    if target is not None:
        target[...] = y
        y = target
    return y, h_n, c_n, cache if keep else None


def _checked_backward(
    name: str,
    fields: tuple[str, ...],
    cache: object,
    dy: object,
    dh_n: object,
    dc_n: object,
    wrt: object,
) -> list[Array | None]:
    if not isinstance(cache, time.Cache):
        raise TypeError(
            f"cache is of type {type(cache)}, must be one of bptt.reference.{name}_forward"
        )
    if cache.cell.name != name:
        raise TypeError(f"cache is of {cache.cell.name}_forward, must be of {name}_forward")
    T = len(cache.x)
    N, H = cache.states[0].h.shape
    dtype = cache.states[0].h.dtype
    dy = check.optional("dy", dy, dtype, "(T, N, H)", (T, N, H))
    dh_n = check.optional("dh_n", dh_n, dtype, "(N, H)", (N, H))
    dc_n = check.optional("dc_n", dc_n, dtype, "(N, H)", (N, H))
    wanted = check.wrt(wrt, fields, only_named=("h",))
    gradients = time.backward(cache, dy, dh_n, dc_n)._asdict()
    return [gradients[field] if field in wanted else None for field in fields]
