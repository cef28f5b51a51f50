"""What a whole call costs where there is nothing to compute, in units of NumPy's own smallest."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

import inputs
import numpy as np
import text
from cases import Case
from findings import Finding
from measure import Effort
from peers.base import LAYERS
from peers.bptt import Bptt
from stats import paired_ratio
from worker import BATCH, spin

import bptt

DIRECTIONS = ("forward",)
CASE = Case((1, 1, 8, 8))
BOUNDS = {"functional": 8.0, "layer": 16.0}


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    """In this process: no library but NumPy takes part."""
    made = inputs.make(CASE, cell)
    layer = getattr(bptt, LAYERS[cell])(*CASE.shape[2:])
    layer.load_state_dict(made.params)
    state = made.h_0 if made.c_0 is None else (made.h_0, made.c_0)
    a, b = np.ones(8, np.float32), np.ones(8, np.float32)
    runs = {
        "np.add": lambda: np.add(a, b),
        "functional": Bptt(1).forward(CASE, cell, made).run,
        "layer": lambda: layer(made.x, state),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(effort.rounds):
        for name, run in runs.items():
            calls, elapsed = spin(run, effort.discard, 1)
            calls, elapsed = spin(run, effort.timed, max(1, int(BATCH * calls / elapsed)))
            seconds[name].append(elapsed / calls)
    for name, bound in BOUNDS.items():
        value = paired_ratio(seconds[name], seconds["np.add"]).median
        note = f"{text.seconds(median(seconds[name]))}, np.add "
        note += text.seconds(median(seconds["np.add"]))
        goal = f"whole call, {name}"
        yield Finding(goal, cell, direction, CASE.name, value, bound, most=True, note=note)
