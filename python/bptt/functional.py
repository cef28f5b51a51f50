"""One layer, one direction, arrays in and arrays out, compiled; and the CTC loss.

The forward functions return a named tuple of y, h_n, for the LSTM c_n, and cache; the backward
functions one gradient an argument, in the arguments' order and under their names, and h, the
gradient of h after each step. Signatures and docstrings are those of `bptt.reference`, which is the
specification.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

import numpy.typing as npt

from bptt import _core, reference
from bptt.results import (
    Array,
    Cache,
    GRUForward,
    GRUGradients,
    LSTMForward,
    LSTMGradients,
    RNNForward,
    RNNGradients,
)

__all__ = [
    "ctc_loss",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]

_F = TypeVar("_F", bound=Callable[..., object])


def _documented(function: _F) -> _F:
    function.__doc__ = getattr(reference, function.__name__).__doc__
    return function


@_documented
def rnn_forward(
    x: npt.ArrayLike,
    w_ih: npt.ArrayLike,
    w_hh: npt.ArrayLike,
    b_ih: npt.ArrayLike | None = None,
    b_hh: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    *,
    nonlinearity: str = "tanh",
    slope: float = 0.01,
    lengths: npt.ArrayLike | None = None,
    reverse: bool = False,
    training: bool = False,
    checkpoint_every: int | None = None,
    out: Array | None = None,
) -> RNNForward:
    return RNNForward._make(
        _core.rnn_forward(
            *(x, w_ih, w_hh, b_ih, b_hh, h_0, nonlinearity, slope, lengths, reverse, training),
            *(checkpoint_every, out),
        )
    )


@_documented
def rnn_backward(
    cache: Cache,
    dy: npt.ArrayLike | None = None,
    dh_n: npt.ArrayLike | None = None,
    *,
    wrt: Collection[str] | None = None,
) -> RNNGradients:
    return RNNGradients._make(_core.rnn_backward(cache, dy, dh_n, wrt))


@_documented
def lstm_forward(
    x: npt.ArrayLike,
    w_ih: npt.ArrayLike,
    w_hh: npt.ArrayLike,
    b_ih: npt.ArrayLike | None = None,
    b_hh: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    c_0: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    reverse: bool = False,
    training: bool = False,
    checkpoint_every: int | None = None,
    out: Array | None = None,
) -> LSTMForward:
    return LSTMForward._make(
        _core.lstm_forward(
            *(x, w_ih, w_hh, b_ih, b_hh, h_0, c_0, lengths, reverse, training),
            *(checkpoint_every, out),
        )
    )


@_documented
def lstm_backward(
    cache: Cache,
    dy: npt.ArrayLike | None = None,
    dh_n: npt.ArrayLike | None = None,
    dc_n: npt.ArrayLike | None = None,
    *,
    wrt: Collection[str] | None = None,
) -> LSTMGradients:
    return LSTMGradients._make(_core.lstm_backward(cache, dy, dh_n, dc_n, wrt))


@_documented
def gru_forward(
    x: npt.ArrayLike,
    w_ih: npt.ArrayLike,
    w_hh: npt.ArrayLike,
    b_ih: npt.ArrayLike | None = None,
    b_hh: npt.ArrayLike | None = None,
    h_0: npt.ArrayLike | None = None,
    *,
    lengths: npt.ArrayLike | None = None,
    reverse: bool = False,
    training: bool = False,
    checkpoint_every: int | None = None,
    out: Array | None = None,
) -> GRUForward:
    return GRUForward._make(
        _core.gru_forward(
            *(x, w_ih, w_hh, b_ih, b_hh, h_0, lengths, reverse, training),
            *(checkpoint_every, out),
        )
    )


@_documented
def gru_backward(
    cache: Cache,
    dy: npt.ArrayLike | None = None,
    dh_n: npt.ArrayLike | None = None,
    *,
    wrt: Collection[str] | None = None,
) -> GRUGradients:
    return GRUGradients._make(_core.gru_backward(cache, dy, dh_n, wrt))


@_documented
def ctc_loss(
    logits: npt.ArrayLike,
    targets: npt.ArrayLike,
    input_lengths: npt.ArrayLike,
    target_lengths: npt.ArrayLike,
    blank: int = 0,
    zero_infinity: bool = False,
) -> tuple[float, Array]:
    return _core.ctc_loss(logits, targets, input_lengths, target_lengths, blank, zero_infinity)
