"""Two threads over one, against what the machine itself gains from its second core."""

from __future__ import annotations

from collections.abc import Iterator

import machine
import probe
from cases import PARTS
from findings import Finding
from measure import Effort

from extra.pairs import THREADS, pair, prepare, workers

BOUNDS = {"forward": 0.9, "forward+backward": 0.85}
DIRECTIONS = tuple(BOUNDS)
BATCH, SECONDS = 8, 1e-3  # asked for from this batch and this time on one thread on


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    isa = machine.isas()[0]
    with workers(1, THREADS) as (one, two):
        for case in PARTS["all"]:
            if case.shape[1] < BATCH:
                continue
            for worker in (one, two):
                prepare(worker, case, cell, direction)
            peaks = [probe.measure(isa, count, effort.probe).fma for count in (1, THREADS)]
            found = pair(one, two, effort)
            if found.first < SECONDS:
                continue
            scaling = peaks[1] / peaks[0]
            value = found.ratio.median / scaling
            note = f"{found.note}, {found.ratio.median:.2f} of the probe's {scaling:.2f}"
            goal, bound = "two threads over one", BOUNDS[direction]
            yield Finding(goal, cell, direction, case.name, value, bound, note=note)
