"""Speed that is not paid for with accuracy: errors over PyTorch's, against the reference.

Of y for forward; of every gradient for forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterator

import compare
from cases import DIRECTIONS, PARTS
from findings import Finding
from measure import Effort
from stats import geometric_mean

from extra.pairs import libraries

__all__ = ["DIRECTIONS", "measure"]

SEEDS = (0, 1, 2)
BOUND, BOUND_OF_MEAN = 2.0, 1.25


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    """Nothing is timed, so the effort does not matter."""
    ratios: dict[str, list[float]] = {}
    with libraries("reference", "bptt", "torch") as (truth, ours, theirs):
        for case in PARTS["all"]:
            for seed in SEEDS:
                request = (case, cell, direction)
                exact = truth.ask("prepare", *request, "float64", seed)
                errors, others = (
                    compare.errors(worker.ask("prepare", *request, "float32", seed), exact)
                    for worker in (ours, theirs)
                )
                gradients = [name for name in exact if name.startswith("d")]
                found = {name: errors[name] / others[name] for name in gradients or ["y"]}
                for name, value in found.items():
                    ratios.setdefault(name, []).append(value)
                worst = max(found, key=lambda name: found[name])
                goal, at = "error over PyTorch's", f"{case.name} seed {seed}"
                note = f"{worst}: {errors[worst]:.2e}, PyTorch {others[worst]:.2e}"
                yield Finding(goal, cell, direction, at, found[worst], BOUND, True, note)
    for name, values in ratios.items():
        goal, value = "error over PyTorch's, mean", geometric_mean(values)
        yield Finding(goal, cell, direction, f"grid, {name}", value, BOUND_OF_MEAN, True)
