"""A call after 100 ms of idleness, as a service makes it: two threads against one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import text
from cases import Case
from findings import Finding
from measure import Effort

from extra.pairs import THREADS, prepare, workers

DIRECTIONS = ("forward",)
IDLE = 0.1
BOUND = 1.2
CASES = (Case((100, 1, 128, 128)), Case((1, 1, 64, 64)))
CALLS = 4  # a round: a percentile needs more calls than a median of turns needs rounds


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    with workers(1, THREADS) as (one, two):
        for case in CASES:
            seconds: tuple[list[float], list[float]] = ([], [])
            for worker in (one, two):
                prepare(worker, case, cell, direction)
            for turn in range(CALLS * effort.rounds):
                order = [(one, seconds[0]), (two, seconds[1])]
                for worker, found in order if turn % 2 else reversed(order):
                    found.append(worker.ask("cold", IDLE))
            for name, level in (("median", 0.5), ("90th percentile", 0.9)):
                alone, together = (float(np.quantile(found, level)) for found in seconds)
                yield Finding(
                    f"cold call, {name}",
                    cell,
                    direction,
                    case.name,
                    together / alone,
                    BOUND,
                    most=True,
                    note=f"{text.seconds(together)} on {THREADS}, {text.seconds(alone)} on one",
                )
