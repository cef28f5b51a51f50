"""Layer normalisation: each vector is brought to mean 0 and variance 1, then scaled and shifted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import checks
from ..results import Array
from .base import Forward, Gradients, Layer
from .parameters import sum_rows


class LayerNorm(Layer):
    """y = (x - mean) / sqrt(variance + eps) * weight + bias, as torch.nn.LayerNorm.

    Ba, Kiros and Hinton (2016), "Layer Normalization". Mean and variance (that of the population)
    are taken over the last axes, whose sizes are `normalized_shape`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Kept as a tuple; an int is one axis.
    eps : float
        At least 0.
    elementwise_affine : bool
        Whether there is a weight, 1 at first.
    bias : bool
        Whether there is a bias, 0 at first; only with elementwise_affine.
    dtype : float32 or float64

    Notes
    -----
    `params` are weight and bias of the shape `normalized_shape`.
    """

    _call_is_vjp = True

    _dy_axes = "the shape of x"

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        sizes = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        if not sizes:
            raise ValueError("normalized_shape is empty, must have at least one size")
        self.normalized_shape = tuple(checks.size("normalized_shape", size) for size in sizes)
        self.eps = checks.real("eps", eps, 0)
        self.elementwise_affine = checks.flag("elementwise_affine", elementwise_affine)
        self.bias = checks.flag("bias", bias)
        self.dtype = checks.float_dtype(dtype)
        if self.elementwise_affine:
            self._params["weight"] = np.ones(self.normalized_shape, self.dtype)
            if self.bias:
                self._params["bias"] = np.zeros(self.normalized_shape, self.dtype)

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y in the shape of x, ``(..., *normalized_shape)``."""
        x = self._input(x)
        shape, sizes = x.shape, self.normalized_shape
        M = math.prod(sizes)
        weight = self._params.get("weight", np.ones(sizes, self.dtype)).reshape(M)
        z, scale = _normalised(x.reshape(-1, M), self.eps)
        y = np.multiply(z, weight, out=None if keep else z)
        if "bias" in self._params:
            y += self._params["bias"].reshape(M)
        if not keep:
            return y.reshape(shape), None, None

        def back(dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
            dy = dy.reshape(z.shape)
            along = dy * z
            dx = None
            if "x" in wanted:
                dx = _normalised_backward(dy, along, weight, z, scale).reshape(shape)
            if "params" not in wanted:
                return dx, None, None
            rows = {"weight": along, "bias": dy}
            params = {name: sum_rows(rows[name]).reshape(sizes) for name in self._params}
            return dx, None, params

        return y.reshape(shape), None, back

    def _input(self, x: Array) -> Array:
        x = checks.array("x", x, self.dtype)
        if x.shape[-len(self.normalized_shape) :] != self.normalized_shape:
            sizes = ", ".join(map(str, self.normalized_shape))
            raise ValueError(
                f"x has shape {x.shape}, must be (..., *normalized_shape) = (..., {sizes})"
            )
        return x


@np.errstate(divide="ignore", invalid="ignore", over="ignore")
def _normalised(x: Array, eps: float) -> tuple[Array, Array]:
    """Return z = (x - mean) * scale (R, M) and scale = 1 / sqrt(variance + eps) (R, 1)."""
    z = x - x.mean(axis=1, keepdims=True)
    scale = 1 / np.sqrt(np.mean(z * z, axis=1, keepdims=True) + eps)
    z *= scale
    return z, scale


@np.errstate(invalid="ignore", over="ignore")
def _normalised_backward(dy: Array, along: Array, weight: Array, z: Array, scale: Array) -> Array:
    """Return dx (R, M) from dz = dy weight, without what mean and variance take from it.

    dx = scale (dz - mean(dz) - z mean(dz z)), where `along` is dy z.
    """
    share = weight / len(weight)
    dx = dy * weight
    # einsum, since a product of BLAS may wait for threads for longer than this takes
    dx -= np.einsum("rm,m->r", dy, share)[:, np.newaxis]
    dx -= z * np.einsum("rm,m->r", along, share)[:, np.newaxis]
    dx *= scale
    return dx
