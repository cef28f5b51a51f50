"""Attention of a decoder to an encoder: each score against loops over its formula, and back."""

import copy

import numpy as np
import pytest
from parity import assert_close, assert_gradients, assert_same, normal

import bptt

LENGTHS = [5, 0, 3]


def make(kind, batch_first=False, dtype=np.float64):
    options = {"batch_first": batch_first, "dtype": dtype, "rng": 0}
    if kind == "bahdanau":
        return bptt.BahdanauAttention(4, 6, 5, **options)
    return bptt.LuongAttention(6 if kind == "dot" else 4, 6, kind, **options)


def score(kind, layer, q, k):
    """The formula, for one query and one key."""
    w = layer.params
    match kind:
        case "bahdanau":
            return w["weight_score"] @ np.tanh(w["weight_query"] @ q + w["weight_key"] @ k)
        case "dot":
            return q @ k
        case "general":
            return q @ w["weight"] @ k
        case "concat":
            return w["weight_score"] @ np.tanh(w["weight"] @ np.concatenate([q, k]))


def formula(kind, layer, query, keys):
    """Context (K,) and weights (T,) of one query (Q,) and keys (T, K)."""
    e = np.exp([score(kind, layer, query, k) for k in keys])
    weights = e / e.sum()
    return weights @ keys, weights


@pytest.fixture(params=["bahdanau", "dot", "general", "concat"])
def kind(request):
    return request.param


def call(layer, S=2, T=5, N=3, *, seed=0):
    """query and keys, time-major, and dcontext and dweights."""
    Q, K = layer.query_size, layer.key_size
    shapes = (S, N, Q), (T, N, K), (S, N, K), (S, N, T)
    return [normal(shape, layer.dtype, seed + i) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_is_its_formula(kind, lengths):
    layer = make(kind)
    query, keys, *_ = call(layer)
    if lengths:
        keys[np.arange(5)[:, None] >= lengths] = np.nan
    context, weights = layer(query, keys, lengths=lengths)
    assert context.shape == (2, 3, 6)
    for n, length in enumerate(lengths or [5] * 3):
        for s in range(2):
            mixed, shares = np.zeros(6), np.zeros(0)
            if length:
                mixed, shares = formula(kind, layer, query[s, n], keys[:length, n])
            assert_close("layers", context[s, n], mixed)
            assert_close("layers", weights[s, n], np.pad(shares, (0, 5 - length)))


@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients_are_the_slopes(kind, lengths):
    layer = make(kind)
    query, keys, dcontext, dweights = call(layer)
    _, _, pullback = layer.vjp(query, keys, lengths=lengths)
    g = pullback(dcontext, dweights)

    def value():
        context, weights = layer(query, keys, lengths=lengths)
        return np.sum(context * dcontext) + np.sum(weights * dweights)

    arrays = [query, keys, *layer.params.values()]
    assert_gradients(value, arrays, [g.query, g.keys, *g.params.values()])
    assert list(g.params) == list(layer.params)


def test_what_lies_past_the_end_reaches_nothing(kind):
    layer = make(kind)
    query, keys, dcontext, dweights = call(layer)
    context, weights, pullback = layer.vjp(query, keys, lengths=LENGTHS)
    g = pullback(dcontext, dweights)
    past = np.arange(5)[:, None] >= LENGTHS
    keys[past] = np.nan
    dweights.transpose(2, 1, 0)[past] = np.nan
    context_2, weights_2, pullback = layer.vjp(query, keys, lengths=LENGTHS)
    g_2 = pullback(dcontext, dweights)
    assert np.array_equal(context_2, context)
    assert np.array_equal(weights_2, weights)
    assert np.array_equal(g_2.query, g.query)
    assert np.array_equal(g_2.keys, g.keys)
    assert_same(g_2.params, g.params)
    assert not g.keys[past].any()


def test_other_layouts_hold_the_same(kind):
    """batch_first, one step that asks, and a single sequence."""
    layer, first = make(kind), make(kind, batch_first=True)
    query, keys, dcontext, dweights = call(layer)
    context, weights, pullback = layer.vjp(query, keys)
    g = pullback(dcontext, dweights)

    def swap(a):
        return a.swapaxes(0, 1)

    context_2, weights_2, pullback = first.vjp(swap(query), swap(keys))
    g_2 = pullback(swap(dcontext), swap(dweights))
    for a, b in [(context_2, context), (weights_2, weights), (g_2.query, g.query)]:
        assert_close("layers", a, swap(b))
    assert_close("layers", g_2.keys, swap(g.keys))
    assert_close("layers", g_2.params, g.params)

    dkeys, params = np.zeros_like(keys), dict.fromkeys(g.params, 0)
    for s in range(2):
        context_s, weights_s, pullback = layer.vjp(query[s], keys)
        g_s = pullback(dcontext[s], dweights[s])
        assert_close("layers", context_s, context[s])
        assert_close("layers", weights_s, weights[s])
        assert_close("layers", g_s.query, g.query[s])
        dkeys += g_s.keys
        params = {name: params[name] + da for name, da in g_s.params.items()}
    assert_close("layers", dkeys, g.keys)
    assert_close("layers", params, g.params)

    for query_n, at in ((query[:, 1], np.s_[:, 1]), (query[0, 1], np.s_[0, 1])):
        context_n, weights_n, pullback = layer.vjp(query_n, keys[:, 1])
        assert_close("layers", context_n, context[at])
        assert_close("layers", weights_n, weights[at])
        assert_close("layers", pullback(dcontext[at], dweights[at]).query, g.query[at])


def test_no_keys_give_a_context_of_zeros(kind):
    layer = make(kind)
    query, keys, *_ = call(layer, T=0)
    context, weights, pullback = layer.vjp(query, keys)
    assert np.array_equal(context, np.zeros((2, 3, 6)))
    assert weights.shape == (2, 3, 0)
    assert not pullback(context + 1).query.any()


def test_nothing_returned_is_shared_and_pullbacks_repeat(kind):
    layer = make(kind)
    query, keys, dcontext, dweights = call(layer)
    before = copy.deepcopy((query, keys, dcontext, dweights))
    context, weights, pullback = layer.vjp(query, keys)
    first = pullback(dcontext, dweights)
    kept = copy.deepcopy(first)
    for array in (context, weights, first.query, first.keys, *first.params.values()):
        assert not any(np.shares_memory(array, a) for a in (query, keys, dcontext, dweights))
        array[...] = np.nan
    second = pullback(dcontext, dweights)
    assert np.array_equal(second.query, kept.query)
    assert np.array_equal(second.keys, kept.keys)
    assert_same(second.params, kept.params)
    for a, b in zip((query, keys, dcontext, dweights), before, strict=True):
        assert np.array_equal(a, b)


def test_wrt_and_absent_gradients(kind):
    layer = make(kind, dtype=np.float32)
    query, keys, dcontext, _ = call(layer)
    context, weights, pullback = layer.vjp(query, keys)
    g = pullback(dcontext)
    assert {a.dtype for a in (context, weights, g.query, g.keys)} == {np.dtype(np.float32)}
    assert pullback(dcontext, None, ("keys",))[::2] == (None, None)
    assert np.array_equal(pullback(dcontext, None, ("keys",)).keys, g.keys)
    assert pullback(wrt=()) == (None, None, None)
    zero = pullback()
    assert not any(a.any() for a in (zero.query, zero.keys, *zero.params.values()))
    with pytest.raises(ValueError, match=r"^wrt "):
        pullback(wrt=("x",))
    with pytest.raises(ValueError, match=r"^dcontext has shape \(1,\), must be"):
        pullback(np.zeros(1, np.float32))
    with pytest.raises(TypeError, match=r"^dweights has dtype float64, must be float32"):
        pullback(None, np.zeros((2, 3, 5)))


def test_concat_is_bahdanaus_formula_with_its_weights_side_by_side():
    luong = make("concat")
    bahdanau = bptt.BahdanauAttention(4, 6, 4, dtype=np.float64)
    w = luong.params["weight"]
    bahdanau.load_state_dict(
        {
            "weight_query": w[:, :4],
            "weight_key": w[:, 4:],
            "weight_score": luong.params["weight_score"],
        }
    )
    query, keys, *_ = call(luong)
    for a, b in zip(bahdanau(query, keys), luong(query, keys), strict=True):
        assert_close("layers", a, b)


def test_an_encoder_and_a_decoder_are_differentiated_through_it(kind):
    """What the guide shows: the decoder's states ask, the encoder's answer."""
    encoder = bptt.GRU(2, 6, dtype=np.float64, rng=0)
    attention = make(kind)
    decoder = bptt.GRU(3, attention.query_size, dtype=np.float64, rng=1)
    x, given, dcontext = normal((5, 3, 2)), normal((4, 3, 3)), normal((4, 3, 6), seed=1)
    lengths = [5, 2, 3]

    def run():
        keys, _, pull_keys = encoder.vjp(x, lengths=lengths)
        query, _, pull_query = decoder.vjp(given)
        context, _, pull = attention.vjp(query, keys, lengths=lengths)
        return context, (pull, pull_query, pull_keys)

    _, (pull, pull_query, pull_keys) = run()
    g = pull(dcontext)
    slopes = [g.params, pull_query(g.query).params, pull_keys(g.keys).params]
    params = [layer.params for layer in (attention, decoder, encoder)]
    assert_gradients(
        lambda: np.sum(run()[0] * dcontext),
        [a for one in params for a in one.values()],
        [a for one in slopes for a in one.values()],
    )


def test_is_a_module(kind, capsys):
    layer = make(kind)
    twin = copy.deepcopy(layer)
    for array in twin.params.values():
        array[...] = 0
    twin.load_state_dict(layer.state_dict())
    assert_same(twin.state_dict(), layer.state_dict())
    assert not layer.eval().training
    bptt.summary(layer)
    table = capsys.readouterr().out
    assert repr(layer) in table
    assert all(name in table for name in layer.params)


def test_initial_values_are_within_their_bounds():
    bahdanau = bptt.BahdanauAttention(100, 400, 900, rng=0).params
    concat = bptt.LuongAttention(100, 300, "concat", rng=0).params
    general = bptt.LuongAttention(400, 20, rng=0).params
    for array, bound in (
        (bahdanau["weight_query"], 0.1),
        (bahdanau["weight_key"], 0.05),
        (bahdanau["weight_score"], 1 / 30),
        (concat["weight"], 0.05),
        (concat["weight_score"], 0.1),
        (general["weight"], 0.05),
    ):
        assert 0.95 * bound < np.abs(array).max() <= np.float32(bound)


@pytest.mark.parametrize(
    ("run", "error", "name"),
    [
        (lambda: bptt.BahdanauAttention(0, 1, 1), ValueError, "query_size"),
        (lambda: bptt.BahdanauAttention(1, "1", 1), TypeError, "key_size"),
        (lambda: bptt.BahdanauAttention(1, 1, 0), ValueError, "hidden_size"),
        (lambda: bptt.BahdanauAttention(1, 1, 1, 1), TypeError, "batch_first"),
        (lambda: bptt.LuongAttention(0, 1), ValueError, "query_size"),
        (lambda: bptt.LuongAttention(2, 3, "dot"), ValueError, "key_size is 3, must be"),
        (lambda: bptt.LuongAttention(2, 3, "additive"), ValueError, "score"),
        (lambda: bptt.LuongAttention(2, 3, dtype=int), TypeError, "dtype"),
        (lambda: bptt.LuongAttention(2, 3, rng="a"), TypeError, "rng"),
        (lambda: ask((2, 4), (5, 2, 6), np.float32), TypeError, "query has dtype float32"),
        (lambda: ask((2, 4), (6,)), ValueError, "keys"),
        (lambda: ask((2, 4), (5, 2, 4)), ValueError, "keys"),
        (lambda: ask((3, 4), (5, 2, 6)), ValueError, "query"),
        (lambda: ask((2, 5), (5, 2, 6)), ValueError, "query"),
        (lambda: ask((7, 3, 4), (5, 2, 6)), ValueError, "query"),
        (lambda: ask((4,), (5, 2, 6)), ValueError, "query"),
        (lambda: ask((7, 2, 4), (5, 6)), ValueError, "query"),
        (lambda: ask((7, 5), (5, 6)), ValueError, "query"),
        (lambda: ask((7, 4), (5, 6), lengths=[5]), ValueError, "lengths is given, must be None"),
        (lambda: ask((2, 4), (5, 2, 6), lengths=[5, 6]), ValueError, "lengths"),
    ],
)
def test_errors_name_the_argument(run, error, name):
    with pytest.raises(error, match=f"^{name}"):
        run()


def ask(query, keys, dtype=np.float64, lengths=None):
    return make("general")(np.zeros(query, dtype), np.zeros(keys), lengths=lengths)
