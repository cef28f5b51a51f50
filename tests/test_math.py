"""exp, sigmoid and tanh of csrc/isa/math.h: how far they are from the truth, and at the edges."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from tolerances import LARGEST, TOLERANCES, assert_same_bits

import bptt
from bptt import _core

Floats = NDArray[np.floating[Any]]

pytestmark = pytest.mark.usefixtures("compiled")  # each instruction set in turn
every_function = pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh"])
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def compute(name: str, x: Floats) -> Floats:
    """Return what the active instruction set makes of x."""
    result: Floats = getattr(_core, f"math_{name}")(x)
    assert result.dtype == x.dtype
    return result


class Format(NamedTuple):
    """A dtype, and the wider one in which its truth is computed."""

    bits: type[np.unsignedinteger[Any]]
    wider: type[np.floating[Any]]
    digits: int
    lowest: int  # exponent of the smallest normal number
    highest: int  # exponent beyond the largest number
    edges: tuple[float, ...]  # where a result overflows, underflows, saturates or is clamped


# where bench/accuracy.py finds the largest errors of all inputs, or found them once
WORST = {
    "float32": (26.690403, 80.79826, 5.8757935, 0.0003449918, 0.062212132, 0.015607324),
    "float64": (
        690.7414769645054,
        3.832043798316924,
        0.0008206172251779,
        0.21698732336486,
        0.205271,
    ),
}
FORMATS = {
    "float32": Format(
        *(np.uint32, np.float64, 24, -126, 128),
        (8.66, 9.02, 10, 16.6, 17.33, 20, 87, 87.34, 88.03, 88.3, 88.73, 90, 103.98, 105),
    ),
    "float64": Format(
        *(np.uint64, np.longdouble, 53, -1022, 1024),
        (18.7, 19.07, 20, 36.7, 37.5, 40, 708, 708.4, 709, 709.79, 711, 745.14, 746),
    ),
}


def truth_of(name: str, x: Floats) -> Floats:
    """Return the function's value, in the dtype of x."""
    with np.errstate(all="ignore"):
        if name != "sigmoid":
            value: Floats = getattr(np, name)(x)
            return value
        e = np.exp(-abs(x))
        return np.where(x < 0, e, 1) / (1 + e)


@cache
def arguments(dtype: str) -> Floats:
    """Return arguments of all sizes, NaN not among them."""
    form, rng = FORMATS[dtype], np.random.default_rng(0)
    ln2 = np.log(2)
    points = [0, 2.0**form.lowest, np.inf, *form.edges, *WORST[dtype], *ln2 * np.arange(0.5, 8)]
    at = np.array(points, dtype).view(form.bits)[:, None].astype(np.int64)
    near = np.maximum(at + np.arange(-2000, 2001), 0).ravel().astype(form.bits).view(dtype)
    n, last = 100_000, 1.05 * form.highest * ln2
    x = [near, -near, *(rng.uniform(-most, most, n) for most in (0.1, 1, 3, 20, 40, last))]
    # where 1 + e^-x is no longer exact, and not yet e^-x
    low, high = (form.digits - 1) * ln2, (form.digits + 3) * ln2
    x += [rng.uniform(low, high, n), -rng.uniform(low, high, n)]
    x += [np.ldexp(rng.uniform(-1, 1, n), rng.integers(form.lowest - form.digits, 12, n))]
    if dtype == "float32":  # of all 2^32 numbers
        x += [np.arange(0, 2**32, 4999, np.uint64).astype(form.bits).view(dtype)]
    every = np.concatenate(x, dtype=dtype, casting="same_kind")
    return every[~np.isnan(every)]


@cache
def truths(name: str, dtype: str) -> Floats:
    return truth_of(name, arguments(dtype).astype(FORMATS[dtype].wider))


@pytest.fixture(params=[True, False], ids=["flush", "keep"])
def _flush(request: pytest.FixtureRequest) -> Iterator[None]:
    """Flush denormals, or keep them."""
    bptt.set_flush_denormal(request.param)
    yield
    bptt.set_flush_denormal(True)


@every_function
@every_dtype
@pytest.mark.usefixtures("_flush")
def test_error(name: str, dtype: str) -> None:
    """In ULP where the truth is normal, else absolute; infinity is taken for 2^highest."""
    form, x, truth = FORMATS[dtype], arguments(dtype), truths(name, dtype)
    beyond = np.ldexp(form.wider(1), form.highest)
    truth = np.clip(truth, -beyond, beyond)
    error = abs(np.clip(compute(name, x).astype(form.wider), -beyond, beyond) - truth)
    assert not np.isnan(error).any()

    normal = abs(truth) >= np.ldexp(form.wider(1), form.lowest)
    ulp = np.where(normal, np.ldexp(error, form.digits - np.frexp(truth)[1]), 0)
    worst, key = int(ulp.argmax()), (f"ULP of {name}", dtype)
    LARGEST[key] = max(float(ulp[worst]), LARGEST.get(key, 0.0))
    assert ulp[worst] <= TOLERANCES[key], f"{name}({x[worst]!r}) is {ulp[worst]} ULP off"
    absolute = np.where(normal, 0, np.ldexp(error, -form.lowest))
    assert absolute.max() <= 1, f"{name}({x[absolute.argmax()]!r})"


@every_dtype
def test_range_and_symmetry(dtype: str) -> None:
    x = arguments(dtype)
    assert (compute("exp", x) >= 0).all()
    sigmoid = compute("sigmoid", x)
    assert ((sigmoid >= 0) & (sigmoid <= 1)).all()
    tanh = compute("tanh", x)
    assert (abs(tanh) <= 1).all()
    assert_same_bits(np.signbit(tanh), np.signbit(x), "sign of tanh, zeros included")
    assert_same_bits(compute("tanh", -x), -tanh, "tanh is odd")


@every_dtype
def test_exact_values(dtype: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf], dtype)
    assert_same_bits(compute("exp", x), np.array([1, 1, np.inf, 0], dtype), "exp")
    assert_same_bits(compute("tanh", x), np.array([0.0, -0.0, 1, -1], dtype), "tanh")
    sigmoid = compute("sigmoid", x)
    assert_same_bits(sigmoid[:3], np.array([0.5, 0.5, 1], dtype), "sigmoid")
    assert 0 <= sigmoid[3] <= np.finfo(dtype).tiny


@every_function
@every_dtype
def test_nan_stays_nan(name: str, dtype: str) -> None:
    form = FORMATS[dtype]
    top = np.array(np.inf, dtype).view(form.bits)
    payloads = np.unique(np.geomspace(1, 2.0 ** (form.digits - 1) - 1, 500).astype(form.bits))
    sign = form.bits(1) << form.bits(8 * np.dtype(dtype).itemsize - 1)
    x = np.concatenate([top + payloads, (top + payloads) | sign]).view(dtype)
    assert np.isnan(x).all()
    assert np.isnan(compute(name, x)).all()


@every_function
@every_dtype
def test_no_lane_sees_another(name: str, dtype: str) -> None:
    """A number has the same value wherever it stands, whatever stands next to it."""
    x = np.random.default_rng(1).normal(0, 30, 35).astype(dtype)
    x[[3, 17, 30]] = np.nan, np.inf, -np.inf
    alone = np.concatenate([compute(name, x[i : i + 1]) for i in range(x.size)])
    for n in range(x.size + 1):
        assert_same_bits(compute(name, x[:n]), alone[:n], f"the first {n}")
