"""The cells as the tests see them: random arguments, calls and results, all by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache as remember
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tolerances import KINDS, assert_close

from bptt import reference
from bptt.recurrent import cells as table

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Cell:
    """A row of the table of cells, and for the RNN its nonlinearity."""

    name: str
    nonlinearity: str | None = None

    def __str__(self) -> str:
        return f"{self.name}-{self.nonlinearity}" if self.nonlinearity else self.name

    @property
    def row(self) -> table.Cell:
        return table.CELLS[self.name]

    @property
    def gates(self) -> int:
        return len(self.row.gates)

    @property
    def states(self) -> str:
        return self.row.states

    @property
    def options(self) -> dict[str, Any]:
        """Arguments that only this cell has."""
        return {"nonlinearity": self.nonlinearity, "slope": 0.2} if self.nonlinearity else {}

    @property
    def optional(self) -> tuple[str, ...]:
        """Arrays a call may leave out."""
        return self.row.optional

    @property
    def fields(self) -> tuple[str, ...]:
        """Arrays that have a gradient."""
        return self.row.arguments

    @property
    def gradients(self) -> tuple[str, ...]:
        """All that backward gives: a gradient of each of these arrays, and of h of every step."""
        return self.row.gradients

    @property
    def upstream(self) -> tuple[str, ...]:
        """Gradients that backward takes."""
        return "dy", *(f"d{name}" for name in self.row.final)

    def shapes(self, T: int, N: int, inputs: int, H: int) -> dict[str, tuple[int, ...]]:
        """Shape of each array by name."""
        return {
            **{"x": (T, N, inputs)},
            **self.row.shapes(inputs, H),
            **dict.fromkeys(self.row.initial, (N, H)),
            **{"dy": (T, N, H)},
            **{f"d{name}": (N, H) for name in self.row.final},
        }

    def forward(self, module: ModuleType, arguments: Mapping[str, Any]) -> Any:
        """Call the cell's forward function; arguments may have the cell's own options in them."""
        return getattr(module, self.row.forward)(**arguments)

    def backward(self, module: ModuleType, cache: Any, arguments: Mapping[str, Any]) -> Arrays:
        """Call the cell's backward function, for all gradients unless told, as d + name."""
        arguments = {"wrt": self.gradients, **arguments}
        gradients = getattr(module, self.row.backward)(cache, **arguments)
        return {f"d{name}": value for name, value in gradients._asdict().items()}


RNNS = [
    Cell("rnn", nonlinearity)
    for nonlinearity in ("tanh", "relu", "leaky_relu", "sigmoid", "identity")
]
LSTM = Cell("lstm")
GRU = Cell("gru")
CELLS = [RNNS[0], LSTM, GRU]
VARIANTS = [*RNNS, LSTM, GRU]


@dataclass(frozen=True)
class Case:
    """One call of one cell, all of it: the same case always has the same numbers."""

    cell: Cell
    T: int = 5
    N: int = 3
    inputs: int = 3
    H: int = 17
    dtype: str = "float64"
    ragged: bool = False
    reverse: bool = False
    without: frozenset[str] = frozenset()
    seed: int = 0
    kink: float = 2e-5  # the least |argument of relu| in sizes of its terms

    def __str__(self) -> str:
        marks = [mark for mark in ("ragged", "reverse") if getattr(self, mark)]
        sizes = f"T{self.T},N{self.N},I{self.inputs},H{self.H}"
        return "-".join([str(self.cell), self.dtype, sizes, *marks, *sorted(self.without)])

    def problem(self) -> tuple[dict[str, Any], Arrays]:
        """Return the arguments of forward and those of backward; each call draws them afresh."""
        for attempt in range(100):
            forward, backward = self.draw(np.random.default_rng([self.seed, attempt]))
            if self._distance(forward) > self.kink:
                return forward, backward
        raise ValueError(f"no arguments for {self} that keep away from the kink")

    def draw(self, rng: np.random.Generator) -> tuple[dict[str, Any], Arrays]:
        """Draw arguments of forward and of backward."""
        arrays = {}
        for name, shape in self.cell.shapes(self.T, self.N, self.inputs, self.H).items():
            values = rng.standard_normal(shape)
            if name[0] in "wb":
                values = rng.uniform(-1, 1, shape) / np.sqrt(self.H)
            arrays[name] = values.astype(self.dtype)
        lengths = rng.integers(0, self.T + 1, self.N)
        for name in self.without:
            arrays.pop(name, None)
        upstream = {name: arrays.pop(name) for name in self.cell.upstream if name in arrays}
        options = {**self.cell.options, "reverse": self.reverse}
        if self.ragged:
            options["lengths"] = lengths
        return {**arrays, **options}, upstream

    def _distance(self, forward: dict[str, Any]) -> float:
        if self.cell.nonlinearity not in ("relu", "leaky_relu"):
            return np.inf
        wide = {k: v.astype(float) if k in self.cell.fields else v for k, v in forward.items()}
        h = self.cell.forward(reference, {**wide, "training": True}).cache.arrays()["h"]
        b_ih, b_hh = (wide.get(name, np.zeros(self.H)) for name in ("b_ih", "b_hh"))
        w = np.concatenate([wide["w_ih"], wide["w_hh"], b_ih[:, None], b_hh[:, None]], 1).T
        nearest = np.inf
        for n, length in enumerate(wide.get("lengths", [self.T] * self.N)):
            x = wide["x"][:length, n][:: -1 if self.reverse else 1]
            terms = np.concatenate([x, h[:length, n], np.ones((length, 2))], 1)
            a, size = terms @ w, abs(terms) @ abs(w)
            away = abs(a)[a != 0] / size[a != 0]  # a sum that is 0 has nothing but zero terms
            nearest = min(nearest, away.min(initial=np.inf))
        return nearest


def states(result: Any) -> Arrays:
    """Return what a forward call returned, by name, without the cache."""
    return {name: value for name, value in result._asdict().items() if name != "cache"}


def run(module: ModuleType, case: Case) -> Arrays:
    """Return all that forward and backward of a case give, by name."""
    forward, backward = case.problem()
    return compute(module, case.cell, forward, backward)


def compute(
    module: ModuleType, cell: Cell, forward: Mapping[str, Any], backward: Mapping[str, Any]
) -> Arrays:
    """Return all that forward and backward give, by name."""
    result = cell.forward(module, {**forward, "training": True})
    return {**states(result), **cell.backward(module, result.cache, backward)}


@remember
def truth(case: Case) -> Arrays:
    """Return what the reference gives in float64 for arguments rounded to the case's dtype."""
    forward, backward = case.problem()
    wide = {k: v.astype(float) if k in case.cell.fields else v for k, v in forward.items()}
    result = case.cell.forward(reference, {**wide, "training": True})
    gradients = case.cell.backward(
        reference, result.cache, {k: v.astype(float) for k, v in backward.items()}
    )
    return {**states(result), **gradients, **result.cache.arrays()}


def assert_true(case: Case, results: Arrays) -> None:
    """Assert that results by name are what the reference gives in float64."""
    expected = truth(case)
    scale = float(np.abs(expected["h"]).max(initial=0))
    for name, value in results.items():
        assert value.dtype == case.dtype, name
        assert_close(KINDS[name], case.dtype, value, expected[name], scale=scale, name=name)
