"""Positions in a sequence as waves of many lengths, for layers that know no order of steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _arguments, _checks
from ..results import Array
from .layout import Layout
from .module import LayerGradients, Module, Pullback


class SinusoidalPositions(Module):
    """y_t = x_t + p_t, p_(t,2i) = sin(t / 10000^(2i/D)), p_(t,2i+1) = cos(t / 10000^(2i/D)).

    Vaswani et al. (2017), "Attention Is All You Need". D is the size of the last axis; t counts
    from 0 in every call.

    Parameters
    ----------
    batch_first : bool
        Whether x is (N, T, D) instead of (T, N, D).
    """

    def __init__(self, batch_first: bool = False) -> None:
        super().__init__()
        self.batch_first = _arguments.flag("batch_first", batch_first)

    def __call__(self, x: Array) -> Array:
        """Return y like x: (T, N, D), (N, T, D) with batch_first, or unbatched (T, D)."""
        return self.vjp(x)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Return y and its pullback(dy=None, wrt=None); wrt is a collection of "x", "params"."""
        x = _checks.as_float_array("x", x)
        layout = Layout.of(x, "D", self.batch_first)
        shape, dtype = x.shape, x.dtype
        T, _, D = layout.time_major(x).shape
        waves = _waves(T, D).astype(dtype)[:, np.newaxis]

        def pullback(dy: Array | None = None, wrt: Any = None) -> LayerGradients:
            wanted = _arguments.wrt(wrt, LayerGradients._fields)
            dy = _checks.as_gradient("dy", dy, dtype, "the shape of x", shape)
            return LayerGradients(
                dy.copy() if "x" in wanted else None, {} if "params" in wanted else None
            )

        return x + layout.given(waves), pullback


def _waves(T: int, D: int) -> Array:
    """Return p (T, D)."""
    pair = np.arange(D) // 2
    angle = np.arange(T)[:, np.newaxis] / 10000 ** (2 * pair / max(D, 1))
    waves = np.sin(angle)
    waves[:, 1::2] = np.cos(angle[:, 1::2])
    return waves
