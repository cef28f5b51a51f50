"""One point: do the libraries agree, and how long do they take in turns."""

from __future__ import annotations

import os
from statistics import median
from time import perf_counter
from typing import NamedTuple

import compare
import limit
import machine
import probe
from cases import Case
from peers import PEERS
from pipe import Pipe
from stats import paired_ratio
from store import Record

DRIFT = 0.05  # of the FMA peak, between the probes before and after a point
OTHERS = 0.05  # of the cores' time, taken by other processes or another virtual machine
ATTEMPTS = 3


class Effort(NamedTuple):
    """How long to measure: rounds, and seconds a turn and a probe."""

    rounds: int
    discard: float
    timed: float
    probe: float


FULL = Effort(rounds=15, discard=0.020, timed=0.050, probe=0.8)
QUICK = Effort(rounds=5, discard=0.005, timed=0.010, probe=0.2)


class Point(NamedTuple):
    """What is measured."""

    cell: str
    group: str
    case: Case
    direction: str


def verify(point: Point, workers: dict[str, Pipe], truth: Pipe) -> dict[str, float]:
    """The largest error of each library's arrays, against the truth in float64.

    Afterwards every worker is prepared to time the point.
    """
    arguments = (point.case, point.cell, point.direction)
    wanted = truth.ask("prepare", *arguments, "float64")
    truth.ask("forget")
    return {
        name: max(compare.errors(worker.ask("prepare", *arguments, "float32"), wanted).values())
        for name, worker in workers.items()
    }


class Watch:
    """How much of the cores' time goes to processes that are not ours, from now on."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = [os.getpid(), *pids]
        self._start = self._now()

    def _now(self) -> tuple[float, float, float]:
        ours = sum(machine.process_seconds(pid) for pid in self._pids)
        return perf_counter(), machine.busy_seconds(), ours

    def others(self) -> float:
        """Their share of the cores' time, 0 to 1."""
        wall, busy, ours = (a - b for a, b in zip(self._now(), self._start, strict=True))
        return max(0.0, busy - ours) / (wall * machine.cores())


def timed(workers: dict[str, Pipe], effort: Effort) -> dict[str, list[float]]:
    """Seconds of a call for each library and round; the order turns around every round.

    A library that is very slow is timed in some of the rounds only, as its adapter says.
    """
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    order = list(workers)
    for turn in range(effort.rounds):
        for name in order:
            if turn % PEERS[workers[name].library].every:
                continue
            seconds[name].append(workers[name].ask("time", effort.discard, effort.timed))
        order.reverse()
    return seconds


def measure(
    point: Point, workers: dict[str, Pipe], isa: str, threads: int, effort: Effort
) -> Record:
    """Timings between two probes, again while disturbed; the least disturbed attempt is kept.

    Disturbed: the probes differ, or others used the cores. The latter matters as much, because a
    library whose threads spin at a barrier loses far more than its share to a neighbour.
    """
    attempts = []
    for _ in range(ATTEMPTS):
        watch = Watch([worker.pid for worker in workers.values()])
        before = probe.measure(isa, threads, effort.probe)
        seconds = timed(workers, effort)
        after = probe.measure(isa, threads, effort.probe)
        others = watch.others()
        rates = before.best(after)
        drift = abs(before.fma - after.fma) / rates.fma
        attempts.append((max(drift / DRIFT, others / OTHERS), drift, others, seconds, rates))
        if drift <= DRIFT and others <= OTHERS:
            break
    disturbed, drift, others, seconds, rates = min(attempts, key=lambda attempt: attempt[0])
    arguments = (point.case, point.cell, point.direction)
    bound = limit.limit(*arguments, rates, machine.caches(), threads)
    return {
        "seconds": seconds,
        "ratios": {
            peer: paired_ratio(seconds[peer], seconds["bptt"][:: PEERS[peer].every])._asdict()
            for peer in seconds
            if peer != "bptt"
        },
        "flops": limit.flops(*arguments),
        "limit": bound,
        "share": bound / median(seconds["bptt"]),
        "rates": rates._asdict(),
        "drift": drift,
        "others": others,
        "unsteady": disturbed > 1,
    }
