"""PyTorch: torch.nn in inference mode or under autograd; packed sequences for lengths."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

from cases import Case
from inputs import Array, Inputs, Task

from peers.base import LAYERS, Call, Peer, Stream, outputs, quickest


class Torch(Peer):
    """torch.nn in inference mode, or under autograd; packed sequences where there are lengths."""

    name = "torch"
    needs = ("torch",)
    layers = True
    forced: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "avx2": {
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        }
    }

    @classmethod
    def ways(cls, case: Case, cell: str) -> tuple[str, ...]:
        """Dense LSTMs alone have two; which is faster depends on the point."""
        return ("oneDNN", "oneDNN off") if cell == "lstm" and not case.ragged else ("",)

    def __init__(self, threads: int) -> None:
        self._torch: Any = importlib.import_module("torch")
        self._torch.set_num_threads(threads)

    def describe(self) -> dict[str, str]:
        isa = self._torch.backends.cpu.get_cpu_capability()
        return {"version": self._torch.__version__, "isa": isa}

    def prepare(self, case: Case, cell: str, direction: str, inputs: Inputs) -> Call:
        call = super().prepare(case, cell, direction, inputs)
        return call._replace(how=self._take_quickest(case, cell, call.run))

    def take(self, way: str) -> None:
        self._torch.backends.mkldnn.enabled = way != "oneDNN off"

    def _take_quickest(self, case: Case, cell: str, run: Callable[[], Any]) -> str:
        def seconds(way: str) -> float:
            self.take(way)
            return quickest(run)

        ways = self.ways(case, cell)
        best = min(ways, key=seconds) if len(ways) > 1 else ways[0]
        self.take(best)
        return best

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        torch = self._torch
        module = self._module(case, cell, inputs).eval()
        call = self._caller(case, module, inputs)
        x, state = torch.from_numpy(inputs.x), self._state(inputs.h_0, inputs.c_0)

        def run() -> Any:
            with torch.inference_mode():
                return call(x, state)

        return Call(run, lambda result: _arrays(outputs(*result)))

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
            return _arrays({**outputs(*result[0]), **dict(zip(names, result[1], strict=True))})

        return Call(run, named)

    def stream(self, case: Case, cell: str, inputs: Inputs) -> Stream:
        torch = self._torch
        self._inference = torch.inference_mode()
        self._inference.__enter__()  # for good, as a program that only serves would
        module = self._module(case, cell, inputs).eval()
        start = self._state(inputs.h_0, inputs.c_0)
        xs = torch.from_numpy(inputs.x).split(1)
        self._take_quickest(case, cell, lambda: [module(x, start) for x in xs])
        last: list[Any] = [None, start]  # y and the state after it

        def step(x: Any) -> None:
            last[:] = module(x, last[1])

        return Stream([partial(step, x) for x in xs], lambda: last[0][0].numpy())

    def training(self, task: Task) -> Call:
        """*Measured*: h_n instead of y's last step, and a fused Adam, gain some percent."""
        torch = self._torch
        module = getattr(torch.nn, LAYERS[task.cell])(*task.sizes)
        head = torch.nn.Linear(task.sizes[1], 1)
        for part in (module, head):
            part.load_state_dict(
                {name: torch.tensor(task.params[name]) for name, _ in part.named_parameters()}
            )
        params = {**dict(module.named_parameters()), **dict(head.named_parameters())}
        live = list(params.values())
        optimizer = torch.optim.Adam(live, lr=task.lr, fused=True)
        clip, loss_of = torch.nn.utils.clip_grad_norm_, torch.nn.functional.mse_loss
        batches = [tuple(map(torch.from_numpy, batch)) for batch in task.batches]

        def run() -> Any:
            for x, target in batches:
                optimizer.zero_grad()
                loss = loss_of(head(module(x)[1][-1]), target)
                loss.backward()
                clip(live, task.max_norm)
                optimizer.step()
            return loss

        return Call(run, lambda loss: _arrays({"loss": loss[None], **params}))

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
