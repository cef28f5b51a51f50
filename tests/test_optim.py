"""Optimisers: the formulas' and PyTorch's numbers, exact restarts, and no step by halves."""

import copy
import math
import pickle
import re

import numpy as np
import pytest
from parity import assert_close, assert_same, normal, numbers
from updates import FORMULAS

import bptt
from bptt import _core

SHAPES = {"weight": (3, 4), "bias": (3,), "scale": ()}
OPTIMISERS = {
    "sgd": (bptt.SGD, {"lr": 0.1}),
    "momentum": (bptt.SGD, {"lr": 0.1, "momentum": 0.9}),
    "defaults of sgd": (bptt.SGD, {}),
    "nesterov": (bptt.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    "dampening": (bptt.SGD, {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.2}),
    "decay of sgd": (bptt.SGD, {"lr": 0.1, "weight_decay": 0.2}),
    "adam": (bptt.Adam, {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3}),
    "decay of adam": (bptt.Adam, {"lr": 0.1, "weight_decay": 0.2}),
    "defaults of adam": (bptt.Adam, {}),
    "adamw": (bptt.AdamW, {"lr": 0.1, "weight_decay": 0.3}),
    "defaults of adamw": (bptt.AdamW, {}),
    "rmsprop": (bptt.RMSprop, {"lr": 0.1, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.2}),
    "centered": (bptt.RMSprop, {"lr": 0.1, "eps": 1e-3, "centered": True}),
    "rmsprop's momentum": (bptt.RMSprop, {"momentum": 0.7}),
    "all of rmsprop": (bptt.RMSprop, {"momentum": 0.7, "centered": True, "weight_decay": 0.2}),
    "defaults of rmsprop": (bptt.RMSprop, {}),
    "adagrad": (bptt.Adagrad, {"lr": 0.5, "lr_decay": 0.1, "weight_decay": 0.2, "eps": 1e-3}),
    "adagrad's start": (bptt.Adagrad, {"initial_accumulator_value": 0.5}),
    "defaults of adagrad": (bptt.Adagrad, {}),
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
    # in float32 a sum over more steps may cancel to a number that is all rounding
    for step in range(1, 101 if dtype == np.float64 else 12):
        grads = draw(step, dtype)
        for name, twin in twins.items():
            twin.grad = torch.from_numpy(grads[name].copy())
        ours.step(grads)
        theirs.step()
        expected = {name: twin.detach().numpy() for name, twin in twins.items()}
        assert_close("training", params, expected)
        assert_same(grads, draw(step, dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("compiled")  # each instruction set in turn
def test_steps_are_the_formulas(recipe, dtype):
    """In arrays of all numbers of vectors and rests of vectors, side by side."""
    make, arguments = recipe
    shapes = {str(n): (n,) for n in (*range(36), 128, 131)} | {"none": (0, 3), "scalar": ()}
    params = {name: normal(shape, dtype, len(name)) for name, shape in shapes.items()}
    formula = {name: array.astype(np.float64) for name, array in params.items()}
    kept = {name: {} for name in shapes}
    optimiser = make(params, **arguments)
    told = {name: getattr(optimiser, name) for name in make._hyperparameters}
    for t in range(1, 7):
        grads = {name: normal(shape, dtype, t) for name, shape in shapes.items()}
        optimiser.step(grads)
        for name, grad in grads.items():
            g = grad.astype(np.float64)
            formula[name] = FORMULAS[make](formula[name], g, t, kept[name], **told)
        assert_close("steps", params, formula)


def test_a_team_takes_the_same_steps(recipe):
    make, arguments = recipe
    sizes, before = (1, 15, 16, 17, 5000), bptt.get_num_threads()
    found = {}
    for team in (1, 2, 3):
        params = {str(n): normal(n, np.float32) for n in sizes} | {"double": normal(1003)}
        optimiser = make(params, **arguments)
        bptt.set_num_threads(team)
        _core.set_always_share(team > 1)
        try:
            for step in range(3):
                optimiser.step({name: array + step for name, array in params.items()})
        finally:
            bptt.set_num_threads(before)
            _core.set_always_share(False)
        found[team] = params
    assert_same(found[2], found[1])
    assert_same(found[3], found[1])


def misaligned(array):
    room = np.zeros(array.nbytes + 1, np.uint8)[1:]
    return room.view(array.dtype).reshape(array.shape)


LAYOUTS = {
    "transposed": lambda array: np.empty(array.shape[::-1]).T,
    "reversed": lambda array: np.empty(array.shape)[::-1],
    "every other": lambda array: np.empty((*array.shape[:-1], 2 * array.shape[-1]))[..., ::2],
    "misaligned": misaligned,
    "other byte order": lambda array: np.empty(array.shape, array.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("which", ["parameter", "gradient", "both"])
def test_the_layout_of_an_array_does_not_matter(recipe, layout, which):
    make, arguments = recipe
    plain, other = normal((5, 7)), normal((5, 7))
    if which != "gradient":
        other = layout(plain)
        other[...] = plain
    ours, twin = make({"a": other, "b": normal(3)}, **arguments), make({"a": plain}, **arguments)
    for step in range(1, 4):
        grad = normal((5, 7), seed=step)
        twin.step({"a": grad.copy()})
        if which != "parameter":
            grad = layout(grad)
            grad[...] = normal((5, 7), seed=step)
        ours.step({"a": grad, "b": [1, 2, 3]})
    assert ours.params["a"] is other
    assert np.array_equal(other, plain)


def test_a_gradient_may_be_the_parameter_itself(recipe):
    make, arguments = recipe
    params, twins = draw(0), draw(0)
    make(params, **arguments).step(params)
    make(twins, **arguments).step(draw(0))
    assert_same(params, twins)


def test_an_infinite_parameter_stays_infinite_without_decay(recipe):
    make, arguments = recipe
    params = {"a": np.array([np.inf, 1])}
    make(params, **arguments | {"weight_decay": 0}).step({"a": np.ones(2)})
    assert params["a"][0] == np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rmsprop_bears_a_variance_that_rounds_below_zero(dtype):
    params = {"a": np.zeros(1000, dtype)}
    grads = {"a": numbers().normal(size=1000).astype(dtype)}
    optimiser = bptt.RMSprop(params, alpha=0.5, centered=True)
    for _ in range(60):
        optimiser.step(grads)
        assert np.isfinite(params["a"]).all()


def test_a_parameter_without_gradient_does_not_become_slow():
    """Its means decay, but end at zero and not among the denormals."""
    params = {"a": np.ones(3, np.float32)}
    optimiser = bptt.Adam(params, betas=(0.5, 0.5))
    optimiser.step({"a": np.ones(3, np.float32)})
    for _ in range(200):
        optimiser.step({"a": np.zeros(3, np.float32)})
    state = optimiser.state_dict()
    assert not state["mean"]["a"].any()
    assert not state["mean_square"]["a"].any()


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
    assert restored.lr == make({}, **arguments).lr
    assert repr(restored) == repr(make({}, **arguments))
    for arrays, twin in [(params_then, restored), pickled, copied]:
        twin.lr = 0.05
        for step in range(4, 7):
            twin.step(draw(step))
        assert_same(arrays, params)
    for slot in (slot for slot, value in saved.items() if isinstance(value, dict)):
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
        (lambda s: s.pop("lr"), ValueError),
        (lambda s: s.update(initial_lr=-1), ValueError),
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
    with pytest.raises(error, match=r"^(state_dict|lr|initial_lr|steps)"):
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
        (bptt.SGD, {"dampening": -1}, ValueError, "dampening is -1"),
        (bptt.SGD, {"weight_decay": -1}, ValueError, "weight_decay is -1"),
        (bptt.SGD, {"nesterov": 1}, TypeError, "nesterov is of type int"),
        (bptt.AdamW, {"weight_decay": -1}, ValueError, "weight_decay is -1"),
        (bptt.RMSprop, {"alpha": 1.5}, ValueError, "alpha is 1.5"),
        (bptt.RMSprop, {"centered": None}, TypeError, "centered is None"),
        (bptt.Adagrad, {"lr_decay": -1}, ValueError, "lr_decay is -1"),
        (
            *(bptt.Adagrad, {"initial_accumulator_value": -1}),
            *(ValueError, "initial_accumulator_value is -1"),
        ),
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
    assert repr(optimiser) == ("Adam(lr=1.0, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0)")


def test_hyperparameters_must_fit_together():
    for arguments in ({}, {"momentum": 0.9, "dampening": 0.1}):
        with pytest.raises(ValueError, match=r"^nesterov is True"):
            bptt.SGD(draw(0), nesterov=True, **arguments)
    optimiser = bptt.SGD(draw(0), momentum=0.9, nesterov=True)
    with pytest.raises(ValueError, match=r"^nesterov is True"):
        optimiser.momentum = 0
    assert optimiser.momentum == 0.9
    state = optimiser.state_dict() | {"dampening": 0.5}
    with pytest.raises(ValueError, match=r"^nesterov is True"):
        optimiser.load_state_dict(state)
    assert optimiser.dampening == 0


def test_a_momentum_that_is_set_later_acts():
    params, twins = draw(0), draw(0)
    optimiser, twin = bptt.SGD(params, lr=0), bptt.SGD(twins, momentum=0.5)
    optimiser.step(draw(1))
    assert "velocity" not in optimiser.state_dict()
    optimiser.lr, optimiser.momentum = 1e-3, 0.5
    for step in (1, 2):
        optimiser.step(draw(step))
        twin.step(draw(step))
    assert_same(params, twins)
    optimiser.momentum = 0  # and is forgotten
    assert "velocity" not in optimiser.state_dict()


def test_what_is_kept_may_come_back_from_a_pickle_as_views_of_bytes():
    """They are read-only then, and perhaps not aligned."""
    params, twins = draw(0), draw(0)
    optimiser, twin = bptt.Adam(params), bptt.Adam(twins)
    optimiser.step(draw(1))
    twin.step(draw(1))
    buffers = []
    pickled = pickle.dumps(optimiser, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(b" " + buffer.raw().tobytes())[1:] for buffer in buffers]
    copied = pickle.loads(pickled, buffers=parts)
    copied.params = params
    copied.step(draw(2))
    twin.step(draw(2))
    assert_same(params, twins)


def test_a_step_that_overflows_reaches_every_parameter(recipe):
    make, arguments = recipe
    params = {"a": np.full(2, 1e308), "b": np.ones(2)}
    optimiser = make(params, **arguments | {"lr": 10})
    with np.errstate(all="raise"):
        optimiser.step({"a": np.full(2, -1e308), "b": np.array([np.inf, 1])})
    assert params["b"][1] < 1
