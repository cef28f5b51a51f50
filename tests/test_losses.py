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


# losses of y and a target of its shape, with options that put y and target on both sides of a kink
ELEMENTWISE = [
    ("mse_loss", {}),
    ("l1_loss", {}),
    ("huber_loss", {}),
    ("huber_loss", {"delta": 0.3}),
    ("smooth_l1_loss", {}),
    ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}),
    ("binary_cross_entropy_with_logits", {}),
]
every_elementwise = pytest.mark.parametrize(("name", "options"), ELEMENTWISE)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("shape", [(), (7,), (4, 3, 5), (0, 3)])
@every_elementwise
def test_losses_of_numbers_equal_torch(torch, name, options, shape, reduction, dtype):
    y, target = normal(shape, dtype), normal(shape, dtype, seed=1)
    if y.size > 2:
        y[..., 0] = target[..., 0]  # where the absolute error has its kink
    options = options | {"reduction": reduction}
    found = getattr(bptt, name)(y, target, **options)
    compare(torch, found, getattr(torch.nn.functional, name), y, target, **options)


@every_elementwise
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_goes_through_without_a_warning(name, options, dtype):
    most = np.finfo(dtype).max
    y = np.array([np.nan, np.inf, -np.inf, np.inf, most, 2], dtype)
    target = np.array([0, 0, 0, np.inf, -most, 1], dtype)
    value, dy = getattr(bptt, name)(y, target, **options)
    assert math.isnan(value)
    assert np.isnan(dy[0])
    assert np.isfinite(dy[-1])


@pytest.mark.parametrize("name", ["huber_loss", "smooth_l1_loss"])
def test_large_errors_do_not_overflow(name):
    value, dy = getattr(bptt, name)(np.full(4, 1e30, np.float32), [0, 0, 0, 0])
    assert value == pytest.approx(1e30, rel=1e-6)
    assert dy.tolist() == [0.25] * 4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weight", [None, (), (5,), (3, 1), (4, 3, 5)])
@pytest.mark.parametrize("pos_weight", [None, (5,), (4, 3, 5)])
def test_weights_of_binary_cross_entropy_equal_torchs(torch, weight, pos_weight, reduction, dtype):
    y, target = 3 * normal((4, 3, 5), dtype), numbers(1).random((4, 3, 5)).astype(dtype)
    target[0] = target[0] > 0.5
    given = {"weight": weight, "pos_weight": pos_weight}
    arrays = {n: abs(normal(s, dtype, seed=2)) for n, s in given.items() if s is not None}
    found = bptt.binary_cross_entropy_with_logits(y, target, reduction=reduction, **arrays)
    tensors = {n: torch.as_tensor(a) for n, a in arrays.items()}
    function = torch.nn.functional.binary_cross_entropy_with_logits
    compare(torch, found, function, y, target, reduction=reduction, **tensors)


@pytest.mark.parametrize("sign", [1, -1])
def test_binary_cross_entropy_keeps_its_small_values(sign):
    """1 - sigmoid(y) is about e^-y, of which a difference would leave nothing."""
    y = sign * np.array([20.0, 40, 300, 700, 1e4])
    target = np.full(5, max(sign, 0))
    value, dy = bptt.binary_cross_entropy_with_logits(y[:4], target[:4], reduction="sum")
    assert value == pytest.approx(np.log1p(np.exp(-abs(y[:4]))).sum(), rel=1e-14)
    e = np.exp(-abs(y[:4]))
    np.testing.assert_allclose(dy, -sign * e / (1 + e), rtol=1e-14)
    assert bptt.binary_cross_entropy_with_logits(y[4:], target[4:])[0] == 0


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
    rows = y.reshape(-1, 5), target.reshape(-1)
    found = value, dy.reshape(-1, 5)
    compare(torch, found, torch.nn.functional.cross_entropy, *rows, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("label_smoothing", [0.1, 1, 0])
def test_label_smoothing_equals_torch(torch, label_smoothing, reduction, dtype):
    y, target = 3 * normal((9, 5), dtype), numbers(1).integers(0, 5, 9)
    target[[2, 7]] = -100
    options = {"label_smoothing": label_smoothing, "reduction": reduction}
    found = bptt.cross_entropy(y, target, **options)
    compare(torch, found, torch.nn.functional.cross_entropy, y, target, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("shape", [(), (8,), (2, 3, 4), (0,)])
def test_nll_equals_torch(torch, shape, ignore_index, reduction, dtype):
    y = normal((*shape, 5), dtype)
    target = numbers(1).integers(0, 5, shape)
    options = {"ignore_index": ignore_index, "reduction": reduction}
    value, dy = bptt.nll_loss(y, target, **options)
    rows = y.reshape(-1, 5), target.reshape(-1)
    found = value, dy.reshape(-1, 5)
    compare(torch, found, torch.nn.functional.nll_loss, *rows, **options)


@pytest.mark.parametrize("label_smoothing", [0, 0.2])
def test_cross_entropy_is_nll_of_log_softmax(label_smoothing):
    y, target = normal((6, 5)), np.array([0, -100, 1, 4, 2, 2])
    log_softmax = y - np.log(np.exp(y).sum(-1, keepdims=True))
    spread = -log_softmax[target != -100].mean()
    expected = (1 - label_smoothing) * bptt.nll_loss(log_softmax, target)[0]
    value, _ = bptt.cross_entropy(y, target, label_smoothing=label_smoothing)
    assert value == pytest.approx(expected + label_smoothing * spread, rel=1e-14)


def test_a_class_of_no_probability_costs_nothing_without_smoothing():
    y = np.array([[0, 1, -np.inf]])
    value, dy = bptt.cross_entropy(y, [0])
    assert value == pytest.approx(math.log(1 + math.e))
    assert dy[0, 2] == 0
    assert bptt.cross_entropy(y, [0], label_smoothing=0.1)[0] == math.inf


@pytest.mark.parametrize("loss", [bptt.cross_entropy, bptt.nll_loss], ids=["ce", "nll"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[4, 0, 2], [4, 4, 4], [0, 0, 0]])
def test_targets_past_the_lengths_are_ignored(loss, lengths, batch_first, reduction):
    """Whatever they and y are there; other targets may be ignored, too."""
    T, N, C = 4, 3, 5
    y, target = normal((T, N, C)), numbers(1).integers(0, C, (T, N))
    target[0, 2] = -1
    past = np.arange(T)[:, np.newaxis] >= np.array(lengths)
    options = {"ignore_index": -1, "reduction": reduction}
    value, dy = loss(y, np.where(past, -1, target), **options)
    target[past], y[past] = 99, np.nan
    options["lengths"] = lengths
    if batch_first:
        y, target, dy = (a.swapaxes(0, 1) for a in (y, target, dy))
        options["batch_first"] = True
    found, gradient = loss(y, target, **options)
    assert found == pytest.approx(value, rel=1e-14, nan_ok=True)  # summed in another order
    assert_close("training", gradient, dy)


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
        (
            lambda y: bptt.cross_entropy(y, [0] * 3, label_smoothing=1.5),
            ValueError,
            "label_smoothing is 1.5",
        ),
        (lambda y: bptt.nll_loss(y, [0] * 3, lengths=[3]), ValueError, "lengths is given, must"),
        (
            lambda y: bptt.nll_loss(y[None], [[0] * 3], lengths=[1, 1]),
            ValueError,
            "lengths has shape (2,), must be (N,) = (3,)",
        ),
        (
            lambda y: bptt.nll_loss(y[None], [[0] * 3], lengths=[4], batch_first=True),
            ValueError,
            "lengths[0] is 4, must be from 0 to T = 3",
        ),
        (lambda y: bptt.nll_loss(y, [0] * 3, batch_first=1), TypeError, "batch_first is "),
        (lambda y: bptt.nll_loss(y, [4] * 3), ValueError, "target has the value 4, must"),
        (lambda y: bptt.l1_loss(y, y[:1]), ValueError, "target has shape (1, 4), must be"),
        (lambda y: bptt.huber_loss(y, y, delta=0), ValueError, "delta is 0.0, must be above 0"),
        (lambda y: bptt.huber_loss(y, y, delta="1"), TypeError, "delta is "),
        (lambda y: bptt.smooth_l1_loss(y, y, beta=-1), ValueError, "beta is -1.0, must be in"),
        (
            lambda y: bptt.binary_cross_entropy_with_logits(y, y, weight=y[:2]),
            ValueError,
            "weight has shape (2, 4), must broadcast to that of y, (3, 4)",
        ),
        (
            lambda y: bptt.binary_cross_entropy_with_logits(y[0], y[0], pos_weight=y),
            ValueError,
            "pos_weight has shape (3, 4), must broadcast",
        ),
        (
            lambda y: bptt.binary_cross_entropy_with_logits(y, y, weight=y.astype("f")),
            TypeError,
            "weight has dtype float32, must be float64",
        ),
    ],
)
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        call(normal((3, 4)))
