"""bench/cases.py: the grid is the one that all figures are of."""

from __future__ import annotations

from importlib import import_module

import pytest

from bptt.recurrent.cells import CELLS

LATENCY = """1,1,32,32 1,1,128,128 100,1,32,32 100,1,64,64 100,1,128,128 100,1,256,256 100,1,512,512
    50,1,1024,1024 1000,1,40,128 2000,1,1,16"""
SMALL = """100,8,64,64 100,8,128,128 64,16,32,96 64,32,32,64 100,32,64,64 100,32,128,128
    5,500,510,32"""
LARGE = """100,32,256,256 50,64,512,512 25,64,1024,1024 100,128,128,128 1000,16,128,128
    365,256,30,64 784,64,1,128 25,16,512,512 25,32,1024,1024 150,16,256,256 50,16,1760,1760"""


def test_grid_is_frozen(cases):
    wanted = {"latency": LATENCY.split(), "small": SMALL.split(), "large": LARGE.split()}
    assert tuple(wanted) == cases.MEANS
    assert {group: [c.name for c in cases.GRID[group]] for group in wanted} == wanted
    plain = [case for group in wanted for case in cases.GRID[group]]
    assert all(case == cases.Case(case.shape) for case in plain)
    assert cases.GRID["layers"] == (
        cases.Case((500, 8, 256, 256), num_layers=2, cells=("lstm",)),
        cases.Case((100, 32, 128, 256), num_layers=2, bidirectional=True, cells=("lstm",)),
        cases.Case((200, 32, 128, 128), ragged=True),
        cases.Case((1000, 16, 128, 128), ragged=True),
    )
    names = [case.name for group in cases.GRID.values() for case in group]
    assert len(names) == len(set(names)) == 32


def test_lengths(cases):
    case = cases.GRID["layers"][-1]
    lengths = case.lengths()
    assert lengths.shape == (16,)
    assert lengths.min() >= 100
    assert lengths.max() <= 1000
    assert (lengths == case.lengths()).all()
    assert cases.GRID["small"][0].lengths() is None


def test_parts_that_means_are_taken_of(cases):
    names = {part: {case.name for case in found} for part, found in cases.PARTS.items()}
    assert names["all"] == names["latency"] | names["small"] | names["large"]
    assert names["all"] - names["N > 1"] == set(LATENCY.split())


def test_gates_are_those_of_the_table_of_cells(cases):
    """Benchmarks write them again, since a worker imports no library but its own."""
    assert {name: cell.gates for name, cell in CELLS.items()} == cases.GATES
    assert tuple(CELLS) == cases.CELLS


def test_onnx_has_gates_in_its_own_order():
    pytest.importorskip("onnx", reason="writes models for onnx, which is not installed")
    order = import_module("peers.onnx").ORDER
    letters = {"rnn": "i", "lstm": "iofc", "gru": "zrh"}  # in ONNX's letters, of its operators
    for name, cell in CELLS.items():
        assert cell.order(letters[name]) == cell.order(order[name])
