"""One step at a time on one thread, a new x in and y out each step, against what others offer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import compare
import numpy as np
import text
from cases import Case
from findings import Finding
from inputs import Array
from measure import Effort
from peers import PEERS
from pipe import Pipe
from stats import paired_ratio

DIRECTIONS = ("forward",)
STEPS = 1000  # with an x of their own
FASTER = {  # by hidden units: medians, how many times lower
    "onnxruntime": {32: 6.0, 64: 4.0, 128: 2.5},
    "torch": {32: 30.0, 64: 30.0, 128: 18.0},
}


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    """The LSTM's only; goals are set for no other cell."""
    if cell != "lstm":
        return
    with ExitStack() as stack:
        names = ["bptt", *(name for name in FASTER if PEERS[name].installed())]
        workers = {name: stack.enter_context(Pipe(name, 1)) for name in names}
        truth = stack.enter_context(Pipe("reference", 1))
        for hidden in FASTER["torch"]:
            case = Case((STEPS, 1, hidden, hidden))
            _verify(case, cell, direction, workers, truth)
            medians: dict[str, list[float]] = {name: [] for name in names}
            tails: dict[str, list[float]] = {name: [] for name in names}
            for _ in range(effort.rounds):
                for name, worker in workers.items():
                    laps: Array = worker.ask("laps", effort.discard, effort.timed)
                    medians[name].append(float(np.median(laps)))
                    tails[name].append(float(np.quantile(laps, 0.99)) / medians[name][-1])
            yield from _compare(case, cell, direction, medians, tails)


def _verify(case: Case, cell: str, direction: str, workers: dict[str, Pipe], truth: Pipe) -> None:
    wanted = truth.ask("prepare", case, cell, direction, "float64")["y"]
    truth.ask("forget")
    for name, worker in workers.items():
        found = worker.ask("stream", case, cell)
        compare.require(name, f"{case.name}, step by step", found, {"y": wanted})


def _compare(
    case: Case,
    cell: str,
    direction: str,
    medians: dict[str, list[float]],
    tails: dict[str, list[float]],
) -> Iterator[Finding]:
    shown = {name: text.seconds(float(np.median(rounds))) for name, rounds in medians.items()}
    for peer, bounds in FASTER.items():
        if peer in medians:
            value = paired_ratio(medians[peer], medians["bptt"]).median
            note = f"{shown['bptt']}, {peer} {shown[peer]}"
            goal, bound = f"stream, times {peer}", bounds[case.shape[3]]
            yield Finding(goal, cell, direction, case.name, value, bound, note=note)
    if "onnxruntime" in tails:
        ours, theirs = (float(np.median(tails[name])) for name in ("bptt", "onnxruntime"))
        goal, note = "stream, 99th percentile over median", f"onnxruntime {theirs:.3g}"
        yield Finding(goal, cell, direction, case.name, ours, theirs, most=True, note=note)
