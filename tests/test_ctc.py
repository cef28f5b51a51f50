"""The CTC loss: the definition, PyTorch, what is infinite or NaN, threads, and what is refused."""

from __future__ import annotations

import doctest
import itertools
import math
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from parity import normal, numbers, slope_along
from processes import assert_interrupted
from tolerances import assert_close, assert_same_bits

import bptt
from bptt import _core, functional, reference
from bptt.reference import ctc

Floats = NDArray[np.floating[Any]]

DTYPES = ["float32", "float64"]


def problem(T=12, N=6, C=4, S=4, *, blank=0, dtype="float64", seed=0) -> dict[str, Any]:
    """Arguments with all lengths, targets full of repetitions, and what is padded beyond reason."""
    rng = numbers(seed)
    input_lengths = rng.integers(T // 2 + 3, T + 1, N)
    target_lengths = rng.integers(0, S, N)
    input_lengths[0], target_lengths[:3] = T, (S, 0, 1)
    targets = rng.integers(0, C - 1, (N, S))
    targets += targets >= blank
    targets[np.arange(S) >= target_lengths[:, np.newaxis]] = -7
    logits = 2 * normal((T, N, C), dtype, seed + 1)
    logits[np.arange(T)[:, np.newaxis] >= input_lengths] = np.nan
    return {
        "logits": logits,
        "targets": targets,
        "input_lengths": input_lengths,
        "target_lengths": target_lengths,
        "blank": blank,
    }


def compare(torch, found, arguments) -> None:
    """Value and gradient against PyTorch's, in float64."""
    given = dict(arguments)
    lengths = given["input_lengths"]
    padding = np.arange(len(given["logits"]))[:, np.newaxis] >= np.asarray(lengths)
    clean = np.where(padding[..., np.newaxis], 0, given.pop("logits"))
    logits = torch.tensor(clean, requires_grad=True)
    for name in ("targets", "input_lengths", "target_lengths"):
        given[name] = torch.as_tensor(given[name])
    value = torch.nn.functional.ctc_loss(logits.log_softmax(-1), **given)
    value.backward()
    assert found[0] == pytest.approx(value.item(), rel=1e-13)
    expected = logits.grad.numpy()
    assert np.array_equal(np.isnan(found[1]), np.isnan(expected))
    assert_close("ctc against PyTorch", "float64", np.nan_to_num(found[1]), np.nan_to_num(expected))


# ---- the definition


def probability(logits: Floats, target: tuple[int, ...], blank: int) -> float:
    """Sum over all ways to emit a class at each step which leave the target."""
    y = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        merged = tuple(c for c, _ in itertools.groupby(path) if c != blank)
        if merged == target:
            total += math.prod(y[t, c] for t, c in enumerate(path))
    return total


@pytest.mark.parametrize("target", [(), (1,), (1, 1), (2, 1), (1, 2, 1), (2, 2, 1)])
@pytest.mark.parametrize("blank", [0, 3])
def test_value_is_the_sum_over_all_paths(impl, target, blank):
    logits = normal((5, 1, 4))
    value, _ = impl.ctc_loss(logits, [target], [5], [len(target)], blank)
    expected = -math.log(probability(logits[:, 0], target, blank)) / max(len(target), 1)
    assert value == pytest.approx(expected, rel=1e-13)


def test_gradient_is_the_slope_of_the_value(impl):
    arguments = problem()
    logits = arguments["logits"]
    direction = normal(logits.shape, seed=5)
    _, dlogits = impl.ctc_loss(**arguments)
    slope = slope_along(lambda: impl.ctc_loss(**arguments)[0], [logits], [direction])
    assert slope == pytest.approx(np.sum(dlogits * direction), rel=1e-8)


# ---- PyTorch


@pytest.mark.parametrize("blank", [0, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_equals_torch(torch, impl, blank, seed):
    arguments = problem(blank=blank, seed=seed)
    compare(torch, impl.ctc_loss(**arguments), arguments)


@pytest.mark.parametrize("blank", [0, 5])
def test_concatenated_targets_equal_torch(torch, impl, blank):
    arguments = problem(C=6, blank=blank)
    rows = zip(arguments["targets"], arguments["target_lengths"], strict=True)
    joined = np.concatenate([row[:length] for row, length in rows])
    expected = impl.ctc_loss(**arguments)
    arguments["targets"] = joined
    found = impl.ctc_loss(**arguments)
    compare(torch, found, arguments)
    assert found[0] == expected[0]
    assert_same_bits(found[1], expected[1], "dlogits")


# input lengths, targets, their lengths: no steps with and without labels, targets that do not fit,
# just fit, and would without a repetition
EDGES = [
    ([4, 4], [[1, 1, 1], [1, 2, 1]], [3, 3]),
    ([4, 4], [[1, 1, 2], [1, 2, 1]], [3, 3]),
    ([0, 4], [[1, 2, 1], [1, 2, 1]], [2, 1]),
    ([0, 4], [[1, 2, 1], [1, 2, 1]], [0, 0]),
    ([0, 0], [[1, 2, 1], [1, 2, 1]], [0, 0]),
    ([1, 3], [[2, 2, 2], [1, 2, 2]], [1, 3]),
]


@pytest.mark.parametrize("zero_infinity", [False, True])
@pytest.mark.parametrize(("input_lengths", "targets", "target_lengths"), EDGES)
def test_edges_equal_torch(torch, impl, input_lengths, targets, target_lengths, zero_infinity):
    arguments = {
        "logits": normal((4, 2, 3)),
        "targets": np.array(targets),
        "input_lengths": input_lengths,
        "target_lengths": target_lengths,
        "zero_infinity": zero_infinity,
    }
    found = impl.ctc_loss(**arguments)
    compare(torch, found, arguments)
    assert math.isfinite(found[0]) or not zero_infinity


def test_probabilities_below_the_smallest_double_equal_torch(torch, impl):
    """None may be lost: a path that falls behind may be the only one that comes to the end."""
    arguments = problem()
    arguments["logits"] *= 300
    found = impl.ctc_loss(**arguments)
    assert found[0] > 1000
    compare(torch, found, arguments)


@pytest.mark.parametrize("scale", [1e15, 1e30, 1e290])
def test_the_largest_logits_equal_torch(torch, impl, scale):
    arguments = problem()
    arguments["logits"] *= scale
    value, _ = impl.ctc_loss(**arguments)
    clean = torch.tensor(np.nan_to_num(arguments.pop("logits"))).log_softmax(-1)
    given = {name: torch.as_tensor(a) for name, a in arguments.items() if name != "blank"}
    assert value == pytest.approx(torch.nn.functional.ctc_loss(clean, **given).item(), rel=1e-12)


def test_a_class_of_no_probability_is_one_that_is_beyond_reach(torch, impl):
    """PyTorch has NaN for the gradient of classes of probability 0, where 0 is right."""
    arguments = problem(N=3, C=5)
    logits = arguments["logits"]
    logits[::2, :, 4] = -1e4
    logits[3, 0, 1] = -1e4
    expected = impl.ctc_loss(**arguments)
    compare(torch, expected, arguments)
    logits[logits == -1e4] = -np.inf
    value, dlogits = impl.ctc_loss(**arguments)
    assert value == expected[0]
    assert_same_bits(dlogits, expected[1], "dlogits")


# ---- accuracy


def truth(arguments: dict[str, Any]) -> tuple[float, NDArray[np.float64]]:
    """The specification in long double; every sequence has its full length."""
    logits = arguments["logits"].astype(np.longdouble)
    losses, gradients = zip(
        *(
            ctc.sequence_loss(logits[:, n], target, arguments["blank"])
            for n, target in enumerate(arguments["targets"])
        ),
        strict=True,
    )
    weight = 1 / arguments["targets"].size
    value = float(sum(losses) * weight)
    return value, np.asarray(np.stack(gradients, axis=1) * weight, np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scale", [1, 30])
def test_long_sequences_are_accurate(compiled: ModuleType, dtype: str, scale: int) -> None:
    T, N, C, S = 300, 2, 9, 60
    arguments = {
        "logits": scale * normal((T, N, C), dtype),
        "targets": numbers(1).integers(1, C, (N, S)),
        "input_lengths": [T] * N,
        "target_lengths": [S] * N,
        "blank": 0,
    }
    value, dlogits = compiled.ctc_loss(**arguments)
    expected, gradient = truth(arguments)
    assert value == pytest.approx(expected, rel=1e-14)
    assert dlogits.dtype == dtype
    assert_close("ctc", dtype, dlogits, gradient)


@pytest.mark.parametrize("depth", [120, 176, 178, 250, 350, 360, 1000])
def test_improbable_labels_add_up(compiled: ModuleType, depth: float) -> None:
    """Each of many labels has a probability e^-depth, from above 2^-256 to far below 2^-512."""
    T, C, S = 24, 3, 12
    logits = normal((T, 1, C))
    logits[..., 1:] -= depth
    targets = np.array([[1, 2] * (S // 2)])
    expected, gradient = truth({"logits": logits, "targets": targets, "blank": 0})
    value, dlogits = compiled.ctc_loss(logits, targets, [T], [S])
    assert value == pytest.approx(expected, rel=1e-14)
    assert_close("ctc", "float64", dlogits, gradient)


# ---- what is not finite


def test_padding_reaches_nothing(impl):
    arguments = problem()
    value, dlogits = impl.ctc_loss(**arguments)
    padding = np.isnan(arguments["logits"])
    assert padding.any()
    assert not dlogits[padding].any()
    assert math.isfinite(value)
    assert dlogits[~padding].all()


@pytest.mark.parametrize("what", [np.nan, np.inf, "row"])
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_without_a_softmax_a_sequence_is_nan_and_no_other(impl, what, zero_infinity):
    arguments = problem() | {"zero_infinity": zero_infinity}
    _, expected = impl.ctc_loss(**arguments)
    lengths = arguments["input_lengths"]
    arguments["logits"][2, 3, 1 if what != "row" else slice(None)] = (
        -np.inf if what == "row" else what
    )
    value, dlogits = impl.ctc_loss(**arguments)
    assert math.isnan(value)
    assert np.isnan(dlogits[: lengths[3], 3]).all()
    assert not dlogits[lengths[3] :, 3].any()
    assert_same_bits(np.delete(dlogits, 3, 1), np.delete(expected, 3, 1), "the others")


@pytest.mark.parametrize("shape", [(0, 2, 3), (4, 0, 3), (0, 0, 1)])
def test_nothing(impl, shape):
    T, N, _ = shape
    value, dlogits = impl.ctc_loss(np.zeros(shape), np.zeros((N, 2), int), [T] * N, [0] * N)
    assert dlogits.shape == shape
    assert math.isnan(value) if N == 0 else value == 0


# ---- threads, memory, the other arguments


@pytest.fixture
def threads():
    """Share the smallest work among so many; what was set is restored."""
    before = bptt.get_num_threads()
    _core.set_always_share(True)
    yield bptt.set_num_threads
    bptt.set_num_threads(before)
    _core.set_always_share(False)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(threads, dtype):
    arguments = problem(T=40, N=11, C=7, S=9, dtype=dtype)
    threads(1)
    value, dlogits = functional.ctc_loss(**arguments)
    for n in (2, 3, 16):
        threads(n)
        found = functional.ctc_loss(**arguments)
        assert found[0] == value
        assert_same_bits(found[1], dlogits, "dlogits")


def test_calls_from_several_threads_do_not_meet():
    calls = [problem(T=30, N=5, seed=seed) for seed in range(4)]
    expected = [functional.ctc_loss(**call) for call in calls]
    with ThreadPoolExecutor(len(calls)) as pool:
        for _ in range(20):
            found = pool.map(lambda call: functional.ctc_loss(**call), calls)
            for (value, dlogits), (value_alone, alone) in zip(found, expected, strict=True):
                assert value == value_alone
                assert_same_bits(dlogits, alone, "dlogits")


def interrupted_call():
    """Make a call of many seconds, in little memory."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    T, N, S = 400, 40_000, 200
    logits = as_strided(np.zeros(2, "f"), (T, N, 2), (0, 0, 4))
    targets = np.broadcast_to(np.ones(1, int), (N, S))
    print("begins", flush=True)
    try:
        functional.ctc_loss(logits, targets, [T] * N, [S] * N)
    except KeyboardInterrupt:
        print("interrupted")


def test_ctrl_c_ends_a_long_call():
    assert_interrupted("import test_ctc as t; t.interrupted_call()", 0.8, BPTT_NUM_THREADS="2")


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", ">f8"])
def test_any_layout_has_the_same_bits(impl, dtype):
    arguments = problem(dtype=dtype[1:])
    value, dlogits = impl.ctc_loss(**arguments)
    logits = arguments["logits"].astype(dtype)
    wide = np.full((*logits.shape[:2], 9), np.nan, dtype)
    wide[..., 1:9:2] = logits
    batch_first = np.ascontiguousarray(logits.swapaxes(0, 1)).swapaxes(0, 1)
    for given in (logits, wide[..., 1:9:2], batch_first, logits[:, ::-1].copy()[:, ::-1]):
        found = impl.ctc_loss(**arguments | {"logits": given})
        assert found[0] == value
        assert_same_bits(found[1], dlogits, "dlogits")


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.uint64])
def test_any_integers_are_labels_and_lengths(impl, dtype):
    arguments = problem()
    expected, _ = impl.ctc_loss(**arguments)
    arguments["targets"] = abs(arguments["targets"])
    for name in ("targets", "input_lengths", "target_lengths"):
        arguments[name] = arguments[name].astype(dtype)
    arguments["blank"] = dtype(0)
    assert impl.ctc_loss(**arguments)[0] == expected


def test_arguments_are_left_alone_and_nothing_is_shared(impl):
    arguments = problem()
    before = {name: np.copy(array) for name, array in arguments.items()}
    first = impl.ctc_loss(**arguments)[1]
    kept = first.copy()
    impl.ctc_loss(**arguments)[1][...] = 3
    assert_same_bits(first, kept, "dlogits")
    for name, array in arguments.items():
        assert_same_bits(np.asarray(array), before[name], name)


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(ctc) == (0, 4)


LARGE = np.array([[2**64 - 1, 1, 1], [1, 1, 1]], np.uint64)
BAD = [
    ({"logits": [[[1.0]]]}, TypeError, "logits is "),
    ({"logits": np.zeros((4, 2, 3), "f2")}, TypeError, "logits has dtype float16, must be"),
    ({"logits": np.zeros((4, 3))}, ValueError, "logits has shape (4, 3), must be (T, N, C)"),
    ({"logits": np.zeros((4, 2, 0))}, ValueError, "logits has shape (4, 2, 0), must be (T, N, C)"),
    ({"targets": None}, TypeError, "targets is None"),
    ({"targets": [[1.0, 1], [1, 1]]}, TypeError, "targets has dtype float64, must be integers"),
    ({"targets": np.ones((3, 3), int)}, ValueError, "targets has shape (3, 3), must be (N, S)"),
    ({"targets": 1}, ValueError, "targets has shape (), must be (N, S)"),
    ({"targets": np.ones((2, 3, 1), int)}, ValueError, "targets has shape (2, 3, 1), must be"),
    ({"targets": [[1, 2, 3], [1, 1, 1]]}, ValueError, "targets has the value 3, must be in 0..C-1"),
    ({"targets": [[1, 2, 1], [1, 0, 1]]}, ValueError, "targets has the value 0, must be in 0..C-1"),
    ({"targets": [[1, 2, 1], [-1, 1, 1]]}, ValueError, "targets has the value -1, must be in"),
    ({"targets": LARGE}, ValueError, f"targets has the value {2**64 - 1}, must be in"),
    ({"targets": [1, 2, 1, 1]}, ValueError, "target_lengths has the sum 6, must have the sum"),
    ({"targets": [1] * 7}, ValueError, "target_lengths has the sum 6, must have the sum len(targ"),
    ({"input_lengths": None}, TypeError, "input_lengths is None"),
    ({"input_lengths": [4.0, 4]}, TypeError, "input_lengths has dtype float64"),
    ({"input_lengths": [4]}, ValueError, "input_lengths has shape (1,), must be (N,) = (2,)"),
    ({"input_lengths": [4, 5]}, ValueError, "input_lengths[1] is 5, must be from 0 to T = 4"),
    ({"input_lengths": [-1, 4]}, ValueError, "input_lengths[0] is -1, must be from 0 to T = 4"),
    ({"target_lengths": None}, TypeError, "target_lengths is None"),
    ({"target_lengths": [True, True]}, TypeError, "target_lengths has dtype bool"),
    ({"target_lengths": [[3, 3]]}, ValueError, "target_lengths has shape (1, 2), must be (N,)"),
    ({"target_lengths": [3, 4]}, ValueError, "target_lengths[1] is 4, must be from 0 to S = 3"),
    ({"target_lengths": [-1, 3]}, ValueError, "target_lengths[0] is -1, must be from 0 to S = 3"),
    ({"blank": 3}, ValueError, "blank is 3, must be from 0 to C-1 = 2"),
    ({"blank": -1}, ValueError, "blank is -1, must be from 0 to C-1 = 2"),
    ({"blank": 2**70}, ValueError, f"blank is {2**70}, must be from 0 to C-1 = 2"),
    ({"blank": True}, TypeError, "blank is "),
    ({"blank": 0.0}, TypeError, "blank is "),
    ({"zero_infinity": 1}, TypeError, "zero_infinity is "),
    # the first fault in the order of the signature is raised
    ({"zero_infinity": 1, "blank": 5}, ValueError, "blank is 5"),
    ({"targets": [[9, 9, 9]] * 2, "input_lengths": [9, 9]}, ValueError, "input_lengths"),
    ({"targets": [[9, 9, 9]] * 2, "blank": 5}, ValueError, "blank is 5"),
]


@pytest.mark.parametrize(("change", "error", "message"), BAD)
def test_errors_name_the_argument_in_the_same_words(change, error, message):
    arguments = {
        "logits": normal((4, 2, 3)),
        "targets": [[1, 2, 1], [1, 1, 1]],
        "input_lengths": [4, 4],
        "target_lengths": [3, 3],
    }
    messages = []
    for module in (functional, reference):
        with pytest.raises(error, match=f"^{re.escape(message)}") as raised:
            module.ctc_loss(**arguments | change)
        messages.append(str(raised.value))
    assert messages[0] == messages[1]
