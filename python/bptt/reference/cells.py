"""The cells in plain NumPy: one step of n sequences, forward and backward.

Written to be read: this is the specification that the compiled kernels are tested against.

Letters: T steps, N sequences, I inputs, H hidden units, G gates; gx = W_ih x + b_ih and
gh = W_hh h + b_hh the preactivations from input and state; p the state before a step, s the state
after it, v the values saved for the way back; da is the gradient of a. Weights are (G*H, .).

Nothing here checks its arguments, and everything works in any float or complex dtype: branches look
at real parts only, so that complex arguments give derivatives by the complex step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from ..results import Array

Gates = Sequence[Array]  # one array (n, H) a gate, or a saved value


class State(NamedTuple):
    """The state of n sequences: h (n, H) and c (n, H); cells without a c have none (n, 0)."""

    h: Array
    c: Array


Gradients = tuple[Gates, Gates, State]  # dgx, dgh and dp


class Cell(Protocol):
    name: ClassVar[str]
    gates: ClassVar[int]
    saved: ClassVar[int]  # arrays in v: none, or the activated gates and what follows them
    cells: ClassVar[int]  # 1 with a c, else 0

    def forward(self, gx: Gates, gh: Gates, p: State) -> tuple[State, Gates]:
        """Return s and v."""

    def backward(self, ds: State, p: State, s: State, v: Gates) -> Gradients:
        """Return dgx, dgh and dp, the part of dp.h that comes through gh left out."""


class RNN(Cell):
    """h = f(gx + gh); Elman (1990)."""

    name = "rnn"
    gates = 1
    saved = 0
    cells = 0

    def __init__(self, nonlinearity: str, slope: float) -> None:
        self.nonlinearity = nonlinearity
        self.slope = slope

    def forward(self, gx: Gates, gh: Gates, p: State) -> tuple[State, Gates]:
        a = gx[0] + gh[0]
        h: Array
        match self.nonlinearity:
            case "tanh":
                h = np.tanh(a)
            case "relu":
                h = np.where(a.real <= 0, 0, a)
            case "leaky_relu":
                h = np.where(a.real > 0, a, self.slope * a)
            case "sigmoid":
                h = _sigmoid(a)
            case "identity":
                h = a
        return State(h, p.c), ()

    def backward(self, ds: State, p: State, s: State, v: Gates) -> Gradients:
        da: Array
        match self.nonlinearity:
            case "tanh":
                da = ds.h * (1 - s.h * s.h)  # h = tanh(a)
            case "relu":
                da = np.where(s.h.real <= 0, 0, ds.h)  # h = 0 if a <= 0, else a
            case "leaky_relu":
                da = np.where(s.h.real > 0, ds.h, self.slope * ds.h)  # h = a if a > 0, else slope*a
            case "sigmoid":
                da = ds.h * s.h * (1 - s.h)  # h = sigmoid(a)
            case "identity":
                da = ds.h  # h = a
        return (da,), (da,), State(np.zeros_like(ds.h), ds.c)  # a = gx + gh


class LSTM(Cell):
    """Gates i f g o; Hochreiter & Schmidhuber (1997), the forget gate from Gers et al. (2000)."""

    name = "lstm"
    gates = 4
    saved = 4
    cells = 1

    def forward(self, gx: Gates, gh: Gates, p: State) -> tuple[State, Gates]:
        i = _sigmoid(gx[0] + gh[0])
        f = _sigmoid(gx[1] + gh[1])
        g = np.tanh(gx[2] + gh[2])
        o = _sigmoid(gx[3] + gh[3])
        c = f * p.c + i * g
        h = o * np.tanh(c)
        return State(h, c), (i, f, g, o)

    def backward(self, ds: State, p: State, s: State, v: Gates) -> Gradients:
        i, f, g, o = v
        tanh_c = np.tanh(s.c)
        do = ds.h * tanh_c * o * (1 - o)  # h = o*tanh(c)
        dc = ds.c + ds.h * o * (1 - tanh_c * tanh_c)  # h = o*tanh(c)
        di = dc * g * i * (1 - i)  # c = f*p.c + i*g, i = sigmoid(gx[0] + gh[0])
        df = dc * p.c * f * (1 - f)  # c = f*p.c + i*g, f = sigmoid(gx[1] + gh[1])
        dg = dc * i * (1 - g * g)  # c = f*p.c + i*g, g = tanh(gx[2] + gh[2])
        dp = State(np.zeros_like(ds.h), dc * f)  # c = f*p.c + i*g
        return (di, df, dg, do), (di, df, dg, do), dp


class GRU(Cell):
    """Gates r z n; Cho et al. (2014), the reset gate r after the recurrent product q."""

    name = "gru"
    gates = 3
    saved = 4
    cells = 0

    def forward(self, gx: Gates, gh: Gates, p: State) -> tuple[State, Gates]:
        r = _sigmoid(gx[0] + gh[0])
        z = _sigmoid(gx[1] + gh[1])
        q = gh[2]
        n = np.tanh(gx[2] + r * q)
        h = (1 - z) * n + z * p.h
        return State(h, p.c), (r, z, n, q)

    def backward(self, ds: State, p: State, s: State, v: Gates) -> Gradients:
        r, z, n, q = v
        dn = ds.h * (1 - z) * (1 - n * n)  # h = (1-z)*n + z*p.h, n = tanh(gx[2] + r*q)
        dz = ds.h * (p.h - n) * z * (1 - z)  # h = (1-z)*n + z*p.h, z = sigmoid(gx[1] + gh[1])
        dr = dn * q * r * (1 - r)  # n = tanh(gx[2] + r*q), r = sigmoid(gx[0] + gh[0])
        dq = dn * r  # n = tanh(gx[2] + r*q), q = gh[2]
        dp = State(ds.h * z, ds.c)  # h = (1-z)*n + z*p.h
        return (dr, dz, dn), (dr, dz, dq), dp


def _sigmoid(a: Array) -> Array:
    e = np.exp(np.where(a.real < 0, a, -a))  # at most 1: nothing overflows
    return np.where(a.real < 0, e / (1 + e), 1 / (1 + e))
