"""A whole training loop: model, loss, clipping and Adam, in batches a second against PyTorch's."""

from __future__ import annotations

from collections.abc import Iterator

import compare
from cases import Case
from findings import Finding
from inputs import BATCHES
from measure import Effort

from extra.pairs import libraries, pair

DIRECTIONS = ("forward+backward",)
BOUND = 4.0
CASE = Case((64, 32, 32, 64))


def measure(cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
    """The GRU's only; a goal is set for no other cell."""
    if cell != "gru":
        return
    with libraries("torch", "bptt", "reference") as (theirs, ours, truth):
        wanted = truth.ask("training", CASE, cell, "float64")
        for worker in (theirs, ours):
            found = worker.ask("training", CASE, cell, "float32")
            compare.require(worker.library, f"{CASE.name}, training", found, wanted)
        both = pair(theirs, ours, effort)
    value, low, high = both.ratio
    note = f"{BATCHES / both.second:.0f} batches a second, PyTorch {BATCHES / both.first:.0f}"
    note += f" [{low:.3f}, {high:.3f}]"
    yield Finding(
        "training loop, times PyTorch", cell, direction, CASE.name, value, BOUND, note=note
    )
