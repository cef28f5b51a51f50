"""OpenVINO: the ONNX model compiled for latency, its inputs written once into one request.

*Measured*: its own LSTMSequence on time-major arrays is exactly as fast and gives the same bits,
on batch-major ones it is slower; binding outputs and asynchronous requests gain nothing.
"""

from __future__ import annotations

from cases import Case
from inputs import Inputs

from peers.base import Call, OnnxReader


class OpenVino(OnnxReader):
    name = "openvino"
    needs = ("onnx", "openvino")

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self._core = self._library.Core()
        self._settings = {
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 on the CPUs that have it
        }

    def forward(self, case: Case, cell: str, inputs: Inputs) -> Call:
        model = self._core.read_model(self._onnx.model(case, cell, inputs))
        request = self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        for name, array in self._onnx.inputs_of(inputs).items():
            request.get_tensor(name).data[:] = array
        names = list(self._onnx.outputs_of(case, cell))
        return Call(
            lambda: request.infer(share_outputs=True),
            lambda result: self._onnx.named({name: result[name] for name in names}),
        )
