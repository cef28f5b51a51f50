"""Embedding: PyTorch's numbers, whatever the indices are like, and sums over repeated ones."""

import numpy as np
import pytest
from parity import assert_close, assert_gradients, normal, numbers

import bptt

DTYPES = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding_idx", [None, 0, 2, -1])
@pytest.mark.parametrize("shape", [(), (4,), (6, 3), (2, 3, 40), (0, 3)])
def test_equals_torch(torch, shape, padding_idx, dtype):
    layer = bptt.Embedding(5, 7, padding_idx, dtype=dtype, rng=0)
    layer.params["weight"][:] = normal((5, 7), dtype, seed=2)  # padding, too
    kind = getattr(torch, layer.dtype.name)
    twin = torch.nn.Embedding(5, 7, padding_idx, dtype=kind)
    twin.load_state_dict({k: torch.from_numpy(a) for k, a in layer.state_dict().items()})
    x, dy = numbers().integers(0, 5, shape), normal((*shape, 7), dtype, seed=1)
    expected = twin(torch.as_tensor(x))
    expected.backward(torch.from_numpy(dy))
    y, pullback = layer.vjp(x)
    assert y.dtype == dtype
    assert np.array_equal(y, expected.detach().numpy())
    assert np.array_equal(layer(x), y)
    g = pullback(dy)
    assert g.x is None
    assert g.params["weight"].dtype == dtype
    assert_close("layers", g.params, {"weight": twin.weight.grad.numpy()})
    assert layer.padding_idx == twin.padding_idx


def test_gradient_is_the_slope():
    layer = bptt.Embedding(4, 3, dtype=np.float64, rng=0)
    x, dy = numbers().integers(0, 4, (5, 6)), normal((5, 6, 3))
    weight = layer.params["weight"]
    g = layer.vjp(x)[1](dy)
    assert_gradients(lambda: np.sum(layer(x) * dy), [weight], [g.params["weight"]])


def test_sums_many_rows_precisely():
    x, dy = np.arange(300_000) % 3, np.full((300_000, 2), 0.1, np.float32)
    g = bptt.Embedding(4, 2, rng=0).vjp(x)[1](dy)
    expected = np.repeat(dy[:1].astype(np.float64) * [[100_000], [100_000], [100_000], [0]], 1, 0)
    assert_close("layers", g.params["weight"], expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, ">i4", np.uint64, np.intp])
def test_any_integers_will_do(dtype):
    layer = bptt.Embedding(5, 3, rng=0)
    x = numbers().integers(0, 5, (4, 6))
    y, pullback = layer.vjp(x)
    for same in (x.astype(dtype), x.astype(dtype).T.copy().T, x.tolist()):
        again, pull_again = layer.vjp(same)
        assert np.array_equal(again, y)
        assert np.array_equal(pull_again(y).params["weight"], pullback(y).params["weight"])
    assert layer([]).shape == (0, 3)


def test_initial_values_are_standard_normal():
    weight = bptt.Embedding(300, 100, padding_idx=-300, rng=0).params["weight"]
    assert not weight[0].any()
    assert abs(weight[1:].mean()) < 0.02
    assert weight[1:].std() == pytest.approx(1, abs=0.02)
    assert np.array_equal(
        bptt.Embedding(3, 2, dtype=np.float64, rng=0).params["weight"].astype(np.float32),
        bptt.Embedding(3, 2, rng=0).params["weight"],
    )


def test_wrt_and_absent_gradients():
    y, pullback = bptt.Embedding(5, 3, rng=0).vjp([[1, 2]])
    assert pullback(y, ("x",)) == (None, None)
    assert not pullback().params["weight"].any()
    with pytest.raises(ValueError, match=r"^dy has shape \(1, 1\), must be"):
        pullback(np.zeros((1, 1), np.float32))
    with pytest.raises(TypeError, match=r"^dy has dtype float64, must be float32"):
        pullback(np.zeros(y.shape))


def test_is_the_first_layer_of_a_model():
    model = bptt.Sequential(
        bptt.Embedding(6, 4, dtype=np.float64, rng=0),
        bptt.GRU(4, 3, dtype=np.float64, rng=1),
        bptt.MeanOverTime(),
    )
    x, target = numbers().integers(0, 6, (7, 2)), normal((2, 3))
    step = bptt.value_and_grad(model, bptt.mse_loss)
    _, grads = step(x, target, lengths=[7, 4])
    arrays = list(model.params.values())
    slopes = list(grads.values())
    assert_gradients(lambda: step(x, target, lengths=[7, 4])[0], arrays, slopes)
    assert model.vjp(x)[1]().x is None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: bptt.Embedding(0, 2), ValueError, "num_embeddings is 0"),
        (lambda: bptt.Embedding(2, 2.0), TypeError, "embedding_dim is of type float"),
        (lambda: bptt.Embedding(2, 2, 2), ValueError, "padding_idx is 2, must be in -2..1"),
        (lambda: bptt.Embedding(2, 2, -3), ValueError, "padding_idx is -3, must be at least -2"),
        (lambda: bptt.Embedding(2, 2, dtype=int), TypeError, "dtype "),
        (lambda: bptt.Embedding(2, 2, rng="a"), TypeError, "rng "),
        (lambda: bptt.Embedding(2, 2)([[0, 2]]), ValueError, "x has values 0 to 2, must be in 0"),
        (lambda: bptt.Embedding(2, 2)([-1]), ValueError, "x has values -1 to -1"),
        (lambda: bptt.Embedding(2, 2)(np.array(2**64 - 1, np.uint64)), ValueError, "x has values"),
        (lambda: bptt.Embedding(2, 2)([1.0]), TypeError, "x has dtype float64, must be integers"),
        (lambda: bptt.Embedding(2, 2)([True]), TypeError, "x has dtype bool, must be integers"),
        (lambda: bptt.Embedding(2, 2)(None), TypeError, "x is None"),
    ],
)
def test_errors_name_the_argument(make, error, message):
    with pytest.raises(error, match=f"^{message}"):
        make()
