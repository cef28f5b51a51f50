"""The layer of an elementwise nonlinearity."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..results import Array
from .base import Forward, Gradients, Layer, no_params


class Activation(Layer):
    """An elementwise nonlinearity.

    Parameters
    ----------
    nonlinearity : {"tanh", "relu", "leaky_relu", "sigmoid"}
    slope : float
        Of leaky_relu for x <= 0, at least 0. relu'(0) = 0 and leaky_relu'(0) = slope.
    """

    def __init__(self, nonlinearity: str, slope: float = 0.01) -> None:
        super().__init__()
        choices = ("tanh", "relu", "leaky_relu", "sigmoid")
        self.nonlinearity = checks.choice("nonlinearity", nonlinearity, choices)
        self.slope = checks.slope(slope)

    def __repr__(self) -> str:
        slope = f", slope={self.slope}" if self.nonlinearity == "leaky_relu" else ""
        return f"Activation({self.nonlinearity!r}{slope})"

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y in the shape and dtype of x, a float32 or float64 array."""
        y = self._y(checks.float_array("x", x))
        if not keep:
            return y, None, None
        derivative = self._derivative(y)  # kept instead of y, which is the caller's

        def back(dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
            return dy * derivative if "x" in wanted else None, None, no_params(wanted)

        return y, None, back

    def _y(self, x: Array) -> Array:
        match self.nonlinearity:
            case "tanh":
                return np.tanh(x)
            case "relu":
                return np.maximum(x, 0)
            case "leaky_relu":
                return np.maximum(x, 0) + self.slope * np.minimum(x, 0)
            case _:
                e = np.exp(-np.abs(x))  # at most 1: nothing overflows
                return np.asarray(np.where(x < 0, e, 1) / (1 + e))

    def _derivative(self, y: Array) -> Array:
        match self.nonlinearity:
            case "tanh":
                return 1 - y * y
            case "relu":
                return (y > 0).astype(y.dtype)
            case "leaky_relu":
                return np.where(y > 0, 1, self.slope).astype(y.dtype)
            case _:
                return y * (1 - y)
