"""Dropout: the layer, and the masks that recurrent layers draw too."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..checks import Float
from ..results import Array
from .base import Forward, Gradients, Layer, no_params


class Dropout(Layer):
    """In train mode zeroes each element with probability p and scales the others by 1/(1-p).

    In eval mode y is x. Srivastava et al. (2014), in the inverted form of torch.nn.Dropout.

    Parameters
    ----------
    p : float
        In [0, 1].
    rng : None, int or numpy.random.Generator
        Source of the masks; each call draws a new one.
    """

    _call_is_vjp = True

    _dy_axes = "the shape of x"

    def __init__(self, p: float = 0.5, *, rng: int | np.random.Generator | None = None) -> None:
        super().__init__()
        self.p = checks.real("p", p, 0, 1)
        self._rng = checks.generator(rng)

    def __repr__(self) -> str:
        return f"Dropout(p={self.p})"

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y in the shape and dtype of x, a float32 or float64 array."""
        x = checks.float_array("x", x)
        mask = dropout_mask(self._rng, self.p, x.shape, x.dtype) if self.training else 1
        y = x * mask
        if not keep:
            return y, None, None

        def back(dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
            return dy * mask if "x" in wanted else None, None, no_params(wanted)

        return y, None, back


def dropout_mask(rng: np.random.Generator, p: float, shape: tuple[int, ...], dtype: Float) -> Array:
    """Factors of inverted dropout: 0 with probability p, else 1/(1-p)."""
    mask = (rng.random(shape, dtype=dtype) >= p).astype(dtype)
    if p < 1:
        mask /= 1 - p
    return mask
