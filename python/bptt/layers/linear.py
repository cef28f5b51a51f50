"""The linear layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import checks
from ..results import Array
from .base import Forward, Gradients, Layer
from .parameters import affine, sum_rows, uniform


class Linear(Layer):
    """y = x W^T + b over the last axis, as torch.nn.Linear.

    Parameters
    ----------
    in_features, out_features : int
        Sizes of the last axis of x and y.
    bias : bool
        Whether there is a b.
    dtype : float32 or float64
    rng : None, int or numpy.random.Generator
        Source of the initial values, uniform in +-1/sqrt(in_features).

    Notes
    -----
    `params` are weight (out_features, in_features) and bias (out_features,). The pullback refers to
    x and weight: changing them before its last call is the caller's error.
    """

    _dy_axes = "(..., out_features)"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
    ) -> None:
        super().__init__()
        self.in_features = checks.size("in_features", in_features)
        self.out_features = checks.size("out_features", out_features)
        self.bias = checks.flag("bias", bias)
        self.dtype = checks.float_dtype(dtype)
        shapes: dict[str, tuple[int, ...]] = {"weight": (self.out_features, self.in_features)}
        if self.bias:
            shapes["bias"] = (self.out_features,)
        self._params = uniform(shapes, 1 / math.sqrt(self.in_features), self.dtype, rng)

    def __repr__(self) -> str:
        dtype = "" if self.dtype == np.float32 else f", dtype='{self.dtype}'"
        return (
            f"Linear(in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias}{dtype})"
        )

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y (..., out_features) for x (..., in_features)."""
        x = checks.array("x", x, self.dtype)
        if not x.ndim or x.shape[-1] != self.in_features:
            raise ValueError(
                f"x has shape {x.shape}, must be (..., in_features) = (..., {self.in_features})"
            )
        weight = self._params["weight"]
        y = affine(x.reshape(-1, self.in_features), weight, self._params.get("bias"))
        y = y.reshape(*x.shape[:-1], self.out_features)
        if not keep:
            return y, None, None

        def back(dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
            dy = dy.reshape(-1, self.out_features)
            dx = (dy @ weight).reshape(x.shape) if "x" in wanted else None
            if "params" not in wanted:
                return dx, None, None
            params: dict[str, Array] = {"weight": dy.T @ x.reshape(-1, self.in_features)}
            if self.bias:
                params["bias"] = sum_rows(dy)
            return dx, None, params

        return y, None, back
