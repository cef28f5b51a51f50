"""The one table of tolerances, and the one way in which errors are measured.

An error is relative in the L2 norm of an array. Arrays of fewer than 16 elements are measured by
their largest absolute error against the largest state or entry instead: one entry whose terms
cancel proves nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What is compared, dtype: tolerance. Measured: the largest error of the whole suite; exploring: of
# thousands of further calls by --hypothesis-profile=explore.
TOLERANCES = {
    # the reference against loops of Python floats, which add in another order
    ("scalar loop", "float64"): 1e-14,  # measured 2.8e-16
    # the reference's backward against the complex step of its forward
    ("complex step", "float64"): 1e-12,  # measured 1.6e-15
    # against the reference in float64: y, h_n, c_n and what the cache saved
    ("states", "float32"): 2e-6,  # measured 2.3e-7, exploring 5.6e-7
    ("states", "float64"): 1e-14,  # measured 6.6e-16, exploring 8.8e-16
    # dx, dh_0, dc_0, dh
    ("gradients", "float32"): 5e-6,  # measured 2.8e-7, exploring 9.1e-7
    ("gradients", "float64"): 5e-14,  # measured 7.1e-16, exploring 9.5e-15
    # sums over all steps of all sequences
    ("weight gradients", "float32"): 5e-6,  # measured 9.4e-7, exploring 9.9e-7
    ("weight gradients", "float64"): 5e-14,  # measured 3.5e-15, exploring 1e-14
    # db of 76,800 rows that are exact themselves
    ("bias sums", "float32"): 1.5e-7,  # measured 2.5e-8; 4.9e-7 where blocks are one chain
    # layers against PyTorch in float64: outputs, states, all gradients
    ("layers", "float32"): 5e-6,  # measured 6.7e-7
    ("layers", "float64"): 1e-13,  # measured 2.6e-15
    # losses, optimisers and clipping against PyTorch in the same dtype
    ("training", "float32"): 1e-6,  # measured 2.4e-7
    ("training", "float64"): 1e-12,  # measured 6.1e-14
    # ctc_loss's gradient against the reference in long double
    ("ctc", "float32"): 1e-6,  # measured 4.5e-8
    ("ctc", "float64"): 5e-14,  # measured 1.1e-14
    # and against PyTorch's, where large logarithms use up digits
    ("ctc against PyTorch", "float64"): 1e-12,  # measured 6.9e-13
    # optimisers against the formulas in float64, several steps on
    ("steps", "float32"): 2e-5,  # measured 7e-6
    ("steps", "float64"): 1e-13,  # measured 1.3e-14
    # csrc/isa/math.h, in ULP of the true value, by bench/accuracy.py; else see test_math.py
    ("ULP of exp", "float32"): 1,  # measured 0.9921 of all 2^32, baseline 0.9684
    ("ULP of exp", "float64"): 1,  # measured 0.9927 of 7e7, baseline 0.9639
    ("ULP of sigmoid", "float32"): 2,  # measured 1.9991 of all 2^32
    ("ULP of sigmoid", "float64"): 2,  # measured 1.9985 of 7e7
    ("ULP of tanh", "float32"): 4,  # measured 2.43 of all 2^32
    ("ULP of tanh", "float64"): 4,  # measured 2.57 of 7e7, baseline 2.51
}

LARGEST: dict[tuple[str, str], float] = {}  # errors seen, for the summary in conftest.py

_FIELDS = {
    "states": ("y", "h_n", "c_n", "h", "c", "gates", "q"),
    "gradients": ("dx", "dh_0", "dc_0", "dh"),
    "weight gradients": ("dw_ih", "dw_hh", "db_ih", "db_hh"),
}
KINDS = {field: kind for kind, fields in _FIELDS.items() for field in fields}


def error(actual: ArrayLike, expected: NDArray[np.float64], scale: float = 0.0) -> float:
    """Return the error of an array; scale is the largest state, for small arrays."""
    difference = np.asarray(actual, np.float64) - expected
    if expected.size < 16:
        worst, size = np.abs(difference).max(initial=0), max(scale, np.abs(expected).max(initial=0))
    else:
        worst, size = np.linalg.norm(difference), np.linalg.norm(expected)
    return float(worst / size) if worst else 0.0


def assert_close(
    kind: str,
    dtype: str,
    actual: ArrayLike,
    expected: NDArray[np.float64],
    *,
    scale: float = 0.0,
    name: str = "",
) -> None:
    """Assert that shapes are equal and the error is within the table's tolerance."""
    assert np.shape(actual) == expected.shape, name
    found = error(actual, expected, scale)
    LARGEST[kind, dtype] = max(found, LARGEST.get((kind, dtype), 0.0))
    assert found <= TOLERANCES[kind, dtype], f"{name}: error {found:.3g} as {kind} in {dtype}"


def assert_same_bits(actual: NDArray[np.generic], expected: NDArray[np.generic], name: str) -> None:
    """Assert that two arrays have the same dtype, shape and bits, NaN and -0 included."""
    assert actual.dtype == expected.dtype, name
    assert actual.shape == expected.shape, name
    different = actual.tobytes() != expected.tobytes()
    assert not different, f"{name}: {np.sum(actual != expected)} of {actual.size} differ"
