"""bench/accuracy.py: it sees an error where there is one, and goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import bptt
from bptt import _core


@pytest.fixture
def ulp() -> Iterator[ModuleType]:
    before = _core.isa()
    yield import_module("ulp")
    _core.set_isa(before)
    bptt.set_flush_denormal(True)


@pytest.fixture
def accuracy() -> ModuleType:
    return import_module("accuracy")


def test_inputs_are_all_of_float32(ulp: ModuleType) -> None:
    form = ulp.FORMATS["float32"]
    assert form.blocks * form.block == 2**32
    for block in (0, 1, form.blocks - 1):
        bits = ulp.inputs("float32", block).view(np.uint32)
        assert (bits[0], bits[-1]) == (block * form.block, (block + 1) * form.block - 1)
        assert (np.diff(bits) == 1).all()


@pytest.mark.parametrize(
    ("x", "y", "error"),
    [
        (1.0, np.float32(np.exp(1.0)) + np.float32(4 * 2**-22), 4),
        (-100.0, np.float32(3.5 * 2**-126), 3.5),
        (float("nan"), np.float32(1), np.inf),
        (1.0, np.float32("nan"), np.inf),
        (89.0, np.float32(np.finfo("f").max), 1),
    ],
)
def test_errors_are_seen(
    ulp: ModuleType, monkeypatch: pytest.MonkeyPatch, x: float, y: Any, error: float
) -> None:
    """Of one input, in the last lane of the last chunk."""
    right = _core.math_exp
    arguments = np.full(ulp.CHUNK + 5, -2, "f")
    arguments[-1] = x

    def wrong(given: Any) -> Any:
        found = right(given)
        found[(given == x) | np.isnan(given)] = y
        return found

    monkeypatch.setattr(ulp, "inputs", lambda dtype, block: arguments)
    monkeypatch.setattr(_core, "math_exp", wrong)
    found = ulp.measure(("float32", 0))
    for isa in _core.isas():
        worst = found[f"float32 exp {isa}"]
        where = 2 if x == -100 else 0
        assert worst[where] == pytest.approx(error, abs=0.51)
        assert worst[where + 1] == pytest.approx(x, nan_ok=True)
        assert found[f"float32 tanh {isa}"].ulp < 4


def test_it_goes_on_where_it_was(
    accuracy: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(accuracy, "TASKS", [("float64", block) for block in range(3)])
    monkeypatch.setattr(accuracy, "SAVE_SECONDS", 0)
    whole = accuracy.run(tmp_path / "whole.json", 1, np.inf)
    parts = tmp_path / "parts.json"
    assert accuracy.run(parts, 1, 0)["done"] == 1
    assert json.loads(parts.read_text())["done"] == 1
    assert accuracy.run(parts, 1, np.inf)["done"] == 3
    assert json.loads(parts.read_text()) == json.loads((tmp_path / "whole.json").read_text())
    assert accuracy.exceeded(whole) == []
    assert "tanh" in accuracy.errors_table("float64", whole)


def test_results_of_another_build_are_not_mixed(accuracy: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "accuracy.json"
    known = {**accuracy.load(path), "done": 1}
    accuracy.save(path, known)
    assert accuracy.load(path) == known
    accuracy.save(path, {**known, "build": "another"})
    assert accuracy.load(path) == {**known, "done": 0}


def test_a_bound_that_does_not_hold_is_told(accuracy: ModuleType) -> None:
    worst = {"float32 exp avx2": (1.0074, 26.69, 1.0, -88.0), "float32 tanh avx2": (3.9, 1, 1, 1)}
    assert accuracy.exceeded({"worst": worst}) == ["float32 exp avx2"]
    worst = {"float32 exp avx2": (float("nan"), 1.0, 0.0, 0.0)}
    assert accuracy.exceeded({"worst": worst}) == ["float32 exp avx2"]
