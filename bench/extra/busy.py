"""Calls while another program keeps one core busy: long ones against quiet, others against PyTorch.

The other program spins on one core, and is stopped while the quiet turns are timed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import text
from cases import PARTS
from findings import Finding
from measure import Effort
from pipe import Pipe
from stats import paired_ratio

from extra.pairs import libraries, prepare

DIRECTIONS = ("forward+backward",)
LONG = 0.05  # seconds in quiet, from which on a call is held against itself
BOUND, BOUND_OF_SHORT = 3.0, 1.0
SPIN = """import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
while True: pass"""


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    with libraries("bptt", "torch") as (ours, theirs), _neighbour() as neighbour:
        for case in PARTS["all"]:
            for worker in (ours, theirs):
                prepare(worker, case, cell, direction)
            quiet, busy, other = _turns(ours, theirs, neighbour, effort)
            note = f"{text.seconds(median(busy))}, quiet {text.seconds(median(quiet))}"
            if median(quiet) >= LONG:
                value, goal = paired_ratio(busy, quiet).median, "busy over quiet"
                yield Finding(goal, cell, direction, case.name, value, BOUND, True, note)
            else:
                ratio, goal = paired_ratio(other, busy), "busy, times PyTorch"
                note += (
                    f", PyTorch {text.seconds(median(other))} [{ratio.low:.3f}, {ratio.high:.3f}]"
                )
                bound = BOUND_OF_SHORT
                yield Finding(goal, cell, direction, case.name, ratio.median, bound, note=note)


def _turns(
    ours: Pipe, theirs: Pipe, neighbour: subprocess.Popen[bytes], effort: Effort
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of a call by rounds: ours in quiet, ours beside the neighbour, theirs beside it."""
    quiet: list[float] = []
    busy: tuple[list[float], list[float]] = ([], [])
    order = [(ours, busy[0]), (theirs, busy[1])]
    for _ in range(effort.rounds):
        quiet.append(ours.ask("time", effort.discard, effort.timed))
        neighbour.send_signal(signal.SIGCONT)
        for worker, found in order:
            found.append(worker.ask("time", effort.discard, effort.timed))
        neighbour.send_signal(signal.SIGSTOP)
        order.reverse()
    return quiet, *busy


@contextmanager
def _neighbour() -> Iterator[subprocess.Popen[bytes]]:
    """A stopped process that keeps a core busy when it goes on."""
    core = max(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", SPIN, str(core)]) as process:
        try:
            process.send_signal(signal.SIGSTOP)
            yield process
        finally:
            process.kill()
