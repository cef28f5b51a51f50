"""Sequential: the composition of its layers, their states and gradients; and the summary."""

import copy
import pickle

import numpy as np
import pytest
from parity import assert_close, assert_gradients, assert_same, normal, recorded_wrt

import bptt
from bptt import reference
from bptt.layers.module import Module, RecurrentGradients


def two_recurrent(backend="reference", **kwargs):
    """A model with states of both kinds and a nested chain."""
    options = {"dtype": np.float64, "backend": backend} | kwargs
    return bptt.Sequential(
        bptt.LSTM(3, 4, rng=0, **options),
        bptt.Activation("tanh"),
        bptt.Sequential(bptt.Dropout(0.3, rng=1), bptt.GRU(4, 5, rng=2, **options)),
        bptt.Linear(5, 2, rng=3, dtype=np.float64),
    )


def random_state(N=2, seed=0):
    """A state of `two_recurrent`."""
    pair = normal((1, N, 4), seed=seed), normal((1, N, 4), seed=seed + 1)
    return pair, (normal((1, N, 5), seed=seed + 2),)


def arrays_of(value):
    """The arrays of nested tuples, in order."""
    return [a for part in value for a in arrays_of(part)] if isinstance(value, tuple) else [value]


def test_is_its_layers_one_after_the_other(backend):
    model = two_recurrent(backend).eval()
    x, state, lengths = normal((6, 2, 3)), random_state(), [6, 2]
    y, end, pullback = model.vjp(x, state, lengths=lengths, return_state=True)
    first, tanh, (_, second), linear = model
    a, end_0, pull_0 = first.vjp(x, state[0], lengths=lengths)
    b, pull_1 = tanh.vjp(a)
    c, end_1, pull_2 = second.vjp(b, state[1][0], lengths=lengths)
    d, pull_3 = linear.vjp(c)
    assert np.array_equal(y, d)
    for found, expected in zip(arrays_of(end), [*end_0, end_1], strict=True):
        assert np.array_equal(found, expected)

    dy, dstate = normal(y.shape, seed=9), random_state(seed=10)
    g = pullback(dy, dstate)
    g_3 = pull_3(dy)
    g_2 = pull_2(g_3.x, dstate[1][0])
    g_0 = pull_0(pull_1(g_2.x).x, dstate[0])
    assert np.array_equal(g.x, g_0.x)
    for found, expected in zip(arrays_of(g.state), [*g_0.state, g_2.state], strict=True):
        assert np.array_equal(found, expected)
    expected = {f"0.{name}": a for name, a in g_0.params.items()}
    expected |= {f"2.1.{name}": a for name, a in g_2.params.items()}
    expected |= {f"3.{name}": a for name, a in g_3.params.items()}
    assert_same(g.params, expected)
    assert list(g.params) == list(model.params)


def test_gradients_follow_the_numbers(backend):
    model = two_recurrent(backend)
    x, state, dy = normal((6, 2, 3)), random_state(), normal((6, 2, 2), seed=9)
    arrays = [x, *arrays_of(state), *model.params.values()]

    def value():
        y = copy.deepcopy(model)(x, state, lengths=[2, 6])  # draws the same mask
        return np.sum(y * dy)

    g = copy.deepcopy(model).vjp(x, state, lengths=[2, 6])[1](dy)
    assert_gradients(value, arrays, [g.x, *arrays_of(g.state), *g.params.values()])


def test_names_and_numbers_of_torch(torch):
    model = bptt.Sequential(
        bptt.Linear(3, 4, rng=0, dtype=np.float64),
        bptt.Activation("relu"),
        bptt.Sequential(bptt.Linear(4, 2, rng=1, dtype=np.float64), bptt.Activation("sigmoid")),
    )
    twin = torch.nn.Sequential(
        torch.nn.Linear(3, 4, dtype=torch.float64),
        torch.nn.ReLU(),
        torch.nn.Sequential(torch.nn.Linear(4, 2, dtype=torch.float64), torch.nn.Sigmoid()),
    )
    model.load_state_dict(twin.state_dict())
    x = normal((5, 3))
    y, pullback = model.vjp(x)
    expected = twin(torch.from_numpy(x))
    expected.sum().backward()
    assert_close("layers", y, expected.detach().numpy())
    gradients = {name: p.grad.numpy() for name, p in twin.named_parameters()}
    assert_close("layers", pullback(np.ones_like(y)).params, gradients)


def test_chunks_with_the_state_handed_on_are_the_whole(backend):
    model = two_recurrent(backend).eval()
    x = normal((7, 2, 3))
    y, end = model(x, return_state=True)
    parts, state = [], None
    for chunk in (x[:1], x[1:3], x[3:3], x[3:]):
        part, state = model(chunk, state, return_state=True)
        parts.append(part)
    assert_close("layers", np.concatenate(parts), y)
    for found, expected in zip(arrays_of(state), arrays_of(end), strict=True):
        assert_close("layers", found, expected)


def test_what_is_returned_depends_on_return_state_only(backend):
    model = two_recurrent(backend).eval()
    x = normal((6, 2, 3))
    y, end = model(x, return_state=True)
    assert np.array_equal(model(x), y)
    again, pullback = model.vjp(x)
    assert np.array_equal(again, y)
    assert len(end) == 2
    assert [np.shape(a) for a in arrays_of(end)] == [(1, 2, 4), (1, 2, 4), (1, 2, 5)]
    assert len(pullback(np.ones_like(y))) == 3
    plain = bptt.Sequential(bptt.Activation("tanh"))
    assert not plain.stateful
    assert plain(x, (), return_state=True)[1] == ()
    assert plain.vjp(x)[1](np.ones_like(x)).state == ()


def test_state_entries_may_be_absent(backend):
    model = two_recurrent(backend).eval()
    x, (pair, (h,)) = normal((6, 2, 3)), random_state()
    zeros = np.zeros_like(h)
    assert np.array_equal(model(x, (pair, None)), model(x, (pair, (zeros,))))
    assert np.array_equal(model(x, [None, (h,)]), model(x, ((None, None), (h,))))


def test_pullback_repeats_and_wrt_selects(backend):
    model = two_recurrent(backend)
    x = normal((6, 2, 3))
    y, pullback = model.vjp(x, random_state())
    dy = normal(y.shape, seed=9)
    y[...] = np.nan
    g = pullback(dy)
    kept = copy.deepcopy(g)
    for array in (g.x, *arrays_of(g.state), *g.params.values()):
        array[...] = np.nan
    for wrt in [("x", "state", "params"), ("x",), {"state"}, ["params"], ()]:
        g = pullback(dy, None, wrt)
        for name, value in g._asdict().items():
            if name not in wrt:
                assert value is None
            elif name == "params":
                assert_same(value, kept.params)
            else:
                expected = getattr(kept, name)
                for a, b in zip(arrays_of(value), arrays_of(expected), strict=True):
                    assert np.array_equal(a, b)


def test_gradients_go_down_only_as_far_as_needed(monkeypatch):
    asked = recorded_wrt(monkeypatch, reference, "rnn_backward")
    options = {"bias": False, "dtype": np.float64, "backend": "reference"}
    weights = {"w_ih", "w_hh"}
    below = bptt.Sequential(bptt.Dropout(), bptt.Activation("tanh"), bptt.RNN(3, 3, **options))
    both = bptt.Sequential(bptt.RNN(3, 3, **options), bptt.RNN(3, 3, **options))
    for model, wrt, expected in [
        (below, ("params",), [weights]),
        (below, ("state",), [{"h_0"}]),
        (below, ("x",), [{"x"}]),
        (both, ("params",), [weights | {"x"}, weights]),
        (both, ("x", "params"), [weights | {"x"}, weights | {"x"}]),
        (both, (), []),
    ]:
        asked.clear()
        y, pullback = model.vjp(normal((4, 2, 3)))
        pullback(np.ones_like(y), None, wrt)
        assert asked == expected


def test_modes_reach_nested_layers():
    model = two_recurrent()
    dropout = model[2][0]
    assert model.training
    assert model.eval() is model
    assert not dropout.training
    assert not model[0].training
    model.train()
    assert dropout.training


def test_lengths_go_to_the_layers_that_take_them(backend):
    x = normal((6, 2, 3))
    options = {"rng": 0, "dtype": np.float64, "backend": backend}
    rnn, linear = bptt.RNN(3, 4, **options), bptt.Linear(4, 2, rng=1, dtype=np.float64)
    model = bptt.Sequential(rnn, bptt.LastStep(), linear)
    _, end = rnn(x, lengths=[2, 5])
    assert np.array_equal(model(x, lengths=[2, 5]), linear(end[0]))
    for chain in (bptt.Sequential(linear), bptt.Sequential(bptt.Sequential(linear))):
        with pytest.raises(ValueError, match=r"^lengths is given"):
            chain(normal((2, 4)), lengths=[2, 5])
        with pytest.raises(ValueError, match=r"^lengths is given"):
            chain.vjp(normal((2, 4)), lengths=[2, 5])


def test_copies_and_pickles(backend):
    model = two_recurrent(backend)
    x = normal((6, 2, 3))
    expected = copy.deepcopy(model)(x)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert np.array_equal(twin(x), expected)
        for name, array in twin.params.items():
            assert not np.shares_memory(array, model.params[name])
    shallow = copy.copy(model).eval()
    assert model[2][0].training
    assert not shallow[2][0].training
    assert all(shallow.params[name] is array for name, array in model.params.items())


def test_a_failed_load_changes_nothing():
    model = two_recurrent()
    before = model.state_dict()
    bad = {name: array + 1 for name, array in before.items()}
    bad["3.bias"] = np.ones(7)
    with pytest.raises(ValueError, match=r"^state_dict\['3.bias'\] has shape \(7,\), must be"):
        model.load_state_dict(bad)
    assert_same(model.state_dict(), before)
    good = {name: array + 1 for name, array in before.items()}
    model.load_state_dict(good)
    assert_same(model.state_dict(), good)


def test_errors_tell_the_argument_and_the_layer(backend):
    model = two_recurrent(backend)
    with pytest.raises(ValueError, match=r"^x has shape \(6, 2, 9\)") as caught:
        model(np.zeros((6, 2, 9)))
    assert caught.value.__notes__ == [f"in layer 0 of Sequential, {model[0]!r}"]
    x = normal((6, 2, 3))
    with pytest.raises(TypeError, match=r"^state is .*must be a tuple of 2"):
        model(x, np.zeros((1, 2, 4)))
    with pytest.raises(ValueError, match=r"^state has 1 entries, must have 2"):
        model(x, (None,))
    with pytest.raises(TypeError, match=r"^return_state "):
        model(x, return_state=1)
    with pytest.raises(ValueError, match=r"^dstate has 3 entries, must have 2"):
        model.vjp(x)[1](None, (None,) * 3)
    with pytest.raises(ValueError, match=r"^wrt "):
        model.vjp(x)[1](wrt=["weight"])
    with pytest.raises(TypeError, match=r"^layers "):
        bptt.Sequential()
    with pytest.raises(TypeError, match=r"^layers\[1\] is "):
        bptt.Sequential(bptt.Dropout(), np.tanh)


def test_a_layer_of_ones_own_takes_part():
    class Running(Module):
        """Sums over time, with a state."""

        stateful = True

        def __call__(self, x, state=None):
            y = np.cumsum(x, axis=0) + (0 if state is None else state)
            return y, y[-1]

        def vjp(self, x, state=None):
            y, end = self(x, state)

            def pullback(dy=None, dstate=None, wrt=None):
                dx = np.cumsum(dy[::-1], axis=0)[::-1]
                return RecurrentGradients(dx, dx[0], {})

            return y, end, pullback

    model = bptt.Sequential(bptt.Linear(3, 4, rng=0, dtype=np.float64), Running())
    x = normal((5, 2, 3))
    y, state, pullback = model.vjp(x, return_state=True)
    assert np.array_equal(y, np.cumsum(model[0](x), axis=0))
    assert np.array_equal(model(x[:1], state), model[0](x[:1]) + y[-1])
    weights = np.arange(5, 0, -1)  # step t adds to all steps from t on
    bias = pullback(np.ones_like(y)).params["0.bias"]
    assert_close("layers", bias, np.full(4, 2 * weights.sum()))


def test_repr_and_summary(capsys):
    model = bptt.Sequential(
        bptt.LSTM(8, 64, batch_first=True, rng=0),
        bptt.Sequential(bptt.LastStep(batch_first=True), bptt.Linear(64, 10, rng=1)),
    )
    assert model.params["1.1.bias"] is model[1][1].params["bias"]
    assert repr(model) == (
        "Sequential(\n"
        "  (0): LSTM(8, 64, batch_first=True)\n"
        "  (1): Sequential(\n"
        "    (0): LastStep(batch_first=True)\n"
        "    (1): Linear(in_features=64, out_features=10, bias=True)\n"
        "  )\n"
        ")"
    )
    assert model.num_parameters() == 4 * 64 * (8 + 64 + 2) + 650
    assert len(model) == 2
    bptt.summary(model)
    lines = capsys.readouterr().out.splitlines()
    table = [line.split("  ") for line in lines[len(repr(model).splitlines()) :]]
    cells = [[cell.strip() for cell in row if cell] for row in table]
    assert cells == [
        ["parameter", "shape", "numbers", "bytes"],
        ["0.weight_ih_l0", "(256, 8)", "2,048", "8,192"],
        ["0.weight_hh_l0", "(256, 64)", "16,384", "65,536"],
        ["0.bias_ih_l0", "(256,)", "256", "1,024"],
        ["0.bias_hh_l0", "(256,)", "256", "1,024"],
        ["1.1.weight", "(10, 64)", "640", "2,560"],
        ["1.1.bias", "(10,)", "10", "40"],
        ["total", "19,594", "78,376"],
    ]
    bptt.summary(bptt.Dropout())
    assert capsys.readouterr().out.splitlines()[-1].split() == ["total", "0", "0"]


# ---- where the batch lies


def test_layers_that_disagree_about_the_batch_are_refused():
    """Else LastStep would take the last sequence for the last step, and train where T is N."""
    lstm = bptt.LSTM(3, 4, batch_first=True, rng=0)
    with pytest.raises(ValueError, match=r"^layers\[1\] is LastStep\(\) with") as raised:
        bptt.Sequential(lstm, bptt.LastStep(), bptt.Linear(4, 2, rng=0))
    assert str(raised.value) == (
        "layers[1] is LastStep() with batch_first=False, must be like layers[0], "
        "LSTM(3, 4, batch_first=True) with batch_first=True"
    )


@pytest.mark.parametrize("wrap", [bptt.Residual, bptt.Sequential], ids=lambda w: w.__name__)
def test_nor_do_they_agree_inside_of_others(wrap):
    with pytest.raises(ValueError, match=r"^a part of layers\[2\] is GRU\(4, 4, batch_f"):
        bptt.Sequential(
            bptt.Linear(3, 4, rng=0),
            bptt.LSTM(4, 4, rng=0),
            wrap(bptt.GRU(4, 4, batch_first=True, rng=0)),
        )


@pytest.mark.parametrize("batch_first", [False, True])
def test_one_property_says_where_the_batch_lies(batch_first):
    gru = bptt.GRU(3, 4, batch_first=batch_first, rng=0)
    axis = 0 if batch_first else 1
    assert bptt.Sequential(bptt.Linear(3, 3, rng=0), gru).batch_axis == axis
    assert bptt.Linear(3, 3, rng=0).batch_axis == 0
    model = bptt.Sequential(gru, bptt.LastStep(batch_first), bptt.Linear(4, 2, rng=0))
    assert (model.batch_axis, model._has_steps(), gru._has_steps()) == (axis, False, True)
    model.keeps_steps = True
    assert model._has_steps()


def test_a_layer_of_ones_own_may_turn_axes():
    """What is inside of it is its own affair."""

    class Turned(bptt.Module):
        def __init__(self, *parts):
            super().__init__()
            self.parts = parts

        def __call__(self, x):
            return x.swapaxes(0, 1)

    gru = bptt.GRU(3, 3, rng=0)
    bptt.Sequential(gru, Turned(), bptt.Linear(3, 3, rng=0))
    bptt.Sequential(Turned(gru), bptt.LastStep(batch_first=True))
    assert not Turned(gru, bptt.LastStep())._has_steps()
