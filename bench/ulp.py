"""Errors of csrc/isa/math.h: its functions on a block of inputs, against a wider format's.

An error is counted in ULP of the true value where that is a normal number. Elsewhere an ULP says
nothing, and the error is absolute, in units of the smallest normal number. Infinity is taken for
the power of two beyond the largest number. A NaN where none belongs, or none where one does, is an
infinite error.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bptt import _core, set_flush_denormal

Floats = NDArray[np.floating[Any]]

FUNCTIONS = ("exp", "sigmoid", "tanh")
CHUNK = 1 << 15  # inputs whose arrays stay in a core's cache


class Format(NamedTuple):
    """A dtype, the wider one of its truth, and the blocks in which its inputs are counted out."""

    wider: type[np.floating[Any]]
    digits: int
    lowest: int  # exponent of the smallest normal number
    highest: int  # exponent beyond the largest number
    blocks: int
    block: int  # inputs


FORMATS = {
    "float32": Format(np.float64, 24, -126, 128, 1 << 10, 1 << 22),
    "float64": Format(np.longdouble, 53, -1022, 1024, 1 << 10, 1 << 16),
}


class Worst(NamedTuple):
    """The largest errors, and the inputs where they were met."""

    ulp: float = 0.0
    ulp_at: float = 0.0
    absolute: float = 0.0
    absolute_at: float = 0.0

    def or_worse(self, other: Worst) -> Worst:
        ulp = max(self[:2], other[:2], key=lambda pair: pair[0])
        return Worst(*ulp, *max(self[2:], other[2:], key=lambda pair: pair[0]))


def inputs(dtype: str, block: int) -> Floats:
    """One block: of float32 the next of all there are, of float64 samples of all sizes."""
    form = FORMATS[dtype]
    if dtype == "float32":
        first = block * form.block
        return np.arange(first, first + form.block, dtype=np.uint32).view(dtype)
    rng, n = np.random.default_rng(block), form.block // 4
    sizes = rng.integers(form.lowest - form.digits, 11, n)
    uniform = [rng.uniform(-most, most, n) for most in (1, 40, 750)]
    return np.concatenate([*uniform, np.ldexp(rng.uniform(-1, 1, n), sizes)])


def truth_of(name: str, x: Floats) -> Floats:
    """The function's value, in the dtype of x."""
    if name != "sigmoid":
        value: Floats = getattr(np, name)(x)
        return value
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _worst(y: Floats, truth: Floats, unit: Floats, normal: NDArray[np.bool_], x: Floats) -> Worst:
    error = abs(y - truth) * unit
    if np.isnan(error.max()):
        error[np.isnan(error)] = np.inf
    found: list[float] = []
    for part in (normal, ~normal):
        each = np.where(part, error, 0)
        i = each.argmax()
        found += [float(each[i]), float(x[i])]
    return Worst(*found)


def _measure_chunk(dtype: str, name: str, x: Floats) -> dict[str, Worst]:
    form = FORMATS[dtype]
    nan = np.isnan(x)
    some_nan, numbers = nan.any(), x[~nan]
    beyond = np.ldexp(form.wider(1), form.highest)
    truth = truth_of(name, numbers.astype(form.wider)).clip(-beyond, beyond)
    exponent = np.frexp(truth)[1]
    normal = exponent > form.lowest
    unit = np.ldexp(form.wider(1), np.where(normal, form.digits - exponent, -form.lowest))
    found = {}
    for isa in _core.isas():
        _core.set_isa(isa)
        worst = Worst()
        for flush in (True, False):
            set_flush_denormal(flush)
            y = getattr(_core, f"math_{name}")(x)
            if some_nan:
                lost = nan & ~np.isnan(y)
                if lost.any():
                    worst = Worst(np.inf, float(x[lost.argmax()]))
                y = y[~nan]
            if y.size:
                wide = y.astype(form.wider).clip(-beyond, beyond)
                worst = worst.or_worse(_worst(wide, truth, unit, normal, numbers))
        found[isa] = worst
    return found


def measure(task: tuple[str, int]) -> dict[str, Worst]:
    """The largest errors in one block, by "dtype function isa", with denormals flushed and kept."""
    dtype, block = task
    x, found = inputs(dtype, block), {}
    with np.errstate(all="ignore"):
        for begin in range(0, x.size, CHUNK):
            for name in FUNCTIONS:
                each = _measure_chunk(dtype, name, x[begin : begin + CHUNK])
                for isa, worst in each.items():
                    key = f"{dtype} {name} {isa}"
                    found[key] = found.get(key, Worst()).or_worse(worst)
    return found


def special_values(dtype: str, name: str, isa: str) -> list[str]:
    """The function of -inf, -0, 0, inf and NaN, with denormals kept."""
    _core.set_isa(isa)
    set_flush_denormal(False)
    y = getattr(_core, f"math_{name}")(np.array([-np.inf, -0.0, 0, np.inf, np.nan], dtype))
    return [f"{value:.4g}" for value in y]
