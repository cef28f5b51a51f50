"""ONNX Runtime: one session, inputs and outputs bound to buffers that every call updates."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from cases import Case
from inputs import Array, Inputs

from peers.base import Call, OnnxReader, Stream, quickest


class OnnxRuntime(OnnxReader):
    """Its threads spin between operations or sleep, whichever is faster at that point."""

    name = "onnxruntime"
    needs = ("onnx", "onnxruntime")

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        model = self._onnx.model(case, cell, inputs)
        shapes = self._onnx.outputs_of(case, cell)
        ways = [True, False] if self._threads > 1 else [True]
        calls = [self._call(model, inputs, shapes, spinning) for spinning in ways]
        return min(calls, key=lambda call: quickest(call.run))

    def stream(self, case: Case, cell: str, inputs: Inputs) -> Stream:
        """x is copied into the bound buffer; the states are bound to one buffer as in- and output.

        *Measured*: a model without the output y, which h_n equals here, is no faster.
        """
        one = replace(case, shape=(1, *case.shape[1:]))
        first = inputs._replace(x=inputs.x[:1])
        model = self._onnx.model(one, cell, first)
        session = self._session(model, self._threads, spinning=False)
        given = {name: array.copy() for name, array in self._onnx.inputs_of(first).items()}
        found = {
            name: np.empty(shape, np.float32) if name == "y" else given[name.replace("_n", "_0")]
            for name, shape in self._onnx.outputs_of(one, cell).items()
        }
        binding = session.io_binding()
        for bind, arrays in ((binding.bind_input, given), (binding.bind_output, found)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        bound = given["x"]

        def step(x: Array) -> None:
            bound[0] = x
            session.run_with_iobinding(binding)

        return Stream([partial(step, x) for x in inputs.x], lambda: found["y"][0, 0])

    def _call(
        self, model: bytes, inputs: Inputs, shapes: dict[str, tuple[int, ...]], spinning: bool
    ) -> Call:
        session = self._session(model, self._threads, spinning)
        given = {
            name: self._library.OrtValue.ortvalue_from_numpy(array)
            for name, array in self._onnx.inputs_of(inputs).items()
        }
        found = {
            name: self._library.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
            for name, shape in shapes.items()
        }
        binding = session.io_binding()
        for name, value in given.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in found.items():
            binding.bind_ortvalue_output(name, value)
        return Call(
            lambda: session.run_with_iobinding(binding),
            lambda _: self._onnx.named({name: value.numpy() for name, value in found.items()}),
            "" if spinning else "sleeping",
        )

    def _session(self, model: bytes, threads: int, spinning: bool) -> Any:
        options = self._library.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = self._library.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = self._library.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        return self._library.InferenceSession(model, options, providers=["CPUExecutionProvider"])
