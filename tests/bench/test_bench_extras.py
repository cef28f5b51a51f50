"""bench/extras.py and bench/extra: what the grid does not hold, with libraries that are made up."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from time import sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def test_every_extra_names_its_directions(cases):
    for extra in import_module("extras").EXTRAS.values():
        assert extra.directions
        assert set(extra.directions) <= set(cases.DIRECTIONS)


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


@pytest.mark.parametrize(
    ("name", "point", "asked", "value", "note"),
    [
        ("threads", "100,8,64,64", [(1, False, "float32"), (2, False, "float32")], 0.25,
         "0.50 of the probe's 2.00"),
        ("lengths", "200,32,128,128 ragged", [(2, True, "float32"), (2, False, "float32")], 0.5,
         "of the steps"),
        ("decaying", "2000,1,64,64 decaying", [(2, True, "float32"), (2, False, "float32")], 0.5,
         "[0.500, 0.500]"),
        ("float64", "1,1,32,32", [(2, False, "float32"), (2, False, "float64")], 0.5,
         "[0.500, 0.500]"),
    ],
)  # fmt: skip
def test_contrasts(monkeypatch, name, point, asked, value, note):
    """Which two calls are timed in turns, and what is made of them."""
    contrasts, measure = import_module("extra.contrasts"), import_module("measure")
    seen: list[tuple[int, bool, str]] = []

    class Library:
        library = "bptt"

        def __init__(self, threads: int, seconds: float) -> None:
            self.threads, self.seconds = threads, seconds

        def ask(self, method: str, *request: Any) -> float:
            if method == "prepare":
                case, _, _, dtype = request
                seen.append((self.threads, case.ragged or case.decaying, dtype))
            return self.seconds

    @contextmanager
    def workers(*threads: int) -> Iterator[list[Library]]:
        yield [Library(count, s) for count, s in zip(threads, (0.01, 0.02), strict=True)]

    def rates(isa: str, threads: int, seconds: float) -> SimpleNamespace:
        return SimpleNamespace(fma=float(threads))

    monkeypatch.setattr(contrasts, "workers", workers)
    monkeypatch.setattr(contrasts.probe, "measure", rates)
    row = contrasts.CONTRASTS[name]
    found = next(iter(row.measure("gru", "forward", measure.QUICK)))
    assert seen == asked
    assert (found.goal, found.at, found.most) == (row.goal, point, row.most)
    assert found.value == pytest.approx(value)
    assert note in found.note
