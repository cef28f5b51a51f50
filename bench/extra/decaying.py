"""A state that shrinks to denormals, which cost a CPU a hundred cycles each if they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from cases import Case
from findings import Finding
from measure import Effort

from extra.pairs import THREADS, pair, prepare, workers

DIRECTIONS = ("forward",)
BOUND = 1.2
CASES = (Case((2000, 1, 64, 64), decaying=True), Case((2000, 16, 64, 64), decaying=True))


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    with workers(THREADS, THREADS) as (decaying, normal):
        for case in CASES:
            prepare(decaying, case, cell, direction)
            prepare(normal, replace(case, decaying=False), cell, direction)
            found = pair(decaying, normal, effort)
            value = found.ratio.median
            goal = "decaying over normal"
            yield Finding(goal, cell, direction, case.name, value, BOUND, True, found.note)
