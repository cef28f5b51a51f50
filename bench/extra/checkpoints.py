"""Long sequences with checkpoints against keeping everything: memory and time of a step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from time import perf_counter

import inputs
import numpy as np
import resident
import text
from cases import Case
from findings import Finding
from measure import Effort
from pipe import environment

from bptt import functional

DIRECTIONS = ("forward+backward",)
CASE = Case((10_000, 4, 64, 64))
EVERY = (400, 100, 32)  # about the square root of T is best
BOUND_OF_MEMORY, BOUND_OF_TIME = 0.15, 1.6


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    """Each k in a process of its own, on one thread."""
    whole, seconds = _ask(cell, 0, effort.rounds)
    for k in EVERY:
        some, longer = _ask(cell, k, effort.rounds)
        at = f"{CASE.name} k={k}"
        note = f"{some / 2**20:.1f} MiB, {whole / 2**20:.1f} without"
        yield Finding(
            "checkpoints, memory", cell, direction, at, some / whole, BOUND_OF_MEMORY, True, note
        )
        note = f"{text.seconds(longer)}, {text.seconds(seconds)} without"
        yield Finding(
            "checkpoints, time", cell, direction, at, longer / seconds, BOUND_OF_TIME, True, note
        )


def _ask(cell: str, k: int, rounds: int) -> tuple[int, float]:
    program = f"from extra import checkpoints; checkpoints.report({cell!r}, {k}, {rounds})"
    env = environment(1, {"PYTHONPATH": ":".join(sys.path)})
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, check=True, stdout=subprocess.PIPE, text=True
    )
    peak, seconds = done.stdout.split()
    return int(peak), float(seconds)


def report(cell: str, k: int, rounds: int) -> None:
    """Print the bytes that a step takes beside its x and y at most, and its seconds."""
    made = inputs.make(CASE, cell)
    forward, backward = (getattr(functional, f"{cell}_{way}") for way in ("forward", "backward"))
    y = np.ones((*CASE.shape[:2], CASE.shape[3]), made.x.dtype)
    wrt = ("w_ih", "w_hh", "b_ih", "b_hh")

    def step(steps: int) -> None:
        cache = forward(
            *(made.x[:steps], *made.params.values()),
            training=True,
            checkpoint_every=k or None,
            out=y[:steps],
        ).cache
        backward(cache, made.dy[:steps], wrt=wrt)

    step(1)
    _, peak = resident.peak(lambda: step(len(y)))
    seconds = []
    for _ in range(rounds):
        start = perf_counter()
        step(len(y))
        seconds.append(perf_counter() - start)
    print(peak, median(seconds))
