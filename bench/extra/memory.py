"""What training takes in memory beyond what it returns: the peak of a call against PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator

from cases import PARTS, Case
from findings import Finding
from measure import Effort
from peers import PEERS
from pipe import Pipe

from extra.pairs import THREADS

DIRECTIONS = ("forward+backward",)
BOUND = 0.8
ELEMENTS = 10**6  # of (T,N,H), from which on it is asked for


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    """Nothing is timed; of PyTorch's ways the one that takes the least counts."""
    for case in PARTS["all"]:
        steps, batch, _, hidden = case.shape
        elements = steps * batch * hidden
        if elements < ELEMENTS:
            continue
        found = {
            (name, way): _peak(name, way, case, cell)
            for name in ("bptt", "torch")
            for way in PEERS[name].ways(case, cell)
        }
        ours = found.pop(("bptt", ""))
        note = f"{ours / 1e6:.1f} MB, {ours / elements:.1f} bytes an element of (T,N,H)"
        for (_, way), taken in found.items():
            note += f"; PyTorch {way}".rstrip() + f" {taken / 1e6:.1f}, {taken / elements:.1f}"
        value = ours / min(found.values())
        goal = "peak memory over PyTorch's"
        yield Finding(goal, cell, direction, case.name, value, BOUND, True, note)


def _peak(name: str, way: str, case: Case, cell: str) -> int:
    """Of a process that has done nothing else."""
    with Pipe(name, THREADS) as worker:
        taken: int = worker.ask("peak", case, cell, way)
        return taken
