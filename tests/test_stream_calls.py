"""Streams: what steps do to their process, and to each other in several threads."""

from __future__ import annotations

import pickle
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from processes import output
from test_calls import MODES, MiB, Mode, growth, with_alarm
from tolerances import assert_same_bits

import bptt
from bptt import _core

pytestmark = pytest.mark.usefixtures("compiled")  # each instruction set in turn


def counter(batch: int = 1) -> bptt.Stream:
    """A stream whose y is the number of steps, if every x is one."""
    layer = bptt.RNN(1, 1, bias=False, nonlinearity="identity", dtype=np.float64)
    for weight in layer.params.values():
        weight[...] = 1
    return layer.stream(batch)


# ---- memory


def ready_arrays() -> Iterator[tuple[bptt.Stream, Any, Any]]:
    """Streams, and an x and an out for which a step allocates nothing."""
    for layer in (bptt.RNN(5, 7, rng=0), bptt.LSTM(5, 7, 3, rng=0), bptt.GRU(5, 70, 2, rng=0)):
        for N in (1, 3):
            x, out = np.ones((N, 5), "f"), np.empty((N, layer.hidden_size), "f")
            constant = np.ones((N, 5), "f")
            constant.flags.writeable = False
            yield layer.stream(N), x, out
            yield layer.stream(N), constant, out
            yield layer.stream(N), *pickle.loads(pickle.dumps((x, out)))
        yield layer.stream(), x[0], out[0]


def allocated_by(call: Callable[[], object], times: int) -> tuple[int, int]:
    """Bytes of Python's and NumPy's memory that calls leave behind, and the most at any moment."""
    tracemalloc.start()
    for _ in repeat(None, 10):
        call()
    many = repeat(None, times)
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    for _ in many:
        call()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return after - before, peak - before


def test_a_step_with_out_allocates_nothing() -> None:
    """Not even for a moment. What other threads allocate meanwhile is not in every turn."""
    for stream, x, out in ready_arrays():
        turns = (allocated_by(partial(stream.step, x, out), 10_000) for _ in range(20))
        assert (0, 0) in turns


def many_steps() -> None:
    """Assert that steps of all kinds, also failing ones, leave no memory and no references."""
    layer = bptt.LSTM(5, 7, 2, rng=0)
    stream, x, out = layer.stream(3), np.ones((3, 5), "f"), np.empty((3, 7), "f")
    wrong, block, numbers = x.astype("d"), np.ones((4, 3, 5), "f"), x.tolist()
    ends, state = block[::-1], stream.state

    def fail() -> None:
        try:
            stream.step(wrong, out)
        except TypeError:
            return
        raise AssertionError

    def all_else() -> None:
        stream.step(x)
        stream.step(numbers, out)
        stream.step(x.T.copy().T, out)
        stream.steps(block)
        stream.steps(ends, block[..., :1].repeat(7, -1))
        stream.state = state
        stream.reset([0])
        fail()

    def made() -> None:
        pickle.loads(pickle.dumps(layer.stream(2)))

    held = (x, out, wrong, block, ends, *state, stream)
    references = [sys.getrefcount(each) for each in held]
    for call, few, many in (
        (lambda: stream.step(x, out), 10_000, 110_000),
        (all_else, 1_000, 11_000),
        (made, 1_000, 6_000),
    ):
        grown = growth(call, few, many)
        assert grown < MiB, f"{grown} bytes in {many - few} calls"
    assert [sys.getrefcount(each) for each in held] == references


def test_memory_does_not_grow() -> None:
    output("import test_stream_calls as t; t.many_steps()", BPTT_ISA=_core.isa())


# ---- the floating-point mode


@pytest.fixture
def mode() -> Iterator[Mode]:
    mode = Mode()
    yield mode
    mode.set(mode.before)
    bptt.set_flush_denormal(True)


@pytest.mark.parametrize("mxcsr", MODES.values(), ids=MODES)
@pytest.mark.parametrize("flush", [True, False], ids=["flush", "keep"])
def test_denormals_and_the_callers_mode(mode: Mode, mxcsr: int, flush: bool) -> None:
    """A state that decays ends as a denormal only if they are kept; the mode is the caller's."""
    layer = bptt.RNN(1, 3, bias=False, nonlinearity="identity")
    layer.params["weight_ih_l0"][...] = 1
    layer.params["weight_hh_l0"][...] = np.eye(3) / 2
    bptt.set_flush_denormal(flush)
    stream, x, out = layer.stream(), np.full((1, 1), 2.0**-120, "f"), np.empty((1, 3), "f")
    zeros, block = np.zeros((1, 1), "f"), np.zeros((6, 1, 1), "f")
    mode.set(mxcsr)
    stream.step(x, out)
    for _ in repeat(None, 6):
        stream.step(zeros, out)
    after_step = mode.get()
    stream.steps(block)
    after_steps = mode.get()
    mode.set(mode.before)
    assert f"{after_step:x} {after_steps:x}" == f"{mxcsr:x} {mxcsr:x}"
    assert_same_bits(out, np.full((1, 3), 2.0**-126, "f"), "y")
    last = np.full((1, 1, 3), 0 if flush else 2.0**-132, "f")
    assert_same_bits(stream.state, last, "state")


@pytest.mark.parametrize("mxcsr", MODES.values(), ids=MODES)
@pytest.mark.parametrize("flush", [True, False], ids=["flush", "keep"])
def test_biases_are_added_in_the_kernels_mode(mode: Mode, mxcsr: int, flush: bool) -> None:
    """Two denormals make a normal number, unless they are flushed; and thirds need rounding."""
    layer = bptt.RNN(1, 2, nonlinearity="identity")
    for name, array in layer.params.items():
        array[...] = (1e-38, 1 / 3) if "bias_ih" in name else (1e-38, 1e-9) if "bias" in name else 0
    bptt.set_flush_denormal(flush)
    x = np.zeros((1, 1, 1), "f")
    mode.set(mxcsr)
    stream = layer.stream()
    after = mode.get()
    mode.set(mode.before)
    assert f"{after:x}" == f"{mxcsr:x}"
    y = layer(x)[0]
    assert (y[0, 0, 0] == 0) == flush
    assert_same_bits(stream.step(x[0]), y[0], "y")


# ---- objects that are none


@pytest.mark.parametrize("kind", [bptt.Stream, _core.Stream])
def test_a_stream_without_init(kind: type[bptt.Stream]) -> None:
    """A TypeError, not a call into nothing."""
    empty = kind.__new__(kind)
    for call in (
        lambda: empty.step(np.ones((1, 1))),
        lambda: _core.Stream.steps(empty, np.ones((1, 1, 1))),
        lambda: empty.get_state(),
        lambda: empty.set_state(np.ones((1, 1, 1))),
        lambda: empty.clear(np.ones(1, bool)),
        lambda: kind.step(layer_as_a_stream(), np.ones((1, 1))),
    ):
        with pytest.raises(TypeError, match=r"^self is .*, must be"):
            call()


def layer_as_a_stream() -> Any:
    return bptt.RNN(1, 1)


# ---- threads


@pytest.fixture
def _hasty() -> Iterator[None]:
    """Let Python's threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(*works: Any) -> list[Any]:
    """Return what functions return that begin together, a thread each."""
    begin = threading.Barrier(len(works))

    def wait_and(work: Any) -> Any:
        begin.wait(30)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(wait_and, works))


@pytest.mark.usefixtures("_hasty")
def test_streams_in_threads_of_their_own() -> None:
    layers = [make(5, 33, 2, rng=0) for make in (bptt.LSTM, bptt.GRU, bptt.RNN, bptt.LSTM)]
    x = np.random.default_rng(0).standard_normal((500, 3, 5)).astype("f")
    streams = [layer.stream(3) for layer in layers]
    found = at_once(*(lambda s=stream: np.stack([s.step(x_t) for x_t in x]) for stream in streams))
    for layer, y in zip(layers, found, strict=True):
        assert_same_bits(y, layer(x)[0], "y")


@pytest.mark.usefixtures("_hasty")
def test_steps_of_one_stream_come_one_after_another() -> None:
    """Each of them, whichever way it is made, is one of a series."""
    stream = counter()
    one, ones, out = np.ones((1, 1)), np.ones((3, 1, 1)), np.empty((1, 1))
    ways = [
        lambda: [stream.step(one).item() for _ in range(2000)],
        lambda: [stream.step([1]).item() for _ in range(2000)],
        lambda: [stream.step(one, out.copy()).item() for _ in range(2000)],
        lambda: [y for _ in range(2000) for y in stream.steps(ones).ravel()],
    ]
    found = sorted(y for ys in at_once(*ways) for y in ys)
    assert found == list(range(1, 12_001))


@pytest.mark.usefixtures("_hasty")
def test_a_reset_of_one_row_loses_no_step_of_the_others() -> None:
    stream, x = counter(2), np.ones((2, 1))

    def steps() -> None:
        for _ in range(5000):
            stream.step(x)

    def resets() -> None:
        for _ in range(5000):
            stream.reset(1)

    at_once(steps, steps, resets)
    stream.reset([1])
    assert stream.state.ravel().tolist() == [10_000, 0]


# ---- signals


class Handled(Exception):
    """What a signal's handler raises."""


def long_block(T: int = 100_000_000) -> tuple[Any, Any]:
    """Return x and out of very many steps, in little memory."""
    one = np.ones(1)
    return as_strided(one, (T, 1, 1), (0, 0, 8)), as_strided(one.copy(), (T, 1, 1), (0, 0, 8))


def test_a_signal_ends_a_long_block() -> None:
    """As Ctrl-C does; no step was taken then."""
    stream = counter()
    stream.step([1])

    def handler(visit: int) -> None:
        raise Handled

    with pytest.raises(Handled):
        with_alarm(lambda: stream.steps(*long_block()), handler)
    assert stream.step([1]).item() == 2


def test_a_signals_handler_may_step() -> None:
    stream, handled = counter(), []
    x, out = long_block(5_000_000)

    def handler(visit: int) -> None:
        handled.append(stream.steps(np.ones((2, 1)))[1].item() - stream.step([1]).item())

    with_alarm(lambda: stream.steps(x, out), handler)
    assert handled
    assert set(handled) == {-1}
    assert stream.state.item() == len(x) + 3 * len(handled)
