"""What the functions return: named tuples shared by the compiled and the reference implementation.

Axes: T steps, N sequences, I inputs, H hidden units, G gates.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


class Cache(Protocol):
    """What a forward pass keeps for its backward pass: opaque, read-only."""

    def arrays(self) -> dict[str, Array]:
        """Copies of what was saved, by name, in the reference's layout."""
        ...


class RNNForward(NamedTuple):
    """y (T,N,H), h_n (N,H), cache (None unless training)."""

    y: Array
    h_n: Array
    cache: Cache | None


class LSTMForward(NamedTuple):
    """y (T,N,H), h_n (N,H), c_n (N,H), cache (None unless training)."""

    y: Array
    h_n: Array
    c_n: Array
    cache: Cache | None


class GRUForward(RNNForward):
    """y (T,N,H), h_n (N,H), cache (None unless training)."""

    __slots__ = ()


class RNNGradients(NamedTuple):
    """One an argument of `rnn_forward`, in its shape, and h (T,N,H); None where not asked for."""

    x: Array | None
    w_ih: Array | None
    w_hh: Array | None
    b_ih: Array | None
    b_hh: Array | None
    h_0: Array | None
    h: Array | None


class LSTMGradients(NamedTuple):
    """One an argument of `lstm_forward`, in its shape, and h (T,N,H); None where not asked for."""

    x: Array | None
    w_ih: Array | None
    w_hh: Array | None
    b_ih: Array | None
    b_hh: Array | None
    h_0: Array | None
    c_0: Array | None
    h: Array | None


class GRUGradients(RNNGradients):
    """One an argument of `gru_forward`, in its shape, and h (T,N,H); None where not asked for."""

    __slots__ = ()
