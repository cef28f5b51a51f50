"""What layers do with their parameters: draw them, apply them, sum their gradients."""

from __future__ import annotations

import numpy as np

from .. import _checks
from .._checks import Float
from ..results import Array


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
