"""The linear layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _arguments, _checks
from ..results import Array
from .module import LayerGradients, Module, Pullback
from .parameters import affine, sum_rows, uniform

_FIELDS = LayerGradients._fields


class Linear(Module):
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
        self.in_features = _checks.as_size("in_features", in_features)
        self.out_features = _checks.as_size("out_features", out_features)
        self.bias = _arguments.flag("bias", bias)
        self.dtype = _checks.as_dtype(dtype)
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

    def __call__(self, x: Array) -> Array:
        """Return y (..., out_features) for x (..., in_features)."""
        x = self._input(x)
        y = affine(self._rows(x), self._params["weight"], self._params.get("bias"))
        return y.reshape(*x.shape[:-1], self.out_features)

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Return y and its pullback(dy=None, wrt=None); wrt is a collection of "x", "params"."""
        x = self._input(x)
        weight = self._params["weight"]

        def pullback(dy: Array | None = None, wrt: Any = None) -> LayerGradients:
            wanted = _arguments.wrt(wrt, _FIELDS)
            shape = (*x.shape[:-1], self.out_features)
            dy = _checks.as_gradient("dy", dy, self.dtype, "(..., out_features)", shape)
            dy = dy.reshape(-1, self.out_features)
            dx = (dy @ weight).reshape(x.shape) if "x" in wanted else None
            if "params" not in wanted:
                return LayerGradients(dx, None)
            params: dict[str, Array] = {"weight": dy.T @ self._rows(x)}
            if self.bias:
                params["bias"] = sum_rows(dy)
            return LayerGradients(dx, params)

        return self(x), pullback

    def _input(self, x: Array) -> Array:
        x = _checks.as_array("x", x, self.dtype)
        if not x.ndim or x.shape[-1] != self.in_features:
            raise ValueError(
                f"x has shape {x.shape}, must be (..., in_features) = (..., {self.in_features})"
            )
        return x

    def _rows(self, x: Array) -> Array:
        return x.reshape(-1, self.in_features)
