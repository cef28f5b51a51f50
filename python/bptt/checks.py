"""Checks of arguments, each once and in one wording, which is that of the compiled core's checks.

A message starts with the argument's name, says what it was and what it must be. What an argument is
looked at for comes in this order: type, number of axes, shape, values. Checks return the argument,
perhaps converted.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeGuard, TypeVar, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import _core
from .results import Array

Float = np.dtype[np.floating[Any]]
Check = Callable[[str, object], Any]  # of an argument by name
Kind = TypeVar("Kind")

NONLINEARITIES = ("tanh", "relu", "leaky_relu", "sigmoid", "identity")
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def described(value: object) -> str:
    """Say what a value of a wrong type is."""
    return "None" if value is None else f"of type {type(value).__name__}"


def instance(
    name: str, value: object, kind: type[Kind] | tuple[type[Kind], ...], must: str
) -> Kind:
    """An object of a class, or of one of some, which `must` describes."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {described(value)}, must be {must}")
    return value


# ---- numbers, words and the like


def is_integer(value: object) -> TypeGuard[numbers.Integral]:
    """Whether it is Python's, NumPy's or another library's integer; a bool is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def integer(name: str, value: object) -> int:
    """An integer of any size."""
    if not is_integer(value):
        raise TypeError(f"{name} is {described(value)}, must be an integer")
    return int(value)


def size(name: str, value: object, least: int = 1) -> int:
    """An integer of at least `least`."""
    found = integer(name, value)
    if found < least:
        raise ValueError(f"{name} is {found}, must be at least {least}")
    return found


def number(name: str, value: object) -> float:
    """A real number, NaN and infinity included; what is beyond a double is infinite."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {described(value)}, must be a real number")
    try:
        return float(value)
    except OverflowError:
        return -math.inf if value < 0 else math.inf


def real(name: str, value: object, low: float, high: float = math.inf) -> float:
    """A real number within [low, high]; NaN is refused."""
    found = number(name, value)
    if not low <= found <= high:
        raise ValueError(f"{name} is {found}, must be in [{low:g}, {high:g}]")
    return found


def flag(name: str, value: object) -> bool:
    """A bool, also NumPy's."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {described(value)}, must be True or False")
    return bool(value)


def choice(name: str, value: object, choices: Collection[str]) -> str:
    """One of some words."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {described(value)}, must be one of {', '.join(choices)}")
    if value not in choices:
        raise ValueError(f"{name} is {value!r}, must be one of {', '.join(choices)}")
    return value


def float_dtype(dtype: DTypeLike) -> Float:
    """float32 or float64, in this machine's byte order."""
    try:
        # None is float64 to NumPy, here it is a mistake
        found = np.dtype("O" if dtype is None else dtype).newbyteorder("=")
    except TypeError as error:
        raise TypeError(f"dtype is {dtype!r}, must be float32 or float64") from error
    if found not in _FLOATS:
        raise TypeError(f"dtype is {dtype!r}, must be float32 or float64")
    return cast(Float, found)


def generator(rng: object) -> np.random.Generator:
    """A generator: the one given, or a new one from a seed or, for None, from the system."""
    if rng is None or isinstance(rng, np.random.Generator):
        return np.random.default_rng(rng)
    if not is_integer(rng):
        raise TypeError(f"rng is {described(rng)}, must be None, an int or a Generator")
    return np.random.default_rng(size("rng", rng, least=0))


# ---- arrays


def is_array(value: object) -> bool:
    """Whether it came with a dtype of its own, as lists and numbers do not."""
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def _ndarray(name: str, value: object) -> NDArray[np.generic]:
    if value is None:
        raise TypeError(f"{name} is None, must be an array")
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:  # a ragged list
        raise ValueError(f"{name} is {described(value)}, must be an array: {error}") from error
    except (TypeError, OverflowError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} is {described(value)}, must be an array: {error}") from error


def real_array(name: str, value: object) -> NDArray[Any]:
    """An array of bools, integers or floats, not converted."""
    found = _ndarray(name, value)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {found.dtype}, must be real numbers")
    return found


def array(name: str, value: object, dtype: Float) -> Array:
    """An array of `dtype`; lists, numbers, bools and integers convert, arrays of floats do not."""
    if type(value) is np.ndarray and value.dtype == dtype:
        return value
    found = _ndarray(name, value)
    if found.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {found.dtype}, must be {dtype}")
    # Byte order is not dtype. A list's floats are Python's, of no particular precision.
    if found.dtype.kind == "f" and found.dtype.newbyteorder("=") != dtype and is_array(value):
        raise TypeError(
            f"{name} has dtype {found.dtype}, must be {dtype}: pass {name}.astype(np.{dtype})"
        )
    with np.errstate(all="ignore"):  # a Python number beyond float32 becomes infinite
        return cast(Array, found.astype(dtype, copy=False))


def float_array(name: str, value: object) -> Array:
    """An array that fixes the dtype of a call: itself float32 or float64, never converted."""
    if not is_array(value):
        raise TypeError(f"{name} is {described(value)}, must be a float32 or float64 array")
    found = _ndarray(name, value)
    dtype = found.dtype.newbyteorder("=")
    if dtype not in _FLOATS:
        raise TypeError(f"{name} has dtype {found.dtype}, must be float32 or float64")
    return cast(Array, found.astype(dtype, copy=False))


def shaped(name: str, value: NDArray[Any], axes: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array if it has this shape, whose axes have these letters."""
    if value.shape != shape:
        raise ValueError(f"{name} has shape {value.shape}, must be {axes} = {shape}")
    return value


def optional(
    name: str, value: object, dtype: Float, axes: str, shape: tuple[int, ...]
) -> Array | None:
    """An array of `dtype` and `shape`, or None."""
    return None if value is None else shaped(name, array(name, value, dtype), axes, shape)


def gradient(name: str, value: object, dtype: Float, axes: str, shape: tuple[int, ...]) -> Array:
    """A gradient of `shape`; None is zero."""
    found = optional(name, value, dtype, axes, shape)
    return np.zeros(shape, dtype) if found is None else found


def integers(name: str, value: object) -> NDArray[Any]:
    """An array of integers of any width and shape."""
    found = _ndarray(name, value)
    if not found.size and not is_array(value):
        found = found.astype(np.intp)  # NumPy takes an empty list for floats
    if found.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {found.dtype}, must be integers")
    return found


def lengths(name: str, value: object, N: int, most: int, limit: str) -> NDArray[np.intp]:
    """N lengths from 0 to `most`, which `limit` names."""
    found = shaped(name, integers(name, value), "(N,)", (N,))
    for n in np.flatnonzero((found < 0) | (found > most))[:1]:
        raise ValueError(f"{name}[{n}] is {found[n]}, must be from 0 to {limit} = {most}")
    return found.astype(np.intp)


def writeable(name: str, value: NDArray[Any]) -> None:
    """Raise unless the array can be changed in place."""
    if not value.flags.writeable:
        raise ValueError(f"{name} is read-only, must be writeable")


def live(name: str, value: object) -> Array:
    """A float array that can be changed in place."""
    given: Array = instance(name, value, np.ndarray, "an ndarray")
    float_array(name, given)
    writeable(name, given)
    return given


def empty(shape: tuple[int, ...], dtype: Float) -> Array:
    """numpy.empty, from the beginning of a line of the cache on, or MemoryError."""
    if max(shape, default=0) >= 2**63:  # more than the compiled core's integers hold
        raise MemoryError(f"no memory for an array of shape {shape}")
    return _core.new_array(shape, dtype)


# ---- by name


def mapping(name: str, values: object) -> Mapping[str, object]:
    """A mapping of anything."""
    return instance(name, values, Mapping, "a mapping by name")


def names(name: str, values: object, expected: Collection[str]) -> Mapping[str, object]:
    """A mapping with the `expected` names, in any order."""
    given = mapping(name, values)
    missing = [key for key in expected if key not in given]
    unknown = [key for key in given if key not in expected]
    if missing or unknown:
        raise ValueError(
            f"{name} has the names {list(given)}, must have {list(expected)}: "
            f"missing {missing}, unknown {unknown}"
        )
    return given


def copies(name: str, values: object, like: Mapping[str, Array]) -> dict[str, Array]:
    """Copies of `values` with the names, shapes and dtypes of `like`; any real dtype converts."""
    given = names(name, values, like)
    copied = {}
    for key, parameter in like.items():
        label = f"{name}[{key!r}]"
        value = shaped(label, real_array(label, given[key]), "the parameter's", parameter.shape)
        copied[key] = value.astype(parameter.dtype)
    return copied


# ---- arguments that several functions have


def nonlinearity(value: object) -> str:
    """The name of an RNN's nonlinearity."""
    return choice("nonlinearity", value, NONLINEARITIES)


def slope(value: object) -> float:
    """The slope of leaky_relu: not negative, since h must tell which branch was taken."""
    found = number("slope", value)
    if not 0 <= found < math.inf:
        raise ValueError(f"slope is {value}, must be finite and at least 0")
    return found


def checkpoint_every(value: object, training: bool) -> int | None:
    """The number of steps between stored states, None if everything is kept."""
    if value is None:
        return None
    if not is_integer(value):
        raise TypeError(f"checkpoint_every is {described(value)}, must be None or an integer")
    steps = size("checkpoint_every", value)
    if not training:
        raise ValueError(f"checkpoint_every is {steps}, must be None without training")
    return steps


def out(value: object, dtype: Float, axes: str, shape: tuple[int, ...]) -> Array | None:
    """The array that y is to be written to, or None."""
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        raise TypeError(f"out is {described(value)}, must be a {dtype} array")
    if value.dtype != dtype:
        raise TypeError(f"out has dtype {value.dtype}, must be {dtype} in native byte order")
    found = shaped("out", value, axes, shape)
    writeable("out", found)
    if not found.flags.aligned:
        raise ValueError("out is not aligned, must be aligned to its dtype")
    if found.size and shape[-1] > 1 and found.strides[-1] != dtype.itemsize:
        raise ValueError("out has a strided last axis, must have a contiguous one")
    return found


def wrt(value: object, fields: tuple[str, ...], only_named: tuple[str, ...] = ()) -> frozenset[str]:
    """The names of the gradients asked for, None for all but those `only_named`."""
    if value is None:
        return frozenset(fields).difference(only_named)
    if not isinstance(value, tuple | list | set | frozenset):
        raise TypeError(f"wrt is {described(value)}, must be a tuple, list or set of names")
    must = f"must have names among {', '.join(fields)}"
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"wrt has a name {described(name)}, {must}")
        if name not in fields:
            raise ValueError(f"wrt has the name {name!r}, {must}")
    return frozenset(value)
