"""Losses: PyTorch's numbers and gradients, and what is refused."""

import math
import re

import numpy as np
import pytest
from parity import assert_close, normal, numbers
from tolerances import TOLERANCES

import bptt

DTYPES = [np.float32, np.float64]


def compare(torch, found, function, y, target, **options):
    """Value and gradient against those of a PyTorch function."""
    value, dy = found
    y = torch.tensor(y, requires_grad=True)
    expected = function(y, torch.as_tensor(target), **options)
    expected.backward()
    assert isinstance(value, float)
    assert dy.dtype == y.detach().numpy().dtype
    assert_close("training", dy, y.grad.numpy())
    tolerance = TOLERANCES["training", dy.dtype.name]
    assert value == pytest.approx(expected.item(), rel=tolerance, nan_ok=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(), (7,), (4, 3, 5), (0, 3)])
def test_mse_equals_torch(torch, shape, reduction, dtype):
    y, target = normal(shape, dtype), normal(shape, dtype, seed=1)
    found = bptt.mse_loss(y, target, reduction=reduction)
    compare(torch, found, torch.nn.functional.mse_loss, y, target, reduction=reduction)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("shape", [(8,), (4, 3), (2, 3, 4), (0,)])
def test_cross_entropy_equals_torch(torch, shape, ignore_index, reduction, dtype):
    y = 3 * normal((*shape, 5), dtype)
    target = numbers(1).integers(0, 5, shape)
    target[numbers(2).random(shape) < 0.3] = ignore_index
    options = {"ignore_index": ignore_index, "reduction": reduction}
    value, dy = bptt.cross_entropy(y, target, **options)
    assert not dy[target == ignore_index].any()
    compare(
        torch,
        (value, dy.reshape(-1, 5)),
        torch.nn.functional.cross_entropy,
        y.reshape(-1, 5),
        target.reshape(-1),
        **options,
    )


def test_cross_entropy_of_one_sample_equals_torch(torch):
    y = normal(5)
    found = bptt.cross_entropy(y, 3)
    compare(torch, found, torch.nn.functional.cross_entropy, y, 3)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_all_ignored_equals_torch(torch, reduction):
    y, target = normal((3, 4)), np.full(3, -100)
    found = bptt.cross_entropy(y, target, reduction=reduction)
    assert math.isnan(found[0]) == (reduction == "mean")
    assert not found[1].any()
    compare(torch, found, torch.nn.functional.cross_entropy, y, target, reduction=reduction)


def test_no_targets_in_a_list():
    value, dy = bptt.cross_entropy(np.zeros((0, 4)), [])
    assert math.isnan(value)
    assert dy.shape == (0, 4)


def test_extreme_logits_equal_torchs(torch):
    rows = [[1e4, 0, -1e4], [-1e4, 0, 1e4], [0, -np.inf, 1], [1e300, -1e300, 0], [700, 710, 720]]
    y, target = np.array(rows), np.array([0, 0, 2, 0, 0])
    found = bptt.cross_entropy(y, target)
    assert math.isfinite(found[0])
    compare(torch, found, torch.nn.functional.cross_entropy, y, target)


def test_float32_squares_do_not_overflow():
    value, dy = bptt.mse_loss(np.full(4, 1e30, np.float32), [0, 0, 0, 0])
    assert value == pytest.approx(1e60, rel=1e-6)
    assert_close("training", dy, np.full(4, 5e29))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.uint64])
def test_any_integers_are_targets(dtype):
    y = normal((3, 4))
    value, dy = bptt.cross_entropy(y, np.array([0, 3, 1], dtype))
    assert value == bptt.cross_entropy(y, [0, 3, 1])[0]
    assert np.array_equal(dy, bptt.cross_entropy(y, [0, 3, 1])[1])


def test_arguments_are_left_alone_and_nothing_is_shared():
    y, target = normal((3, 4)), normal((3, 4), seed=1)
    classes = np.array([0, -100, 3])
    before = y.copy(), target.copy(), classes.copy()
    for dy in (bptt.mse_loss(y, target)[1], bptt.cross_entropy(y, classes)[1]):
        assert not np.shares_memory(dy, y)
        dy[...] = np.nan
    for now, then in zip((y, target, classes), before, strict=True):
        assert np.array_equal(now, then)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda y: bptt.mse_loss([1.0], [1.0]), TypeError, "y is "),
        (lambda y: bptt.mse_loss(y * 1j, y), TypeError, "y has dtype complex128"),
        (lambda y: bptt.mse_loss(y, None), TypeError, "target is None"),
        (lambda y: bptt.mse_loss(y, y[:1]), ValueError, "target has shape (1, 4), must be"),
        (lambda y: bptt.mse_loss(y, y.astype("f")), TypeError, "target has dtype float32, must be"),
        (lambda y: bptt.mse_loss(y, y, reduction="none"), ValueError, "reduction is 'none'"),
        (lambda y: bptt.mse_loss(y, y, reduction=None), TypeError, "reduction is None"),
        (lambda y: bptt.cross_entropy(y[0, 0], 0), ValueError, "y has shape ()"),
        (lambda y: bptt.cross_entropy(y[:, :0], [0] * 3), ValueError, "y has shape (3, 0)"),
        (lambda y: bptt.cross_entropy(y, [0, 1]), ValueError, "target has shape (2,), must be"),
        (lambda y: bptt.cross_entropy(y, [0.0, 1, 2]), TypeError, "target has dtype float64"),
        (lambda y: bptt.cross_entropy(y, [True] * 3), TypeError, "target has dtype bool"),
        (lambda y: bptt.cross_entropy(y, [0, 4, 1]), ValueError, "target has the value 4, must"),
        (lambda y: bptt.cross_entropy(y, [0, -1, 1]), ValueError, "target has the value -1, must"),
        (
            lambda y: bptt.cross_entropy(y, np.full(3, 2**64 - 100, np.uint64)),
            ValueError,
            "target has the value 18446744073709551516",
        ),
        (
            lambda y: bptt.cross_entropy(y, [0] * 3, ignore_index=0.5),
            TypeError,
            "ignore_index is ",
        ),
        (lambda y: bptt.cross_entropy(y, [0] * 3, reduction="max"), ValueError, "reduction is"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call(normal((3, 4)))
