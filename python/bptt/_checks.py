"""Argument checks of layers, losses and optimisers, in the words of the functions' own checks.

A message starts with the argument's name, says what it was and what it must be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from ._arguments import described, integers, is_array, is_integer, ndarray, number, shaped
from .results import Array

Float = np.dtype[np.floating[Any]]
Check = Callable[[str, object], Any]  # of an argument by name: its value, perhaps converted

_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def as_dtype(dtype: DTypeLike) -> Float:
    """float32 or float64, in this machine's byte order."""
    try:
        # None is float64 to NumPy, here it is a mistake
        found = np.dtype("O" if dtype is None else dtype).newbyteorder("=")
    except TypeError as error:
        raise TypeError(f"dtype is {dtype!r}, must be float32 or float64") from error
    if found not in _FLOATS:
        raise TypeError(f"dtype is {dtype!r}, must be float32 or float64")
    return cast(Float, found)


def as_rng(rng: object) -> np.random.Generator:
    """A generator: the one given, or a new one from a seed or, for None, from the system."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    if not is_integer(rng):
        raise TypeError(f"rng is {described(rng)}, must be None, an int or a Generator")
    return np.random.default_rng(as_size("rng", rng, least=0))


def as_size(name: str, value: object, least: int = 1) -> int:
    """An integer of at least `least`."""
    if not is_integer(value):
        raise TypeError(f"{name} is {described(value)}, must be an integer")
    size = int(value)
    if size < least:
        raise ValueError(f"{name} is {size}, must be at least {least}")
    return size


def as_real(name: str, value: object, low: float, high: float = math.inf) -> float:
    """A real number within [low, high]; NaN is refused."""
    found = number(name, value)
    if not low <= found <= high:
        raise ValueError(f"{name} is {found}, must be in [{low:g}, {high:g}]")
    return found


def as_choice(name: str, value: object, choices: Collection[str]) -> str:
    """One of some words."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {described(value)}, must be one of {', '.join(choices)}")
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, must be one of {', '.join(choices)}")
    return value


def as_real_array(name: str, value: object) -> NDArray[Any]:
    """`value` as an array of bools, integers or floats, not converted."""
    if value is None:
        raise TypeError(f"{name} is None, must be an array")
    array = ndarray(name, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}, must be real numbers")
    return array


def as_array(name: str, value: object, dtype: Float) -> Array:
    """`value` as an array of `dtype`; lists, numbers, bools and integers convert, floats do not."""
    if type(value) is np.ndarray and value.dtype == dtype:
        return value
    array = as_real_array(name, value)
    # Byte order is not dtype. A list's floats are Python's, of no particular precision.
    if array.dtype.kind == "f" and is_array(value) and array.dtype.newbyteorder("=") != dtype:
        raise TypeError(
            f"{name} has dtype {array.dtype}, must be {dtype}: pass {name}.astype(np.{dtype})"
        )
    return cast(Array, array.astype(dtype, copy=False))


def as_float_array(name: str, value: object) -> Array:
    """An array that fixes the dtype of a call: itself float32 or float64, never converted."""
    if not is_array(value):
        raise TypeError(f"{name} is {described(value)}, must be a float32 or float64 array")
    array = as_real_array(name, value)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in _FLOATS:
        raise TypeError(f"{name} has dtype {array.dtype}, must be float32 or float64")
    return cast(Array, array.astype(dtype, copy=False))


def as_gradient(name: str, value: object, dtype: Float, axes: str, shape: tuple[int, ...]) -> Array:
    """A gradient of `shape`; None is zero."""
    if value is None:
        return np.zeros(shape, dtype)
    return shaped(name, as_array(name, value, dtype), axes, shape)


def as_integers(name: str, value: object, axes: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """An integer array of `shape`, in its own dtype."""
    return shaped(name, integers(name, value), axes, shape)


def check_names(name: str, values: object, expected: Collection[str]) -> None:
    """Raise unless `values` is a mapping with the `expected` names, in any order."""
    if not isinstance(values, Mapping):
        raise TypeError(f"{name} is {described(values)}, must be a mapping by name")
    missing = [key for key in expected if key not in values]
    unknown = [key for key in values if key not in expected]
    if missing or unknown:
        raise ValueError(
            f"{name} has the names {list(values)}, must have {list(expected)}: "
            f"missing {missing}, unknown {unknown}"
        )


def as_copies(name: str, values: object, like: Mapping[str, Array]) -> dict[str, Array]:
    """Copies of `values` with the names, shapes and dtypes of `like`; any real dtype converts."""
    check_names(name, values, like)
    given = cast(Mapping[str, object], values)
    copies = {}
    for key, array in like.items():
        label = f"{name}[{key!r}]"
        value = shaped(label, as_real_array(label, given[key]), "the parameter's", array.shape)
        copies[key] = value.astype(array.dtype)
    return copies


def check_writeable(label: str, array: NDArray[Any]) -> None:
    """Raise unless `array` can be changed in place."""
    if not array.flags.writeable:
        raise ValueError(f"{label} is read-only, must be writeable")


def check_live(label: str, array: object) -> None:
    """Raise unless `array` is a float array that can be changed in place."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{label} is {described(array)}, must be an ndarray")
    as_float_array(label, array)
    check_writeable(label, array)


def empty(shape: tuple[int, ...], dtype: Float) -> Array:
    """numpy.empty, from the beginning of a line of the cache on, or MemoryError."""
    if max(shape, default=0) >= 2**63:  # more than the compiled core's integers hold
        raise MemoryError(f"no memory for an array of shape {shape}")
    return _core.new_array(shape, dtype)
