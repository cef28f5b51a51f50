"""Checks of the arguments of `bptt.reference`: the same rules and order as in the compiled core.

Arguments are looked at in the order of the signature, each for type, rank, shape, then values; the
first fault is raised, and its message opens with the argument's name. One thing comes before all:
w_ih is a float32 or float64 array, because its dtype is everybody's.
"""

from __future__ import annotations

import numbers
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from .results import Array

NONLINEARITIES = ("tanh", "relu", "leaky_relu", "sigmoid", "identity")


class Inputs(NamedTuple):
    """The checked arrays of a forward call in native byte order, C order and w_ih's dtype."""

    x: Array
    w_ih: Array
    w_hh: Array
    b_ih: Array | None
    b_hh: Array | None
    h_0: Array | None
    c_0: Array | None


def inputs(
    gates: int,
    x: object,
    w_ih: object,
    w_hh: object,
    b_ih: object,
    b_hh: object,
    h_0: object,
    c_0: object,
) -> Inputs:
    """Check the arrays of a forward call; None stays None where it is allowed."""
    weights = floats("w_ih", w_ih)
    dtype = weights.dtype
    x = real("x", x, dtype)
    if x.ndim != 3:
        raise ValueError(f"x has shape {x.shape}, must be (T, N, I)")
    rows = "H" if gates == 1 else f"{gates}*H"
    N = x.shape[1]
    I = x.shape[2]  # noqa: E741
    if weights.ndim != 2 or weights.shape[1] != I or weights.shape[0] % gates or not len(weights):
        raise ValueError(
            f"w_ih has shape {weights.shape}, must be ({rows}, I) with I = {I} and H at least 1"
        )
    H = weights.shape[0] // gates
    return Inputs(
        x,
        weights,
        shaped("w_hh", real("w_hh", w_hh, dtype), f"({rows}, H)", (gates * H, H)),
        optional("b_ih", b_ih, dtype, f"({rows},)", (gates * H,)),
        optional("b_hh", b_hh, dtype, f"({rows},)", (gates * H,)),
        optional("h_0", h_0, dtype, "(N, H)", (N, H)),
        optional("c_0", c_0, dtype, "(N, H)", (N, H)),
    )


def is_array(value: object) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def ndarray(name: str, value: object) -> NDArray[np.generic]:
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except ValueError as error:  # a ragged list
        raise ValueError(f"{name} is {described(value)}, must be an array: {error}") from error
    except (TypeError, OverflowError, RuntimeError, BufferError) as error:
        raise TypeError(f"{name} is {described(value)}, must be an array: {error}") from error


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
        raise TypeError(f"{name} has dtype {array.dtype}, must be {dtype}")
    if array.dtype.kind == "f" and array.dtype.newbyteorder("=") != dtype and is_array(value):
        raise TypeError(
            f"{name} has dtype {array.dtype}, must be {dtype}: pass {name}.astype(np.{dtype})"
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
    must = f"must be one of {', '.join(NONLINEARITIES)}"
    if not isinstance(value, str):
        raise TypeError(f"nonlinearity is {described(value)}, {must}")
    if value not in NONLINEARITIES:
        raise ValueError(f"nonlinearity is {value!r}, {must}")
    return value


def number(name: str, value: object) -> float:
    """Check a real number; what is beyond a double is infinite."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {described(value)}, must be a real number")
    try:
        return float(value)
    except OverflowError:
        return -np.inf if value < 0 else np.inf


def slope(value: object) -> float:
    """Check the slope of leaky_relu: not negative, since h must tell which branch was taken."""
    found = number("slope", value)
    if not 0 <= found < np.inf:
        raise ValueError(f"slope is {value}, must be finite and at least 0")
    return found


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
    for n in np.flatnonzero((array < 0) | (array > most))[:1]:
        raise ValueError(f"{name}[{n}] is {array[n]}, must be from 0 to {limit} = {most}")
    return array.astype(np.intp)


def integer(name: str, value: object, low: int, high: int, limits: str) -> int:
    """Check an integer of low to high, which the limits name."""
    if not is_integer(value):
        raise TypeError(f"{name} is {described(value)}, must be an integer")
    found = int(value)
    if not low <= found <= high:
        raise ValueError(f"{name} is {found}, must be from {limits}")
    return found


def is_integer(value: object) -> TypeGuard[numbers.Integral]:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def flag(name: str, value: object) -> bool:
    """Check a bool."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} is {described(value)}, must be True or False")
    return bool(value)


def checkpoint_every(value: object, training: bool) -> int | None:
    """Check the number of steps between stored states, None if everything is kept."""
    if value is None:
        return None
    if not is_integer(value):
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
        raise TypeError(f"out has dtype {value.dtype}, must be {dtype} in native byte order")
    array = shaped("out", value, "(T, N, H)", shape)
    if not array.flags.writeable:
        raise ValueError("out is read-only, must be writeable")
    if not array.flags.aligned:
        raise ValueError("out is not aligned, must be aligned to its dtype")
    if array.size and shape[2] > 1 and array.strides[2] != dtype.itemsize:
        raise ValueError("out has a strided last axis, must have a contiguous one")
    return array


def size(T: int, N: int, H: int, dtype: np.dtype[np.floating]) -> None:
    """Check that states of this size can be counted; NumPy too takes an empty axis for one."""
    if (T + 1) * max(N, 1) * H * dtype.itemsize >= 2**63:
        raise MemoryError(f"no memory for an array of shape {(T + 1, N, H)}")


def wrt(value: object, fields: tuple[str, ...], only_named: tuple[str, ...] = ()) -> frozenset[str]:
    """Check the names of the gradients asked for, None for all but those `only_named`."""
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


def described(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
