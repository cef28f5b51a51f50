"""bench/worker.py: the requests."""

from __future__ import annotations

from importlib import import_module

import pytest


def test_workers_agree(cases):
    """Both adapters of bptt name and shape everything alike; a failed request says why."""
    compare, pipe = import_module("compare"), import_module("pipe")
    layers = {"num_layers": 2, "bidirectional": True}
    with pipe.Pipe("bptt", 1) as ours, pipe.Pipe("reference", 1) as truth:
        for cell in cases.CELLS:
            for extra in ({}, layers, {"ragged": True}):
                for direction in cases.DIRECTIONS:
                    arguments = ("prepare", cases.Case((12, 3, 4, 5), **extra), cell, direction)
                    wanted = truth.ask(*arguments, "float64")
                    errors = compare.errors(ours.ask(*arguments, "float32"), wanted)
                    assert max(errors.values()) < compare.TOLERANCE
                    assert (direction == "forward") == ("dx" not in errors)
        assert ours.ask("time", 0.0, 0.001) > 0
        ours.ask("forget")
        with pytest.raises(pipe.WorkerError, match="time before prepare"):
            ours.ask("time", 0.0, 0.001)


def test_laps():
    """Every step in turn, again until the time is over, and one time for each."""
    worker, calls = import_module("worker"), []
    found = worker.laps([lambda: calls.append(0), lambda: calls.append(1)], 0.001)
    assert len(found) == len(calls) >= 2
    assert calls[:4] == [0, 1] * (len(calls[:4]) // 2)
    assert min(found) >= 0


@pytest.mark.parametrize("library", ["bptt", "reference"])
def test_peak_of_a_call(cases, library):
    """At least the gates that backward reads are kept; T times as many for T times the steps."""
    pipe = import_module("pipe")
    found = []
    for steps in (100, 300):
        case = cases.Case((steps, 64, 8, 128))
        with pipe.Pipe(library, 1) as worker:
            found.append(worker.ask("peak", case, "lstm", ""))
    gates = 4 * 4 * 100 * 64 * 128
    assert gates < found[0] < 12 * gates
    assert 2.5 < found[1] / found[0] < 3.5
