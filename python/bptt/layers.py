"""The layers without state: small NumPy formulas, forward and backward next to each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from . import _arguments, _checks
from ._checks import Float
from .module import LayerGradients, Module, Pullback
from .results import Array

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


class Activation(Module):
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
        self.nonlinearity = _checks.as_choice("nonlinearity", nonlinearity, choices)
        self.slope = _arguments.slope(slope)

    def __repr__(self) -> str:
        slope = f", slope={self.slope}" if self.nonlinearity == "leaky_relu" else ""
        return f"Activation({self.nonlinearity!r}{slope})"

    def __call__(self, x: Array) -> Array:
        """Return y in the shape and dtype of x, a float32 or float64 array."""
        x = _checks.as_float_array("x", x)
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

    def vjp(self, x: Array) -> tuple[Array, Pullback]:
        """Return y and its pullback(dy=None, wrt=None); wrt is a collection of "x", "params"."""
        y = self(x)
        derivative = self._derivative(y)  # kept instead of y, which is the caller's

        def pullback(dy: Array | None = None, wrt: Any = None) -> LayerGradients:
            wanted = _arguments.wrt(wrt, _FIELDS)
            dy = _checks.as_gradient("dy", dy, y.dtype, "the shape of y", derivative.shape)
            return LayerGradients(
                dy * derivative if "x" in wanted else None, {} if "params" in wanted else None
            )

        return y, pullback

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


def affine(rows: Array, weight: Array, bias: Array | None) -> Array:
    """Return rows (R, I) times weight (O, I) transposed, plus bias (O,): (R, O)."""
    y: Array = rows @ weight.T
    if bias is not None:
        y += bias
    return y


def sum_rows(rows: Array) -> Array:
    """Return the sum of rows (R, O): (O,), a gradient of what was added to each of them.

    In float64: NumPy adds along this axis in one long chain.
    """
    total: Array = rows.sum(axis=0, dtype=np.float64)
    return total.astype(rows.dtype)


def dropout_mask(rng: np.random.Generator, p: float, shape: tuple[int, ...], dtype: Float) -> Array:
    """Factors of inverted dropout: 0 with probability p, else 1/(1-p)."""
    mask = (rng.random(shape, dtype=dtype) >= p).astype(dtype)
    if p < 1:
        mask /= 1 - p
    return mask


def uniform(
    shapes: dict[str, tuple[int, ...]],
    bound: float,
    dtype: Float,
    rng: int | np.random.Generator | None,
) -> dict[str, Array]:
    """Arrays by name, drawn in float64 so that a seed means the same weights in both dtypes."""
    generator = _checks.as_rng(rng)
    return {
        name: generator.uniform(-bound, bound, shape).astype(dtype)
        for name, shape in shapes.items()
    }
