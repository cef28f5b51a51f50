"""Sequences of different lengths against the padded call on the same arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import limit
from cases import DIRECTIONS, GRID
from findings import Finding
from measure import Effort

from extra.pairs import THREADS, pair, prepare, workers

__all__ = ["DIRECTIONS", "measure"]

BOUND = 0.65


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    with workers(THREADS, THREADS) as (ragged, padded):
        for case in GRID["layers"]:
            if not case.ragged:
                continue
            full = replace(case, ragged=False)
            prepare(ragged, case, cell, direction)
            prepare(padded, full, cell, direction)
            found = pair(ragged, padded, effort)
            note = f"{found.note}, {limit.rows(case) / limit.rows(full):.2f} of the steps"
            value = found.ratio.median
            goal = "lengths over padded"
            yield Finding(goal, cell, direction, case.name, value, BOUND, True, note)
