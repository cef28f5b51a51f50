"""One adapter a library: its fastest correct call for a point, and the names of what it returns.

A further library is one more subclass of `Peer` and its line in `PEERS`. Imports stand inside the
methods, because a worker's process holds one library only.
"""

from __future__ import annotations

import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, NamedTuple

import numpy as np
from cases import Case
from inputs import Array, Inputs

# The torch.nn and bptt class of each cell
LAYERS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


class Call(NamedTuple):
    """`run` is what the clock sees; `named` turns its result into arrays by name.

    Names are y, h_n, c_n and, with the backward pass, "d" and the name of an input or parameter,
    in the shapes of `Inputs`. `how` says which way was taken where the library has several.
    """

    run: Callable[[], Any]
    named: Callable[[Any], dict[str, Array]]
    how: str = ""


class Peer(ABC):
    """A library in its own process, with `threads` threads from the environment on."""

    name: ClassVar[str]

    @abstractmethod
    def __init__(self, threads: int) -> None: ...

    @abstractmethod
    def describe(self) -> dict[str, str]:
        """`version`, `isa` and whatever else tells two builds apart."""

    @abstractmethod
    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        """Inference, nothing kept for a backward pass."""

    @abstractmethod
    def both(self, case: Case, cell: str, inputs: Inputs) -> Call:
        """Forward, then the gradients of every input, parameter and initial state."""

    def prepare(self, case: Case, cell: str, direction: str, inputs: Inputs) -> Call:
        make = self.forward if direction == "forward" else self.both
        return make(case, cell, inputs)


def _present(**arrays: Array | None) -> dict[str, Array]:
    return {name: array for name, array in arrays.items() if array is not None}


class Bptt(Peer):
    """bptt.functional for one layer; bptt's layers for the points that have several or lengths."""

    name = "bptt"
    functions: ClassVar[str] = "bptt.functional"
    backend: ClassVar[str] = "compiled"

    def __init__(self, threads: int) -> None:
        self._bptt = importlib.import_module("bptt")
        self._functions = importlib.import_module(self.functions)

    def describe(self) -> dict[str, str]:
        core = importlib.import_module("bptt._core")
        build = hashlib.sha256(Path(core.__file__ or "").read_bytes()).hexdigest()[:12]
        return {"version": self._bptt.__version__, "isa": core.isa(), "build": build}

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        if _is_layer(case):
            layer, state = self._layer(case, cell, inputs)
            return Call(
                lambda: layer(inputs.x, state, lengths=inputs.lengths),
                lambda result: _outputs(result[0], result[1]),
            )
        function = getattr(self._functions, f"{cell}_forward")
        arguments, _ = _flat(inputs)
        return Call(lambda: function(*arguments), _function_outputs)

    def both(self, case: Case, cell: str, inputs: Inputs) -> Call:
        if _is_layer(case):
            return self._layer_both(case, cell, inputs)
        forward = getattr(self._functions, f"{cell}_forward")
        backward = getattr(self._functions, f"{cell}_backward")
        arguments, dy = _flat(inputs)

        def run() -> tuple[Any, Any]:
            result = forward(*arguments, training=True)
            return result, backward(result.cache, *dy)

        def named(result: tuple[Any, Any]) -> dict[str, Array]:
            g = result[1]._asdict()
            gradients = {
                f"d{name}": g.pop(field)
                for name, field in zip(inputs.params, _WEIGHTS, strict=True)
            }
            states = {f"d{name}": g[name][None] for name in ("h_0", "c_0") if name in g}
            return {**_function_outputs(result[0]), **gradients, **states, "dx": g["x"]}

        return Call(run, named)

    def _layer(self, case: Case, cell: str, inputs: Inputs) -> tuple[Any, Any]:
        layer = getattr(self._bptt, LAYERS[cell])(
            *case.shape[2:],
            num_layers=case.num_layers,
            bidirectional=case.bidirectional,
            dtype=inputs.x.dtype,
            backend=self.backend,
        )
        layer.load_state_dict(inputs.params)
        return layer, _state(inputs.h_0, inputs.c_0)

    def _layer_both(self, case: Case, cell: str, inputs: Inputs) -> Call:
        layer, state = self._layer(case, cell, inputs)
        dstate = _state(inputs.dh_n, inputs.dc_n)

        def run() -> tuple[Any, Any]:
            y, last, pullback = layer.vjp(inputs.x, state, lengths=inputs.lengths)
            return (y, last), pullback(inputs.dy, dstate)

        def named(result: tuple[Any, Any]) -> dict[str, Array]:
            (y, last), g = result
            dh_0, dc_0 = g.state if isinstance(g.state, tuple) else (g.state, None)
            gradients = {f"d{name}": gradient for name, gradient in g.params.items()}
            return {**_outputs(y, last), **gradients, **_present(dx=g.x, dh_0=dh_0, dc_0=dc_0)}

        return Call(run, named)


class Reference(Bptt):
    """bptt.reference, plain NumPy: in float64 it is the truth the others are compared with."""

    name = "reference"
    functions = "bptt.reference"
    backend = "reference"

    def describe(self) -> dict[str, str]:
        return {"version": self._bptt.__version__, "isa": f"numpy {np.__version__}"}


_WEIGHTS = ("w_ih", "w_hh", "b_ih", "b_hh")  # in the order of Inputs.params


def _is_layer(case: Case) -> bool:
    return case.num_layers > 1 or case.bidirectional or case.ragged


def _flat(inputs: Inputs) -> tuple[list[Array], list[Array]]:
    """Arguments of bptt's forward functions and the gradients for its backward ones."""
    arguments = [inputs.x, *inputs.params.values(), inputs.h_0[0]]
    gradients = [inputs.dy, inputs.dh_n[0]]
    if inputs.c_0 is not None and inputs.dc_n is not None:
        return [*arguments, inputs.c_0[0]], [*gradients, inputs.dc_n[0]]
    return arguments, gradients


def _state(h: Array, c: Array | None) -> Any:
    return h if c is None else (h, c)


def _outputs(y: Array, state: Any) -> dict[str, Array]:
    h_n, c_n = state if isinstance(state, tuple) else (state, None)
    return _present(y=y, h_n=h_n, c_n=c_n)


def _function_outputs(result: Any) -> dict[str, Array]:
    c_n = getattr(result, "c_n", None)
    return _present(y=result.y, h_n=result.h_n[None], c_n=None if c_n is None else c_n[None])


class Torch(Peer):
    """torch.nn in inference mode, or under autograd; packed sequences where there are lengths."""

    name = "torch"

    def __init__(self, threads: int) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._torch.set_num_threads(threads)

    def describe(self) -> dict[str, str]:
        isa = self._torch.backends.cpu.get_cpu_capability()
        return {"version": self._torch.__version__, "isa": isa}

    def prepare(self, case: Case, cell: str, direction: str, inputs: Inputs) -> Call:
        call = super().prepare(case, cell, direction, inputs)
        if cell != "lstm" or case.ragged:
            return call  # only dense LSTMs have two ways; which is faster depends on the point
        seconds = {enabled: self._seconds(call, onednn=enabled) for enabled in (True, False)}
        fastest = min(seconds, key=lambda enabled: seconds[enabled])
        self._torch.backends.mkldnn.enabled = fastest
        return call._replace(how="oneDNN" if fastest else "oneDNN off")

    def _seconds(self, call: Call, onednn: bool) -> float:
        """The quickest of some calls."""
        self._torch.backends.mkldnn.enabled = onednn
        call.run()
        turns: list[float] = []
        while len(turns) < 3 or sum(turns) < 0.05:
            start = perf_counter()
            call.run()
            turns.append(perf_counter() - start)
        return min(turns)

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        torch = self._torch
        module = self._module(case, cell, inputs).eval()
        call = self._caller(case, module, inputs)
        x, state = torch.from_numpy(inputs.x), self._state(inputs.h_0, inputs.c_0)

        def run() -> Any:
            with torch.inference_mode():
                return call(x, state)

        return Call(run, lambda result: _arrays(_outputs(*result)))

    def both(self, case: Case, cell: str, inputs: Inputs) -> Call:
        torch = self._torch
        module = self._module(case, cell, inputs).train()
        call = self._caller(case, module, inputs)
        x = torch.from_numpy(inputs.x).requires_grad_()
        state = self._state(inputs.h_0, inputs.c_0)
        states = state if isinstance(state, tuple) else (state,)
        for tensor in states:
            tensor.requires_grad_()
        params = dict(module.named_parameters())
        dy = torch.from_numpy(inputs.dy)
        dstate = self._state(inputs.dh_n, inputs.dc_n)
        dstates = dstate if isinstance(dstate, tuple) else (dstate,)
        names = [*(f"d{name}" for name in params), "dx", *("dh_0", "dc_0")[: len(states)]]
        inputs_of_graph = [*params.values(), x, *states]

        def run() -> tuple[Any, Any]:
            y, last = call(x, state)
            outputs = (y, *last) if isinstance(last, tuple) else (y, last)
            return (y, last), torch.autograd.grad(outputs, inputs_of_graph, (dy, *dstates))

        def named(result: tuple[Any, Any]) -> dict[str, Array]:
            return _arrays({**_outputs(*result[0]), **dict(zip(names, result[1], strict=True))})

        return Call(run, named)

    def _module(self, case: Case, cell: str, inputs: Inputs) -> Any:
        torch = self._torch
        module = getattr(torch.nn, LAYERS[cell])(
            *case.shape[2:], num_layers=case.num_layers, bidirectional=case.bidirectional
        )
        module.load_state_dict(
            {name: torch.from_numpy(array) for name, array in inputs.params.items()}
        )
        module.flatten_parameters()
        return module

    def _caller(self, case: Case, module: Any, inputs: Inputs) -> Callable[[Any, Any], Any]:
        if inputs.lengths is None:
            return lambda x, state: module(x, state)
        rnn = self._torch.nn.utils.rnn
        lengths = self._torch.from_numpy(inputs.lengths)
        steps = case.shape[0]

        def packed(x: Any, state: Any) -> Any:
            packed_x = rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            y, last = module(packed_x, state)
            return rnn.pad_packed_sequence(y, total_length=steps)[0], last

        return packed

    def _state(self, h: Array, c: Array | None) -> Any:
        tensor = self._torch.from_numpy
        return tensor(h) if c is None else (tensor(h), tensor(c))


def _arrays(tensors: dict[str, Any]) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in tensors.items()}


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Bptt, Torch, Reference)}
