"""The reference against what is simpler still: loops of Python floats and the complex step."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
from cells import VARIANTS, Arrays, Case, Cell, states
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_close

from bptt import reference
from bptt.reference import cells as formulas
from bptt.reference import time as recurrence

STEP = 1e-30  # of the complex step: nothing is subtracted, so it may be tiny

_Test = TypeVar("_Test", bound=Callable[..., None])

every_variant = pytest.mark.parametrize("cell", VARIANTS, ids=str)
every_order = pytest.mark.parametrize(
    ("ragged", "reverse"),
    [(False, False), (True, False), (False, True), (True, True)],
    ids=["padded", "ragged", "padded-reverse", "ragged-reverse"],
)
every_amount = pytest.mark.parametrize("bare", [False, True], ids=["all-arguments", "bare"])


# ---- forward: the definition, one number at a time


def _sigmoid(a: float) -> float:
    return 1 / (1 + math.exp(-a))


NONLINEARITIES: dict[str, Callable[[float], float]] = {
    "tanh": math.tanh,
    "relu": lambda a: max(a, 0.0),
    "leaky_relu": lambda a: a if a > 0 else 0.2 * a,
    "sigmoid": _sigmoid,
    "identity": lambda a: a,
}


def _unit(cell: Cell, gx: list[float], gh: list[float], h: float, c: float) -> dict[str, Any]:
    """One step of one hidden unit: its preactivations gate by gate, its old state."""
    if cell.name == "lstm":
        i, f, o = (_sigmoid(gx[k] + gh[k]) for k in (0, 1, 3))
        g = math.tanh(gx[2] + gh[2])
        new = f * c + i * g
        return {"h": o * math.tanh(new), "c": new, "gates": [i, f, g, o]}
    if cell.name == "gru":
        r, z = (_sigmoid(gx[k] + gh[k]) for k in (0, 1))
        n = math.tanh(gx[2] + r * gh[2])
        return {"h": (1 - z) * n + z * h, "gates": [r, z, n], "q": gh[2]}
    return {"h": NONLINEARITIES[cell.nonlinearity](gx[0] + gh[0])}


def scalar_forward(case: Case, given: dict[str, Any]) -> Arrays:
    """All that forward returns and saves, by loops over sequences, steps, units and terms."""
    T, N, H, G = case.T, case.N, case.H, case.cell.gates
    x, w_ih, w_hh = (given[name].tolist() for name in ("x", "w_ih", "w_hh"))
    # what is left out is zero
    b_ih, b_hh = (given.get(name, np.zeros(G * H)).tolist() for name in ("b_ih", "b_hh"))
    zeros = np.zeros((N, H))
    found = {name: np.zeros((T + 1, N, H)) for name in case.cell.states}
    if case.cell.name != "rnn":
        found["gates"] = np.zeros((T, N, G, H))
    if case.cell.name == "gru":
        found["q"] = np.zeros((T, N, H))
    result = {"y": np.zeros((T, N, H))}
    for n in range(N):
        length = int(given["lengths"][n]) if "lengths" in given else T
        h = given.get("h_0", zeros)[n].tolist()
        c = given.get("c_0", zeros)[n].tolist()
        for name in case.cell.states:
            found[name][0, n] = {"h": h, "c": c}[name]
        for s in range(length):
            t = length - 1 - s if case.reverse else s
            gx = [sum(map(float.__mul__, w, x[t][n]), b) for w, b in zip(w_ih, b_ih, strict=True)]
            gh = [sum(map(float.__mul__, w, h), b) for w, b in zip(w_hh, b_hh, strict=True)]
            units = [_unit(case.cell, gx[u::H], gh[u::H], h[u], c[u]) for u in range(H)]
            h = [unit["h"] for unit in units]
            c = [unit.get("c", 0.0) for unit in units]
            result["y"][t, n] = h
            for name in case.cell.states:
                found[name][s + 1, n] = {"h": h, "c": c}[name]
            if "gates" in found:
                found["gates"][s, n] = np.transpose([unit["gates"] for unit in units])
            if "q" in found:
                found["q"][s, n] = [unit["q"] for unit in units]
        for name in case.cell.states:
            result.setdefault(f"{name}_n", zeros.copy())[n] = {"h": h, "c": c}[name]
    return {**result, **found}


def every_call(test: _Test) -> _Test:
    """Run a test of every variant in every order, with all arguments and with few."""
    return every_variant(every_order(every_amount(test)))


def _case(cell: Cell, ragged: bool, reverse: bool, bare: bool, **sizes: int) -> Case:
    without = frozenset(cell.optional) if bare else frozenset()
    return Case(cell, ragged=ragged, reverse=reverse, without=without, kink=1e-3, **sizes)


@every_call
def test_forward_is_the_scalar_loop(cell: Cell, ragged: bool, reverse: bool, bare: bool) -> None:
    case = _case(cell, ragged, reverse, bare, T=6, N=5, inputs=3, H=4)
    given, _ = case.problem()
    expected = scalar_forward(case, given)
    result = cell.forward(reference, {**given, "training": True})
    actual = {**states(result), **result.cache.arrays()}
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert_close("scalar loop", "float64", value, expected[name], name=name)


def test_the_shortest_and_the_longest_sequence_are_among_the_ragged() -> None:
    """The cases above would prove little if their lengths were all alike."""
    lengths = Case(VARIANTS[0], T=6, N=5, ragged=True).problem()[0]["lengths"]
    assert lengths.min() < 3 < lengths.max()


# ---- backward: the complex step


class _Moved:
    """A cell and what is added to its h after each step: moves (T, N, H), by time t."""

    def __init__(self, cell: formulas.Formulas, given: dict[str, Any]) -> None:
        self.cell, self.row = cell, cell.row
        moves = given["h"]
        T, N, _ = moves.shape
        lengths = given.get("lengths", np.full(N, T))
        self.steps = (
            [
                moves[lengths[n] - 1 - s if given["reverse"] else s, n]
                for n in range(N)
                if s < lengths[n]
            ]
            for s in range(T)
        )

    def forward(self, gx: formulas.Gates, gh: formulas.Gates, p: formulas.State) -> Any:
        s, v = self.cell.forward(gx, gh, p)
        return s._replace(h=s.h + next(self.steps)), v


def _forward_complex(case: Case, given: dict[str, Any]) -> Arrays:
    cells = {
        "rnn": formulas.RNN(case.cell.nonlinearity, 0.2),
        "lstm": formulas.LSTM(),
        "gru": formulas.GRU(),
    }
    arrays = {name: given[name].astype(complex) for name in case.cell.fields}
    options = {name: given[name] for name in ("lengths", "reverse") if name in given}
    y, (h_n, c_n), _ = recurrence.forward(_Moved(cells[case.cell.name], given), **arrays, **options)
    return {"dy": y.imag / STEP, "dh_n": h_n.imag / STEP, "dc_n": c_n.imag / STEP}


def _filled(case: Case, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with zeros for those left out, and for what is added to each h."""
    shapes = case.cell.shapes(case.T, case.N, case.inputs, case.H)
    shapes["h"] = shapes["dy"]
    return {name: np.zeros(shapes[name]) for name in case.cell.gradients} | given


@every_call
def test_backward_is_the_complex_step(cell: Cell, ragged: bool, reverse: bool, bare: bool) -> None:
    case = _case(cell, ragged, reverse, bare, T=4, N=3, inputs=2, H=3)
    given, upstream = case.problem()
    cache = cell.forward(reference, {**given, "training": True}).cache
    full = _filled(case, given)
    for name in cell.gradients:
        slopes = []  # of all outputs, one perturbed entry of this argument after the other
        for entry in np.ndindex(full[name].shape):
            moved = full[name].astype(complex)
            moved[entry] += 1j * STEP
            slopes.append(_forward_complex(case, {**full, name: moved}))
        for present in itertools.product([False, True], repeat=len(upstream)):
            some = dict(itertools.compress(upstream.items(), present))
            expected = [sum(np.sum(some[d] * slope[d]) for d in some) for slope in slopes]
            actual = cell.backward(reference, cache, {**some, "wrt": [name]})[f"d{name}"]
            assert_close(
                "complex step",
                "float64",
                actual,
                np.reshape(np.array(expected, float), full[name].shape),
                name=f"d{name} from {', '.join(some)}",
            )


@given(
    cell=st.sampled_from(VARIANTS),
    T=st.integers(0, 7),
    N=st.integers(0, 5),
    inputs=st.integers(0, 9),
    H=st.integers(1, 9),
    ragged=st.booleans(),
    reverse=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_backward_is_the_slope_in_a_random_direction(
    cell: Cell, T: int, N: int, inputs: int, H: int, ragged: bool, reverse: bool, seed: int
) -> None:
    """One direction that moves all arguments at once meets each entry of each gradient."""
    case = Case(cell, T, N, inputs, H, ragged=ragged, reverse=reverse, seed=seed)
    given, upstream = case.problem()
    direction, other = replace(case, seed=seed + 1).draw(np.random.default_rng(seed))
    direction["h"] = other["dy"]
    full = _filled(case, given)
    moved = {name: full[name] + 1j * STEP * direction[name] for name in cell.gradients}
    slope = _forward_complex(case, {**given, **moved})
    cache = cell.forward(reference, {**given, "training": True}).cache
    gradients = cell.backward(reference, cache, upstream)
    outputs = np.concatenate([(upstream[d] * slope[d]).ravel() for d in upstream])
    inputs_ = np.concatenate([(gradients[f"d{n}"] * direction[n]).ravel() for n in cell.gradients])
    terms = np.abs(outputs).sum() + np.abs(inputs_).sum()
    assert abs(outputs.sum() - inputs_.sum()) <= 1e-14 * terms


# ---- details that neither of the two sees


@pytest.mark.parametrize(("nonlinearity", "slope"), [("relu", 0.0), ("leaky_relu", 0.25)])
def test_the_slope_at_the_kink(nonlinearity: str, slope: float) -> None:
    x, w = np.zeros((1, 1, 1)), np.ones((1, 1))
    cache = reference.rnn_forward(
        x, w, w, nonlinearity=nonlinearity, slope=0.25, training=True
    ).cache
    assert reference.rnn_backward(cache, dh_n=[[1]]).x.item() == slope


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_overflows_nowhere(dtype: type) -> None:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        values = formulas._sigmoid(np.array([-np.inf, -1e4, -0.0, 0.0, 1e4, np.inf], dtype))
    assert values.tolist() == [0, 0, 0.5, 0.5, 1, 1]
    assert values.dtype == dtype


def test_sigmoid_keeps_its_small_values() -> None:
    a = np.array([-5.0, -40.0, -700.0])
    expected = np.exp(a) / (1 + np.exp(a))
    np.testing.assert_allclose(formulas._sigmoid(a), expected, rtol=1e-15)


@every_variant
def test_float32_stays_float32_inside(cell: Cell) -> None:
    """A step that computes in float64 and rounds at the end would hide in the results."""
    given, upstream = Case(cell, dtype="float32").problem()
    cache = cell.forward(reference, {**given, "training": True}).cache
    p, s = (formulas.State(cache.kept.h[k], cache.kept.c[k]) for k in (0, 1))
    gates = [upstream["dh_n"]] * cell.gates
    state, values = cache.cell.forward(gates, gates, p)
    dgx, dgh, dp = cache.cell.backward(s, p, s, list(cache.kept.v[:, 0]))
    assert {a.dtype for a in (*state, *values, *dgx, *dgh, *dp)} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", reference.__all__)
def test_every_parameter_and_section_is_documented(name: str) -> None:
    function = getattr(reference, name)
    text = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^(\w+, )*{parameter}\b.* : ", text, re.MULTILINE), parameter
    for section in ("Parameters", "Returns", "Raises", "References"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text
    assert "{" not in text
    assert max(map(len, text.splitlines())) <= 100
