"""Sequences of different lengths against the padded call on the same arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import limit
from cases import GRID
from findings import Finding
from measure import Effort

from extra.pairs import THREADS, pair, prepare, workers

BOUND = 0.65


def measure(cell: str, effort: Effort) -> Iterator[Finding]:
    with workers(THREADS, THREADS) as (ragged, padded):
        for case in GRID["layers"]:
            if not case.ragged:
                continue
            full = replace(case, ragged=False)
            prepare(ragged, case, cell)
            prepare(padded, full, cell)
            found = pair(ragged, padded, effort)
            note = f"{found.note}, {limit.rows(case) / limit.rows(full):.2f} of the steps"
            value = found.ratio.median
            yield Finding("lengths over padded", cell, case.name, value, BOUND, True, note)
