"""checkpoint_every: less memory, and not a bit of a gradient changed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cells import CELLS, GRU, LSTM, RNNS, Case, Cell, states
from parity import assert_same, numbers, random_call, results
from processes import output, peak

import bptt
from bptt import _core, functional

every_cell = pytest.mark.parametrize("cell", CELLS, ids=str)
either_team = pytest.mark.parametrize("team", [1, 3])


@pytest.fixture
def team(team: int) -> Iterator[int]:
    """Share the smallest work among so many threads."""
    before = bptt.get_num_threads()
    bptt.set_num_threads(team)
    _core.set_always_share(team > 1)
    yield team
    bptt.set_num_threads(before)
    _core.set_always_share(False)


def everything(
    module: ModuleType, cell: Cell, problem: Any, wrt: Any = None, **options: Any
) -> dict[str, Any]:
    """All that a call gives: results, gradients and what its cache says it saved."""
    forward, backward = problem
    result = cell.forward(module, {**forward, **options, "training": True})
    gradients = cell.backward(module, result.cache, {**backward, "wrt": wrt})
    gradients = {name: value for name, value in gradients.items() if value is not None}
    return {**states(result), **gradients, **result.cache.arrays()}


# ---- the same bits

# T, N, I, H: with blocks of 64, 21, 7 and 1 steps in sums over rows; members that take sequences,
# or units, or nothing; groups of units that are not full
SIZES = (0, 3, 2, 4), (1, 2, 3, 5), (130, 1, 3, 17), (50, 3, 4, 70), (37, 9, 5, 33), (9, 70, 3, 17)


@every_cell
@either_team
def test_nothing_changes(impl: ModuleType, cell: Cell, team: int) -> None:
    for i, size in enumerate(SIZES):
        for mark in range(4):
            dtype = "float32" if (i + mark) % 2 else "float64"
            case = Case(cell, *size, dtype, ragged=bool(mark & 1), reverse=bool(mark & 2), kink=-1)
            problem = case.problem()
            expected = everything(impl, cell, problem)
            for k in (1, 7, np.int64(64), 2**70):
                assert_same(everything(impl, cell, problem, checkpoint_every=k), expected)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=str)
@pytest.mark.parametrize(
    ("inputs", "H"),
    [(40, 300), (40, 33), (600, 33)],
    ids=["by units", "by sequences", "by sequences, shared panels"],
)
@either_team
def test_nothing_changes_in_large_steps(
    compiled: ModuleType, cell: Cell, inputs: int, H: int, team: int
) -> None:
    problem = Case(cell, 150, 7, inputs, H, "float32", ragged=True).problem()
    expected = everything(compiled, cell, problem)
    assert_same(everything(compiled, cell, problem, checkpoint_every=20), expected)


@every_cell
@either_team
def test_nothing_changes_if_the_last_segment_has_wider_tiles(
    compiled: ModuleType, cell: Cell, team: int
) -> None:
    """One row, where all segments before have many: more columns at once, more scratch for them."""
    problem = Case(cell, 65, 1, 384, 384, "float32").problem()
    for wrt in (None, ["x"]):
        expected = everything(compiled, cell, problem, wrt)
        assert_same(everything(compiled, cell, problem, wrt, checkpoint_every=64), expected)


@every_cell
def test_some_gradients_only(impl: ModuleType, cell: Cell) -> None:
    problem = Case(cell, 40, 3, 3, 17, ragged=True).problem()
    for name in cell.fields:
        expected = everything(impl, cell, problem, [name])
        assert_same(everything(impl, cell, problem, [name], checkpoint_every=21), expected)
    assert (
        everything(impl, cell, problem, [], checkpoint_every=21).keys().isdisjoint({"dx", "dh_0"})
    )


@every_cell
def test_arrays_and_gradients_that_are_left_out(impl: ModuleType, cell: Cell) -> None:
    forward, _ = Case(cell, 40, 3, 3, 17, without=frozenset(cell.optional)).problem()
    for upstream in ({}, {"dy": numbers().normal(size=(40, 3, 17))}):
        expected = everything(impl, cell, (forward, upstream))
        assert_same(everything(impl, cell, (forward, upstream), checkpoint_every=16), expected)


@every_cell
def test_only_x_and_the_weights_are_referred_to(impl: ModuleType, cell: Cell) -> None:
    """What is written into y, the states and lengths after the call changes no gradient."""
    forward, backward = Case(cell, 50, 3, 3, 17, "float32", ragged=True).problem()
    expected = cell.backward(
        impl, cell.forward(impl, {**forward, "training": True}).cache, backward
    )
    out = np.empty((50, 3, 17), "f")
    result = cell.forward(impl, {**forward, "training": True, "checkpoint_every": 21, "out": out})
    for name in ("h_0", "c_0", "lengths"):
        if name in forward:
            forward[name][...] = 3
    for array in states(result).values():
        array[...] = np.nan
    for _ in range(2):  # nor does a backward pass
        assert_same(cell.backward(impl, result.cache, backward), expected)


def test_y_may_lie_over_what_is_needed_again(impl: ModuleType) -> None:
    forward, backward = Case(LSTM, 50, 3, 17, 17, "float32").problem()
    expected = everything(impl, LSTM, (forward, backward))
    memory = np.zeros((50, 3, 17), "f")
    for name in ("b_ih", "b_hh", "w_hh", "h_0", "x"):
        over = memory.reshape(-1)[: forward[name].size].reshape(forward[name].shape)
        over[...] = forward[name]
        moved = {**forward, name: over}
        found = everything(impl, LSTM, (moved, backward), checkpoint_every=21, out=memory)
        assert_same(found, expected)


@every_cell
@pytest.mark.parametrize("reverse", [False, True])
def test_past_its_end_nothing_of_a_sequence_is_read(
    impl: ModuleType, cell: Cell, reverse: bool
) -> None:
    forward, backward = Case(cell, 60, 9, 3, 17, reverse=reverse).problem()
    forward["lengths"] = np.array([0, 1, 6, 7, 8, 20, 60, 33, 0])
    problems = []
    for filler in (0, np.nan):
        x, dy = forward["x"].copy(), backward["dy"].copy()
        for n, length in enumerate(forward["lengths"]):
            x[length:, n] = dy[length:, n] = filler
        problems.append(({**forward, "x": x}, {**backward, "dy": dy}))
    expected = everything(impl, cell, problems[0])
    assert_same(everything(impl, cell, problems[1], checkpoint_every=7), expected)


# ---- what it is refused


def test_without_training_it_is_refused(impl: ModuleType) -> None:
    forward, _ = Case(RNNS[0]).problem()
    with pytest.raises(ValueError, match=r"^checkpoint_every is 3, must be None"):
        impl.rnn_forward(**forward, checkpoint_every=3)


@pytest.mark.parametrize("kind", [bptt.RNN, bptt.LSTM, bptt.GRU])
def test_layers_check_it(kind: Any) -> None:
    assert kind(2, 3).checkpoint_every is None
    assert repr(kind(2, 3, checkpoint_every=5)) == f"{kind.__name__}(2, 3, checkpoint_every=5)"
    for value, error in ((0, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match=r"^checkpoint_every\b"):
            kind(2, 3, checkpoint_every=value)


# ---- layers


@pytest.mark.parametrize("kind", [bptt.RNN, bptt.LSTM, bptt.GRU])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_layers_give_the_same(
    backend: str, kind: Any, batch_first: bool, bidirectional: bool
) -> None:
    found = []
    for k in (None, 30):
        layer = kind(
            *(3, 9, 2),
            batch_first=batch_first,
            dropout=0.3,
            bidirectional=bidirectional,
            rng=0,
            backend=backend,
            checkpoint_every=k,
        )
        call = random_call(layer, 70, 4, lengths=[70, 0, 33, 8])
        assert layer(call["x"])[0].shape == call["dy"].shape  # inference takes no notice
        found.append(results(layer, call))
    assert_same(found[1], found[0])


# ---- memory


def extra_memory(name: str, k: int | None) -> None:
    """Print the bytes that a training step of 10,000 steps takes beside its x and y."""
    cell = {cell.name: cell for cell in CELLS}[name]
    T, N, H = 10_000, 4, 32
    rows = cell.gates * H
    weights = {"w_ih": np.ones((rows, 1), "f"), "w_hh": np.full((rows, H), 0.01, "f")}
    x, out, dh_n = np.ones((T, N, 1), "f"), np.ones((T, N, H), "f"), np.ones((N, H), "f")

    def step(T: int) -> None:
        given = {**weights, "x": x[:T], "out": out[:T], "training": True, "checkpoint_every": k}
        cache = cell.forward(functional, given).cache
        cell.backward(functional, cache, {"dh_n": dh_n, "wrt": ["w_ih", "w_hh"]})

    step(1)
    before = peak()
    step(T)
    print(peak() - before)


@every_cell
def test_memory_is_less(cell: Cell) -> None:
    """Of 10,000 steps with k = 100; what is kept of all of them is known exactly."""
    values = {"rnn": 1, "lstm": 6, "gru": 5}[cell.name]  # a unit and step
    whole, some = (
        int(output(f"import test_checkpoint as t; t.extra_memory({cell.name!r}, {k})"))
        for k in (None, 100)
    )
    kept = values * 10_000 * 4 * 32 * 4
    assert whole > kept
    # states before 100 segments, what one of them keeps, and scratch
    assert some < 2 * kept / 100 + 2**20
    assert some < whole / 5


# ---- signals


def test_a_signal_ends_a_long_backward() -> None:
    """Between its segments and within, and the cache is good for another call."""

    class Alarm(Exception):
        pass

    def ring(*_: object) -> None:
        raise Alarm

    T, H = 40_000, 128
    w_ih, w_hh = np.zeros((4 * H, 1), "f"), np.zeros((4 * H, H), "f")
    x = np.ones((T, 1, 1), "f")
    cache = functional.lstm_forward(x, w_ih, w_hh, training=True, checkpoint_every=64).cache
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Alarm):
            functional.lstm_backward(cache, dh_n=np.ones((1, H), "f"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert functional.lstm_backward(cache, wrt=["h_0"]).h_0 is not None
