"""The functions of `bptt.reference`: what they take and return, in words.

They are the specification of `bptt.functional`'s, which have the same signatures and docstrings.
"""

from __future__ import annotations

from collections.abc import Collection

from numpy.typing import ArrayLike

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
from . import calls
from .texts import documented

__all__ = [
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]


@documented
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
    arrays = (x, w_ih, w_hh, b_ih, b_hh, h_0)
    options = (lengths, reverse, training, checkpoint_every, out)
    return RNNForward(
        *calls.forward("rnn", arrays, *options, nonlinearity=nonlinearity, slope=slope)
    )


@documented
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
    return RNNGradients(*calls.backward("rnn", cache, dy, (dh_n,), wrt))


@documented
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
    arrays = (x, w_ih, w_hh, b_ih, b_hh, h_0, c_0)
    options = (lengths, reverse, training, checkpoint_every, out)
    return LSTMForward(*calls.forward("lstm", arrays, *options))


@documented
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
    return LSTMGradients(*calls.backward("lstm", cache, dy, (dh_n, dc_n), wrt))


@documented
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
    arrays = (x, w_ih, w_hh, b_ih, b_hh, h_0)
    options = (lengths, reverse, training, checkpoint_every, out)
    return GRUForward(*calls.forward("gru", arrays, *options))


@documented
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
    return GRUGradients(*calls.backward("gru", cache, dy, (dh_n,), wrt))
