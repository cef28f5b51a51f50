"""Dropout: the layer, and the masks that recurrent layers draw too."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _arguments, _checks
from .._checks import Float
from ..results import Array
from .module import LayerGradients, Module, Pullback

_FIELDS = LayerGradients._fields


class Dropout(Module):
    """In train mode zeroes each element with probability p and scales the others by 1/(1-p).

    In eval mode y is x. Srivastava et al. (2014), in the inverted form of torch.nn.Dropout.

    Parameters
    ----------
    p : float
        In [0, 1].
    rng : None, int or numpy.random.Generator
        Source of the masks; each call draws a new one.
    """

    def __init__(self, p: float = 0.5, *, rng: int | np.random.Generator | None = None) -> None:
        super().__init__()
        self.p = _checks.as_real("p", p, 0, 1)
        self._rng = _checks.as_rng(rng)

    def __repr__(self) -> str:
        return f"Dropout(p={self.p})"

    def __call__(self, x: Array) -> Array:
        """Return y in the shape and dtype of x, a float32 or float64 array."""
        return self.vjp(x)[0]

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Return y and its pullback(dy=None, wrt=None); wrt is a collection of "x", "params"."""
        x = _checks.as_float_array("x", x)
        shape, dtype = x.shape, x.dtype
        mask = dropout_mask(self._rng, self.p, shape, dtype) if self.training else 1

        def pullback(dy: Array | None = None, wrt: Any = None) -> LayerGradients:
            wanted = _arguments.wrt(wrt, _FIELDS)
            dy = _checks.as_gradient("dy", dy, dtype, "the shape of x", shape)
            return LayerGradients(
                dy * mask if "x" in wanted else None, {} if "params" in wanted else None
            )

        return x * mask, pullback


def dropout_mask(rng: np.random.Generator, p: float, shape: tuple[int, ...], dtype: Float) -> Array:
    """Factors of inverted dropout: 0 with probability p, else 1/(1-p)."""
    mask = (rng.random(shape, dtype=dtype) >= p).astype(dtype)
    if p < 1:
        mask /= 1 - p
    return mask
