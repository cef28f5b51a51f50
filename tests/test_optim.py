"""Optimisers and clipping: PyTorch's numbers, exact restarts, and no step by halves."""

import copy
import math
import pickle
import re

import numpy as np
import pytest
from parity import assert_close, assert_same, normal
from tolerances import TOLERANCES

import bptt

SHAPES = {"weight": (3, 4), "bias": (3,), "scale": ()}
OPTIMISERS = {
    "sgd": (bptt.SGD, {"lr": 0.1}),
    "momentum": (bptt.SGD, {"lr": 0.1, "momentum": 0.9}),
    "defaults of sgd": (bptt.SGD, {}),
    "adam": (bptt.Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    "defaults of adam": (bptt.Adam, {}),
}


@pytest.fixture(params=OPTIMISERS)
def recipe(request):
    return OPTIMISERS[request.param]


def draw(seed, dtype=np.float64):
    """Arrays by name, of very different sizes."""
    return {
        name: np.asarray(10.0**i * normal(shape, seed=seed * 10 + i), dtype)
        for i, (name, shape) in enumerate(SHAPES.items())
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_equal_torchs(torch, recipe, dtype):
    make, arguments = recipe
    params = draw(0, dtype)
    twins = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    ours = make(params, **arguments)
    theirs = getattr(torch.optim, make.__name__)(twins.values(), **arguments)
    for step in range(1, 12):
        grads = draw(step, dtype)
        for name, twin in twins.items():
            twin.grad = torch.from_numpy(grads[name].copy())
        ours.step(grads)
        theirs.step()
        expected = {name: twin.detach().numpy() for name, twin in twins.items()}
        assert_close("training", params, expected)
        assert_same(grads, draw(step, dtype))


def test_a_restored_optimiser_continues_with_the_same_bits(recipe):
    make, arguments = recipe
    params = draw(0)
    optimiser = make(params, **arguments)
    for step in range(1, 4):
        optimiser.step(draw(step))
    saved, params_then = optimiser.state_dict(), copy.deepcopy(params)
    pickled = pickle.loads(pickle.dumps((params, optimiser)))
    copied = copy.deepcopy((params, optimiser))
    optimiser.lr = 0.05
    for step in range(4, 7):
        optimiser.step(draw(step))

    # the saved state was not changed by later steps, and brings its hyperparameters with it
    restored = make(params_then, lr=9)
    restored.load_state_dict(saved)
    assert restored.lr == arguments.get("lr", 1e-3)
    assert repr(restored) == repr(make({}, **arguments))
    for arrays, twin in [(params_then, restored), pickled, copied]:
        twin.lr = 0.05
        for step in range(4, 7):
            twin.step(draw(step))
        assert_same(arrays, params)
    for slot in saved.keys() - {"lr", "momentum", "betas", "eps", "steps"}:
        for name, array in saved[slot].items():
            assert not np.shares_memory(array, restored._kept[slot][name])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda g: g.pop("scale"), ValueError, "grads has the names"),
        (lambda g: g.update(other=np.zeros(2)), ValueError, "grads has the names"),
        (lambda g: g.update(scale=np.zeros(2)), ValueError, "grads['scale'] has shape (2,), must"),
        (lambda g: g.update(scale=None), TypeError, "grads['scale'] is None"),
        (lambda g: g.update(scale=np.float32(1)), TypeError, "grads['scale'] has dtype float32"),
        (lambda g: g.update(scale=np.array(1j)), TypeError, "grads['scale'] has dtype complex128"),
    ],
)
def test_a_refused_step_changes_nothing(recipe, change, error, message):
    make, arguments = recipe
    params = draw(0)
    optimiser = make(params, **arguments)
    optimiser.step(draw(1))
    before = copy.deepcopy((params, optimiser.state_dict()))
    grads = draw(2)
    change(grads)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        optimiser.step(grads)
    with pytest.raises(TypeError, match=r"^grads "):
        optimiser.step(list(grads.values()))
    assert_same(params, before[0])
    assert repr(optimiser.state_dict()) == repr(before[1])


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s: s.pop("steps"), ValueError),
        (lambda s: s.update(nesterov=True), ValueError),
        (lambda s: s.update(lr=-1), ValueError),
        (lambda s: s.update(steps=-1), ValueError),
        (lambda s: s.update(steps=1.5), TypeError),
        (lambda s: s["mean"].pop("bias"), ValueError),
        (lambda s: s["mean_square"].update(scale=np.zeros(3)), ValueError),
        (lambda s: s.update(mean=None), TypeError),
    ],
)
def test_a_refused_load_changes_nothing(change, error):
    optimiser = bptt.Adam(draw(0), 0.1)
    optimiser.step(draw(1))
    before = repr(optimiser.state_dict())
    other = bptt.Adam(draw(0), 0.2)
    other.step(draw(2))
    other.step(draw(2))
    bad = other.state_dict()
    change(bad)
    with pytest.raises(error, match=r"^(state_dict|lr|steps)"):
        optimiser.load_state_dict(bad)
    assert repr(optimiser.state_dict()) == before


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (bptt.SGD, {"lr": -0.1}, ValueError, "lr is -0.1"),
        (bptt.SGD, {"lr": math.nan}, ValueError, "lr is nan"),
        (bptt.SGD, {"lr": "0.1"}, TypeError, "lr is "),
        (bptt.SGD, {"momentum": -1}, ValueError, "momentum is -1"),
        (bptt.Adam, {"lr": None}, TypeError, "lr is "),
        (bptt.Adam, {"betas": 0.9}, TypeError, "betas is "),
        (bptt.Adam, {"betas": (0.9, 1.0)}, ValueError, "betas is (0.9, 1.0)"),
        (bptt.Adam, {"betas": (-0.1, 0.9)}, ValueError, "betas[0] is -0.1"),
        (bptt.Adam, {"eps": -1e-8}, ValueError, "eps is -1e-08"),
        (bptt.SGD, {"params": [np.zeros(3)]}, TypeError, "params is "),
        (bptt.SGD, {"params": {"a": [1.0]}}, TypeError, "params['a'] is "),
        (bptt.SGD, {"params": {"a": np.zeros(3, int)}}, TypeError, "params['a'] has dtype int64"),
    ],
)
def test_constructor_errors_name_the_argument(make, arguments, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        make(**{"params": draw(0)} | arguments)


def test_parameters_must_be_writeable_and_different():
    array = np.zeros(3)
    with pytest.raises(ValueError, match=r"^params\['b'\] is the same array as params\['a'\]"):
        bptt.SGD({"a": array, "b": array})
    array.flags.writeable = False
    with pytest.raises(ValueError, match=r"^params\['a'\] is read-only"):
        bptt.SGD({"a": array})


def test_a_parameter_frozen_later_stops_the_step_before_it_begins(recipe):
    make, arguments = recipe
    params = draw(0)
    optimiser = make(params, **arguments)
    params["scale"].flags.writeable = False
    with pytest.raises(ValueError, match=r"^params\['scale'\] is read-only"):
        optimiser.step(draw(1))
    assert_same(params, draw(0))


def test_hyperparameters_are_checked_when_set():
    optimiser = bptt.Adam(draw(0))
    optimiser.lr = 1
    for name, value in [("lr", -1), ("eps", math.nan), ("betas", (0.5, 2))]:
        with pytest.raises(ValueError, match=f"^{name}"):
            setattr(optimiser, name, value)
    assert repr(optimiser) == "Adam(lr=1.0, betas=(0.9, 0.999), eps=1e-08)"


def test_a_step_that_overflows_reaches_every_parameter(recipe):
    make, arguments = recipe
    params = {"a": np.full(2, 1e308), "b": np.ones(2)}
    optimiser = make(params, **arguments | {"lr": 10})
    with np.errstate(all="raise"):
        optimiser.step({"a": np.full(2, -1e308), "b": np.array([np.inf, 1])})
    assert params["b"][1] < 1


# ---- clipping


@pytest.mark.parametrize("norm_type", [2.0, 1, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0, 0.5, 30.0, 1e6, math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_equals_torch(torch, max_norm, norm_type, dtype):
    grads = draw(0, dtype)
    twins = [torch.zeros(shape, requires_grad=True) for shape in SHAPES.values()]
    twins = [twin.detach().to(getattr(torch, np.dtype(dtype).name)) for twin in twins]
    for twin, grad in zip(twins, grads.values(), strict=True):
        twin.requires_grad_().grad = torch.from_numpy(grad.copy())
    arrays = dict(grads)
    norm = bptt.clip_grad_norm_(grads, max_norm, norm_type)
    expected = torch.nn.utils.clip_grad_norm_(twins, max_norm, norm_type)
    tolerance = TOLERANCES["training", np.dtype(dtype).name]
    assert norm == pytest.approx(expected.item(), rel=tolerance)
    assert all(grads[name] is array for name, array in arrays.items())
    found = dict(zip(grads, (twin.grad.numpy() for twin in twins), strict=True))
    assert_close("training", grads, found)


def test_clip_leaves_small_gradients_alone():
    grads = draw(0)
    bptt.clip_grad_norm_(grads, 1e4)
    assert_same(grads, draw(0))
    assert bptt.clip_grad_norm_({}, 1.0) == 0
    assert bptt.clip_grad_norm_({"none": np.zeros((0, 3))}, 1.0, math.inf) == 0


def test_clip_of_what_is_not_finite_is_torchs():
    grads = {"a": np.array([1.0, math.nan]), "b": np.ones(2)}
    assert math.isnan(bptt.clip_grad_norm_(grads, 1.0))
    assert all(np.isnan(array).all() for array in grads.values())
    grads = {"a": np.array([1.0, math.inf]), "b": np.ones(2)}
    assert bptt.clip_grad_norm_(grads, 1.0) == math.inf
    assert np.isnan(grads["a"][1])
    assert grads["a"][0] == grads["b"][0] == 0


def test_clip_tames_float32_gradients_whose_squares_overflow():
    grads = {"a": np.full(4, 1e30, np.float32)}
    assert bptt.clip_grad_norm_(grads, 1.0) == pytest.approx(2e30, rel=1e-6)
    assert_close("training", grads["a"], np.full(4, 0.5))


@pytest.mark.parametrize(
    ("grads", "arguments", "error", "message"),
    [
        ([np.ones(2)], {}, TypeError, "grads is "),
        (None, {}, TypeError, "grads is "),
        ({"b": [1.0]}, {}, TypeError, "grads['b'] is "),
        ({"b": None}, {}, TypeError, "grads['b'] is "),
        ({"b": np.ones(2, int)}, {}, TypeError, "grads['b'] has dtype int64"),
        ({"b": np.broadcast_to(1.0, 2)}, {}, ValueError, "grads['b'] is read-only"),
        ({}, {"max_norm": -1}, ValueError, "max_norm is -1"),
        ({}, {"max_norm": None}, TypeError, "max_norm is "),
        ({}, {"norm_type": 0}, ValueError, "norm_type is 0"),
        ({}, {"norm_type": "2"}, TypeError, "norm_type is "),
    ],
)
def test_a_refused_clip_changes_nothing(grads, arguments, error, message):
    first = np.full(3, 7.0)
    if isinstance(grads, dict):
        grads = {"a": first} | grads
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        bptt.clip_grad_norm_(grads, **{"max_norm": 1.0} | arguments)
    assert np.all(first == 7)
