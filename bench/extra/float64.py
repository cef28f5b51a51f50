"""The speed of float64 in shares of float32's."""

from __future__ import annotations

from collections.abc import Iterator

from cases import DIRECTIONS, PARTS
from findings import Finding
from goals import is_big
from measure import Effort

from extra.pairs import THREADS, pair, prepare, workers

__all__ = ["DIRECTIONS", "measure"]

BOUND, BOUND_ELSEWHERE = 0.45, 0.35


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    with workers(THREADS, THREADS) as (single, double):
        for case in PARTS["all"]:
            prepare(single, case, cell, direction)
            prepare(double, case, cell, direction, "float64")
            found = pair(single, double, effort)
            bound = BOUND if is_big(case.name) else BOUND_ELSEWHERE
            value = found.ratio.median
            goal = "float64 over float32"
            yield Finding(goal, cell, direction, case.name, value, bound, note=found.note)
