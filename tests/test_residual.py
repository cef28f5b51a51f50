"""Residual: x and what the layer makes of it, with the layer's state and lengths."""

import copy
import pickle

import numpy as np
import pytest
from parity import assert_close, assert_gradients, assert_same, normal

import bptt

F64 = {"dtype": np.float64}


def stateful():
    """A block with two states, a nested chain and dropout, that takes lengths."""
    chain = bptt.Sequential(
        bptt.LayerNorm(3, **F64),
        bptt.LSTM(3, 4, rng=0, **F64),
        bptt.Dropout(0.3, rng=1),
        bptt.Residual(bptt.GRU(4, 4, rng=2, **F64)),
        bptt.Linear(4, 3, rng=3, **F64),
    )
    return bptt.Residual(chain)


def random_state(seed=0):
    pair = normal((1, 2, 4), seed=seed), normal((1, 2, 4), seed=seed + 1)
    return pair, normal((1, 2, 4), seed=seed + 2)


def arrays_of(value):
    return [a for part in value for a in arrays_of(part)] if isinstance(value, tuple) else [value]


def test_is_the_sum_of_x_and_its_layer():
    layer = bptt.Linear(3, 3, rng=0, **F64)
    x, dy = normal((4, 3)), normal((4, 3), seed=1)
    y, pullback = bptt.Residual(layer).vjp(x)
    assert np.array_equal(y, x + layer(x))
    assert np.array_equal(bptt.Residual(layer)(x), y)
    g, inner = pullback(dy), layer.vjp(x)[1](dy)
    assert type(g) is bptt.LayerGradients
    assert np.array_equal(g.x, dy + inner.x)
    assert_same(g.params, {f"layer.{name}": a for name, a in inner.params.items()})


@pytest.mark.parametrize("lengths", [None, [2, 6]])
def test_a_stateful_layer_is_passed_state_and_lengths(lengths):
    block = stateful().eval()
    x, state = normal((6, 2, 3)), random_state()
    y, end, pullback = block.vjp(x, state, lengths=lengths)
    inner, inner_end = block.layer(x, state, lengths=lengths, return_state=True)
    assert np.array_equal(y, x + inner)
    for a, b in zip(arrays_of(end), arrays_of(inner_end), strict=True):
        assert np.array_equal(a, b)
    again, _ = block(x, state, lengths=lengths)
    assert np.array_equal(again, y)
    assert type(pullback(y)) is bptt.RecurrentGradients


def test_gradients_are_the_slopes_within_a_chain():
    model = bptt.Sequential(bptt.Linear(3, 3, rng=5, **F64), stateful(), bptt.MeanOverTime())
    x, state, dy = normal((6, 2, 3)), (random_state(),), normal((2, 3), seed=9)
    dstate = (random_state(20),)

    def value():
        y, end = copy.deepcopy(model)(x, state, lengths=[2, 6], return_state=True)
        pairs = zip(arrays_of(end), arrays_of(dstate), strict=True)
        return np.sum(y * dy) + sum(np.sum(a * b) for a, b in pairs)

    _, _, pullback = copy.deepcopy(model).vjp(x, state, lengths=[2, 6], return_state=True)
    g = pullback(dy, dstate)
    assert list(g.params) == list(model.params)
    arrays = [x, *arrays_of(state), *model.params.values()]
    assert_gradients(value, arrays, [g.x, *arrays_of(g.state), *g.params.values()])
    only = pullback(dy, dstate, ("params",))
    assert only.x is only.state is None
    assert_same(only.params, g.params)


def test_what_is_absent_counts_as_zero():
    _, _, pullback = stateful().vjp(normal((6, 2, 3)), random_state())
    g = pullback()
    assert not any(a.any() for a in (g.x, *arrays_of(g.state), *g.params.values()))


def test_chunks_with_the_state_handed_on_are_the_whole():
    model = bptt.Sequential(stateful(), bptt.Activation("tanh")).eval()
    x = normal((7, 2, 3))
    y, end = model(x, return_state=True)
    first, state = model(x[:3], return_state=True)
    second, state = model(x[3:], state, return_state=True)
    assert_close("layers", np.concatenate([first, second]), y)
    for a, b in zip(arrays_of(state), arrays_of(end), strict=True):
        assert_close("layers", a, b)


def test_modes_copies_and_pickles_reach_the_layer():
    block = stateful()
    dropout = block.layer[2]
    assert not block.eval().layer[2].training
    assert dropout is block.layer[2]
    x = normal((6, 2, 3))
    for twin in (pickle.loads(pickle.dumps(block)), copy.deepcopy(block)):
        assert np.array_equal(twin(x)[0], block(x)[0])
        assert not np.shares_memory(twin.params["layer.4.bias"], block.params["layer.4.bias"])
    shallow = copy.copy(block).train()
    assert shallow.layer[2].training
    assert not dropout.training
    assert all(shallow.params[name] is a for name, a in block.params.items())


def test_a_result_of_the_layer_is_left_alone():
    class Kept(bptt.Module):
        def __call__(self, x):
            self.y = 2 * x
            return self.y

    layer = Kept()
    x = normal((4, 3))
    assert np.array_equal(bptt.Residual(layer)(x), 3 * x)
    assert np.array_equal(layer.y, 2 * x)


def test_repr_and_summary(capsys):
    block = bptt.Residual(bptt.Sequential(bptt.LayerNorm(4), bptt.GRU(4, 4, rng=0)))
    assert repr(block) == "Residual(Sequential(\n  (0): LayerNorm((4,))\n  (1): GRU(4, 4)\n))"
    bptt.summary(block)
    assert "layer.1.weight_hh_l0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: bptt.Residual(np.tanh), TypeError, "layer is of type"),
        (lambda: bptt.Residual(bptt.Linear), TypeError, "layer is of type type"),
        (
            lambda: bptt.Residual(bptt.Linear(3, 2))(np.zeros((4, 3), "f")),
            ValueError,
            "layer gives",
        ),
        (lambda: bptt.Residual(bptt.LastStep())(np.zeros((4, 2, 3))), ValueError, "layer gives"),
        (lambda: bptt.Residual(bptt.Linear(3, 3))([1, 2, 3]), TypeError, "x is of type list"),
        (
            lambda: bptt.Residual(bptt.Linear(3, 3))(np.zeros(3, "f"), 1),
            ValueError,
            "state is given",
        ),
        (
            lambda: bptt.Residual(bptt.Linear(3, 3))(np.zeros((2, 3), "f"), lengths=[1]),
            ValueError,
            "lengths is given",
        ),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()
