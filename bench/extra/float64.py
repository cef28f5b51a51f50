"""The speed of float64 in shares of float32's."""

from __future__ import annotations

from collections.abc import Iterator

from findings import Finding
from goals import is_big
from measure import Effort

from extra.pairs import GRID_CASES, THREADS, pair, prepare, workers

BOUND, BOUND_ELSEWHERE = 0.45, 0.35


def measure(cell: str, effort: Effort) -> Iterator[Finding]:
    with workers(THREADS, THREADS) as (single, double):
        for case in GRID_CASES:
            prepare(single, case, cell)
            prepare(double, case, cell, "float64")
            found = pair(single, double, effort)
            bound = BOUND if is_big(case.name) else BOUND_ELSEWHERE
            value = found.ratio.median
            yield Finding("float64 over float32", cell, case.name, value, bound, note=found.note)
