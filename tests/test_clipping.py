"""Clipping of gradients: PyTorch's numbers, what is not finite, and what is refused."""

import math
import re

import numpy as np
import pytest
from parity import assert_close, assert_same, normal, numbers
from tolerances import TOLERANCES

import bptt

SHAPES = {"weight": (3, 4), "bias": (3,), "scale": ()}


def draw(seed, dtype=np.float64):
    """Arrays by name, of very different sizes."""
    return {
        name: np.asarray(10.0**i * normal(shape, seed=seed * 10 + i), dtype)
        for i, (name, shape) in enumerate(SHAPES.items())
    }


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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.usefixtures("compiled")
def test_the_norm_of_arrays_of_all_sizes_is_exact(dtype):
    """As a sum of few numbers is, wherever they stand: each element is counted, and once."""
    for n in (*range(70), 1000, 8191, 8192, 8193, 100_000):
        array = numbers(n).integers(-9, 10, n).astype(dtype)
        expected = math.sqrt(int(np.sum(array.astype(np.int64) ** 2)))
        assert bptt.clip_grad_norm_({"a": array}, math.inf) == expected, n
    assert bptt.clip_grad_norm_({"a": array[::2], "b": array[1::2]}, math.inf) == expected
    for other in (array.astype(array.dtype.newbyteorder()), array.reshape(400, 250).T):
        assert bptt.clip_grad_norm_({"a": other}, math.inf) == expected


def test_the_norm_of_many_float32_numbers_is_that_of_float64():
    array = normal(1_000_000, np.float32)
    expected = math.sqrt(math.fsum(np.square(array, dtype=np.float64)))
    assert bptt.clip_grad_norm_({"a": array}, math.inf) == pytest.approx(expected, rel=1e-14)


def test_clip_tames_float32_gradients_whose_squares_overflow():
    grads = {"a": np.full(4, 1e30, np.float32)}
    assert bptt.clip_grad_norm_(grads, 1.0) == pytest.approx(2e30, rel=1e-6)
    assert_close("training", grads["a"], np.full(4, 0.5))


@pytest.mark.parametrize("clip_value", [0, 0.5, 30, math.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clip_by_value_equals_torch(torch, clip_value, dtype):
    grads = draw(0, dtype) | {"edges": np.array([np.nan, np.inf, -np.inf, -0.0], dtype)}
    twins = {name: torch.from_numpy(np.zeros_like(grad)) for name, grad in grads.items()}
    for name, twin in twins.items():
        twin.requires_grad_().grad = torch.from_numpy(grads[name].copy())
    arrays = dict(grads)
    assert bptt.clip_grad_value_(grads, clip_value) is None
    torch.nn.utils.clip_grad_value_(twins.values(), clip_value)
    for name, twin in twins.items():
        assert grads[name] is arrays[name]
        assert np.array_equal(grads[name], twin.grad.numpy(), equal_nan=True)


def test_a_bound_beyond_float32_clips_nothing_in_it():
    grads = {"a": np.array([-np.inf, 1, np.inf], np.float32)}
    bptt.clip_grad_value_(grads, 1e300)
    assert grads["a"].tolist() == [-math.inf, 1, math.inf]


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


@pytest.mark.parametrize(
    ("grads", "clip_value", "error", "message"),
    [
        ([np.ones(2)], 1, TypeError, "grads is "),
        ({"b": np.ones(2, int)}, 1, TypeError, "grads['b'] has dtype int64"),
        ({"b": np.broadcast_to(1.0, 2)}, 1, ValueError, "grads['b'] is read-only"),
        ({}, -1, ValueError, "clip_value is -1"),
        ({}, math.nan, ValueError, "clip_value is nan"),
        ({}, None, TypeError, "clip_value is None"),
    ],
)
def test_a_refused_clip_by_value_changes_nothing(grads, clip_value, error, message):
    first = np.full(3, 7.0)
    if isinstance(grads, dict):
        grads = {"a": first} | grads
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        bptt.clip_grad_value_(grads, clip_value)
    assert np.all(first == 7)
