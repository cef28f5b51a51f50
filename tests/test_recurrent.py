"""RNN, LSTM and GRU layers: equal to PyTorch's, and what design.md promises beyond."""

import copy
import math
import pickle
import re
import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parity import (
    as_pair,
    assert_close,
    assert_same,
    named,
    normal,
    numbers,
    random_call,
    results,
    slope_along,
    torch_results,
    torch_twin,
)
from tolerances import TOLERANCES, assert_same_bits

import bptt
from bptt import reference

CELLS = {
    "tanh": bptt.RNN,
    "relu": partial(bptt.RNN, nonlinearity="relu"),
    "lstm": bptt.LSTM,
    "gru": bptt.GRU,
}


@pytest.fixture(params=CELLS)
def cell(request):
    return CELLS[request.param]


def layer_of(cell, backend="reference", **kwargs):
    """A layer of odd sizes in float64, unless told otherwise."""
    return cell(5, 7, **{"rng": 0, "dtype": np.float64, "backend": backend} | kwargs)


def deep(cell, backend="reference", **kwargs):
    return layer_of(cell, backend, num_layers=2, bidirectional=True, **kwargs)


# ---- parity


@pytest.mark.parametrize("lengths", [None, [6, 1, 3]], ids=["padded", "packed"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time_first", "batch_first"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["one_way", "both_ways"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_equals_torch(torch, cell, backend, num_layers, bidirectional, batch_first, bias, lengths):
    arguments = {"bidirectional": bidirectional, "batch_first": batch_first, "bias": bias}
    layer = layer_of(cell, backend, num_layers=num_layers, **arguments)
    call = random_call(layer, lengths=lengths)
    assert_close("layers", results(layer, call), torch_results(layer, call))


@pytest.mark.parametrize("lengths", [None, [20, 4, 11]], ids=["padded", "packed"])
def test_float32_equals_torch_in_float64(torch, cell, backend, lengths):
    layer = deep(cell, backend, dtype=np.float32)
    call = random_call(layer, T=20, lengths=lengths)
    truth = cell(5, 7, num_layers=2, bidirectional=True, dtype=np.float64)
    truth.load_state_dict(layer.state_dict())
    precise = random_call(layer, T=20, lengths=lengths)
    for name in ("x", "dy"):
        precise[name] = precise[name].astype(np.float64)
    for name in ("state", "dstate"):
        parts = tuple(part.astype(np.float64) for part in as_pair(call[name]))
        precise[name] = parts if len(parts) > 1 else parts[0]
    found = results(layer, call)
    assert all(array.dtype == np.float32 for array in found.values())
    assert_close("layers", found, torch_results(truth, precise))


@pytest.mark.parametrize("batch_first", [False, True])
def test_unbatched_equals_torch(torch, cell, backend, batch_first):
    layer = deep(cell, backend, batch_first=batch_first)
    call = random_call(layer, batched=False)
    assert_close("layers", results(layer, call), torch_results(layer, call))


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.5, False)])
def test_dropout_without_chance_equals_torch(torch, cell, backend, p, training):
    layer = layer_of(cell, backend, num_layers=3, dropout=p).train(training)
    call = random_call(layer)
    assert_close("layers", results(layer, call), torch_results(layer, call))


def test_weights_move_to_torch_and_back(torch, cell):
    layer = deep(cell)
    twin = torch_twin(layer)  # load_state_dict checks every name and shape
    other = deep(cell, rng=1)
    other.load_state_dict(twin.state_dict())
    assert_same(other.state_dict(), layer.state_dict())
    assert layer.num_parameters() == sum(p.numel() for p in twin.parameters())


# ---- functions of one layer


@pytest.mark.parametrize(
    ("nonlinearity", "f"),
    [
        ("leaky_relu", lambda a: a if a > 0 else 0.3 * a),
        ("sigmoid", lambda a: 1 / (1 + math.exp(-a))),
        ("identity", lambda a: a),
    ],
)
def test_rnn_nonlinearities_torch_lacks(backend, nonlinearity, f):
    layer = bptt.RNN(
        3, 4, nonlinearity=nonlinearity, slope=0.3, rng=0, dtype=np.float64, backend=backend
    )
    x = normal((6, 2, 3))
    w_ih, w_hh, b_ih, b_hh = layer.params.values()
    h = np.zeros((2, 4))
    y, end = layer(x)
    for t in range(6):
        h = np.vectorize(f)(x[t] @ w_ih.T + b_ih + h @ w_hh.T + b_hh)
        assert_close("layers", y[t], h)
    assert_close("layers", end[0], h)


def test_gradients_follow_the_numbers(cell, backend):
    """All gradients at once along a random direction, dropout's masks included."""
    layer = deep(cell, backend, dropout=0.4, batch_first=True)
    call = random_call(layer, lengths=[4, 6, 0])
    start = as_pair(call["state"])
    arrays = [call["x"], *start, *layer.params.values()]
    directions = [normal(a.shape, seed=i) for i, a in enumerate(arrays)]

    def value():
        twin = copy.deepcopy(layer)  # draws the same masks
        y, end = twin(call["x"], call["state"], lengths=call["lengths"])
        ends = zip(as_pair(end), as_pair(call["dstate"]), strict=True)
        return np.sum(y * call["dy"]) + sum(np.sum(h * dh) for h, dh in ends)

    _, _, pullback = copy.deepcopy(layer).vjp(call["x"], call["state"], lengths=call["lengths"])
    g = pullback(call["dy"], call["dstate"])
    gradients = [g.x, *as_pair(g.state), *g.params.values()]
    told = sum(np.sum(a * d) for a, d in zip(gradients, directions, strict=True))
    assert slope_along(value, arrays, directions) == pytest.approx(told, rel=1e-7)


@given(st.data())
def test_compiled_equals_reference(compiled, data):
    """Any arguments and sizes, dropout's masks included."""
    draw = data.draw
    make = draw(st.sampled_from([bptt.RNN, bptt.LSTM, bptt.GRU]))
    sizes = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    arguments = {
        "num_layers": draw(st.integers(2, 3)),
        "dropout": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "dtype": draw(st.sampled_from([np.float32, np.float64])),
        **{name: draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")},
    }
    T, N = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    batched = draw(st.booleans())
    some = st.none() | st.lists(st.integers(0, T), min_size=N, max_size=N)
    lengths = draw(some) if batched else None
    fast, plain = (make(*sizes, rng=0, backend=b, **arguments) for b in ("compiled", "reference"))
    call = random_call(fast, T, N, batched=batched, lengths=lengths)
    found, expected = results(fast, call), results(plain, call)
    # So small sizes let whole arrays cancel: errors are measured by the call's largest number
    scale = max(np.abs(array).max(initial=0) for array in expected.values())
    for name, array in expected.items():
        error = np.abs(found[name] - array).max(initial=0)
        assert error <= scale * TOLERANCES["layers", fast.dtype.name], name


def test_absent_means_zero(cell, backend):
    layer = deep(cell, backend)
    call = random_call(layer)
    zeros = tuple(np.zeros_like(part) for part in as_pair(call["state"]))
    zero = zeros if len(zeros) > 1 else zeros[0]
    y, end, pullback = layer.vjp(call["x"])
    y_zero, end_zero, pullback_zero = layer.vjp(call["x"], zero)
    for dy, dstate in [(None, call["dstate"]), (call["dy"], None), (None, None)]:
        given = pullback_zero(
            np.zeros_like(y) if dy is None else dy, zero if dstate is None else dstate
        )
        absent = pullback(dy, dstate)
        expected = named(y_zero, end_zero, *given)
        for name, array in named(y, end, *absent).items():
            assert np.array_equal(array, expected[name]), name


def test_half_of_an_lstm_state_may_be_absent(backend):
    layer = deep(bptt.LSTM, backend)
    call = random_call(layer)
    h, c = call["state"]
    y, end = layer(call["x"], (None, c))
    y_zero, end_zero = layer(call["x"], [np.zeros_like(h), c])
    assert np.array_equal(y, y_zero)
    assert_same(dict(enumerate(end)), dict(enumerate(end_zero)))


@pytest.mark.parametrize("batch_first", [False, True])
def test_what_is_past_an_end_reaches_nothing(cell, backend, batch_first):
    layer = deep(cell, backend, batch_first=batch_first, dropout=1.0)
    lengths = np.array([2, 0, 6])
    call = random_call(layer, lengths=lengths)
    past = np.arange(6)[:, None] >= lengths
    past = past.T if batch_first else past
    clean = results(layer, call)
    for name in ("x", "dy"):
        call[name][past] = np.nan
    found = results(layer, call)
    assert_same(found, clean)
    assert not np.isnan(found["y"]).any()
    assert np.all(found["y"][past] == 0)
    assert np.all(found["dx"][past] == 0)


def test_empty_sequence_keeps_its_state(cell, backend):
    layer = deep(cell, backend)
    call = random_call(layer, lengths=[3, 0, 6])
    found = results(layer, call)
    for i, (start, dend) in enumerate(
        zip(as_pair(call["state"]), as_pair(call["dstate"]), strict=True)
    ):
        assert np.array_equal(found[f"end {i}"][:, 1], start[:, 1])
        assert np.array_equal(found[f"dstart {i}"][:, 1], dend[:, 1])


@pytest.mark.parametrize(("T", "N"), [(0, 3), (4, 0), (0, 0)])
def test_no_steps_and_no_sequences(cell, backend, T, N):
    layer = deep(cell, backend)
    call = random_call(layer, T, N)
    found = results(layer, call)
    assert found["y"].shape == (T, N, 14)
    assert found["dx"].shape == (T, N, 5)
    for i, (start, dend) in enumerate(
        zip(as_pair(call["state"]), as_pair(call["dstate"]), strict=True)
    ):
        assert np.array_equal(found[f"end {i}"], start)
        assert np.array_equal(found[f"dstart {i}"], dend)
    assert all(not found[f"d{name}"].any() for name in layer.params)


def test_steps_at_once_are_one_at_a_time(cell, backend):
    layer = layer_of(cell, backend, num_layers=2)
    call = random_call(layer)
    y, end = layer(call["x"], call["state"])
    state = call["state"]
    for t, x in enumerate(call["x"]):
        step, state = layer(x[np.newaxis], state)
        assert np.array_equal(step[0], y[t])
    for one, whole in zip(as_pair(state), as_pair(end), strict=True):
        assert np.array_equal(one, whole)


# ---- training and inference


def test_vjp_returns_what_a_call_returns(cell, backend):
    layer = deep(cell, backend, dropout=0.5)
    call = random_call(layer, lengths=[1, 6, 4])
    y, end = copy.deepcopy(layer)(call["x"], call["state"], lengths=call["lengths"])
    found = results(layer, call)
    assert np.array_equal(found["y"], y)
    for i, part in enumerate(as_pair(end)):
        assert np.array_equal(found[f"end {i}"], part)


def test_pullback_twice_and_after_outputs_were_written(cell, backend):
    layer = deep(cell, backend, dropout=0.5)
    call = random_call(layer)
    lengths = np.array([1, 6, 4])
    y, end, pullback = layer.vjp(call["x"], call["state"], lengths=lengths)
    first = pullback(call["dy"], call["dstate"])
    kept = copy.deepcopy(named(y, end, *first))
    for array in (y, *as_pair(end), first.x, *as_pair(first.state), *first.params.values()):
        array[...] = np.nan
    for array in (lengths, *as_pair(call["state"])):  # unlike x and the weights they are not kept
        array[...] = 0
    second = pullback(call["dy"], call["dstate"])
    for name, array in named(y, end, *second).items():
        assert name in ("y", "end 0", "end 1") or np.array_equal(array, kept[name]), name


def test_arguments_and_weights_are_left_alone(cell, backend):
    layer = deep(cell, backend, dropout=0.5, batch_first=True)
    call = random_call(layer, lengths=np.array([1, 6, 4]))
    before = copy.deepcopy((call, layer.state_dict()))
    found = results(layer, call)
    assert_same(layer.state_dict(), before[1])
    for name, value in call.items():
        for now, then in zip(as_pair(value), as_pair(before[0][name]), strict=True):
            assert np.array_equal(now, then), name
    inputs = [part for value in call.values() for part in as_pair(value)]
    for name, array in found.items():
        assert not any(np.shares_memory(array, given) for given in inputs), name
        assert array.flags.writeable, name


@pytest.mark.parametrize(
    "wrt", [(), ("x",), ["state"], {"params"}, frozenset({"x", "params"}), ("x", "state")]
)
def test_wrt_gives_the_same_fields_and_no_others(cell, backend, wrt):
    layer = deep(cell, backend, dropout=0.5)
    call = random_call(layer, lengths=[1, 6, 4])
    _, _, pullback = layer.vjp(call["x"], call["state"], lengths=call["lengths"])
    everything = pullback(call["dy"], call["dstate"])._asdict()
    for name, value in pullback(call["dy"], call["dstate"], wrt)._asdict().items():
        if name not in wrt:
            assert value is None
        elif name == "params":
            assert_same(value, everything[name])
            assert list(value) == list(layer.params)
        else:
            for part, same in zip(as_pair(value), as_pair(everything[name]), strict=True):
                assert np.array_equal(part, same)


@pytest.fixture
def calls(monkeypatch):
    """Records the arguments of each call of the reference's LSTM."""
    recorded = []

    def record(function):
        def recording(*args, **kwargs):
            recorded.append((args, kwargs))
            return function(*args, **kwargs)

        return recording

    for name in ("lstm_forward", "lstm_backward"):
        monkeypatch.setattr(reference, name, record(getattr(reference, name)))
    return recorded


def test_gradients_left_out_are_not_computed(calls):
    layer = deep(bptt.LSTM, bias=False)
    _, _, pullback = layer.vjp(normal((4, 2, 5)))
    for wrt, top, bottom in [
        ({"params"}, {"x", "w_ih", "w_hh"}, {"w_ih", "w_hh"}),
        ({"x"}, {"x"}, {"x"}),
        ({"state"}, {"x", "h_0", "c_0"}, {"h_0", "c_0"}),
    ]:
        calls.clear()
        pullback(normal((4, 2, 14)), wrt=wrt)
        asked = [set(kwargs["wrt"]) for _, kwargs in calls]
        assert asked == [top, top, bottom, bottom]
    calls.clear()
    pullback(normal((4, 2, 14)), wrt=())
    assert calls == []


def test_x_and_y_are_not_copied(calls):
    layer = layer_of(bptt.LSTM, bidirectional=True, batch_first=True)
    x = normal((3, 6, 5))
    y, _ = layer(x)
    for (steps, *_), kwargs in calls:
        assert np.shares_memory(steps, x)
        assert np.shares_memory(kwargs["out"], y)
        assert not kwargs["training"]
    assert y.shape == (3, 6, 14)
    assert y.flags.c_contiguous


def test_threads_share_a_layer(cell, backend):
    layer = deep(cell, backend)
    many = [random_call(layer, seed=i) for i in range(4)]
    expected = [results(layer, call) for call in many]
    found = [None] * 4

    def work(i):
        found[i] = results(layer, many[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


# ---- dropout


def passing_on(backend, p, **kwargs):
    """Two layers that hand x on: y shows the mask between them."""
    layer = bptt.RNN(8, 8, 2, "identity", bias=False, dropout=p, rng=0, backend=backend, **kwargs)
    for name, array in layer.params.items():
        array[...] = np.eye(8) * ("ih" in name)
    return layer


def test_dropout_zeroes_a_share_and_scales_the_rest(backend):
    layer = passing_on(backend, 0.3)
    x = np.ones((50, 40, 8), np.float32)
    y, _, pullback = layer.vjp(x)
    scale = np.float32(1) / np.float32(0.7)
    assert set(np.unique(y)) == {0, scale}
    # Three standard deviations of the share of 16,000 independent draws
    assert np.mean(y == 0) == pytest.approx(0.3, abs=3 * math.sqrt(0.21 / y.size))
    for axis in (0, 1, 2):  # neighbours are independent along each axis
        changes = np.diff(y, axis=axis) != 0
        assert np.mean(changes) == pytest.approx(0.42, abs=0.02)
    assert np.array_equal(pullback(np.ones_like(y)).x, y)
    assert not np.array_equal(layer(x)[0], y)


def test_dropout_is_between_layers_only(backend):
    x = normal((6, 3, 8), np.float32)
    for make in (bptt.LSTM, bptt.RNN):
        with pytest.warns(UserWarning, match="dropout") as caught:
            single = make(8, 8, dropout=0.9, rng=0, backend=backend)
        assert caught[0].filename == __file__  # it points to the caller
    assert np.array_equal(single(x)[0], single.eval()(x)[0])
    layer = passing_on(backend, 1.0)
    y, end = layer(x)
    assert not y.any()
    assert np.array_equal(end[0], x[-1])  # the first layer's state is not dropped
    assert np.array_equal(layer.eval()(x)[0], x)


# ---- parameters, state, copies


def test_initial_values_are_uniform(cell):
    layer = cell(30, 100, num_layers=2, rng=3)
    bound = 0.1  # 1/sqrt(100)
    for name, array in layer.params.items():
        assert np.abs(array).max() <= bound, name
        share = np.sort(array, axis=None) / (2 * bound) + 0.5
        steps = (np.arange(array.size) + 0.5) / array.size
        # Kolmogorov-Smirnov at a level of about 1e-6
        assert np.abs(share - steps).max() < 2.7 / math.sqrt(array.size), name
    assert_same(cell(30, 100, num_layers=2, rng=3).params, layer.params)
    generator = numbers(3)
    assert_same(cell(30, 100, num_layers=2, rng=generator).params, layer.params)
    other = cell(30, 100, num_layers=2, rng=generator)
    assert not np.array_equal(other.params["weight_hh_l0"], layer.params["weight_hh_l0"])
    double = cell(30, 100, num_layers=2, rng=3, dtype=np.float64)
    assert_same({k: a.astype(np.float32) for k, a in double.params.items()}, layer.params)


def test_params_are_live(cell, backend):
    layer = layer_of(cell, backend, bidirectional=True)
    x = normal((4, 2, 5))
    before = layer(x)[0]
    layer.params["bias_hh_l0_reverse"][...] += 1
    after = layer(x)[0]
    assert np.array_equal(after[..., :7], before[..., :7])
    assert not np.array_equal(after[..., 7:], before[..., 7:])
    with pytest.raises(TypeError):
        layer.params["bias_hh_l0"] = np.zeros(7)


def test_pickles_and_copies(cell, backend):
    layer = deep(cell, backend, dropout=0.5)
    call = random_call(layer)
    pickled = pickle.loads(pickle.dumps(layer))
    deep_copy = copy.deepcopy(layer)
    expected = results(copy.deepcopy(layer), call)
    for twin in (pickled, deep_copy):
        assert repr(twin) == repr(layer)
        assert_same(results(twin, call), expected)  # the generator's state came along
        for name, array in twin.params.items():
            assert not np.shares_memory(array, layer.params[name])
    shallow = copy.copy(layer).eval()
    assert layer.training
    assert all(shallow.params[name] is array for name, array in layer.params.items())


@pytest.mark.parametrize(
    "text",
    [
        "RNN(3, 4)",
        "RNN(3, 4, num_layers=2, nonlinearity='relu', dropout=0.5)",
        "RNN(3, 4, nonlinearity='leaky_relu', slope=0.2)",
        "LSTM(3, 4, bias=False, batch_first=True, bidirectional=True)",
        "GRU(3, 4, dtype='float64', backend='reference')",
    ],
)
def test_repr_makes_the_layer_again(text):
    assert repr(eval(text, vars(bptt).copy())) == text


# ---- errors


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"input_size": 0}, ValueError),
        ({"input_size": 2.0}, TypeError),
        ({"hidden_size": -1}, ValueError),
        ({"hidden_size": True}, TypeError),
        ({"num_layers": 0}, ValueError),
        ({"num_layers": "relu"}, TypeError),
        ({"bias": 1}, TypeError),
        ({"batch_first": None}, TypeError),
        ({"dropout": 1.1}, ValueError),
        ({"dropout": -0.1}, ValueError),
        ({"dropout": float("nan")}, ValueError),
        ({"dropout": True}, TypeError),
        ({"bidirectional": "yes"}, TypeError),
        ({"dtype": np.float16}, TypeError),
        ({"dtype": np.int32}, TypeError),
        ({"dtype": "no such"}, TypeError),
        ({"dtype": None}, TypeError),
        ({"rng": "seed"}, TypeError),
        ({"rng": 1.5}, TypeError),
        ({"rng": -1}, ValueError),
        ({"rng": np.random.RandomState(0)}, TypeError),
        ({"backend": "cuda"}, ValueError),
        ({"backend": None}, TypeError),
    ],
    ids=str,
)
def test_constructor_errors_name_the_argument(cell, arguments, error):
    (name,) = arguments
    with pytest.raises(error, match=f"^{name} "):
        cell(**{"input_size": 3, "hidden_size": 4} | arguments)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"nonlinearity": "gelu"}, ValueError),
        ({"nonlinearity": np.tanh}, TypeError),
        ({"slope": -0.1}, ValueError),
        ({"slope": "0.1"}, TypeError),
        ({"slope": True}, TypeError),
    ],
    ids=str,
)
def test_rnn_constructor_errors_name_the_argument(arguments, error):
    (name,) = arguments
    with pytest.raises(error, match=f"^{name} "):
        bptt.RNN(3, 4, **arguments)


GOOD = np.zeros((6, 2, 5))
STATE = np.zeros((4, 2, 7))


@pytest.mark.parametrize(
    ("x", "state", "lengths", "error", "message"),
    [
        (None, None, None, TypeError, "x is None"),
        (np.zeros((6, 2, 4)), None, None, ValueError, "x has shape (6, 2, 4), must"),
        (np.zeros(5), None, None, ValueError, "x has shape (5,), must be (T, N, input_size)"),
        (np.zeros((1, 6, 2, 5)), None, None, ValueError, "x has shape (1, 6, 2, 5), must"),
        (GOOD.astype(np.float32), None, None, TypeError, "x has dtype float32, must be float64"),
        (GOOD + 1j, None, None, TypeError, "x has dtype complex128"),
        ([[[1.0] * 5, [1.0] * 4]], None, None, ValueError, "x "),
        (GOOD, STATE[:3], None, ValueError, "state has shape (3, 2, 7), must be (num_layers*D,"),
        (GOOD, STATE[:, 0], None, ValueError, "state has shape (4, 7), must be (num_layers*D, N,"),
        (GOOD[:, 0], STATE, None, ValueError, "state has shape (4, 2, 7), must be (num_layers*D,"),
        (GOOD, STATE.astype(np.float32), None, TypeError, "state has dtype float32, must be"),
        (GOOD, None, [6], ValueError, "lengths has shape (1,)"),
        (GOOD, None, [6, 7], ValueError, "lengths"),
        (GOOD, None, [6, -1], ValueError, "lengths"),
        (GOOD, None, [6.0, 1.0], TypeError, "lengths "),
        (GOOD[:, 0], None, [6], ValueError, "lengths is given"),
        (GOOD[:, :, :1], STATE[:1], [6], ValueError, "x has shape"),
        (GOOD, STATE[:1], [6], ValueError, "state has shape"),
    ],
)
def test_call_errors_are_in_the_layers_terms(backend, x, state, lengths, error, message):
    layer = deep(bptt.GRU, backend)
    for call in (layer, layer.vjp):
        with pytest.raises(error, match=f"^{re.escape(message)}"):
            call(x, state, lengths=lengths)


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (STATE, TypeError, "state is "),
        ((STATE,), TypeError, "state is "),
        ((STATE, STATE[:3]), ValueError, "state[1] has shape (3, 2, 7), must be (num_layers*D,"),
    ],
)
def test_lstm_state_is_a_pair(backend, state, error, message):
    layer = deep(bptt.LSTM, backend)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        layer(GOOD, state)
    _, _, pullback = layer.vjp(GOOD)
    with pytest.raises(error, match=f"^d{re.escape(message)}"):
        pullback(None, state)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dy": np.zeros((6, 2, 7))}, ValueError, "dy has shape (6, 2, 7), must be"),
        ({"dy": np.zeros((6, 2, 14), np.float32)}, TypeError, "dy has dtype float32, must be"),
        ({"dstate": np.zeros((2, 2, 7))}, ValueError, "dstate has shape (2, 2, 7), must be"),
        ({"wrt": "params"}, TypeError, "wrt "),
        ({"wrt": ("weight_ih_l0",)}, ValueError, "wrt "),
    ],
)
def test_pullback_errors_name_the_argument(backend, arguments, error, message):
    _, _, pullback = deep(bptt.GRU, backend).vjp(GOOD)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        pullback(**arguments)


def test_impossible_size_is_a_memory_error(backend):
    x = np.broadcast_to(np.float32(0), (2**40, 2**20, 1))
    with pytest.raises(MemoryError):
        bptt.RNN(1, 64, backend=backend)(x)
    none = np.broadcast_to(np.float32(0), (0, 2**58, 1))
    with pytest.raises(MemoryError):
        bptt.RNN(1, 64, batch_first=True, backend=backend)(none)


def test_an_own_constructor_may_replace_arrays(cell, backend):
    """What `params` shows is what is computed with, in a call, in training and in a stream."""
    tied, other = layer_of(cell, backend), layer_of(cell, backend)
    tied._params = {name: array * 2 for name, array in other.params.items()}
    for array in other.params.values():
        array *= 2
    x = numbers().normal(size=(4, 2, 5)).astype(tied.dtype)
    assert_same_bits(tied(x)[0], other(x)[0], "y")
    (y, _, pullback), (z, _, wanted) = tied.vjp(x), other.vjp(x)
    assert_same_bits(pullback(np.ones_like(y)).x, wanted(np.ones_like(z)).x, "dx")
    if backend == "compiled" and not tied.bidirectional:
        assert_same_bits(tied.stream(2).steps(x), y, "y of a stream")


def test_lists_integers_and_any_strides_are_numbers(cell, backend):
    layer = layer_of(cell, backend)
    x = numbers().integers(-2, 3, (4, 2, 5)).astype(np.float64)
    y, _ = layer(x)
    padded = np.full((8, 2, 6), np.nan)
    padded[::2, :, 1:] = x
    backwards = x[::-1, :, ::-1].copy()[::-1, :, ::-1]
    frozen = x.copy()
    frozen.flags.writeable = False
    for same in (
        x.tolist(),
        x.astype(np.int8),
        np.asfortranarray(x),
        x.astype(x.dtype.newbyteorder()),
        padded[::2, :, 1:],
        backwards,
        frozen,
    ):
        assert np.array_equal(layer(same)[0], y)
