"""bptt.layers.base: what is made of a layer's one method, and layers that override some of it."""

import inspect
import tracemalloc

import numpy as np
import pytest
from parity import normal

import bptt
from bptt.layers.base import Layer, LengthsLayer, StateLayer

LAYERS = [
    bptt.Linear(8, 8, rng=0),
    bptt.Activation("sigmoid"),
    bptt.Dropout(0.5, rng=0),
    bptt.LayerNorm(8),
    bptt.MaxOverTime(),
    bptt.SinusoidalPositions(),
    bptt.MultiHeadSelfAttention(8, 2, rng=0),
    bptt.GRU(8, 8, rng=0),
]
layers = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)


class Twice(Layer):
    """In one method."""

    def _forward(self, x, state, lengths, keep):
        """Return twice x."""
        return 2 * x, None, (lambda dy, dstate, wanted: (2 * dy, None, {})) if keep else None


def test_a_layer_of_one_method():
    layer, x = Twice(), normal((3, 2))
    y, pullback = layer.vjp(x)
    assert np.array_equal(layer(x), 2 * x)
    assert np.array_equal(y, 2 * x)
    assert isinstance(pullback(), bptt.LayerGradients)
    assert not pullback().x.any()
    assert np.array_equal(pullback(x).x, 2 * x)
    for dy, error in ((np.ones(2), ValueError), (x.astype("f4"), TypeError), ("a", TypeError)):
        with pytest.raises(error, match=r"^dy "):
            pullback(dy)
    with pytest.raises(
        ValueError, match=r"^wrt has the name 'state', must have names among x, params"
    ):
        pullback(wrt=["state"])
    assert layer.__call__.__doc__ == "Return twice x."


@layers
def test_arguments_are_those_of_its_kind(layer):
    names = {Layer: "x", LengthsLayer: "x lengths", StateLayer: "x state lengths"}
    (wanted,) = (names[kind] for kind in names if isinstance(layer, kind))
    for method in (layer, layer.vjp):
        assert " ".join(inspect.signature(method).parameters) == wanted
        assert inspect.getdoc(method)
    assert (layer.stateful, layer.takes_lengths) == ("state" in wanted, "lengths" in wanted)


@layers
def test_a_call_keeps_nothing(layer):
    """Beyond y, and a final state."""
    x = normal((100, 20, 8), np.float32)

    def kept(call):
        call()
        tracemalloc.start()
        try:
            result = call()
            return tracemalloc.get_traced_memory()[0], result
        finally:
            tracemalloc.stop()

    result = layer(x)
    size = sum(part.nbytes for part in (result if layer.stateful else [result]))
    assert kept(lambda: layer(x))[0] < size + 4096
    assert layer._run(x, None, None, keep=False)[2] is None


def test_what_is_overridden_is_heard_everywhere():
    """In a Sequential and when training, whether by a class, a mixin or for one object."""
    seen = []

    class Spy(bptt.Linear):
        def vjp(self, x):
            seen.append("vjp")
            self(x)
            return super().vjp(x)

    class Called:
        def __call__(self, x):
            seen.append("call")
            return super().__call__(x)

    class Mixed(Called, bptt.Linear):
        pass

    x = normal((4, 3), np.float32)
    one = bptt.Linear(3, 3, rng=2)
    vjp = one.vjp
    one.vjp = lambda x: seen.append("one") or vjp(x)
    model = bptt.Sequential(Spy(3, 3, rng=0), Mixed(3, 3, rng=1), one)
    model(x)
    assert seen == ["call"]
    seen.clear()
    model.vjp(x)
    assert seen == ["vjp", "one"]

    class Again(Spy):
        def _forward(self, x, state, lengths, keep):
            return super()._forward(2 * x, state, lengths, keep)

    again = Again(3, 3, rng=0)
    assert np.array_equal(bptt.Sequential(again)(x), again(x))


class Mine(bptt.LSTM):
    pass


class Twisted(bptt.LSTM):
    def __init__(self, size):
        super().__init__(size, size, proj_size=3)


TAKES = (
    "input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, dtype, rng, "
    "backend, checkpoint_every"
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: bptt.LSTM(3, 4, proj_size=3),
            f"LSTM() got an unexpected keyword argument 'proj_size', takes {TAKES}",
        ),
        (lambda: Mine(3), f"Mine() missing a required argument: 'hidden_size', takes {TAKES}"),
        (
            lambda: Twisted(3),
            f"LSTM() got an unexpected keyword argument 'proj_size', takes {TAKES}",
        ),
        (
            lambda: bptt.LastStep(True, 1),
            "LastStep() too many positional arguments, takes batch_first",
        ),
        (lambda: Twice(3), "Twice() too many positional arguments, takes no arguments"),
        (lambda: Mine("3", 4), "input_size is of type str, must be an integer"),
    ],
)
def test_wrong_arguments_of_a_constructor_name_the_class(make, message):
    with pytest.raises(TypeError) as error:
        make()
    assert str(error.value) == message


def test_constructors_are_found_where_they_were():
    """Classes without one of their own hide none from another base."""

    class Named(bptt.Module):
        def __init__(self, name):
            super().__init__()
            self.name = name

    class Plain(bptt.Module):
        pass

    class Both(Plain, Named):
        pass

    assert Both("a").name == "a"
    with pytest.warns(UserWarning, match="dropout") as caught:
        Mine(3, 4, dropout=0.5)
    assert caught[0].filename == __file__
