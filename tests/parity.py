"""The same layers in PyTorch, and what a call of either gives, by name, to be compared."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances
from tolerances import assert_same_bits

import bptt


def numbers(seed=0):
    return np.random.default_rng(seed)


def normal(shape, dtype=np.float64, seed=0):
    return numbers(seed).normal(size=shape).astype(dtype)


def as_pair(state):
    """A state as a tuple of arrays: of one, for LSTM of two."""
    return state if isinstance(state, tuple) else (state,)


def torch_twin(layer):
    """PyTorch's layer with the arguments and the weights of a recurrent layer or a Linear."""
    import torch

    dtype = getattr(torch, layer.dtype.name)
    if isinstance(layer, bptt.Linear):
        twin = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias, dtype=dtype)
    else:
        names = "input_size hidden_size num_layers bias batch_first dropout bidirectional"
        arguments = {name: getattr(layer, name) for name in names.split()}
        if isinstance(layer, bptt.RNN):
            arguments["nonlinearity"] = layer.nonlinearity
        twin = getattr(torch.nn, type(layer).__name__)(**arguments, dtype=dtype)
    twin.load_state_dict({name: torch.from_numpy(a) for name, a in layer.state_dict().items()})
    return twin.train(layer.training)


def random_call(layer, T=6, N=3, *, batched=True, lengths=None, seed=0):
    """Arguments of a call and of its pullback, all of them random and none of them zero."""
    rng = numbers(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(layer.dtype)

    D = 2 if layer.bidirectional else 1
    rows = ((N, T) if layer.batch_first else (T, N)) if batched else (T,)
    state = (layer.num_layers * D, *((N,) if batched else ()), layer.hidden_size)
    pairs = [(draw(*state), draw(*state)) for _ in range(2)]
    single = not isinstance(layer, bptt.LSTM)
    return {
        "x": draw(*rows, layer.input_size),
        "state": pairs[0][0] if single else pairs[0],
        "lengths": lengths,
        "dy": draw(*rows, D * layer.hidden_size),
        "dstate": pairs[1][0] if single else pairs[1],
    }


def results(layer, call):
    """Outputs, final states and all gradients of a recurrent layer, by name."""
    y, end, pullback = layer.vjp(call["x"], call["state"], lengths=call["lengths"])
    g = pullback(call["dy"], call["dstate"])
    return named(y, end, g.x, g.state, g.params)


def named(y, end, dx, dstart, params):
    found = {"y": y, "dx": dx}
    found |= {f"end {i}": array for i, array in enumerate(as_pair(end))}
    found |= {f"dstart {i}": array for i, array in enumerate(as_pair(dstart))}
    return found | {f"d{name}": array for name, array in params.items()}


def torch_results(layer, call):
    """The same from PyTorch; sequences with lengths go through it packed."""
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    twin = torch_twin(layer)
    x = torch.tensor(call["x"], requires_grad=True)
    start = [torch.tensor(part, requires_grad=True) for part in as_pair(call["state"])]
    given = start[0] if len(start) == 1 else tuple(start)
    if call["lengths"] is None:
        y, end = twin(x, given)
    else:
        first = layer.batch_first
        packed = pack_padded_sequence(
            x, torch.tensor(call["lengths"]), batch_first=first, enforce_sorted=False
        )
        y, end = twin(packed, given)
        T = x.shape[1 if first else 0]
        y, _ = pad_packed_sequence(y, batch_first=first, total_length=T)
    outputs = (y, *as_pair(end))
    gradients = [torch.from_numpy(a) for a in (call["dy"], *as_pair(call["dstate"]))]
    torch.autograd.backward(outputs, gradients)
    return named(
        y.detach().numpy(),
        tuple(part.detach().numpy() for part in as_pair(end)),
        x.grad.numpy(),
        tuple(part.grad.numpy() for part in start),
        {name: p.grad.numpy() for name, p in twin.named_parameters()},
    )


def assert_close(kind, actual, expected):
    """Compare arrays, or dictionaries of arrays by name, in the tolerance of their kind."""
    if not isinstance(expected, dict):
        actual, expected = {kind: actual}, {kind: expected}
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        dtype = np.asarray(actual[name]).dtype.name
        tolerances.assert_close(kind, dtype, actual[name], np.asarray(array), name=name)


def assert_same(actual, expected):
    """Compare dictionaries of arrays bit for bit."""
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert_same_bits(np.asarray(actual[name]), np.asarray(array), name)


def slope_along(value, arrays, directions, step=1e-6):
    """Central difference of value() when all arrays move along directions at once."""
    ends = []
    for sign in (1, -1):
        for array, direction in zip(arrays, directions, strict=True):
            array += sign * step * direction
        ends.append(value())
        for array, direction in zip(arrays, directions, strict=True):
            array -= sign * step * direction
    return (ends[0] - ends[1]) / (2 * step)


def assert_gradients(value, arrays, gradients, rel=1e-7):
    """Compare the slope of value() along a random direction with what the gradients tell."""
    directions = [normal(a.shape, seed=100 + i) for i, a in enumerate(arrays)]
    told = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
    assert slope_along(value, arrays, directions) == pytest.approx(told, rel=rel)


def recorded_wrt(monkeypatch, module, name):
    """A list that grows by what each call of a backward function asks for."""
    asked = []
    original = getattr(module, name)

    def recording(*args, wrt, **kwargs):
        asked.append(set(wrt))
        return original(*args, wrt=wrt, **kwargs)

    monkeypatch.setattr(module, name, recording)
    return asked
