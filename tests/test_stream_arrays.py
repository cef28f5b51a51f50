"""Streams: the arrays that steps take and write to, and those that they refuse."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tolerances import assert_same_bits

import bptt

pytestmark = pytest.mark.usefixtures("compiled")  # each instruction set in turn


def layer(**options: Any) -> bptt.LSTM:
    return bptt.LSTM(5, 7, 2, **{"rng": 0, **options})


def numbers(*shape: int) -> Any:
    """Integers, so that they convert without loss."""
    return np.random.default_rng(0).integers(-9, 9, shape).astype("f")


# ---- arrays of all kinds


def byte_after(array: Any) -> Any:
    """The same numbers, misaligned."""
    return np.frombuffer(b"-" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def read_only(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


KINDS: dict[str, Callable[[Any], Any]] = {
    "list": lambda a: a.tolist(),
    "integers": lambda a: a.astype(np.int16),
    "read-only": read_only,
    "misaligned": byte_after,
    "byte-swapped": lambda a: a.astype(">f4"),
    "unpickled": lambda a: pickle.loads(pickle.dumps(a)),
    "Fortran order": np.asfortranarray,
    "every other number": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "every other row": lambda a: np.repeat(a, 2, -2)[..., ::2, :],
    "backwards": lambda a: a[..., ::-1, ::-1].copy()[..., ::-1, ::-1],
    "rows backwards": lambda a: a[..., ::-1, :].copy()[..., ::-1, :],
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_x_of_any_kind(kind: Callable[[Any], Any], batch_first: bool) -> None:
    for N in (1, 3):
        x = numbers(4, N, 5)
        y, _ = layer()(x)
        stream = layer(batch_first=batch_first).stream(N)
        for x_t, y_t in zip(x, y, strict=True):
            assert_same_bits(stream.step(kind(x_t)), y_t, "y of a step")
        stream.reset()
        given, wanted = (a.swapaxes(0, 1) if batch_first else a for a in (x, y))
        assert_same_bits(stream.steps(kind(given)), wanted, "y of steps")


def test_x_whose_rows_are_one() -> None:
    x = np.broadcast_to(numbers(5), (4, 3, 5))
    y, _ = layer()(x)
    stream = layer().stream(3)
    assert_same_bits(stream.step(x[0]), y[0], "y of a step")
    assert_same_bits(stream.steps(x[1:]), y[1:], "y of steps")
    constant = np.broadcast_to(np.float32(2), (3, 5))
    stream.reset()
    assert_same_bits(stream.step(constant), layer()(constant[np.newaxis])[0][0], "y of a constant")


def test_flat_x_of_any_kind() -> None:
    x = numbers(4, 5)
    y, _ = layer()(x)
    for kind in ("list", "integers", "read-only", "misaligned", "byte-swapped", "unpickled"):
        stream = layer().stream()
        for x_t, y_t in zip(x, y, strict=True):
            assert_same_bits(stream.step(KINDS[kind](x_t)), y_t, kind)


def test_out_is_what_is_returned_and_nothing_else_is_written() -> None:
    x = numbers(4, 3, 5)
    y, _ = layer()(x)
    wide = np.full((8, 6, 9), np.nan, "f")
    for out in (wide[1:5, 1:4, 1:8], wide[-2:-6:-1, ::2, :7], wide[::2, ::-2, 2:]):
        wide[...] = np.nan
        stream = layer().stream(3)
        first, rest = out[0], out[1:]
        assert stream.step(x[0], first) is first
        assert stream.steps(x[1:], rest) is rest
        assert_same_bits(out.copy(), y, "y")
        out[...] = np.nan
        assert np.isnan(wide).all()


@pytest.mark.parametrize("num_layers", [1, 2])
def test_x_and_out_may_overlap(num_layers: int) -> None:
    square = bptt.GRU(70, 70, num_layers, rng=0)
    x = numbers(300, 3, 70)
    y, _ = square(x)
    for shift in (0, 1, 69, 70, 71, 210):
        block = np.zeros(x.size + shift, "f")
        before, after = block[: x.size].reshape(x.shape), block[shift:].reshape(x.shape)
        for given, out in ((before, after), (after, before)):
            stream = square.stream(3)
            given[...] = x
            assert_same_bits(stream.steps(given, out), y, f"y of steps, {shift}")
            stream.reset()
            given[...] = x
            assert_same_bits(stream.step(given[0], out[0]), y[0], f"y of a step, {shift}")


# ---- bad calls

X, OUT = np.ones((3, 5), "f"), np.zeros((3, 7), "f")
SHAPE = r"x has shape \({}\), must be "
STEP = [
    ((None,), TypeError, "x is None"),
    ((1.0,), ValueError, SHAPE.format("")),
    ((X[0],), ValueError, SHAPE.format("5,") + r"\(N, I\) = \(3, 5\)"),
    ((X[:, :4],), ValueError, SHAPE.format("3, 4") + r"\(N, I\) = \(3, 5\)"),
    ((X[np.newaxis],), ValueError, SHAPE.format("1, 3, 5")),
    (([[1], [2, 3]],), ValueError, "x is of type list, must be an array: setting"),
    ((X.astype("d"),), TypeError, r"x has dtype float64, must be float32.*x\.astype"),
    ((X.astype("c8"),), TypeError, "x has dtype complex64, must be float32"),
    ((X, OUT[:2]), ValueError, r"out has shape \(2, 7\), must be .*\(3, 7\)"),
    ((X, OUT.tolist()), TypeError, "out is of type list, must be"),
    ((X, OUT.astype("d")), TypeError, "out has dtype float64, must be"),
    ((X, OUT.astype(">f4")), TypeError, "out has dtype >f4, must be"),
    ((X, read_only(OUT)), ValueError, "out is read-only"),
    ((X, np.zeros((3, 14), "f")[:, ::2]), ValueError, "out has a strided last axis"),
    ((X, np.zeros(85, "b")[1:].view("f").reshape(3, 7)), ValueError, "out is not aligned"),
]
XS, OUTS = np.ones((3, 4, 5), "f"), np.zeros((3, 4, 7), "f")  # batch first
STEPS = [
    ((None,), TypeError, "x is None"),
    ((X[0],), ValueError, SHAPE.format("5,") + r"\(N, T, input_size\)"),
    ((X,), ValueError, r"x has shape \(3, 5\), must have three axes, the batch is 3"),
    ((XS[:2],), ValueError, SHAPE.format("2, 4, 5") + r"\(N, T, I\) with N = 3 and I = 5"),
    ((XS[..., :4],), ValueError, SHAPE.format("3, 4, 4")),
    ((XS.swapaxes(0, 1),), ValueError, SHAPE.format("4, 3, 5")),
    (([[[1], [2, 3]]],), ValueError, "x is of type list, must be an array: setting"),
    ((XS.astype("d"),), TypeError, r"x has dtype float64, must be float32.*x\.astype"),
    ((XS.astype("c8"),), TypeError, "x has dtype complex64"),
    (
        (XS, OUTS[:, :3]),
        ValueError,
        r"out has shape \(3, 3, 7\), must be \(N, T, H\) = \(3, 4, 7\)",
    ),
    ((XS, OUTS.tolist()), TypeError, "out is of type list, must be"),
    ((XS, OUTS.astype("d")), TypeError, "out has dtype float64, must be float32"),
    ((XS, OUTS.astype(">f4")), TypeError, "out has dtype >f4, must be float32"),
    ((XS, read_only(OUTS)), ValueError, "out is read-only"),
    ((XS, np.zeros((3, 4, 14), "f")[..., ::2]), ValueError, "out has a strided last axis"),
    ((XS, np.zeros(337, "b")[1:].view("f").reshape(3, 4, 7)), ValueError, "out is not aligned"),
]
BAD = [("step", *bad) for bad in STEP] + [("steps", *bad) for bad in STEPS]


@pytest.mark.parametrize(("name", "arguments", "error", "message"), BAD)
def test_a_bad_call_changes_nothing(name: str, arguments: Any, error: Any, message: str) -> None:
    stream = layer(batch_first=True).stream(3)
    stream.step(X)
    before = stream.state
    outs = [out for out in arguments[1:] if isinstance(out, np.ndarray)]
    kept = [out.copy() for out in outs]
    with pytest.raises(error, match=f"^{message}"):
        getattr(stream, name)(*arguments)
    for one, other in zip([*stream.state, *outs], [*before, *kept], strict=True):
        assert_same_bits(one, other, "state or out")


def test_layers_that_do_not_stream() -> None:
    for options, message in (
        ({"bidirectional": True}, "bidirectional is True, must be False"),
        ({"backend": "reference"}, "backend is 'reference', must be 'compiled'"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            layer(**options).stream()


@pytest.mark.parametrize(
    ("batch", "error"),
    [
        *[(n, ValueError) for n in (0, -1)],
        *[(n, MemoryError) for n in (2**40, 2**62, 2**70)],
        *[(n, TypeError) for n in (1.0, None, True)],
    ],
)
def test_a_batch_that_is_none(batch: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="^batch is" if error is not MemoryError else "array"):
        layer().stream(batch)
