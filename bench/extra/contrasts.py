"""A point against itself with one thing changed, in turns: a table of what is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import limit
import machine
import probe
from cases import DIRECTIONS, GRID, PARTS, Case
from findings import Finding
from goals import is_big
from measure import Effort

from extra.pairs import THREADS, pair, prepare, workers

TWO_THREADS = {"forward": 0.9, "forward+backward": 0.85}


@dataclass(frozen=True)
class Contrast:
    """`cases` in seconds of the first side over seconds of the second.

    The second side's case is neither ragged nor decaying.
    """

    goal: str
    cases: tuple[Case, ...]
    bound: Callable[[Case, str], float]  # of a case and a direction
    most: bool = False
    directions: tuple[str, ...] = DIRECTIONS
    threads: tuple[int, int] = (THREADS, THREADS)
    dtypes: tuple[str, str] = ("float32", "float32")
    least: float = 0.0  # seconds of the first side, from which on it is asked for

    def measure(self, cell: str, direction: str, effort: Effort) -> Iterator[Finding]:
        with workers(*self.threads) as sides:
            for case in self.cases:
                plain = replace(case, ragged=False, decaying=False)
                for worker, its, dtype in zip(sides, (case, plain), self.dtypes, strict=True):
                    prepare(worker, its, cell, direction, dtype)
                gain = self._gain(effort)
                found = pair(*sides, effort)
                if found.first < self.least:
                    continue
                value, note = found.ratio.median, found.note
                if gain != 1:
                    note += f", {value:.2f} of the probe's {gain:.2f}"
                if case.ragged:
                    note += f", {limit.rows(case) / limit.rows(plain):.2f} of the steps"
                bound = self.bound(case, direction)
                at = (cell, direction, case.name)
                yield Finding(self.goal, *at, value / gain, bound, self.most, note)

    def _gain(self, effort: Effort) -> float:
        """What the machine itself gains from the second side's threads."""
        first, second = self.threads
        if first == second:
            return 1.0
        isa = machine.isas()[0]
        peaks = [probe.measure(isa, count, effort.probe).fma for count in (first, second)]
        return peaks[1] / peaks[0]


CONTRASTS = {
    "threads": Contrast(
        "two threads over one",
        tuple(case for case in PARTS["all"] if case.shape[1] >= 8),
        lambda _, direction: TWO_THREADS[direction],
        threads=(1, THREADS),
        least=1e-3,
    ),
    "lengths": Contrast(  # against the padded call on the same arrays
        "lengths over padded",
        tuple(case for case in GRID["layers"] if case.ragged),
        lambda *_: 0.65,
        most=True,
    ),
    "decaying": Contrast(  # denormals cost a CPU a hundred cycles each if they are kept
        "decaying over normal",
        (Case((2000, 1, 64, 64), decaying=True), Case((2000, 16, 64, 64), decaying=True)),
        lambda *_: 1.2,
        most=True,
        directions=("forward",),
    ),
    "float64": Contrast(
        "float64 over float32",
        PARTS["all"],
        lambda case, _: 0.45 if is_big(case.name) else 0.35,
        dtypes=("float32", "float64"),
    ),
}
