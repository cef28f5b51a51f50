"""Pooling over time: each kind against its formula, by lengths, and back."""

import numpy as np
import pytest
from parity import assert_close, assert_gradients, normal

import bptt

KINDS = [bptt.LastStep, bptt.MaxOverTime, bptt.MeanOverTime]
FORMULAS = {
    bptt.LastStep: lambda steps: steps[-1],
    bptt.MaxOverTime: lambda steps: np.max(steps, axis=0),
    bptt.MeanOverTime: lambda steps: np.mean(steps, axis=0),
}
LENGTHS = [5, 1, 0, 3]

kinds = pytest.mark.parametrize("kind", KINDS)
batch_first = pytest.mark.parametrize("batch_first", [False, True])


@kinds
@batch_first
def test_is_its_formula_by_length(kind, batch_first):
    layer = kind(batch_first)
    steps = normal((5, 4, 3))
    past = np.arange(5)[:, None] >= LENGTHS
    steps[past] = np.nan
    x = steps.swapaxes(0, 1) if batch_first else steps
    expected = [
        FORMULAS[kind](steps[:length, n]) if length else np.zeros(3)
        for n, length in enumerate(LENGTHS)
    ]
    y, pullback = layer.vjp(x, lengths=LENGTHS)
    assert_close("layers", y, np.array(expected))
    assert np.array_equal(layer(x, lengths=LENGTHS), y)

    dx = pullback(normal((4, 3), seed=1)).x
    assert dx.shape == x.shape
    assert not (dx.swapaxes(0, 1) if batch_first else dx)[past].any()
    x[np.isnan(x)] = 0
    dy = normal((4, 3), seed=1)
    assert_gradients(lambda: np.sum(layer(x, lengths=LENGTHS) * dy), [x], [dx])


@kinds
@batch_first
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_lengths_all_steps_count(kind, batch_first, dtype):
    layer = kind(batch_first)
    x = normal((5, 5, 3), dtype)
    y, pullback = layer.vjp(x)
    assert y.dtype == pullback(y).x.dtype == dtype
    assert np.array_equal(y, layer(x, lengths=[5] * 5))
    assert_close("layers", y, FORMULAS[kind](x.swapaxes(0, 1) if batch_first else x))
    single, pull_single = layer.vjp(x[:, 0])
    assert_close("layers", single, FORMULAS[kind](x[:, 0]))
    dy = normal(3, dtype)
    _, pull_batch = kind().vjp(x[:, :1])
    assert np.array_equal(pull_single(dy).x, pull_batch(dy[None]).x[:, 0])


@kinds
def test_no_steps_give_zeros(kind):
    for x, lengths in ((normal((0, 4, 3)), None), (normal((5, 4, 3)), [0] * 4)):
        y, pullback = kind().vjp(x, lengths=lengths)
        assert np.array_equal(y, np.zeros((4, 3)))
        assert np.array_equal(pullback(np.ones((4, 3))).x, np.zeros_like(x))
    assert kind()(normal((5, 0, 3))).shape == (0, 3)


def test_the_gradient_of_a_maximum_goes_to_the_first():
    x = np.array([[1.0, -np.inf], [2, -np.inf], [2, -np.inf]])
    y, pullback = bptt.MaxOverTime().vjp(x)
    assert np.array_equal(y, [2, -np.inf])
    assert np.array_equal(pullback(np.array([7.0, 5])).x, [[0, 5], [7, 0], [0, 0]])


@pytest.mark.parametrize("kind", [bptt.MaxOverTime, bptt.MeanOverTime])
def test_nan_within_a_sequence_shows(kind):
    x = normal((5, 2, 3))
    x[1, 0, 1] = np.nan
    y = kind()(x, lengths=[3, 5])
    assert np.array_equal(np.isnan(y), [[False, True, False], [False] * 3])


def test_mean_sums_many_steps_precisely():
    x = np.full((100_000, 1, 2), 0.1, np.float32)
    assert_close("layers", bptt.MeanOverTime()(x), x[0].astype(np.float64))


@kinds
@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda kind: kind(1), TypeError, "batch_first"),
        (lambda kind: kind()(np.zeros(3)), ValueError, "x"),
        (lambda kind: kind()(np.zeros((3, 2)), lengths=[3]), ValueError, "lengths"),
        (lambda kind: kind()(np.zeros((3, 2, 1)), lengths=[3]), ValueError, "lengths"),
        (lambda kind: kind()(np.zeros((3, 2, 1)), lengths=[3, 4]), ValueError, r"lengths\[1\]"),
        (lambda kind: kind()(np.zeros((3, 2, 1)), lengths=[3.0, 1]), TypeError, "lengths"),
    ],
)
def test_errors_name_the_argument(kind, make, error, name):
    with pytest.raises(error, match=f"^{name} "):
        make(kind)
