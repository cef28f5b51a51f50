"""Checks of the arguments of `bptt.reference`: the same rules as in the compiled core."""

from __future__ import annotations

import numbers
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .results import Array

NONLINEARITIES = ("tanh", "relu", "leaky_relu", "sigmoid", "identity")


def is_array(value: object) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def ndarray(name: str, value: object) -> NDArray[np.generic]:
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:  # a ragged list
        raise ValueError(f"{name} cannot be made an array: {error}") from error
    except (TypeError, OverflowError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} cannot be made an array: {error}") from error


def floats(name: str, value: object) -> Array:
    """Check the array that fixes the dtype of a call: itself float32 or float64."""
    if not is_array(value):
        raise TypeError(f"{name} is {described(value)}, must be a float32 or float64 array")
    array = ndarray(name, value)
    dtype = array.dtype.newbyteorder("=")
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} has dtype {array.dtype}, must be float32 or float64")
    return np.require(array, dtype, ("C", "A"))


def real(name: str, value: object, dtype: np.dtype[np.floating]) -> Array:
    """Make an array of dtype of what may safely become one: anything but another float dtype."""
    if value is None:
        raise TypeError(f"{name} is None, must be an array")
    array = ndarray(name, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}, must be real numbers of dtype {dtype}")
    if array.dtype.kind == "f" and array.dtype.newbyteorder("=") != dtype and is_array(value):
        raise TypeError(
            f"{name} has dtype {array.dtype}, must be {dtype} like w_ih: "
            f"pass {name}.astype(np.{dtype})"
        )
    with np.errstate(all="ignore"):  # a Python number beyond float32 becomes infinite
        return np.require(array, dtype, ("C", "A"))


def shaped(name: str, array: Array, letters: str, shape: tuple[int, ...]) -> Array:
    """Return the array if it has this shape, whose axes the letters name."""
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, must be {letters} = {shape}")
    return array


def optional(
    name: str, value: object, dtype: np.dtype[np.floating], letters: str, shape: tuple[int, ...]
) -> Array | None:
    """Check an array that may be None."""
    return None if value is None else shaped(name, real(name, value, dtype), letters, shape)


def nonlinearity(value: object) -> str:
    """Check the name of a nonlinearity."""
    if not isinstance(value, str):
        raise TypeError(f"nonlinearity is {described(value)}, must be a str")
    if value not in NONLINEARITIES:
        raise ValueError(f"nonlinearity is {value!r}, must be one of {', '.join(NONLINEARITIES)}")
    return value


def slope(value: object) -> float:
    """Check the slope of leaky_relu: not negative, since h must tell which branch was taken."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"slope is {described(value)}, must be a real number")
    try:
        number = float(value)
    except OverflowError:
        number = np.inf
    if not 0 <= number < np.inf:
        raise ValueError(f"slope is {value}, must be finite and at least 0")
    return number


def integers(name: str, value: object) -> NDArray[Any]:
    """Check an array of integers of any width and shape."""
    if value is None:
        raise TypeError(f"{name} is None, must be an array")
    array = ndarray(name, value)
    if not array.size and not is_array(value):
        array = array.astype(np.intp)  # NumPy takes an empty list for floats
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} has dtype {array.dtype}, must be integers")
    return array


def lengths(value: object, T: int, N: int) -> NDArray[np.intp] | None:
    """Check the lengths of the sequences, None if all are T."""
    return None if value is None else lengths_within("lengths", value, N, T, "T")


def lengths_within(name: str, value: object, N: int, most: int, limit: str) -> NDArray[np.intp]:
    """Check N lengths of 0 to most, which the limit names."""
    array = integers(name, value)
    if array.shape != (N,):
        raise ValueError(f"{name} has shape {array.shape}, must be (N,) = {(N,)}")
    if N and not 0 <= array.min() <= array.max() <= most:
        raise ValueError(
            f"{name} has values {array.min()} to {array.max()}, must be 0 to {limit} = {most}"
        )
    return array.astype(np.intp)


def integer(name: str, value: object, low: int, high: int, limits: str) -> int:
    """Check an integer of low to high, which the limits name."""
    if not _is_integer(value):
        raise TypeError(f"{name} is {described(value)}, must be an integer")
    number = int(value)
    if not low <= number <= high:
        raise ValueError(f"{name} is {number}, must be from {limits} = {high}")
    return number


def _is_integer(value: object) -> TypeGuard[numbers.Integral]:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def flag(name: str, value: object) -> bool:
    """Check a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {described(value)}, must be a bool")
    return bool(value)


def checkpoint_every(value: object, training: bool) -> int | None:
    """Check the number of steps between stored states, None if everything is kept."""
    if value is None:
        return None
    if not _is_integer(value):
        raise TypeError(f"checkpoint_every is {described(value)}, must be None or an integer")
    if value < 1:
        raise ValueError(f"checkpoint_every is {value}, must be at least 1")
    if not training:
        raise ValueError(f"checkpoint_every is {value}, must be None without training")
    return int(value)


def out(value: object, dtype: np.dtype[np.floating], shape: tuple[int, int, int]) -> Array | None:
    """Check the array that y is to be written to."""
    if value is None:
        return None
    if not isinstance(value, np.ndarray):
        raise TypeError(f"out is {described(value)}, must be a {dtype} array")
    if value.dtype != dtype:
        raise TypeError(f"out has dtype {value.dtype.str}, must be native {dtype} like w_ih")
    array = shaped("out", value, "(T, N, H)", shape)
    if not array.flags.writeable:
        raise ValueError("out is read-only, must be writeable")
    if array.size and shape[2] > 1 and array.strides[2] != dtype.itemsize:
        raise ValueError(f"out has strides {array.strides}, must have a contiguous last axis")
    if not array.flags.aligned:
        raise ValueError("out is misaligned, must be aligned to its dtype")
    return array


def size(T: int, N: int, H: int, dtype: np.dtype[np.floating]) -> None:
    """Check that states of this size can be counted; NumPy too takes an empty axis for one."""
    if (T + 1) * max(N, 1) * H * dtype.itemsize >= 2**63:
        raise MemoryError(f"states of shape (T, N, H) = {(T, N, H)} exceed 2**63 - 1 bytes")


def wrt(value: object, fields: tuple[str, ...], only_named: tuple[str, ...] = ()) -> frozenset[str]:
    """Check the names of the gradients asked for, None for all but those `only_named`."""
    if value is None:
        return frozenset(fields).difference(only_named)
    if not isinstance(value, tuple | list | set | frozenset):
        raise TypeError(f"wrt is {described(value)}, must be a tuple, list or set of names")
    for name in value:
        if not isinstance(name, str):
            raise TypeError(f"wrt has a name {described(name)}, must have names of type str")
        if name not in fields:
            raise ValueError(f"wrt has the name {name!r}, must be among {', '.join(fields)}")
    return frozenset(value)


def described(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
