"""bench/ is a folder of scripts: its modules are found by their plain names, here only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module", autouse=True)
def _bench_on_path() -> Iterator[None]:
    tops = {path.stem for path in BENCH.iterdir()}

    def ours() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in tops]

    hidden = {name: sys.modules.pop(name) for name in ours()}
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))
    for name in ours():
        sys.modules.pop(name)
    sys.modules.update(hidden)


@pytest.fixture
def cases() -> ModuleType:
    return import_module("cases")
