"""bench/extras.py and bench/extra: what the grid does not hold, with libraries that are made up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest


def test_every_extra_names_its_directions(cases):
    for module in import_module("extras").EXTRAS.values():
        assert module.DIRECTIONS
        assert set(module.DIRECTIONS) <= set(cases.DIRECTIONS)


def test_accuracy_is_held_against_the_worst_array_and_the_means_of_each(monkeypatch, cases):
    accuracy, exact = import_module("extra.accuracy"), np.ones(100)

    class Library:
        def __init__(self, error: dict[str, float]) -> None:
            self.error = error

        def ask(self, *request: Any) -> dict[str, np.ndarray]:
            return {name: exact + error for name, error in self.error.items()}

    @contextmanager
    def libraries(*names: str) -> Iterator[list[Library]]:
        truth = dict.fromkeys(("y", "dx", "dh_0"), 0.0)
        ours, theirs = {"y": 9.0, "dx": 0.3, "dh_0": 0.1}, {"y": 1.0, "dx": 0.1, "dh_0": 0.2}
        errors = {"reference": truth, "bptt": ours, "torch": theirs}
        yield [Library(errors[name]) for name in names]

    monkeypatch.setattr(accuracy, "libraries", libraries)
    found = list(accuracy.measure("gru", "forward+backward", None))
    points = [f for f in found if f.goal == "error over PyTorch's"]
    assert len(points) == 3 * len(cases.PARTS["all"])
    assert {round(f.value, 6) for f in points} == {3.0}
    assert all(f.note.startswith("dx: ") and not f.reached for f in points)
    means = {f.at: f for f in found if f not in points}
    assert means["grid, dx"].value == pytest.approx(3.0)
    assert means["grid, dh_0"].value == pytest.approx(0.5)
    assert "grid, y" not in means


def test_memory_is_held_against_the_least_that_pytorch_takes(monkeypatch, cases):
    memory = import_module("extra.memory")
    taken = {"": 3e7, "oneDNN": 5e7, "oneDNN off": 4e7}
    monkeypatch.setattr(memory, "_peak", lambda name, way, case, cell: taken[way])
    found = {f.at: f for f in memory.measure("lstm", "forward+backward", None)}
    assert found.keys() == {
        case.name for case in cases.PARTS["all"] if np.prod(case.shape) / case.shape[2] >= 1e6
    }
    assert found["784,64,1,128"].value == pytest.approx(0.75)
    assert "30.0 MB, 4.7 bytes an element" in found["784,64,1,128"].note


def test_the_neighbour_works_in_busy_turns_only():
    busy = import_module("extra.busy")
    effort = import_module("measure").QUICK._replace(rounds=3)
    with busy._neighbour() as neighbour:

        class Library:
            def ask(self, *request: Any) -> bool:
                sleep(0.02)  # a signal takes its time
                stat = Path(f"/proc/{neighbour.pid}/stat").read_text()
                return stat.rpartition(")")[2].split()[0] != "T"

        quiet, ours, theirs = busy._turns(Library(), Library(), neighbour, effort)
    assert quiet == [False] * 3
    assert ours == theirs == [True] * 3
    assert neighbour.poll() is not None
