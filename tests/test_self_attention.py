"""MultiHeadSelfAttention: PyTorch's numbers, lengths, and what a causal mask promises."""

import math

import numpy as np
import pytest
from parity import assert_close, assert_gradients, normal

import bptt

LENGTHS = [4, 6, 0, 1]


def attention(causal=False, *, bias=True, batch_first=False, dtype=np.float64):
    """A layer with biases that are not zero."""
    layer = bptt.MultiHeadSelfAttention(6, 2, causal, bias, batch_first, dtype=dtype, rng=0)
    for name, array in layer.params.items():
        if array.ndim == 1:
            array[...] = normal(array.shape, dtype, seed=len(name))
    return layer


def torch_results(torch, layer, x, dy, lengths=None):
    """y, weights, dx and gradients by name from PyTorch; x is batched."""
    twin = torch.nn.MultiheadAttention(
        layer.embed_dim,
        layer.num_heads,
        bias=layer.bias,
        batch_first=layer.batch_first,
        dtype=getattr(torch, layer.dtype.name),
    )
    twin.load_state_dict({k: torch.from_numpy(a) for k, a in layer.state_dict().items()})
    x = torch.tensor(x, requires_grad=True)
    T = x.shape[1 if layer.batch_first and x.ndim == 3 else 0]
    masks = {}
    if layer.causal:
        masks["attn_mask"] = torch.ones(T, T, dtype=torch.bool).triu(1)
    if lengths is not None:
        masks["key_padding_mask"] = torch.arange(T) >= torch.tensor(lengths)[:, None]
    y, weights = twin(x, x, x, average_attn_weights=False, **masks)
    y.backward(torch.from_numpy(dy))
    gradients = {name: p.grad.numpy() for name, p in twin.named_parameters()}
    return y.detach().numpy(), weights.detach().numpy(), x.grad.numpy(), gradients


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("batch_first", "rows"), [(False, (5, 3)), (True, (3, 5)), (False, (5,))])
def test_equals_torch(torch, rows, batch_first, causal, bias, dtype):
    layer = attention(causal, bias=bias, batch_first=batch_first, dtype=dtype)
    x, dy = normal((*rows, 6), dtype), normal((*rows, 6), dtype, seed=1)
    expected = torch_results(torch, layer, x, dy)
    y, pullback = layer.vjp(x)
    g = pullback(dy)
    assert y.dtype == g.x.dtype == dtype
    for found, theirs in zip((y, layer.weights(x), g.x, g.params), expected, strict=True):
        assert_close("layers", found, theirs)
    assert list(g.params) == list(layer.params) == list(expected[-1])
    assert np.array_equal(layer(x), y)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_lengths_equal_torchs_padding_mask(torch, causal, batch_first):
    layer = attention(causal, batch_first=batch_first)
    lengths = [4, 6, 1]  # PyTorch gives NaN for 0
    there = np.arange(6)[:, None] < lengths
    there = there.T if batch_first else there
    x, dy = normal((*there.shape, 6)), normal((*there.shape, 6), seed=1)
    dy[~there] = 0
    y, weights, dx, params = torch_results(torch, layer, x, dy, lengths)
    x[~there] = dy[~there] = np.nan
    found, pullback = layer.vjp(x, lengths=lengths)
    g = pullback(dy)
    assert_close("layers", found[there], y[there])
    assert_close("layers", g.x, dx)
    assert_close("layers", g.params, params)
    assert not found[~there].any()
    assert not g.x[~there].any()
    shown = layer.weights(x, lengths=lengths)
    for n, length in enumerate(lengths):
        assert_close("layers", shown[n, :, :length], weights[n, :, :length])
        assert not shown[n, :, length:].any()


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_the_slopes(causal):
    layer = attention(causal)
    x, dy = normal((6, 4, 6)), normal((6, 4, 6), seed=1)
    g = layer.vjp(x, lengths=LENGTHS)[1](dy)
    arrays, slopes = [x, *layer.params.values()], [g.x, *g.params.values()]
    assert_gradients(lambda: np.sum(layer(x, lengths=LENGTHS) * dy), arrays, slopes)


@pytest.mark.parametrize("causal", [False, True])
def test_a_sequence_depends_on_nothing_but_its_own_steps(causal):
    """Padded in a batch, or alone; length 0 gives zeros and no gradient."""
    layer = attention(causal)
    x, dy = normal((6, 4, 6)), normal((6, 4, 6), seed=1)
    past = np.arange(6)[:, None] >= LENGTHS
    x[past] = dy[past] = np.nan
    y, pullback = layer.vjp(x, lengths=LENGTHS)
    g = pullback(dy)
    total = {name: np.zeros_like(a) for name, a in g.params.items()}
    for n, length in enumerate(LENGTHS):
        alone, pull_alone = layer.vjp(x[:length, n])
        g_alone = pull_alone(dy[:length, n])
        assert_close("layers", y[:length, n], alone)
        assert_close("layers", g.x[:length, n], g_alone.x)
        assert not y[length:, n].any()
        assert not g.x[length:, n].any()
        for name, da in g_alone.params.items():
            total[name] += da
    assert_close("layers", g.params, total)


def test_causal_means_that_the_future_changes_nothing():
    x, layer = normal((6, 2, 6)), attention(causal=True)
    y = layer(x)
    changed = x.copy()
    changed[4:] += 1
    assert np.array_equal(layer(changed)[:4], y[:4])
    assert not np.any(layer(changed)[4:] == y[4:])
    assert not np.triu(layer.weights(x), 1).any()
    _, pullback = layer.vjp(x)
    dy = np.zeros_like(y)
    dy[2] = 1
    assert not pullback(dy).x[3:].any()


def test_without_a_mask_order_does_not_matter():
    layer = attention()
    x, order = normal((6, 2, 6)), [3, 0, 5, 1, 4, 2]
    assert_close("layers", layer(x[order]), layer(x)[order])


def test_large_scores_overflow_nothing_and_nan_stays_in_its_sequence():
    layer = attention(dtype=np.float32)
    x = normal((6, 3, 6), np.float32)
    y = layer(x)
    x[:, 0] *= 1e15
    x[3, 1] = np.nan
    found = layer(x)
    assert np.isfinite(found[:, 0]).all()
    assert np.isnan(found[:, 1]).all()
    assert np.array_equal(found[:, 2], y[:, 2])


def test_no_steps_and_no_sequences():
    layer = attention(causal=True)
    for shape in ((0, 3, 6), (4, 0, 6), (0, 6)):
        y, pullback = layer.vjp(np.zeros(shape))
        assert y.shape == shape
        assert not any(a.any() for a in pullback(y).params.values())


def test_initial_values_are_within_torchs_bounds():
    params = bptt.MultiHeadSelfAttention(100, 4, rng=0).params
    for name, bound in (("in_proj_weight", math.sqrt(6 / 400)), ("out_proj.weight", 0.1)):
        assert bound * 0.99 < np.abs(params[name]).max() <= np.float32(bound)
        assert params[name].std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not params["in_proj_bias"].any()
    assert not params["out_proj.bias"].any()


@pytest.mark.parametrize(
    ("make", "error", "name"),
    [
        (lambda: bptt.MultiHeadSelfAttention(0, 1), ValueError, "embed_dim"),
        (lambda: bptt.MultiHeadSelfAttention(6, 0), ValueError, "num_heads"),
        (lambda: bptt.MultiHeadSelfAttention(6, 4), ValueError, "num_heads is 4, must divide"),
        (lambda: bptt.MultiHeadSelfAttention(6, 2, 0.1), TypeError, "causal"),
        (lambda: bptt.MultiHeadSelfAttention(6, 2, bias=1), TypeError, "bias"),
        (lambda: bptt.MultiHeadSelfAttention(6, 2, batch_first=1), TypeError, "batch_first"),
        (lambda: bptt.MultiHeadSelfAttention(6, 2, dtype=int), TypeError, "dtype"),
        (lambda: attention()(np.zeros((5, 3, 7))), ValueError, "x"),
        (lambda: attention()(np.zeros(6)), ValueError, "x"),
        (lambda: attention()(np.zeros((5, 6)), lengths=[5]), ValueError, "lengths"),
        (lambda: attention()(np.zeros((5, 3, 6)), lengths=[5, 6, 1]), ValueError, r"lengths\[1\]"),
    ],
)
def test_errors_name_the_argument(make, error, name):
    with pytest.raises(error, match=f"^{name} "):
        make()
