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


def require(library: str) -> None:
    """Skip the test where the library is not there."""
    peer = import_module("peers").PEERS[library]
    if not peer.installed():
        pytest.skip(f"needs {' and '.join(peer.needs)}")


@pytest.mark.parametrize("library", ["torch", "onnxruntime", "openvino", "jax"])
def test_peers_agree(cases, library):
    """For every cell and direction that the library has."""
    compare, pipe = import_module("compare"), import_module("pipe")
    require(library)
    directions = import_module("peers").PEERS[library].directions
    with pipe.Pipe(library, 1) as theirs, pipe.Pipe("reference", 1) as truth:
        for cell, direction in product(cases.CELLS, directions):
            arguments = ("prepare", cases.Case((9, 3, 4, 5)), cell, direction)
            wanted = truth.ask(*arguments, "float64")
            errors = compare.errors(theirs.ask(*arguments, "float32"), wanted)
            assert max(errors.values()) < compare.TOLERANCE


@pytest.mark.parametrize("library", ["torch", "onnxruntime"])
def test_streams_of_peers_agree(cases, library):
    """Step by step they compute what the reference does in one call."""
    compare, pipe = import_module("compare"), import_module("pipe")
    require(library)
    case = cases.Case((9, 1, 4, 5))
    with pipe.Pipe(library, 1) as theirs, pipe.Pipe("reference", 1) as truth:
        wanted = truth.ask("prepare", case, "lstm", "forward", "float64")
        errors = compare.errors(theirs.ask("stream", case, "lstm"), {"y": wanted["y"]})
        assert errors["y"] < compare.TOLERANCE
        assert (theirs.ask("laps", 0.0, 0.001) > 0).all()


@pytest.mark.parametrize("library", ["bptt", "torch"])
def test_training_loops_agree(cases, library):
    """Loss and parameters after a pass over the batches, clipped and stepped by Adam."""
    compare, pipe = import_module("compare"), import_module("pipe")
    require(library)
    case = cases.Case((9, 3, 4, 5))
    with pipe.Pipe(library, 1) as theirs, pipe.Pipe("reference", 1) as truth:
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
