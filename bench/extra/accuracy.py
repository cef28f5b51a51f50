"""Speed that is not paid for with accuracy: errors of y over PyTorch's, against the reference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import compare
from findings import Finding
from measure import Effort
from pipe import Pipe
from stats import geometric_mean

from extra.pairs import GRID_CASES, THREADS

SEEDS = (0, 1, 2)
BOUND, BOUND_OF_MEAN = 2.0, 1.25


def measure(cell: str, effort: Effort) -> Iterator[Finding]:
    """Nothing is timed, so the effort does not matter."""
    ratios = []
    with ExitStack() as stack:
        truth, ours, theirs = (
            stack.enter_context(Pipe(name, THREADS)) for name in ("reference", "bptt", "torch")
        )
        for case in GRID_CASES:
            for seed in SEEDS:
                request = (case, cell, "forward")
                exact = truth.ask("prepare", *request, "float64", seed)
                error, other = (
                    compare.errors(worker.ask("prepare", *request, "float32", seed), exact)["y"]
                    for worker in (ours, theirs)
                )
                ratios.append(error / other)
                at, note = f"{case.name} seed {seed}", f"{error:.2e}, PyTorch {other:.2e}"
                yield Finding("error over PyTorch's", cell, at, ratios[-1], BOUND, True, note)
    value = geometric_mean(ratios)
    yield Finding("error over PyTorch's, mean", cell, "grid", value, BOUND_OF_MEAN, most=True)
