"""bptt itself, and its plain NumPy twin: the truth in float64 that the others are held against."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from cases import Case
from inputs import Array, Inputs, Task
from machine import FEATURES

from peers.base import LAYERS, Call, Peer, Stream, outputs, present


class Bptt(Peer):
    """bptt.functional for one layer; bptt's layers for the points that have several or lengths."""

    name = "bptt"
    needs = ("bptt",)
    layers = True
    forced: ClassVar[Mapping[str, Mapping[str, str]]] = {isa: {"BPTT_ISA": isa} for isa in FEATURES}
    functions: ClassVar[str] = "bptt.functional"
    backend: ClassVar[str] = "compiled"

    def __init__(self, threads: int) -> None:
        self._bptt = importlib.import_module("bptt")
        self._functions = importlib.import_module(self.functions)
        self.release = self._bptt.free_memory

    def describe(self) -> dict[str, str]:
        core = importlib.import_module("bptt._core")
        build = hashlib.sha256(Path(core.__file__ or "").read_bytes()).hexdigest()[:12]
        return {"version": self._bptt.__version__, "isa": core.isa(), "build": build}

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        if case.is_layer:
            layer, state = self._layer(case, cell, inputs)
            return Call(
                lambda: layer(inputs.x, state, lengths=inputs.lengths),
                lambda result: outputs(result[0], result[1]),
            )
        if case.shape[0] == 1 and self.backend == "compiled":
            return self._one_step(case, cell, inputs)
        function = getattr(self._functions, f"{cell}_forward")
        arguments, _ = _flat(inputs)
        return Call(lambda: function(*arguments), _function_outputs)

    def _one_step(self, case: Case, cell: str, inputs: Inputs) -> Call:
        """A stream, whose weights are packed before the clock starts, as a session's are."""
        layer, state = self._layer(case, cell, inputs)
        stream = layer.stream(batch=case.shape[1])
        x = inputs.x[0]

        def run() -> tuple[Any, Any]:
            stream.state = state
            return stream.step(x), stream.state

        return Call(run, lambda result: outputs(result[0][None], result[1]), how="stream")

    def both(self, case: Case, cell: str, inputs: Inputs) -> Call:
        if case.is_layer:
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

    def stream(self, case: Case, cell: str, inputs: Inputs) -> Stream:
        layer, state = self._layer(case, cell, inputs)
        stream = layer.stream(batch=case.shape[1])
        stream.state = state
        y = np.empty((case.shape[1], case.shape[3]), inputs.x.dtype)
        return Stream([partial(stream.step, x, y) for x in inputs.x], lambda: y)

    def training(self, task: Task) -> Call:
        bptt, dtype = self._bptt, task.batches[0][0].dtype
        layer = getattr(bptt, LAYERS[task.cell])(*task.sizes, dtype=dtype, backend=self.backend)
        head = bptt.Linear(task.sizes[1], 1, dtype=dtype)
        for part in (layer, head):
            part.load_state_dict({name: task.params[name] for name in part.params})
        model = bptt.Sequential(layer, bptt.LastStep(), head)
        step = bptt.value_and_grad(model, bptt.mse_loss)
        optimizer = bptt.Adam(model.params, lr=task.lr)

        def run() -> Any:
            for x, target in task.batches:
                loss, grads = step(x, target)
                bptt.clip_grad_norm_(grads, task.max_norm)
                optimizer.step(grads)
            return loss

        return Call(run, lambda loss: {"loss": np.array([loss]), **layer.params, **head.params})

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
            return {**outputs(y, last), **gradients, **present(dx=g.x, dh_0=dh_0, dc_0=dc_0)}

        return Call(run, named)


class Reference(Bptt):
    """bptt.reference, plain NumPy: in float64 it is the truth the others are compared with."""

    name = "reference"
    functions = "bptt.reference"
    backend = "reference"
    every = 5  # a call takes longer than a turn at the large points

    def describe(self) -> dict[str, str]:
        return {"version": self._bptt.__version__, "isa": f"numpy {np.__version__}"}


_WEIGHTS = ("w_ih", "w_hh", "b_ih", "b_hh")  # in the order of Inputs.params


def _flat(inputs: Inputs) -> tuple[list[Array], list[Array]]:
    """Arguments of bptt's forward functions and the gradients for its backward ones."""
    arguments = [inputs.x, *inputs.params.values(), inputs.h_0[0]]
    gradients = [inputs.dy, inputs.dh_n[0]]
    if inputs.c_0 is not None and inputs.dc_n is not None:
        return [*arguments, inputs.c_0[0]], [*gradients, inputs.dc_n[0]]
    return arguments, gradients


def _state(h: Array, c: Array | None) -> Any:
    return h if c is None else (h, c)


def _function_outputs(result: Any) -> dict[str, Array]:
    c_n = getattr(result, "c_n", None)
    return present(y=result.y, h_n=result.h_n[None], c_n=None if c_n is None else c_n[None])
