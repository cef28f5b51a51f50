"""LayerNorm: PyTorch's numbers, and what it is by definition."""

import numpy as np
import pytest
from parity import assert_close, assert_gradients, normal

import bptt


def shaken(layer):
    """The layer with other weights than ones and zeros."""
    for seed, array in enumerate(layer.params.values()):
        array[...] = normal(array.shape, array.dtype, seed=seed + 5)
    return layer


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("affine", "bias"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize(
    ("shape", "normalized"),
    [((5,), 5), ((4, 5), (5,)), ((6, 3, 5), (3, 5)), ((2, 3, 4, 33), [33]), ((0, 5), 5)],
)
def test_equals_torch(torch, shape, normalized, affine, bias, dtype):
    layer = shaken(bptt.LayerNorm(normalized, 1e-3, affine, bias, dtype=dtype))
    kind = getattr(torch, layer.dtype.name)
    twin = torch.nn.LayerNorm(normalized, 1e-3, affine, bias, dtype=kind)
    twin.load_state_dict({k: torch.from_numpy(a) for k, a in layer.state_dict().items()})
    x, dy = 3 * normal(shape, dtype) + 1, normal(shape, dtype, seed=1)
    theirs = torch.tensor(x, requires_grad=True)
    expected = twin(theirs)
    expected.backward(torch.from_numpy(dy))
    y, pullback = layer.vjp(x)
    g = pullback(dy)
    assert y.dtype == g.x.dtype == dtype
    assert layer.normalized_shape == twin.normalized_shape
    assert_close("layers", y, expected.detach().numpy())
    assert_close("layers", g.x, theirs.grad.numpy())
    assert_close("layers", g.params, {k: p.grad.numpy() for k, p in twin.named_parameters()})
    assert np.array_equal(layer(x), y)


@pytest.mark.parametrize("affine", [True, False])
def test_gradients_are_the_slopes(affine):
    layer = shaken(bptt.LayerNorm((2, 3), elementwise_affine=affine, dtype=np.float64))
    x, dy = normal((4, 2, 3)), normal((4, 2, 3), seed=1)
    g = layer.vjp(x)[1](dy)
    arrays, slopes = [x, *layer.params.values()], [g.x, *g.params.values()]
    assert_gradients(lambda: np.sum(layer(x) * dy), arrays, slopes)


def test_is_mean_0_and_variance_1_whatever_x_is():
    x = 1000 + 50 * normal((20, 64))
    y = bptt.LayerNorm(64, dtype=np.float64)(x)
    assert np.abs(y.mean(axis=1)).max() < 1e-13
    np.testing.assert_allclose(y.std(axis=1), 1, rtol=1e-7)
    np.testing.assert_allclose(bptt.LayerNorm(64)(x.astype("f")), y, atol=1e-4)


def test_rows_that_are_equal_or_not_finite_reach_no_other():
    x = normal((4, 5), np.float32)
    expected = bptt.LayerNorm(5)(x)
    x[1] = 3
    x[2, 0] = np.inf
    x[3, 1] = np.nan
    y, pullback = bptt.LayerNorm(5).vjp(x)
    assert np.array_equal(y[0], expected[0])
    assert not y[1].any()
    assert np.isnan(y[2:]).all()
    assert np.isfinite(pullback(np.ones_like(x)).x[:2]).all()
    assert np.isnan(bptt.LayerNorm(5, eps=0)(x)[1]).all()


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: bptt.LayerNorm(0), ValueError, "normalized_shape"),
        (lambda: bptt.LayerNorm(()), ValueError, "normalized_shape"),
        (lambda: bptt.LayerNorm((3, 2.0)), TypeError, "normalized_shape"),
        (lambda: bptt.LayerNorm("3"), TypeError, "normalized_shape"),
        (lambda: bptt.LayerNorm(3, -1e-5), ValueError, "eps"),
        (lambda: bptt.LayerNorm(3, 1e-5, 1), TypeError, "elementwise_affine"),
        (lambda: bptt.LayerNorm(3, 1e-5, True, None), TypeError, "bias"),
        (lambda: bptt.LayerNorm(3, dtype=None), TypeError, "dtype"),
        (lambda: bptt.LayerNorm(3)(np.zeros((3, 2), "f")), ValueError, "x"),
        (lambda: bptt.LayerNorm((2, 3))(np.zeros(3, "f")), ValueError, "x"),
    ],
)
def test_errors_name_the_argument(make, error, name):
    with pytest.raises(error, match=f"^{name} "):
        make()
