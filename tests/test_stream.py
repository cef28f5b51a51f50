"""Streams: the layer's bits however steps are dealt, the state, copies."""

from __future__ import annotations

import copy
import pickle
import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from parity import as_pair
from tolerances import assert_same_bits

import bptt
from bptt import _core

CELLS = {
    "tanh": bptt.RNN,
    "relu": partial(bptt.RNN, nonlinearity="relu"),
    "leaky_relu": partial(bptt.RNN, nonlinearity="leaky_relu", slope=0.3),
    "lstm": bptt.LSTM,
    "gru": bptt.GRU,
}
I, H = 70, 35  # sums in two blocks, and no whole vectors  # noqa: E741

pytestmark = pytest.mark.usefixtures("compiled")  # each instruction set in turn
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def normal(shape: tuple[int, ...], dtype: Any = "float32", seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def small(cell: Any = bptt.LSTM, inputs: int = 5, units: int = 7, **options: Any) -> Any:
    return cell(inputs, units, **{"rng": 0, "num_layers": 2, **options})


def start_of(layer: Any, N: int) -> Any:
    """A state to begin with."""
    shape = (layer.num_layers, N, layer.hidden_size)
    parts = [normal(shape, layer.dtype, seed) / 2 for seed in (1, 2)]
    return tuple(parts) if isinstance(layer, bptt.LSTM) else parts[0]


def assert_same_state(found: Any, expected: Any) -> None:
    for one, other in zip(as_pair(found), as_pair(expected), strict=True):
        assert_same_bits(one, other, "state")


# ---- the layer's bits


@every_cell
@every_dtype
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("N", [1, 3, 20])
@pytest.mark.parametrize(("bias", "batch_first"), [(True, False), (False, True)])
def test_bits_are_the_layers(
    cell: Any, dtype: str, num_layers: int, N: int, bias: bool, batch_first: bool
) -> None:
    options = {"bias": bias, "batch_first": batch_first, "dtype": dtype, "rng": 0}
    layer = cell(I, H, num_layers, **options)
    T, time = 29, 1 if batch_first else 0
    x = normal((N, T, I) if batch_first else (T, N, I), dtype)
    start = start_of(layer, N)
    y, end = layer(x, start)
    stream = layer.stream(N)
    stream.state = start
    assert_same_bits(stream.steps(x), y, "y of steps")
    assert_same_state(stream.state, end)
    stream.state = start
    each = [stream.step(x_t) for x_t in np.moveaxis(x, time, 0)]
    assert_same_bits(np.stack(each, time), y, "y of each step")
    assert_same_state(stream.state, end)


@every_cell
@pytest.mark.parametrize("N", [1, 3, 200])
def test_step_and_steps_mix(cell: Any, N: int) -> None:
    """Also in blocks of more than a kernel takes at once."""
    layer = small(cell)
    x, start = normal((699, N, 5)), start_of(layer, N)
    y, end = layer(x, start)
    stream = layer.stream(N)
    stream.state = start
    found, t = [], 0
    for T in (1, 0, 2, 130, 300, 0, 259):
        found += [stream.steps(x[t : t + T]), stream.step(x[t + T])[np.newaxis]]
        t += T + 1
    assert t == len(x)
    assert_same_bits(np.concatenate(found), y, "y")
    assert_same_state(stream.state, end)


def test_one_sequence_without_its_axis() -> None:
    layer = small(batch_first=True)
    x = normal((9, 5))
    y, end = layer(x)
    stream = layer.stream()
    assert_same_bits(stream.steps(x), y, "y of steps")
    assert_same_state(tuple(part[:, 0] for part in stream.state), end)
    stream.reset()
    for x_t, y_t in zip(x, y, strict=True):
        out = np.empty(7, "f")
        assert stream.step(x_t, out) is out
        assert_same_bits(out, y_t, "y of a step")


@every_cell
def test_no_steps(cell: Any) -> None:
    stream = small(cell).stream(3)
    start = start_of(small(cell), 3)
    stream.state = start
    assert stream.steps(np.empty((0, 3, 5), "f")).shape == (0, 3, 7)
    assert_same_state(stream.state, start)


def test_there_is_no_dropout() -> None:
    layer = small(dropout=0.5)
    x = normal((4, 3, 5))
    found = layer.stream(3).steps(x)
    assert_same_bits(found, layer.eval()(x)[0], "y")


def test_later_changes_of_the_layer_do_not_reach_it() -> None:
    layer, x = small(), normal((4, 3, 5))
    y, _ = layer(x)
    stream = layer.stream(3)
    for parameter in layer.params.values():
        parameter[...] = np.nan
    assert_same_bits(pickle.loads(pickle.dumps(stream)).steps(x), y, "y of a copy")
    del layer, parameter
    assert_same_bits(stream.steps(x), y, "y")


# ---- the state


@every_cell
@every_dtype
def test_state_is_copied_in_and_out(cell: Any, dtype: str) -> None:
    layer = small(cell, dtype=dtype)
    stream, start = layer.stream(3), start_of(layer, 3)
    kept = copy.deepcopy(start)
    assert_same_state(stream.state, tuple(np.zeros_like(part) for part in as_pair(start)))
    stream.state = start
    for part in as_pair(start):
        part[...] = np.nan
    assert_same_state(stream.state, kept)
    for part in as_pair(stream.state):
        part[...] = np.nan
    assert_same_state(stream.state, kept)
    stream.state = None
    assert not np.any(stream.state)
    assert type(stream.state) is type(start)


@every_cell
def test_a_wrong_state_is_not_taken(cell: Any) -> None:
    layer = small(cell)
    stream, good = layer.stream(3), start_of(layer, 3)
    stream.state = good
    zeros = np.zeros((2, 3, 7), "f")
    wrong = [
        (np.zeros((2, 2, 7), "f"), ValueError, r"has shape \(2, 2, 7\), must be .*\(2, 3, 7\)")
    ]
    wrong += [(zeros.astype("d"), TypeError, "has dtype float64, must be float32")]
    wrong += [(zeros.astype("c8"), TypeError, "has dtype complex64"), ("h", TypeError, "has dtype")]
    for part, error, message in wrong:
        pair = isinstance(layer, bptt.LSTM)
        states = [((part, zeros), "state[0]"), ((zeros, part), "state[1]")]
        for state, name in states if pair else [(part, "state")]:
            with pytest.raises(error, match=f"^{re.escape(name)} {message}"):
                stream.state = state
            assert_same_state(stream.state, good)


def test_a_part_of_an_lstms_state_may_be_none() -> None:
    layer = small()
    stream, (h, c) = layer.stream(3), start_of(layer, 3)
    for state in ((h, None), [None, c], (None, None)):
        stream.state = (h, c)
        stream.state = state
        assert_same_state(
            stream.state,
            tuple(np.zeros_like(h) if part is None else part for part in state),
        )


@pytest.mark.parametrize("state", [np.zeros((2, 3, 7), "f"), (1,), (1, 2, 3), "hc"])
def test_an_lstms_state_is_a_pair(state: Any) -> None:
    stream = small().stream(3)
    with pytest.raises(TypeError, match=r"^state is of type .*, must be a pair"):
        stream.state = state


@every_cell
@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        (None, [0, 1, 2]),
        (1, [1]),
        (-1, [2]),
        ([0, 2], [0, 2]),
        (np.array([2, 2, 0]), [0, 2]),
        (slice(1, None), [1, 2]),
        (np.array([True, False, True]), [0, 2]),
        ([], []),
        (slice(0), []),
    ],
    ids=str,
)
def test_reset(cell: Any, rows: Any, chosen: list[int]) -> None:
    layer = small(cell)
    stream, expected = layer.stream(3), copy.deepcopy(start_of(layer, 3))
    stream.state = expected
    assert stream.reset(rows) is None
    for part in as_pair(expected):
        part[:, chosen] = 0
    assert_same_state(stream.state, expected)


@pytest.mark.parametrize("rows", [3, -4, [0, 3], 1.0, "a", [True, False], (0, slice(1))], ids=str)
def test_rows_there_are_not(rows: Any) -> None:
    layer = small()
    stream, start = layer.stream(3), start_of(layer, 3)
    stream.state = start
    with pytest.raises(IndexError):
        stream.reset(rows)
    assert_same_state(stream.state, start)


# ---- copies


@every_cell
@every_dtype
def test_pickled_and_loaded_on_another_instruction_set(cell: Any, dtype: str) -> None:
    here = _core.isa()
    layer, x = small(cell, dtype=dtype, batch_first=True), normal((3, 8, 5), dtype)
    stream = layer.stream(3)
    stream.steps(x[:, :4])
    after = stream.state
    kept = pickle.dumps(stream)
    try:
        for isa in _core.isas():
            _core.set_isa(isa)
            y, end = layer(x[:, 4:], after)
            loaded = pickle.loads(kept)
            assert_same_bits(loaded.steps(x[:, 4:]), y, "y")
            assert_same_state(loaded.state, end)
            assert repr(loaded) == repr(stream)
            _core.set_isa(here)
            y, _ = layer(x[:, 4:], after)
            stream.state = after
            _core.set_isa(isa)
            assert_same_bits(stream.steps(x[:, 4:]), y, "y of a stream that was made before")
    finally:
        _core.set_isa(here)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_go_their_own_way(copied: Any) -> None:
    layer, x = small(), normal((8, 3, 5))
    stream = layer.stream(3)
    stream.steps(x[:4])
    twin = copied(stream)
    y, end = layer(x)
    assert_same_bits(stream.steps(x[4:]), y[4:], "y")
    assert_same_bits(twin.steps(x[4:]), y[4:], "y of the copy")
    twin.reset()
    assert_same_state(stream.state, end)


def test_repr() -> None:
    assert repr(small().stream(3)) == "<Stream of LSTM(5, 7, 2), batch=3>"
