"""One recurrent layer as an ONNX model, for the libraries that read one."""

from __future__ import annotations

from typing import Any

import numpy as np
from cases import GATES, Case
from inputs import Array, Inputs
from onnx import TensorProto, helper

ORDER = {"rnn": "h", "lstm": "iofg", "gru": "zrn"}  # of ONNX's gates, in PyTorch's letters
OPSET, IR_VERSION = 14, 8  # old enough for every reader


def inputs_of(inputs: Inputs) -> dict[str, Array]:
    """The model's inputs by name: x (T,N,I), h_0 and c_0 (1,N,H)."""
    states = {"h_0": inputs.h_0} if inputs.c_0 is None else {"h_0": inputs.h_0, "c_0": inputs.c_0}
    return {"x": inputs.x, **states}


def outputs_of(case: Case, cell: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the model's outputs by name; y has an axis for the directions of time."""
    steps, batch, _, hidden = case.shape
    states = ("h_n", "c_n") if cell == "lstm" else ("h_n",)
    return {"y": (steps, 1, batch, hidden), **dict.fromkeys(states, (1, batch, hidden))}


def named(arrays: dict[str, Array]) -> dict[str, Array]:
    """The outputs as `Call.named` wants them."""
    return {**arrays, "y": arrays["y"][:, 0]}


def model(case: Case, cell: str, inputs: Inputs) -> bytes:
    """The layer with its weights in it, serialised."""
    w_ih, w_hh, b_ih, b_hh = (_ordered(array, cell) for array in inputs.params.values())
    weights = {"w_ih": w_ih[None], "w_hh": w_hh[None], "b": np.concatenate([b_ih, b_hh])[None]}
    given = {name: array.shape for name, array in inputs_of(inputs).items()}
    wanted = outputs_of(case, cell)
    attributes: dict[str, Any] = {"hidden_size": case.shape[3]}
    if cell == "gru":
        attributes["linear_before_reset"] = 1
    sources = ["x", *weights, "", *[name for name in given if name != "x"]]  # "": no lengths
    node = helper.make_node(cell.upper(), sources, list(wanted), **attributes)
    single = TensorProto.FLOAT
    graph = helper.make_graph(
        [node],
        cell,
        [helper.make_tensor_value_info(name, single, shape) for name, shape in given.items()],
        [helper.make_tensor_value_info(name, single, shape) for name, shape in wanted.items()],
        [
            helper.make_tensor(name, single, array.shape, array.tobytes(), raw=True)
            for name, array in weights.items()
        ],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(made.SerializeToString())


def _ordered(array: Array, cell: str) -> Array:
    """Rows (G*H,...) from PyTorch's order of the gates to ONNX's."""
    blocks = dict(zip(GATES[cell], np.split(array, len(GATES[cell])), strict=True))
    return np.concatenate([blocks[gate] for gate in ORDER[cell]])
