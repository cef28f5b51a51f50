"""Interleaved turns of two workers on one point, or of one library on two points."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import NamedTuple

import text
from cases import Case
from measure import Effort, timed
from pipe import Pipe
from stats import Ratio, paired_ratio

THREADS = 2


class Pair(NamedTuple):
    """Seconds of a call, medians, and first over second by rounds."""

    first: float
    second: float
    ratio: Ratio

    @property
    def note(self) -> str:
        low, high = self.ratio.low, self.ratio.high
        return f"{text.seconds(self.first)}, {text.seconds(self.second)} [{low:.3f}, {high:.3f}]"


@contextmanager
def libraries(*names: str) -> Iterator[list[Pipe]]:
    """A process of each library."""
    with ExitStack() as stack:
        yield [stack.enter_context(Pipe(name, THREADS)) for name in names]


@contextmanager
def workers(*threads: int) -> Iterator[list[Pipe]]:
    """A process of bptt for each number of threads."""
    with ExitStack() as stack:
        yield [stack.enter_context(Pipe("bptt", count)) for count in threads]


def pair(first: Pipe, second: Pipe, effort: Effort) -> Pair:
    """Turns of two workers that are prepared."""
    seconds = timed({"first": first, "second": second}, effort)
    ratio = paired_ratio(seconds["first"], seconds["second"])
    return Pair(median(seconds["first"]), median(seconds["second"]), ratio)


def prepare(worker: Pipe, case: Case, cell: str, direction: str, dtype: str = "float32") -> None:
    worker.ask("prepare", case, cell, direction, dtype)
