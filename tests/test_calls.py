"""What calls do to their process beside computing: floating-point mode, signals, memory."""

from __future__ import annotations

import ctypes
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from cells import GRU, LSTM, Case, compute
from numpy.lib.stride_tricks import as_strided
from processes import assert_interrupted, output, peak
from teams import settings_kept, team_of  # noqa: F401  (a fixture)
from tolerances import assert_same_bits

import bptt
from bptt import _core, functional

every_team = pytest.mark.parametrize("team", [1, 3])


# ---- the floating-point mode

MODES = {"usual": 0x1F80, "flushing": 0x9FC0, "rounding up": 0x5F80}
FLAGS = 0x3F  # exceptions seen so far: by whatever this thread computed


class Mode:
    """This thread's MXCSR, by way of the C library's fenv_t."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libm.so.6")
        self.before = self.get()

    def _fenv(self) -> ctypes.Array[ctypes.c_uint32]:
        fenv = (ctypes.c_uint32 * 8)()
        self.library.fegetenv(fenv)
        return fenv

    def get(self) -> int:
        return self._fenv()[7] & ~FLAGS

    def set(self, mxcsr: int) -> None:
        fenv = self._fenv()
        fenv[7] = mxcsr
        self.library.fesetenv(fenv)


@pytest.fixture
def mode() -> Iterator[Mode]:
    mode = Mode()
    yield mode
    mode.set(mode.before)


every_mode = pytest.mark.parametrize("mxcsr", MODES.values(), ids=MODES)
either = pytest.mark.parametrize("flush", [True, False], ids=["flush", "keep"])


@every_mode
@every_team
@either
def test_the_callers_mode_is_left_alone(mode: Mode, mxcsr: int, team: int, flush: bool) -> None:
    team_of(team)
    bptt.set_flush_denormal(flush)
    forward, backward = Case(GRU, 20, 9, 5, 33).problem()
    mode.set(mxcsr)
    result = functional.gru_forward(**forward, training=True)
    after_forward = mode.get()
    functional.gru_backward(result.cache, **backward)
    after_backward = mode.get()
    mode.set(mode.before)
    assert f"{after_forward:x} {after_backward:x}" == f"{mxcsr:x} {mxcsr:x}"


@every_mode
@every_team
@either
def test_denormals_in_every_thread(mode: Mode, mxcsr: int, team: int, flush: bool) -> None:
    """Whether they are kept is set_flush_denormal's to say, not the caller's mode's."""
    team_of(team)
    bptt.set_flush_denormal(flush)
    tiny = np.full((4, 9, 17), np.finfo("f").tiny / 4, "f")
    eye, zeros = np.eye(17, dtype="f"), np.zeros((17, 17), "f")
    mode.set(mxcsr)
    y, _, cache = functional.rnn_forward(tiny, eye, zeros, nonlinearity="identity", training=True)
    dx = functional.rnn_backward(cache, tiny).x
    mode.set(mode.before)
    expected = np.zeros_like(tiny) if flush else tiny
    assert_same_bits(y, expected, "y")
    assert_same_bits(dx, expected, "dx")


@every_mode
def test_the_callers_mode_changes_no_bit(mode: Mode, mxcsr: int) -> None:
    case = Case(LSTM, 20, 9, 5, 33, "float32")
    problem = case.problem()
    expected = compute(functional, LSTM, *problem)
    for team in (1, 3):
        team_of(team)
        mode.set(mxcsr)
        found = compute(functional, LSTM, *problem)
        mode.set(mode.before)
        for name, value in found.items():
            assert_same_bits(value, expected[name], name)


# ---- signals


def interrupted_forward() -> None:
    """Make a call of many seconds, in little memory."""
    # what a shell starts in the background ignores SIGINT
    signal.signal(signal.SIGINT, signal.default_int_handler)
    T, H = 3_000_000, 256
    w_ih, w_hh = np.zeros((4 * H, 1), "f"), np.zeros((4 * H, H), "f")
    x, out = (as_strided(np.zeros(n, "f"), (T, 1, n), (0, 0, 4)) for n in (1, H))
    print("begins", flush=True)
    try:
        functional.lstm_forward(x, w_ih, w_hh, out=out)
    except KeyboardInterrupt:
        print("interrupted")


@every_team
def test_ctrl_c_ends_a_long_call(team: int) -> None:
    program = "import test_calls as t; t.interrupted_forward()"
    assert_interrupted(program, 0.5, BPTT_NUM_THREADS=str(team))


class Handled(Exception):
    """What a signal's handler raises."""


def with_alarm(call: Callable[[], Any], handler: Callable[[int], None]) -> Any:
    """Make a call with an alarm in 50 ms, and again 50 ms after handler(visit) has returned."""
    visits, active = 0, True

    def handle(*_: object) -> None:
        nonlocal visits
        if active:
            visits += 1
            handler(visits)
            signal.setitimer(signal.ITIMER_REAL, 0.05)

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        return call()
    finally:
        active = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def duration(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def long_backward() -> Callable[[], Any]:
    """Return a call of about a second, which is alike for all machines' memory and patience."""
    T, N, H = 125, 8, 768
    rng = np.random.default_rng(0)
    w_ih, w_hh = np.zeros((4 * H, 1), "f"), rng.normal(0, 0.03, (4 * H, H)).astype("f")
    seconds = 0.0
    while seconds < 0.8:
        T = 2 * T
        x, dy = (as_strided(np.ones(n, "f"), (T, N, n), (0, 0, 4)) for n in (1, H))
        cache = functional.lstm_forward(x, w_ih, w_hh, training=True).cache

        def call(cache: Any = cache, dy: Any = dy) -> Any:
            return functional.lstm_backward(cache, dy)

        seconds = duration(call)
    return call


def test_a_signal_ends_a_long_backward() -> None:
    """A handler runs twice in one call, hence within it, and its exception is the call's."""
    problem = Case(LSTM, 20, 9, 5, 33).problem()
    expected = compute(functional, LSTM, *problem)
    team_of(2)
    call = long_backward()

    def handler(visit: int) -> None:
        if visit == 2:
            raise Handled

    for team in (2, 1):
        team_of(team)
        with pytest.raises(Handled):
            with_alarm(call, handler)
        for name, value in compute(functional, LSTM, *problem).items():
            assert_same_bits(value, expected[name], f"{name} of a later call")


@every_team
def test_a_signals_handler_is_python_as_ever(team: int) -> None:
    """It may call bptt, its arithmetic keeps denormals, and the waiting call comes out the same."""
    team_of(team)
    problem = Case(GRU, 20, 9, 5, 33).problem()
    expected = compute(functional, GRU, *problem)
    tiny, found = np.float64(5e-324), []
    T, H = 60000, 200
    w_ih = np.ones((3 * H, 1), "f")
    w_hh = np.random.default_rng(0).normal(0, 0.05, (3 * H, H)).astype("f")
    x = as_strided(np.ones(1, "f"), (T, 8, 1), (0, 0, 4))

    def handler(visit: int) -> None:
        found.append((compute(functional, GRU, *problem), (tiny * 1).tobytes()))

    def call() -> Any:
        return functional.gru_forward(x, w_ih, w_hh).h_n

    undisturbed = call()
    assert_same_bits(with_alarm(call, handler), undisturbed, "h_n")
    assert len(found) > 1
    for inner, product in found:
        assert product == tiny.tobytes()
        for name, value in inner.items():
            assert_same_bits(value, expected[name], name)


# ---- the end of the process


def test_the_process_ends_while_threads_compute() -> None:
    """Daemon threads are in calls, or wait for the interpreter after one, when Python goes away."""
    program = """if True:
        import threading, time, numpy as np, bptt
        bptt._core.set_always_share(True)
        x, w = np.zeros((200, 8, 64), "f"), np.zeros((64, 64), "f")
        def work():
            while True:
                bptt.functional.rnn_forward(x, w, w)
        for _ in range(4):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)"""
    for n in ("1", "2"):
        assert output(program, BPTT_NUM_THREADS=n) == ""


# ---- memory

MiB = 2**20


def resident() -> int:
    """Bytes of memory that this process has."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def faults() -> int:
    """Pages that this process has been given so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def growth(call: Callable[[], object], few: int, many: int) -> int:
    """Return by how much memory grows from `few` calls to `many`."""
    for _ in range(few):
        call()
    before = resident()
    for _ in range(few, many):
        call()
    return resident() - before


def small_calls() -> None:
    """Assert that very many small calls take little time, no memory and no references."""
    numbers = [np.ones(shape, "f") for shape in ((1, 1, 1), (1, 1), (1, 1), (1,), (1,), (1, 1))]
    lengths = np.ones(1, int)

    def forward() -> None:
        functional.rnn_forward(*numbers, lengths=lengths)

    def training() -> None:
        cache = functional.rnn_forward(*numbers, training=True).cache
        functional.rnn_backward(cache, numbers[0], numbers[5])
        cache.arrays()

    def failing() -> None:
        try:
            functional.rnn_forward(*numbers[:3], b_ih=numbers[0])
        except ValueError:
            return
        raise AssertionError

    references = [sys.getrefcount(argument) for argument in (*numbers, lengths)]
    begin = time.process_time()
    grown = growth(forward, 200_000, 1_000_000)
    seconds = time.process_time() - begin
    assert grown < MiB, f"{grown} bytes in 800 000 calls"
    assert seconds < 20, f"{seconds} s for 1 000 000 calls"
    for call in (training, failing):
        grown = growth(call, 10_000, 60_000)
        assert grown < MiB, f"{grown} bytes in 50 000 calls"
    assert [sys.getrefcount(argument) for argument in (*numbers, lengths)] == references


def test_memory_does_not_grow() -> None:
    output("import test_calls as t; t.small_calls()")


def large_calls() -> None:
    """Assert that memory of a call is used again by the next, and given back when asked."""
    T, N, H = 250, 100, 250
    x = as_strided(np.ones(1, "f"), (T, N, 1), (0, 0, 4))
    w_ih, w_hh = np.ones((4 * H, 1), "f"), np.zeros((4 * H, H), "f")
    out = np.ones((T, N, H), "f")
    kept = 6 * out.nbytes  # i f g o h c

    def call() -> int:
        """Return the faults of a call."""
        before = faults()
        functional.lstm_forward(x, w_ih, w_hh, out=out, training=True)
        return faults() - before

    functional.lstm_forward(x[:1], w_ih, w_hh)
    before = resident()
    first = call()
    assert resident() - before > kept
    assert max(call() for _ in range(3)) < first / 8, "fresh memory for each call"
    assert resident() - before < 1.5 * kept
    bptt.free_memory()
    assert resident() - before < kept / 8
    bptt.free_memory()
    assert call() > first / 2, "memory that was not given back"


def test_large_blocks_are_used_again_until_freed() -> None:
    output("import test_calls as t; t.large_calls()")


def large_weights() -> None:
    """Assert that gradients of weights take the place of the weights' panels."""
    H = 896  # in whole vectors, or w_hh's panels have no place in dw_hh
    x, w = np.ones((3, 1, H), "f"), np.full((4 * H, H), 1e-3, "f")

    before = peak()
    cache = functional.lstm_forward(x, w, w, training=True).cache
    gradients = functional.lstm_backward(cache, dh_n=x[0])
    beside = peak() - before - gradients.w_ih.nbytes - gradients.w_hh.nbytes
    assert beside < w.nbytes / 2, f"{beside} bytes beside two gradients of {w.nbytes}"


def test_gradients_take_the_place_of_panels() -> None:
    output("import test_calls as t; t.large_weights()")


def test_what_a_cache_keeps_is_not_freed() -> None:
    case = Case(LSTM, 20, 9, 5, 33)
    forward, backward = case.problem()
    expected = compute(functional, LSTM, forward, backward)
    cache = LSTM.forward(functional, {**forward, "training": True}).cache
    bptt.free_memory()
    compute(functional, LSTM, {**forward, "x": 2 * forward["x"]}, backward)
    for name, value in LSTM.backward(functional, cache, backward).items():
        assert_same_bits(value, expected[name], name)


@pytest.mark.parametrize(
    "call",
    [
        lambda: _core.Cache.__new__(_core.Cache).arrays(),
        lambda: functional.rnn_backward(_core.Cache.__new__(_core.Cache)),
        lambda: functional.rnn_forward(
            np.ones((2, 1, 1)), *[np.ones((1, 1))] * 2, lengths=_core.Lengths.__new__(_core.Lengths)
        ),
    ],
)
def test_what_has_no_init_is_refused(call: Callable[[], object]) -> None:
    """Else there would be nothing in the object, which compiled code would read."""
    with pytest.raises(
        TypeError, match=r"^(self|cache|lengths) is a \w+ without __init__, must be"
    ):
        call()


@pytest.mark.parametrize(("lengths", "T", "N"), [(None, 2, 1), ([1], -2, 1), ([], 2, -1)])
def test_lengths_that_are_none(lengths: object, T: int, N: int) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^(lengths is None|T and N must be)"):
        _core.Lengths(lengths, T, N)  # type: ignore[arg-type]


def test_lengths_of_another_call() -> None:
    x, w = np.ones((3, 2, 1)), np.ones((1, 1))
    sorted_once = _core.Lengths([1, 3], 3, 2)
    y = functional.rnn_forward(x, w, w, lengths=sorted_once).y
    assert_same_bits(y, functional.rnn_forward(x, w, w, lengths=[1, 3]).y, "y")
    with pytest.raises(ValueError, match=r"^lengths is for T, N = 3, 2, must be for 2, 2"):
        functional.rnn_forward(x[:2], w, w, lengths=sorted_once)
