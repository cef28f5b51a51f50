"""Which goals of speed are reached, by the worst of several runs.

    python bench/goals.py run1.json run2.json run3.json --extras extras1.json extras2.json

The first are files of run.py, from which the goals against other libraries and against the limit
are read; the others are files of extras.py. The worst of the runs counts, point by point.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median

import findings
import store
from cases import CELLS, MEANS
from findings import Finding
from machine import FEATURES
from report import BEST, best, in_order, mean, ratio
from store import Record

LEAST = 1.0  # the upper end of the interval of the ratio to the best peer
LEAST_AT_PEAK = 0.95  # the same where that peer is above this share of the FMA peak
PEAK = 0.9
BELOW_ONE = 0.05  # of the points may have a median below 1
MEAN = {  # geometric means of the ratio to the best peer
    "latency": {"lstm": 1.3, "gru": 1.5, "rnn": 1.8},
    "small": {"lstm": 1.3, "gru": 1.5, "rnn": 1.8},
    "large": {"lstm": 1.05, "gru": 1.2, "rnn": 1.2},
}
FLAWS = ("quick", "unsteady")  # of a record
SHARE = 0.85  # of the limit, for work of this size
ROWS_TIMES_HIDDEN, HIDDEN = 4096, 128


def is_big(point: str) -> bool:
    """Whether N*H and H are so large that the share of the limit is asked for."""
    _, batch, _, hidden = map(int, point.split()[0].split(","))
    return batch * hidden >= ROWS_TIMES_HIDDEN and hidden >= HIDDEN


def of_run(records: Iterable[Record]) -> Iterator[Finding]:
    """The goals that one file of run.py speaks of: forward, with the most threads it has."""
    forward = [r for r in records if (r["direction"], r["status"]) == ("forward", "ok")]
    grid = [r for r in forward if r["group"] in MEANS]
    if not grid:
        return
    threads = max(r["threads"] for r in grid)
    isas = {r["isa"] for r in grid}
    widest = next(isa for isa in FEATURES if isa in isas)
    main = [r for r in grid if (r["isa"], r["threads"]) == (widest, threads)]
    yield from against_the_best(main)
    yield from of_the_limit(main)
    yield from of_avx2([r for r in grid if (r["isa"], r["threads"]) == ("avx2", threads)])


def against_the_best(records: list[Record]) -> Iterator[Finding]:
    for record in records:
        found, peer = ratio(record, BEST), best(record)
        speed = record["flops"] / median(record["seconds"][peer])
        bound = LEAST_AT_PEAK if speed > PEAK * record["rates"]["fma"] else LEAST
        note = f"{peer}, median {found['median']:.3f}" + ", unsteady" * record["unsteady"]
        yield Finding(
            "upper end, best peer", record["cell"], record["point"], found["high"], bound, note=note
        )
    below = sum(ratio(r, BEST)["median"] < 1 for r in records)
    note = f"{below} of {len(records)}"
    value = below / len(records)
    yield Finding("points below 1", "all", "grid", value, BELOW_ONE, most=True, note=note)
    for cell in CELLS:
        ordered = in_order(records, cell, "forward")
        for group, bounds in MEAN.items():
            value = mean(ordered, BEST, [group])
            if value is not None:
                yield Finding("mean, best peer", cell, group, value, bounds[cell])


def of_the_limit(records: list[Record]) -> Iterator[Finding]:
    for r in records:
        if is_big(r["point"]):
            yield Finding("share of the limit", r["cell"], r["point"], r["share"], SHARE)


def of_avx2(records: list[Record]) -> Iterator[Finding]:
    """All held to AVX2: see `forced` of the adapters."""
    for cell in CELLS:
        value = mean(in_order(records, cell, "forward"), "torch", MEANS)
        if value is not None:
            yield Finding("mean with AVX2, PyTorch", cell, "grid", value, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="files of run.py")
    parser.add_argument("--extras", nargs="+", type=Path, default=[], help="files of extras.py")
    options = parser.parse_args()
    everything: list[Finding] = []
    for path in options.runs:
        records = store.load(path).values()
        everything += of_run(records)
        counts = {mark: sum(map(bool, (r.get(mark) for r in records))) for mark in FLAWS}
        flaws = ", ".join(f"{count} {mark}" for mark, count in counts.items())
        print(f"{path}: {len(records)} points, {flaws}")
    for path in options.extras:
        everything += findings.load(path)
    found = findings.worst(everything)
    missed = [finding for finding in found if not finding.reached]
    print(f"\n{findings.summary(found)}")
    if missed:
        print(f"\n{findings.table(missed)}")


if __name__ == "__main__":
    main()
