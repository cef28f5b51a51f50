"""Positions in a sequence as waves of many lengths, for layers that know no order of steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..results import Array
from .base import Forward, Gradients, Layer, no_params
from .layout import Layout


class SinusoidalPositions(Layer):
    """y_t = x_t + p_t, p_(t,2i) = sin(t / 10000^(2i/D)), p_(t,2i+1) = cos(t / 10000^(2i/D)).

    Vaswani et al. (2017), "Attention Is All You Need". D is the size of the last axis; t counts
    from 0 in every call.

    Parameters
    ----------
    batch_first : bool
        Whether x is (N, T, D) instead of (T, N, D).
    """

    _call_is_vjp = True

    _dy_axes = "the shape of x"

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = checks.flag("batch_first", batch_first)

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y like x: (T, N, D), (N, T, D) with batch_first, or unbatched (T, D)."""
        x = checks.float_array("x", x)
        layout = Layout.of(x, "D", self.batch_first)
        T, _, D = layout.time_major(x).shape
        waves = _waves(T, D).astype(x.dtype)[:, np.newaxis]
        return x + layout.given(waves), None, _back if keep else None


def _back(dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
    return dy.copy() if "x" in wanted else None, None, no_params(wanted)


def _waves(T: int, D: int) -> Array:
    """Return p (T, D)."""
    pair = np.arange(D) // 2
    angle = np.arange(T)[:, np.newaxis] / 10000 ** (2 * pair / max(D, 1))
    waves = np.sin(angle)
    waves[:, 1::2] = np.cos(angle[:, 1::2])
    return waves
