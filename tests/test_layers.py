"""Layers without state, and what all layers share: parameters by name, modes, saving, errors."""

import copy
import pickle
import re
from functools import partial

import numpy as np
import pytest
from parity import assert_close, assert_same, normal, torch_twin

import bptt

DTYPES = [np.float32, np.float64]
NONLINEARITIES = ["tanh", "relu", "leaky_relu", "sigmoid"]


def torch_gradients(torch, function, dy, x, *params):
    """y of a PyTorch function of x, and the gradients of x and of params."""
    x = torch.tensor(x, requires_grad=True)
    y = function(x)
    y.backward(torch.from_numpy(dy))
    return [y.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in params)]


# ---- Linear


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(), (4,), (6, 3), (2, 3, 4), (0, 3)])
def test_linear_equals_torch(torch, rows, bias, dtype):
    layer = bptt.Linear(5, 7, bias, dtype=dtype, rng=0)
    x, dy = normal((*rows, 5), dtype), normal((*rows, 7), dtype, seed=1)
    y, pullback = layer.vjp(x)
    g = pullback(dy)
    twin = torch_twin(layer)
    found = [y, g.x, *g.params.values()]
    expected = torch_gradients(torch, twin, dy, x, *twin.parameters())
    for array, other in zip(found, expected, strict=True):
        assert array.dtype == dtype
        assert_close("layers", array, other)
    assert list(g.params) == [name for name, _ in twin.named_parameters()]
    assert np.array_equal(layer(x), y)


def test_linear_sums_many_rows_precisely():
    layer = bptt.Linear(3, 64, rng=0)
    x, dy = np.ones((100_000, 3), np.float32), np.full((100_000, 64), 0.1, np.float32)
    g = layer.vjp(x)[1](dy)
    total = dy.sum(axis=0, dtype=np.float64)
    assert_close("layers", g.params["bias"], total)
    assert_close("layers", g.params["weight"], np.stack([total] * 3, axis=1))


def test_linear_initial_values_are_within_torchs_bound():
    layer = bptt.Linear(100, 300, rng=0)
    for array in layer.params.values():
        assert np.abs(array).max() <= 0.1  # 1/sqrt(100)
        assert np.abs(array).max() > 0.098
        assert abs(array.mean()) < 0.015
        assert array.std() == pytest.approx(0.1 / np.sqrt(3), rel=0.1)


# ---- Activation


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nonlinearity", NONLINEARITIES)
def test_activation_equals_torch(torch, nonlinearity, dtype):
    layer = bptt.Activation(nonlinearity, slope=0.2)
    special = np.array([0, -0.0, 1000, -1000, np.inf, -np.inf, 1e-30, -1e-30], dtype)
    x = np.concatenate([normal(100, dtype), special])
    dy = normal(108, dtype, seed=1)
    function = getattr(torch.nn.functional, nonlinearity)
    twin = partial(function, negative_slope=0.2) if nonlinearity == "leaky_relu" else function
    y, pullback = layer.vjp(x)
    expected_y, expected_dx = torch_gradients(torch, twin, dy, x)
    dx = pullback(dy).x
    assert y.dtype == dx.dtype == dtype
    finite = np.isfinite(expected_y)
    assert np.array_equal(y[~finite], expected_y[~finite])
    assert_close("layers", y[finite], expected_y[finite])
    assert_close("layers", dx, expected_dx)
    assert np.array_equal(layer(x), y)


@pytest.mark.parametrize(
    ("nonlinearity", "at_zero"),
    [("tanh", 1), ("relu", 0), ("leaky_relu", 0.25), ("sigmoid", 0.25)],
)
def test_activation_derivative_at_zero(nonlinearity, at_zero):
    _, pullback = bptt.Activation(nonlinearity, slope=0.25).vjp(np.zeros(3))
    assert np.all(pullback(np.ones(3)).x == at_zero)


def test_leaky_relu_of_slope_zero_is_relu():
    x = np.array([-np.float64(2), -0.0, 0, 3, np.inf])
    y, pullback = bptt.Activation("leaky_relu", slope=0).vjp(x)
    assert np.array_equal(y, [0, 0, 0, 3, np.inf])
    assert np.array_equal(pullback(np.ones(5)).x, [0, 0, 0, 1, 1])


# ---- Dropout


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("p", "training"), [(0.0, True), (1.0, True), (0.5, False)])
def test_dropout_without_chance_equals_torch(torch, p, training, dtype):
    x, dy = normal((6, 5), dtype), normal((6, 5), dtype, seed=1)
    y, pullback = bptt.Dropout(p).train(training).vjp(x)
    expected = torch_gradients(torch, torch.nn.Dropout(p).train(training), dy, x)
    assert np.array_equal(y, expected[0])
    assert np.array_equal(pullback(dy).x, expected[1])
    assert y.dtype == dtype


def test_dropout_zeroes_a_share_and_scales_the_rest():
    layer = bptt.Dropout(0.2, rng=0)
    x = np.ones((100, 200))
    y, pullback = layer.vjp(x)
    assert set(np.unique(y)) == {0, 1.25}
    assert np.mean(y == 0) == pytest.approx(0.2, abs=3 * np.sqrt(0.16 / x.size))
    for axis in (0, 1):  # neighbours are independent
        assert np.mean(np.diff(y, axis=axis) != 0) == pytest.approx(0.32, abs=0.02)
    assert np.array_equal(pullback(x).x, y)
    assert np.array_equal(pullback(x).x, y)
    assert not np.array_equal(layer(x), y)
    assert np.array_equal(bptt.Dropout(0.2, rng=0)(x), y)


# ---- all of them

STATELESS = {
    "linear": lambda: bptt.Linear(3, 2, rng=0, dtype=np.float64),
    **{name: lambda name=name: bptt.Activation(name) for name in NONLINEARITIES},
    "dropout": lambda: bptt.Dropout(0.5, rng=0),
    "dropout in eval mode": lambda: bptt.Dropout(0.5, rng=0).eval(),
    "layer norm": lambda: bptt.LayerNorm(3, dtype=np.float64),
    "layer norm without parameters": lambda: bptt.LayerNorm((2, 3), 1e-3, False, dtype=np.float64),
    "last step": bptt.LastStep,
    "largest": bptt.MaxOverTime,
    "mean": bptt.MeanOverTime,
    "positions": bptt.SinusoidalPositions,
    "self-attention": lambda: bptt.MultiHeadSelfAttention(3, 3, True, rng=0, dtype=np.float64),
    "residual": lambda: bptt.Residual(bptt.Linear(3, 3, rng=0, dtype=np.float64)),
    "residual of a chain": lambda: bptt.Residual(
        bptt.Sequential(bptt.LayerNorm(3, dtype=np.float64), bptt.Dropout(rng=0))
    ),
}


@pytest.fixture(params=STATELESS)
def layer(request):
    return STATELESS[request.param]()


def test_nothing_returned_is_shared_and_pullbacks_repeat(layer):
    x = normal((4, 2, 3))
    before = x.copy()
    y, pullback = layer.vjp(x)
    dy = normal(y.shape, seed=1)
    dy_before = dy.copy()
    first = pullback(dy)
    kept = copy.deepcopy(first)
    assert not np.shares_memory(y, x)
    assert not np.shares_memory(first.x, dy)
    y[...] = np.nan
    for array in (first.x, *first.params.values()):
        array[...] = np.nan
    second = pullback(dy)
    assert np.array_equal(second.x, kept.x)
    assert_same(second.params, kept.params)
    assert np.array_equal(x, before)
    assert np.array_equal(dy, dy_before)


def test_wrt_and_absent_gradients(layer):
    x = normal((4, 2, 3))
    y, pullback = layer.vjp(x)
    g = pullback(normal(y.shape))
    assert pullback(normal(y.shape), ("params",)).x is None
    assert pullback(normal(y.shape), {"x"}).params is None
    assert np.array_equal(pullback(normal(y.shape), ["x"]).x, g.x)
    assert pullback(wrt=()) == (None, None)
    zero = pullback()
    assert zero.x.shape == x.shape
    assert not zero.x.any()
    assert not any(array.any() for array in zero.params.values())
    with pytest.raises(TypeError, match=r"^wrt "):
        pullback(wrt="x")
    with pytest.raises(ValueError, match=r"^wrt "):
        pullback(wrt=("state",))
    with pytest.raises(ValueError, match=r"^dy has shape \(1, 1\), must be"):
        pullback(np.zeros((1, 1)))
    with pytest.raises(TypeError, match=r"^dy has dtype float32, must be float64"):
        pullback(np.zeros(y.shape, np.float32))


def test_other_arrays_than_floats_are_refused(layer):
    for x in (None, normal((4, 2, 3)) * 1j, np.full((4, 2, 3), "a"), normal((4, 2, 3), np.float16)):
        with pytest.raises(TypeError, match=r"^x "):
            layer(x)


def test_layers_pickle_and_copy(layer):
    x = normal((4, 2, 3))
    expected = copy.deepcopy(layer)(x)
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert repr(twin) == repr(layer)
        assert twin.training == layer.training
        assert np.array_equal(twin(x), expected)
        for name, array in twin.params.items():
            assert not np.shares_memory(array, layer.params[name])
    shallow = copy.copy(layer)
    shallow.train(not layer.training)
    assert shallow.training != layer.training
    assert all(shallow.params[name] is array for name, array in layer.params.items())


@pytest.mark.parametrize(
    "text",
    [
        "Linear(in_features=3, out_features=4, bias=True)",
        "Linear(in_features=3, out_features=4, bias=False, dtype='float64')",
        "Activation('tanh')",
        "Activation('leaky_relu', slope=0.2)",
        "Dropout(p=0.25)",
        "LayerNorm((3,))",
        "LayerNorm((3, 4), eps=0.1, bias=False, dtype='float64')",
        "LastStep()",
        "MaxOverTime(batch_first=True)",
        "Embedding(5, 3)",
        "Embedding(5, 3, padding_idx=0)",
        "MultiHeadSelfAttention(6, 2, causal=True, batch_first=True)",
        "BahdanauAttention(4, 3, 5)",
        "LuongAttention(4, 3, score='concat', dtype='float64')",
        "SinusoidalPositions()",
    ],
)
def test_repr_makes_the_layer_again(text):
    names = {name: getattr(bptt, name) for name in bptt.__all__}
    assert repr(eval(text, names)) == text


def test_repr_of_a_layer_of_ones_own():
    class Scaled(bptt.Module):
        def __init__(self, size, by, scale=None, *, name="a", rng=None):
            super().__init__()
            self.by, self.scale, self.name = by, scale, name

    assert repr(Scaled(3, 4)) == "Scaled(..., 4)"
    assert repr(Scaled(3, 4, np.ones(2), name="b")) == (
        "Scaled(..., 4, scale=array([1., 1.]), name='b')"
    )


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: bptt.Linear(0, 2), ValueError, "in_features"),
        (lambda: bptt.Linear(2, "3"), TypeError, "out_features"),
        (lambda: bptt.Linear(2, 3, bias=None), TypeError, "bias"),
        (lambda: bptt.Linear(2, 3, dtype=np.float16), TypeError, "dtype"),
        (lambda: bptt.Linear(2, 3, rng="a"), TypeError, "rng"),
        (lambda: bptt.Activation("gelu"), ValueError, "nonlinearity"),
        (lambda: bptt.Activation(np.tanh), TypeError, "nonlinearity"),
        (lambda: bptt.Activation("leaky_relu", -1), ValueError, "slope"),
        (lambda: bptt.Activation("leaky_relu", True), TypeError, "slope"),
        (lambda: bptt.Dropout(1.5), ValueError, "p"),
        (lambda: bptt.Dropout("0.5"), TypeError, "p"),
        (lambda: bptt.Dropout(rng=2.5), TypeError, "rng"),
        (lambda: bptt.Dropout().train(1), TypeError, "mode"),
        (lambda: bptt.Linear(3, 2)(np.zeros((2, 4), np.float32)), ValueError, "x"),
        (lambda: bptt.Linear(3, 2)(np.float32(1)), ValueError, "x"),
        (lambda: bptt.Linear(3, 2)(np.zeros((2, 3))), TypeError, "x"),
    ],
)
def test_errors_name_the_argument(make, error, name):
    with pytest.raises(error, match=f"^{name} "):
        make()


# ---- parameters


def test_params_are_live_and_state_dict_is_a_copy():
    layer = bptt.Linear(3, 2, rng=0, dtype=np.float64)
    saved = layer.state_dict()
    layer.params["bias"][:] = 7
    assert np.array_equal(layer(np.zeros((1, 3))), [[7, 7]])
    assert not np.array_equal(saved["bias"], layer.params["bias"])
    arrays = dict(layer.params)
    layer.load_state_dict(saved)
    saved["bias"][:] = 9
    assert all(layer.params[name] is array for name, array in arrays.items())
    assert not np.any(layer.params["bias"] == 9)
    with pytest.raises(TypeError):
        layer.params["bias"] = np.zeros(2)


def test_load_converts_real_numbers(torch):
    layer = bptt.Linear(3, 2, rng=0)
    weight = normal((2, 3))
    for bias in ([1, 2], np.array([1, 2], np.int8), np.array([1, 2], ">f8"), torch.tensor([1, 2])):
        layer.params["bias"][:] = 0
        layer.load_state_dict({"bias": bias, "weight": weight})
        assert np.array_equal(layer.params["bias"], [1, 2])
        assert np.array_equal(layer.params["weight"], weight.astype(np.float32))
        assert layer.params["weight"].dtype == np.float32


def test_load_of_the_layers_own_arrays():
    layer = bptt.RNN(3, 4, rng=0)
    before = layer.state_dict()
    swapped = dict(layer.params)
    swapped["bias_ih_l0"], swapped["bias_hh_l0"] = swapped["bias_hh_l0"], swapped["bias_ih_l0"]
    layer.load_state_dict(swapped)
    assert np.array_equal(layer.params["bias_ih_l0"], before["bias_hh_l0"])
    assert np.array_equal(layer.params["bias_hh_l0"], before["bias_ih_l0"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda d: d.pop("bias"), ValueError, "missing ['bias']"),
        (lambda d: d.update(extra=0), ValueError, "unknown ['extra']"),
        (lambda d: d.update(bias=np.ones(3)), ValueError, "['bias'] has shape (3,), must be"),
        (lambda d: d.update(bias=np.ones((1, 2))), ValueError, "['bias'] has shape (1, 2), must"),
        (lambda d: d.update(bias=np.ones(2) * 1j), TypeError, "['bias'] has dtype complex128"),
        (lambda d: d.update(bias=["a", "b"]), TypeError, "['bias'] has dtype"),
        (lambda d: d.update(bias=[[1], [1, 2]]), ValueError, "['bias'] "),
        (lambda d: d.update(bias=None), TypeError, "['bias'] is None"),
    ],
)
def test_a_failed_load_changes_nothing(change, error, message):
    layer = bptt.Linear(3, 2, rng=0)
    before = layer.state_dict()
    bad = {"weight": np.ones((2, 3)), "bias": np.ones(2)}
    change(bad)
    with pytest.raises(error, match=f"^state_dict.*{re.escape(message)}"):
        layer.load_state_dict(bad)
    assert_same(layer.state_dict(), before)


def test_a_load_into_frozen_parameters_changes_nothing():
    layer = bptt.Linear(3, 2, rng=0)
    before = layer.state_dict()
    layer.params["bias"].flags.writeable = False
    with pytest.raises(ValueError, match=r"^params\['bias'\] is read-only"):
        layer.load_state_dict({"weight": np.ones((2, 3)), "bias": np.ones(2)})
    assert_same(layer.state_dict(), before)


def test_a_failed_load_of_a_tensor_changes_nothing(torch):
    layer = bptt.Linear(3, 2, rng=0)
    before = layer.state_dict()
    for bias in (torch.ones(2, requires_grad=True), torch.ones(2, dtype=torch.bfloat16)):
        with pytest.raises(TypeError, match=r"^state_dict\['bias'\] "):
            layer.load_state_dict({"weight": np.ones((2, 3)), "bias": bias})
    with pytest.raises(TypeError, match=r"^state_dict "):
        layer.load_state_dict([1, 2])
    assert_same(layer.state_dict(), before)


def test_the_mode_reaches_layers_in_a_layer_of_ones_own():
    class Own(bptt.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = [bptt.Sequential(bptt.Linear(2, 2, rng=0), bptt.Dropout(0.5, rng=0))]

        def __call__(self, x):
            return self.inner[0](x)

    x = np.ones((8, 2), np.float32)
    own = Own()
    assert not np.array_equal(own(x), own(x))
    own.eval()
    assert np.array_equal(own(x), own(x))
