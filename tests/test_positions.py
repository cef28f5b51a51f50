"""SinusoidalPositions: the paper's formula, and its one property."""

import numpy as np
import pytest
from parity import assert_close, normal

import bptt


@pytest.mark.parametrize("D", [1, 2, 5, 8])
def test_is_the_formula(D):
    x = normal((7, 2, D))
    waves = [
        [(np.sin, np.cos)[i % 2](t / 10000 ** (2 * (i // 2) / D)) for i in range(D)]
        for t in range(7)
    ]
    expected = x + np.array(waves)[:, None]
    for layer, given, wanted in (
        (bptt.SinusoidalPositions(), x, expected),
        (bptt.SinusoidalPositions(True), x.swapaxes(0, 1), expected.swapaxes(0, 1)),
        (bptt.SinusoidalPositions(), x[:, 0], expected[:, 0]),
    ):
        y, pullback = layer.vjp(given)
        assert_close("layers", y, wanted)
        assert np.array_equal(layer(given), y)
        assert np.array_equal(pullback(given).x, given)


def test_distance_is_seen_wherever_it_is():
    """p_t . p_(t+k) depends on k alone, and is largest at 0."""
    p = bptt.SinusoidalPositions()(np.zeros((50, 32)))
    products = p @ p.T
    for k in range(10):
        np.testing.assert_allclose(np.diagonal(products, k), products[0, k], atol=1e-12)
    assert np.all(products[0, 1:] < products[0, 0] - 0.5)


def test_float32_far_from_the_start():
    x = np.zeros((100_000, 4), np.float32)
    y = bptt.SinusoidalPositions()(x)
    assert y.dtype == np.float32
    assert_close("layers", y, bptt.SinusoidalPositions()(x.astype(np.float64)))


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match=r"^x has shape \(3,\), must be \(T, N, D\)"):
        bptt.SinusoidalPositions()(np.zeros(3))
    with pytest.raises(TypeError, match=r"^batch_first "):
        bptt.SinusoidalPositions(512)
    assert bptt.SinusoidalPositions()(np.zeros((0, 2, 4))).shape == (0, 2, 4)
    assert bptt.SinusoidalPositions()(np.zeros((3, 2, 0))).shape == (3, 2, 0)
