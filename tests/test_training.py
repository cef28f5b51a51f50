"""value_and_grad: training step by step as PyTorch does, and truncated BPTT by hand."""

import functools
import math

import numpy as np
import pytest
from parity import assert_close, assert_same, normal, numbers, recorded_wrt, slope_along, torch_twin

import bptt
from bptt import reference


def classifier(backend, **kwargs):
    options = {"dtype": np.float64} | kwargs
    return bptt.Sequential(
        bptt.LSTM(3, 8, num_layers=2, batch_first=True, rng=0, backend=backend, **options),
        bptt.LastStep(batch_first=True),
        bptt.Linear(8, 4, rng=1, **options),
    )


def test_training_equals_torch(torch, backend):
    model = classifier(backend)
    lstm, linear = torch_twin(model[0]), torch_twin(model[2])
    weights = [*lstm.parameters(), *linear.parameters()]
    theirs = torch.optim.Adam(weights, lr=0.01)
    ours = bptt.Adam(model.params, lr=0.01)
    step = bptt.value_and_grad(model, bptt.cross_entropy)
    for i in range(6):
        x, target = normal((5, 7, 3), seed=i), numbers(i).integers(0, 4, 5)
        lengths = numbers(i).integers(1, 8, 5)
        value, grads = step(x, target, lengths=lengths)
        norm = bptt.clip_grad_norm_(grads, 0.3)
        ours.step(grads)

        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.from_numpy(x), torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
        _, (h_n, _) = lstm(packed)
        loss = torch.nn.functional.cross_entropy(linear(h_n[-1]), torch.from_numpy(target))
        theirs.zero_grad()
        loss.backward()
        expected = torch.nn.utils.clip_grad_norm_(weights, 0.3)
        theirs.step()
        assert value == pytest.approx(loss.item(), rel=1e-12)
        assert norm == pytest.approx(expected.item(), rel=1e-12)
        now = dict(zip(model.params, (w.detach().numpy() for w in weights), strict=True))
        assert_close("training", dict(model.params), now)


def test_classifier_on_the_last_step_equals_torch(torch, backend):
    rnn = bptt.RNN(10, 8, batch_first=True, rng=0, dtype=np.float64, backend=backend)
    linear = bptt.Linear(8, 2, rng=1, dtype=np.float64)
    model = bptt.Sequential(rnn, bptt.LastStep(batch_first=True), linear)
    x = normal((1, 5, 10))
    value, grads = bptt.value_and_grad(model, bptt.cross_entropy)(x, [1])

    theirs, head = torch_twin(rnn), torch_twin(linear)
    y, _ = theirs(torch.from_numpy(x))
    logits = head(y[:, -1, :])
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([1]))
    loss.backward()
    assert model(x).shape == (1, 2)
    assert_close("layers", model(x), logits.detach().numpy())
    assert value == pytest.approx(loss.item(), rel=1e-13)
    expected = {f"0.{name}": p.grad.numpy() for name, p in theirs.named_parameters()}
    expected |= {f"2.{name}": p.grad.numpy() for name, p in head.named_parameters()}
    assert_close("layers", grads, expected)


def test_truncated_bptt_by_hand_equals_torch(torch, backend):
    gru = bptt.GRU(3, 6, rng=0, dtype=np.float64, backend=backend)
    linear = bptt.Linear(6, 3, rng=1, dtype=np.float64)
    model = bptt.Sequential(gru, linear)
    theirs, head = torch_twin(gru), torch_twin(linear)
    weights = [*theirs.parameters(), *head.parameters()]
    ours = bptt.SGD(model.params, lr=0.1, momentum=0.5)
    optimiser = torch.optim.SGD(weights, lr=0.1, momentum=0.5)
    step = bptt.value_and_grad(model, bptt.mse_loss)
    text = normal((17, 2, 3))
    state, h = None, None
    for i in range(0, 16, 4):
        x, target = text[i : i + 4], text[i + 1 : i + 5]
        value, grads, state = step(x, target, state=state, return_state=True)
        ours.step(grads)

        y, h = theirs(torch.from_numpy(x), h)
        loss = torch.nn.functional.mse_loss(head(y), torch.from_numpy(target))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        h = h.detach()
        assert value == pytest.approx(loss.item(), rel=1e-12)
        assert_close("training", state[0], h.numpy())
        now = dict(zip(model.params, (w.detach().numpy() for w in weights), strict=True))
        assert_close("training", dict(model.params), now)


def test_gradients_follow_the_numbers(backend):
    """Without PyTorch: the value changes with the weights as the gradients tell."""
    model = classifier(backend)
    step = bptt.value_and_grad(model, bptt.cross_entropy)
    x, target, lengths = normal((5, 7, 3)), [0, 1, 2, 3, -100], [7, 1, 0, 3, 5]
    arrays = list(model.params.values())
    directions = [normal(a.shape, seed=i) for i, a in enumerate(arrays)]
    _, grads = step(x, target, lengths=lengths)
    told = sum(np.sum(g * d) for g, d in zip(grads.values(), directions, strict=True))
    found = slope_along(lambda: step(x, target, lengths=lengths)[0], arrays, directions)
    assert found == pytest.approx(told, rel=1e-7)


def test_value_and_state_are_the_models(backend):
    model = bptt.Sequential(bptt.RNN(3, 4, rng=0, backend=backend), bptt.Linear(4, 2, rng=1))
    x, target = normal((5, 2, 3), np.float32), normal((5, 2, 2), np.float32, seed=1)
    start = (normal((1, 2, 4), np.float32, seed=2),)
    loss = functools.partial(bptt.mse_loss, reduction="sum")
    step = bptt.value_and_grad(model, loss)
    value, grads, state = step(x, target, state=start, return_state=True)
    y, end = model(x, start, return_state=True)
    assert value == loss(y, target)[0]
    assert np.array_equal(state[0], end[0])
    assert len(step(x, target)) == 2
    assert type(grads) is dict
    assert list(grads) == list(model.params)
    for name, array in model.params.items():
        assert grads[name].shape == array.shape
        assert grads[name].dtype == np.float32


def test_a_bare_layer_is_a_model(backend):
    layer = bptt.LSTM(3, 4, rng=0, dtype=np.float64, backend=backend)
    x, target = normal((5, 2, 3)), normal((5, 2, 4), seed=1)
    step = bptt.value_and_grad(layer, bptt.mse_loss)
    value, grads, (_, c) = step(x, target, lengths=[5, 2], return_state=True)
    y, (_, expected), pullback = layer.vjp(x, lengths=[5, 2])
    assert value == bptt.mse_loss(y, target)[0]
    assert np.array_equal(c, expected)
    assert_same(grads, pullback(bptt.mse_loss(y, target)[1]).params)
    linear = bptt.Linear(4, 2, rng=0)
    step = bptt.value_and_grad(linear, bptt.cross_entropy)
    _, grads, state = step(np.ones((3, 4), np.float32), [0, 1, 1], return_state=True)
    assert list(grads) == ["weight", "bias"]
    assert state is None


def test_the_gradient_of_the_input_is_not_computed(monkeypatch):
    asked = recorded_wrt(monkeypatch, reference, "gru_backward")
    step = bptt.value_and_grad(bptt.GRU(3, 4, rng=0, backend="reference"), bptt.mse_loss)
    step(np.ones((5, 2, 3), np.float32), np.ones((5, 2, 4), np.float32))
    assert asked == [{"w_ih", "w_hh", "b_ih", "b_hh"}]


def test_mode_is_left_alone_and_decides_dropout(backend):
    model = bptt.Sequential(bptt.Dropout(1.0), bptt.Linear(3, 2, rng=0))
    step = bptt.value_and_grad(model, bptt.cross_entropy)
    x = np.ones((4, 3), np.float32)
    assert not step(x, [0, 1, 1, 0])[1]["1.weight"].any()
    assert model.training
    model.eval()
    assert step(x, [0, 1, 0, 0])[1]["1.weight"].all()
    assert not model.training


def test_gradients_of_parts_add_up_to_the_whole(backend):
    """What data parallelism rests on."""
    model = classifier(backend)
    step = bptt.value_and_grad(model, functools.partial(bptt.cross_entropy, reduction="sum"))
    x, target = normal((6, 7, 3)), numbers().integers(0, 4, 6)
    _, whole = step(x, target)
    _, first = step(x[:2], target[:2])
    _, rest = step(x[2:], target[2:])
    assert_close("layers", {name: first[name] + rest[name] for name in whole}, whole)


def test_a_few_steps_learn(backend):
    model = classifier(backend, dtype=np.float32)
    step, optimiser = bptt.value_and_grad(model, bptt.cross_entropy), bptt.Adam(model.params, 0.03)
    x, target = normal((32, 7, 3), np.float32), numbers().integers(0, 4, 32)
    losses = []
    for _ in range(60):
        value, grads = step(x, target)
        optimiser.step(grads)
        losses.append(value)
    assert losses[0] == pytest.approx(math.log(4), abs=0.1)
    assert losses[-1] < 0.1
    assert np.mean(model(x).argmax(-1) == target) == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: bptt.value_and_grad(np.tanh, bptt.mse_loss), TypeError, "model "),
        (lambda m: bptt.value_and_grad(m, "mse"), TypeError, "loss "),
        (lambda m: m(np.ones((2, 3), "f"), [0, 1], lengths=[1, 1]), ValueError, "lengths is given"),
        (lambda m: m(np.ones((2, 3), "f"), [0, 1], state=np.ones(3)), ValueError, "state is given"),
        (lambda m: m(np.ones((2, 3), "f"), [0, 1], return_state=None), TypeError, "return_state "),
        (lambda m: m(np.ones((2, 4), "f"), [0, 1]), ValueError, "x has shape"),
        (lambda m: m(np.ones((2, 3), "f"), [0, 9]), ValueError, "target has the value 9"),
    ],
)
def test_errors_name_the_argument(call, error, message):
    layer = bptt.Linear(3, 2, rng=0)
    argument = layer if message == "loss " else bptt.value_and_grad(layer, bptt.cross_entropy)
    with pytest.raises(error, match=f"^{message}"):
        call(argument)
