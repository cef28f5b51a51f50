"""bench/measure.py: turns."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def test_a_slow_peer_is_timed_in_some_rounds(cases):
    measure = import_module("measure")

    class Worker:
        def __init__(self, library: str) -> None:
            self.library = library

        def ask(self, *request: Any) -> float:
            return 1.0

    effort = measure.QUICK._replace(rounds=7)
    seconds = measure.timed({name: Worker(name) for name in ("bptt", "reference")}, effort)
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"bptt": 7, "reference": 2}
