"""truncated: a long sequence in pieces, each with the gradient of its window."""

import functools

import numpy as np
import pytest
from parity import assert_close, assert_same, normal, numbers

import bptt

T, N = 23, 3


def chain(backend="compiled", batch_first=False, dropout=0.0):
    """A model with two stateful layers and a head."""
    options = {
        "dtype": np.float64,
        "backend": backend,
        "batch_first": batch_first,
    }
    return bptt.Sequential(
        bptt.LSTM(3, 5, 2, dropout=dropout, rng=0, **options),
        bptt.Activation("tanh"),
        bptt.Sequential(bptt.GRU(5, 4, rng=1, **options)),
        bptt.Linear(4, 2, rng=2, dtype=np.float64),
    )


def problem(batch_first=False):
    x, target = normal((T, N, 3)), normal((T, N, 2), seed=1)
    return (x.swapaxes(0, 1), target.swapaxes(0, 1)) if batch_first else (x, target)


def random_state(seed=5):
    """A state of `chain`."""
    pair = normal((2, N, 5), seed=seed), normal((2, N, 5), seed=seed + 1)
    return pair, (normal((1, N, 4), seed=seed + 2),)


def flat(state):
    """The arrays of a nested state, by place."""
    if isinstance(state, tuple):
        parts = enumerate(map(flat, state))
        return {f"{i} {name}": a for i, part in parts for name, a in part.items()}
    return {"": state}


def last_steps(loss, count, axis=0):
    """The loss of the last steps alone."""

    def of_last(y, target):
        begin = y.shape[axis] - count
        value, dy = loss(y[:, begin:] if axis else y[begin:], target)
        whole = np.zeros_like(y)
        (whole[:, begin:] if axis else whole[begin:])[...] = dy
        return value, whole

    return of_last


both = pytest.mark.parametrize("batch_first", [False, True])


@both
def test_one_piece_is_the_whole(backend, batch_first):
    model = chain(backend, batch_first)
    x, target = problem(batch_first)
    start, lengths = random_state(), [T, 0, 9]
    step = bptt.value_and_grad(model, bptt.mse_loss)
    value, grads, state = step(x, target, lengths=lengths, state=start, return_state=True)
    for k1, k2 in ((T, None), (T, T), (T, T + 4), (T + 2, None)):
        walk = bptt.truncated(model, bptt.mse_loss, x, target, k1, k2, start, lengths=lengths)
        ((found, found_grads, found_state),) = walk
        assert found == value
        assert_same(found_grads, grads)
        assert_same(flat(found_state), flat(state))


def test_pieces_are_those_of_the_loop_by_hand(backend):
    """With k2 = k1 and an optimiser in between, bit for bit."""
    found, expected = chain(backend), chain(backend)
    x, target = problem()
    ours, theirs = (bptt.SGD(model.params, lr=0.5) for model in (found, expected))
    step, state = bptt.value_and_grad(expected, bptt.mse_loss), None
    a = 0
    for value, grads, end in bptt.truncated(found, bptt.mse_loss, x, target, 5):
        piece = slice(a, a + 5)
        wanted, wanted_grads, state = step(x[piece], target[piece], state=state, return_state=True)
        assert value == wanted
        assert_same(grads, wanted_grads)
        assert_same(flat(end), flat(state))
        ours.step(grads)
        theirs.step(wanted_grads)
        a += 5
    assert a == 25


# windows that begin with a piece, within one, in the middle of the new steps; pieces of one step
STEPS = [(5, 5), (5, 10), (5, 12), (5, 7), (1, 4), (4, 23), (7, 50)]


@pytest.mark.parametrize(("k1", "k2"), STEPS)
@both
def test_gradient_of_a_window(backend, batch_first, k1, k2):
    """With frozen weights: from the true state at its begin, of the loss of its last steps."""
    model = chain(backend, batch_first)
    x, target = problem(batch_first)
    cut = (lambda a, b: np.s_[:, a:b]) if batch_first else (lambda a, b: np.s_[a:b])
    lengths, start = np.array([T, 4, 13]), random_state()
    walk = bptt.truncated(model, bptt.mse_loss, x, target, k1, k2, start, lengths=lengths)
    values = []
    for i, (value, grads, state) in enumerate(walk):
        a, b = i * k1, min(i * k1 + k1, T)
        begin = max(0, a - (k2 - k1))
        _, stored = model(
            x[cut(0, begin)], start, lengths=np.minimum(lengths, begin), return_state=True
        )
        loss = last_steps(bptt.mse_loss, b - a, int(batch_first))
        wanted, wanted_grads, wanted_state = bptt.value_and_grad(model, loss)(
            x[cut(begin, b)],
            target[cut(a, b)],
            lengths=np.clip(lengths - begin, 0, b - begin),
            state=stored,
            return_state=True,
        )
        assert value == pytest.approx(wanted, rel=1e-13)
        assert_close("training", grads, wanted_grads)
        assert_close("training", flat(state), flat(wanted_state))
        values.append(value * (b - a))
    assert len(values) == -(-T // k1)
    whole = bptt.mse_loss(model(x, start, lengths=lengths), target)[0]
    assert sum(values) / T == pytest.approx(whole, rel=1e-13)


@pytest.mark.parametrize(("k1", "k2"), STEPS)
@pytest.mark.parametrize("kind", [bptt.RNN, bptt.LSTM, bptt.GRU])
def test_states_are_those_of_the_whole(backend, kind, k1, k2):
    """Bit for bit, of layers alone: products of NumPy promise less."""
    layer = kind(3, 7, 2, rng=0, backend=backend, checkpoint_every=2)
    x, target = normal((T, N, 3), np.float32), normal((T, N, 7), np.float32)
    ends = [state for _, _, state in bptt.truncated(layer, bptt.mse_loss, x, target, k1, k2)]
    for i, state in enumerate(ends):
        assert_same(flat(state), flat(layer(x[: i * k1 + k1])[1]))


def test_weights_that_change_between_pieces(backend):
    """A window begins with the state that the window before had there, with that one's weights."""
    model = chain(backend)
    x, target = problem()
    k1, k2 = 4, 6
    optimizer = bptt.SGD(model.params, lr=0.5)
    begin, stored = 0, None
    walk = bptt.truncated(model, bptt.mse_loss, x, target, k1, k2)
    for a in range(0, T, k1):
        b = min(a + k1, T)
        loss = last_steps(bptt.mse_loss, b - a)
        step = bptt.value_and_grad(model, loss)
        wanted, wanted_grads = step(x[begin:b], target[a:b], state=stored)
        following = max(0, a + k1 - (k2 - k1))
        _, stored = model(x[begin:following], stored, return_state=True)
        begin = following
        value, grads, state = next(walk)
        assert value == pytest.approx(wanted, rel=1e-12)
        assert_close("training", grads, wanted_grads)
        for array in flat(state).values():  # is the caller's
            array[...] = np.nan
        optimizer.step(grads)
    with pytest.raises(StopIteration):
        next(walk)


def test_one_layer_and_one_sequence(backend):
    """A layer alone is a model; an unbatched sequence has its steps first whatever batch_first."""
    for batch_first in (False, True):
        layer = bptt.RNN(3, 2, rng=0, batch_first=batch_first, dtype=np.float64, backend=backend)
        x, target = normal((T, 3)), numbers().integers(0, 2, T)
        walk = bptt.truncated(layer, bptt.cross_entropy, x, target, 10, 15)
        values, _, states = zip(*walk, strict=True)
        sizes = (10, 10, 3)
        mean = np.dot(values, sizes) / T
        y, end = layer(x)
        assert mean == pytest.approx(bptt.cross_entropy(y, target)[0], rel=1e-13)
        assert np.array_equal(states[-1], end)


class Embedding(bptt.Module):
    """Rows of a table, by integers."""

    def __init__(self, table):
        super().__init__()
        self._params = {"weight": table}

    def __call__(self, x):
        return self._params["weight"][x]

    def vjp(self, x):
        def pullback(dy=None, wrt=None):
            d = np.zeros_like(self._params["weight"])
            if dy is not None:
                np.add.at(d, x, dy)
            return bptt.LayerGradients(None, {"weight": d})

        return self(x), pullback


@pytest.mark.parametrize("shape", [(T, N), (N, T), (T,)])
def test_integers_are_indices(shape):
    options = {"batch_first": shape[0] == N, "dtype": np.float64}
    model = bptt.Sequential(
        Embedding(normal((6, 3))),
        bptt.GRU(3, 4, rng=0, **options),
        bptt.Linear(4, 6, rng=1, dtype=np.float64),
    )
    text = numbers().integers(0, 6, shape)
    walk = bptt.truncated(model, bptt.cross_entropy, text, text, 6, 9)
    values, grads, _ = zip(*walk, strict=True)
    whole = bptt.cross_entropy(model(text), text)[0]
    assert np.dot(values, (6, 6, 6, 5)) / T == pytest.approx(whole, rel=1e-13)
    assert np.any(grads[-1]["0.weight"])


def test_dropout_and_mode(backend):
    """In train mode each window draws masks of its own; in eval mode there is no dropout."""
    x, target = problem()
    model = chain(backend, dropout=0.5)
    values = [value for value, *_ in bptt.truncated(model, bptt.mse_loss, x, target, 5)]
    assert model.training
    model.eval()
    calm = [value for value, *_ in bptt.truncated(model, bptt.mse_loss, x, target, 5, 10)]
    plain = [value for value, *_ in bptt.truncated(chain(backend), bptt.mse_loss, x, target, 5, 10)]
    assert calm == plain
    assert values != calm


def test_no_steps():
    model = chain()
    assert not [*bptt.truncated(model, bptt.mse_loss, np.zeros((0, 2, 3)), np.zeros((0, 2, 2)), 5)]


GOOD = {"model": chain(), "loss": bptt.mse_loss, "x": problem()[0], "target": problem()[1], "k1": 5}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"model": None}, TypeError, "model is None"),
        ({"model": bptt.Linear(3, 2)}, ValueError, "model is .*must have a state"),
        (
            {"model": bptt.Sequential(bptt.Sequential(bptt.GRU(3, 4, bidirectional=True)))},
            ValueError,
            r"model has the layer GRU\(.* bidirectional",
        ),
        ({"loss": 1}, TypeError, "loss is"),
        ({"x": None}, TypeError, "x is None"),
        ({"x": 1.0}, ValueError, "x has shape"),
        ({"target": None}, TypeError, "target is None"),
        ({"target": np.zeros((T + 1, N, 2))}, ValueError, r"target has shape \(24, .*T = 23"),
        ({"target": 1.0}, ValueError, r"target has shape \(\)"),
        ({"k1": 0}, ValueError, "k1 is 0"),
        ({"k1": 2.5}, TypeError, "k1 is"),
        ({"k2": 4}, ValueError, "k2 is 4, must be at least 5"),
        ({"lengths": [1, 2]}, ValueError, "lengths has shape"),
        ({"lengths": [1, 2, T + 1]}, ValueError, "lengths"),
    ],
)
def test_bad_calls_are_told_at_once(changed, error, message):
    with pytest.raises(error, match=f"^{message}"):
        bptt.truncated(**(GOOD | changed))


def test_a_model_without_a_y_for_each_step_is_told():
    model = bptt.Sequential(bptt.GRU(3, 2, rng=0, dtype=np.float64), bptt.LastStep())
    walk = bptt.truncated(model, functools.partial(bptt.mse_loss), *problem(), 5)
    with pytest.raises(ValueError, match=r"^model gives y of shape"):
        next(walk)


def test_layers_without_a_state_see_the_whole_window():
    """Positions and attention are those of a window, not of the pieces it was ever cut in."""
    model = bptt.Sequential(
        bptt.SinusoidalPositions(),
        bptt.MultiHeadSelfAttention(4, 2, causal=True, dtype=np.float64, rng=0),
        bptt.GRU(4, 2, dtype=np.float64, rng=1),
    )
    x, target = normal((8, 3, 4), seed=0), normal((8, 3, 2), seed=1)
    (_, _, _), (value, grads, _) = bptt.truncated(model, bptt.mse_loss, x, target, 4, 8)
    loss = last_steps(bptt.mse_loss, 4, 0)
    wanted, wanted_grads = bptt.value_and_grad(model, loss)(x, target[4:])
    assert value == pytest.approx(wanted, rel=1e-13)
    assert_close("training", grads, wanted_grads)
