"""The table of cells: each row has all its places, and gates are found in any library's order."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import bptt
from bptt import functional, reference, results
from bptt.recurrent import cells as table
from bptt.reference import cells as formulas

DOCS = Path(__file__).parents[1] / "docs"
PACKAGE = Path(bptt.__file__).parent
TABLE = list(table.CELLS.values())

each_row = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)


def kind(row: table.Cell) -> str:
    return row.name.upper()


# ---- the places of a row, listed in docs/developing.md


@each_row
@pytest.mark.parametrize("module", [functional, reference], ids=["functional", "reference"])
def test_functions(module, row):
    forward, backward = (getattr(module, name) for name in (row.forward, row.backward))
    assert {row.forward, row.backward} <= set(module.__all__)
    parameters = inspect.signature(forward).parameters
    shared = ("lengths", "reverse", "training", "checkpoint_every", "out")
    assert tuple(parameters) == (*row.arguments, *row.options, *shared)
    for name, option in row.options.items():
        assert parameters[name].default == option.check(option.default)
    optional = {name for name in row.arguments if parameters[name].default is None}
    assert optional == set(row.optional)
    upstream = ("cache", "dy", *(f"d{name}" for name in row.final), "wrt")
    assert tuple(inspect.signature(backward).parameters) == upstream


@each_row
def test_results(row):
    assert getattr(results, f"{kind(row)}Forward")._fields == ("y", *row.final, "cache")
    assert getattr(results, f"{kind(row)}Gradients")._fields == row.gradients


@each_row
def test_compiled_functions_have_types(row):
    stubs = (PACKAGE / "_core.pyi").read_text()
    for name in (row.forward, row.backward):
        assert hasattr(bptt._core, name)
        assert f"def {name}(" in stubs


@each_row
def test_formulas(row):
    cell = formulas.FORMULAS[row.name]
    assert cell.row is row
    assert cell.__doc__


@each_row
def test_layer(row):
    layer = getattr(bptt, kind(row))
    assert layer._cell is row
    parameters = inspect.signature(layer).parameters
    assert {name: parameters[name].default for name in row.options} == {
        name: option.default for name, option in row.options.items()
    }
    shapes = row.shapes(2, 3)
    made = layer(2, 3, rng=0)
    assert {name: array.shape for name, array in made.params.items()} == {
        made._names[0][name]: shape for name, shape in shapes.items()
    }


@each_row
def test_what_a_cache_keeps(row):
    """Of the reference and of the compiled functions."""
    T, N, I, H = 3, 2, 2, 3  # noqa: E741
    weights = {name: np.zeros(shape) for name, shape in row.shapes(I, H).items()}
    for module in (functional, reference):
        result = getattr(module, row.forward)(np.zeros((T, N, I)), **weights, training=True)
        shapes = {name: array.shape for name, array in result.cache.arrays().items()}
        expected = dict.fromkeys(row.states, (T + 1, N, H))
        if row.saved:
            assert row.saved.startswith(row.gates)
            expected["gates"] = (T, N, len(row.gates), H)
            expected |= dict.fromkeys(row.saved.removeprefix(row.gates), (T, N, H))
        assert shapes == expected


@each_row
def test_pages_of_the_guide(row):
    api = DOCS / "api"
    listed = re.findall(r"^   ([\w.]+\w)$", (api / "index.rst").read_text(), re.MULTILINE)
    both = (row.forward, row.backward)
    functions = {f"{module}.{name}" for module in ("functional", "reference") for name in both}
    assert {kind(row), *functions} <= set(listed)
    assert f".. autoclass:: {kind(row)}\n" in (api / "layers.rst").read_text()


def test_the_list_of_places_is_short() -> None:
    text = (DOCS / "developing.md").read_text()
    section = text.partition("## To add a cell")[2].partition("\n## ")[0]
    files = re.findall(r"^\| `([\w./]+)` \|", section, re.MULTILINE)
    assert 0 < len(files) <= 12
    for name in files:
        if name.startswith("python/bptt/"):
            assert (PACKAGE / name.removeprefix("python/bptt/")).is_file()


# ---- what a row tells


@each_row
def test_activations(row):
    known = {"sigmoid", "tanh", *row.options}
    assert set(row.activations.values()) <= known
    assert row.gates == "".join(row.activations)


@pytest.mark.parametrize(
    ("name", "letters", "among", "expected"),
    [
        ("lstm", "iofc", None, [0, 3, 1, 2]),  # ONNX
        ("lstm", "ifco", None, [0, 1, 2, 3]),  # Keras
        ("lstm", "ifgo", "iofc", [0, 2, 3, 1]),
        ("lstm", "iofc", "ifco", [0, 3, 1, 2]),
        ("gru", "zrh", None, [1, 0, 2]),  # ONNX and Keras
        ("gru", "rzn", "zrh", [1, 0, 2]),
        ("rnn", "i", None, [0]),  # ONNX
    ],
)
def test_orders_of_other_libraries(name, letters, among, expected):
    assert table.CELLS[name].order(letters, among) == expected


def test_an_order_and_its_opposite() -> None:
    row = table.CELLS["lstm"]
    blocks = list("ifgo")
    onnx = [blocks[i] for i in row.order("iofc")]
    assert onnx == list("iofg")
    assert [onnx[i] for i in row.order(row.gates, "iofc")] == blocks


def test_the_compiled_table_is_the_same() -> None:
    expected = {row.name: (len(row.gates), len(row.states)) for row in TABLE}
    assert bptt._core.cells() == expected
