"""The table of cells: what must be known of a cell beside its formulas, see `bptt.reference.cells`.

The reference's checks, layers, streams, diagnostics, initial values and tests read it, so that no
number of gates and no name of a state stands anywhere else in Python.

Letters: G gates, I inputs, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from .. import checks


class Option(NamedTuple):
    """An argument that only this cell has."""

    default: Any
    check: Callable[[object], Any]


class Cell:
    """One row.

    Parameters
    ----------
    name : str
        Its functions are `name_forward` and `name_backward`.
    gates : mapping of str to str
        Letters in PyTorch's order, in which blocks of the weights' rows lie, and the activation of
        each, or the option that tells it.
    states : str
        A letter each.
    saved : str
        Letters of what a cache keeps beside the states: nothing, or all gates and what follows.
    options : mapping of str to Option
    aliases : mapping of str to str
        Letters that other libraries have for gates, and ours.
    """

    weights: Mapping[str, tuple[str, ...]] = {
        "w_ih": ("G*H", "I"),
        "w_hh": ("G*H", "H"),
        "b_ih": ("G*H",),
        "b_hh": ("G*H",),
    }

    def __init__(
        self,
        name: str,
        gates: Mapping[str, str],
        *,
        states: str = "h",
        saved: str = "",
        options: Mapping[str, Option] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.gates = "".join(gates)
        self.activations = gates
        self.states = states
        self.saved = saved
        self.options = options or {}
        self.aliases = aliases or {}
        # what functions call these
        self.forward, self.backward = f"{name}_forward", f"{name}_backward"
        self.initial = tuple(f"{state}_0" for state in states)
        self.final = tuple(f"{state}_n" for state in states)
        # of what a forward function returned, the final states and the cache
        self.kept_of = attrgetter(*self.final, "cache")
        self.arguments = ("x", *self.weights, *self.initial)  # that are arrays, in order
        self.biases = tuple(weight for weight in self.weights if weight.startswith("b_"))
        self.optional = (*self.biases, *self.initial)  # arguments that may be None
        self.gradients = (*self.arguments, "h")

    def shapes(self, I: int, H: int) -> dict[str, tuple[int, ...]]:  # noqa: E741
        """Shapes of the weights by name."""
        sizes = {"G*H": len(self.gates) * H, "H": H, "I": I}
        return {name: tuple(sizes[axis] for axis in axes) for name, axes in self.weights.items()}

    def axes(self, weight: str) -> str:
        """Return the axes of a weight as messages tell them, such as "(4*H, I)"."""
        rows = "H" if len(self.gates) == 1 else f"{len(self.gates)}*H"
        axes = [rows if axis == "G*H" else axis for axis in self.weights[weight]]
        return f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"

    def parts(self, name: str, state: Any) -> list[Any]:
        """Return a state or its gradient as a list, one entry a letter; None is one of Nones."""
        if state is None:
            return [None] * len(self.states)
        if len(self.states) == 1:
            return [state]
        if not isinstance(state, tuple | list) or len(state) != len(self.states):
            given = checks.described(state)
            raise TypeError(f"{name} is {given}, must be a pair ({', '.join(self.states)})")
        return [*state]

    def order(self, letters: str, among: str | None = None) -> list[int]:
        """Return where each of these gates stands among those of another order, by default ours.

        Letters may be another library's, such as ONNX's "iofc" and "zrh": blocks of rows that lie
        in our order lie in ONNX's as ``[blocks[i] for i in cell.order("iofc")]``.
        """
        there = [self.aliases.get(letter, letter) for letter in among or self.gates]
        return [there.index(self.aliases.get(letter, letter)) for letter in letters]


CELLS = {
    cell.name: cell
    for cell in (
        Cell(
            "rnn",
            {"h": "nonlinearity"},
            options={
                "nonlinearity": Option("tanh", checks.nonlinearity),
                "slope": Option(0.01, checks.slope),
            },
            aliases={"i": "h"},
        ),
        Cell(
            "lstm",
            {"i": "sigmoid", "f": "sigmoid", "g": "tanh", "o": "sigmoid"},
            states="hc",
            saved="ifgo",
            aliases={"c": "g"},
        ),
        Cell(
            "gru",
            {"r": "sigmoid", "z": "sigmoid", "n": "tanh"},
            saved="rznq",
            aliases={"h": "n"},
        ),
    )
}
