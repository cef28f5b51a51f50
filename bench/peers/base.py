"""What every adapter offers: the points it takes, and a call that is ready for the clock."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any, ClassVar, NamedTuple

from cases import DIRECTIONS, Case
from inputs import Array, Inputs, Task

# The torch.nn and bptt class of each cell
LAYERS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


class Call(NamedTuple):
    """`run` is what the clock sees; `named` turns its result into arrays by name.

    Names are y, h_n, c_n and, with the backward pass, "d" and the name of an input or parameter,
    in the shapes of `Inputs`; of a training loop the last loss and the parameters. `how` says which
    way was taken where the library has several.
    """

    run: Callable[[], Any]
    named: Callable[[Any], dict[str, Array]]
    how: str = ""


class Stream(NamedTuple):
    """A state that is kept, on one thread: `steps[t]` advances it by x[t], `y` is the last output.

    steps can be called in turn again and again; y returns (N,H), valid until the next step.
    """

    steps: Sequence[Callable[[], Any]]
    y: Callable[[], Array]


class Peer(ABC):
    """A library in its own process, with `threads` threads from the environment on."""

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]  # packages
    directions: ClassVar[tuple[str, ...]] = DIRECTIONS
    layers: ClassVar[bool] = False  # takes several layers, both directions of time, and lengths
    forced: ClassVar[Mapping[str, Mapping[str, str]]] = {}  # {ISA: environment that holds it to it}
    every: ClassVar[int] = 1  # is timed in each so-many-th round; above 1 for what is very slow
    # gives the system back what the library keeps of freed memory for calls to come, if it can
    release: Callable[[], None] | None = None

    @classmethod
    def installed(cls) -> bool:
        return all(importlib.util.find_spec(package) for package in cls.needs)

    @classmethod
    def takes(cls, case: Case, direction: str) -> bool:
        return direction in cls.directions and (cls.layers or not case.is_layer)

    @classmethod
    def ways(cls, case: Case, cell: str) -> tuple[str, ...]:
        """Settings of the whole library between which a user may choose; "" is that it has none."""
        return ("",)

    @abstractmethod
    def __init__(self, threads: int) -> None: ...

    def take(self, way: str) -> None:
        """Go one of `ways` from now on."""
        assert way == "", f"{self.name} has no ways"

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """`version`, and for bptt what tells two builds apart."""

    @abstractmethod
    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        """Inference, nothing kept for a backward pass."""

    def both(self, case: Case, cell: str, inputs: Inputs) -> Call:
        """Forward, then the gradients of every input, parameter and initial state."""
        raise NotImplementedError(f"{self.name} is measured forward only")

    def stream(self, case: Case, cell: str, inputs: Inputs) -> Stream:
        """One step a call, each with another x."""
        raise NotImplementedError(f"{self.name} is not measured step by step")

    def training(self, task: Task) -> Call:
        """One pass of the training loop over all batches; each call goes on from the last."""
        raise NotImplementedError(f"{self.name} is not measured in a training loop")

    def prepare(self, case: Case, cell: str, direction: str, inputs: Inputs) -> Call:
        """Whatever a user does once, not at every call, is done here."""
        make = self.forward if direction == "forward" else self.both
        return make(case, cell, inputs)


class OnnxReader(Peer):
    """A library that runs the model of peers/onnx.py."""

    directions = ("forward",)

    def __init__(self, threads: int) -> None:
        self._library: Any = importlib.import_module(self.name)
        self._onnx: Any = importlib.import_module("peers.onnx")
        self._threads = threads

    def describe(self) -> dict[str, str]:
        return {"version": self._library.__version__.partition("-")[0]}  # without the build


def present(**arrays: Array | None) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if array is not None}


def outputs(y: Array, state: Any) -> dict[str, Array]:
    h_n, c_n = state if isinstance(state, tuple) else (state, None)
    return present(y=y, h_n=h_n, c_n=c_n)


def quickest(run: Callable[[], Any]) -> float:
    """Seconds of the quickest of some calls: decides between a library's several ways."""
    run()
    turns: list[float] = []
    while len(turns) < 3 or sum(turns) < 0.05:
        start = perf_counter()
        run()
        turns.append(perf_counter() - start)
    return min(turns)
