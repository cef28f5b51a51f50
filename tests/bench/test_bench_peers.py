"""bench/peers: each library computes what the reference does."""

from __future__ import annotations

from importlib import import_module
from itertools import product

import pytest


def test_peers_take_what_they_can(cases):
    peers = import_module("peers").PEERS
    plain, ragged = cases.GRID["small"][0], cases.GRID["layers"][-1]
    for name, peer in peers.items():
        full = name in ("bptt", "torch", "reference")
        assert peer.takes(plain, "forward")
        assert peer.takes(plain, "forward+backward") == (full or name == "jax")
        assert peer.takes(ragged, "forward") == full
    assert peers["bptt"].installed()


@pytest.fixture
def compare():
    return import_module("compare")


@pytest.fixture
def pair(library):
    """A library and the reference, each in its process; the test is skipped without the library."""
    peer = import_module("peers").PEERS[library]
    if not peer.installed():
        pytest.skip(f"needs {' and '.join(peer.needs)}")
    pipe = import_module("pipe")
    with pipe.Pipe(library, 1) as theirs, pipe.Pipe("reference", 1) as truth:
        yield theirs, truth


@pytest.mark.parametrize("library", ["torch", "onnxruntime", "openvino", "jax"])
def test_peers_agree(cases, compare, library, pair):
    """For every cell and direction that the library has."""
    theirs, truth = pair
    directions = import_module("peers").PEERS[library].directions
    for cell, direction in product(cases.CELLS, directions):
        arguments = ("prepare", cases.Case((9, 3, 4, 5)), cell, direction)
        wanted = truth.ask(*arguments, "float64")
        errors = compare.errors(theirs.ask(*arguments, "float32"), wanted)
        assert max(errors.values()) < compare.TOLERANCE


@pytest.mark.parametrize("library", ["torch", "onnxruntime"])
def test_streams_of_peers_agree(cases, compare, pair):
    """Step by step they compute what the reference does in one call."""
    theirs, truth = pair
    case = cases.Case((9, 1, 4, 5))
    wanted = truth.ask("prepare", case, "lstm", "forward", "float64")
    errors = compare.errors(theirs.ask("stream", case, "lstm"), {"y": wanted["y"]})
    assert errors["y"] < compare.TOLERANCE
    assert (theirs.ask("laps", 0.0, 0.001) > 0).all()


@pytest.mark.parametrize("library", ["bptt", "torch"])
def test_training_loops_agree(cases, compare, pair):
    """Loss and parameters after a pass over the batches, clipped and stepped by Adam."""
    theirs, truth = pair
    case = cases.Case((9, 3, 4, 5))
    wanted = truth.ask("training", case, "gru", "float64")
    errors = compare.errors(theirs.ask("training", case, "gru", "float32"), wanted)
    assert max(errors.values()) < compare.TOLERANCE
    assert theirs.ask("time", 0.0, 0.001) > 0


def test_ways(cases):
    """Dense LSTMs have two in PyTorch; a library without ways takes none."""
    peers = import_module("peers").PEERS
    plain, ragged = cases.GRID["small"][0], cases.GRID["layers"][-1]
    assert len(peers["torch"].ways(plain, "lstm")) == 2
    assert peers["torch"].ways(ragged, "lstm") == peers["torch"].ways(plain, "gru") == ("",)
    with pytest.raises(AssertionError, match="bptt has no ways"):
        peers["bptt"](1).take("oneDNN")
