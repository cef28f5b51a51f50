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
from cases import CELLS, DIRECTIONS, MEANS
from findings import Finding
from machine import FEATURES
from records import BEST, best, in_order, mean, ratio
from store import Record

LEAST = 1.0  # the upper end of the interval of the ratio to the best peer
LEAST_AT_PEAK, PEAK = 0.95, 0.9  # the same where that peer is above this share of the FMA peak
BELOW_ONE = {"forward": 0.05}  # of the points may have a median below 1
AHEAD = {"forward+backward": 1.15}  # the median, where the best peer is
FAR_FROM_PEAK = 0.7  # below this share of the FMA peak
MEAN: dict[str, dict[tuple[str, str], dict[str, float]]] = {  # of ratios to a peer over a part
    "forward": {
        (BEST, "latency"): {"lstm": 1.3, "gru": 1.5, "rnn": 1.8},
        (BEST, "small"): {"lstm": 1.3, "gru": 1.5, "rnn": 1.8},
        (BEST, "large"): {"lstm": 1.05, "gru": 1.2, "rnn": 1.2},
    },
    "forward+backward": {
        (BEST, "all"): {"lstm": 1.8, "gru": 2.0, "rnn": 2.0},
        (BEST, "N > 1"): {"lstm": 1.4, "gru": 2.0, "rnn": 2.0},
        ("torch", "all"): {"lstm": 2.2, "gru": 5.0, "rnn": 4.0},
    },
}
MEAN_AVX2 = {"forward": 1.0}  # against PyTorch, both held to AVX2
LAYERS = {  # the ratio to PyTorch; with lengths, to its packed sequences
    "forward+backward": {
        "100,32,128,256 2 layers bidirectional": 1.15,
        "200,32,128,128 ragged": 5.0,
        "1000,16,128,128 ragged": 5.0,
    }
}
SHARE = {"forward": 0.85, "forward+backward": 0.8}  # of the limit, for work of this size:
ROWS_TIMES_HIDDEN, HIDDEN = 4096, 128
FLAWS = ("quick", "unsteady")  # of a record


def is_big(point: str) -> bool:
    """Whether N*H and H are so large that the share of the limit is asked for."""
    _, batch, _, hidden = map(int, point.split()[0].split(","))
    return batch * hidden >= ROWS_TIMES_HIDDEN and hidden >= HIDDEN


def of_run(records: Iterable[Record]) -> Iterator[Finding]:
    """The goals that one file of run.py speaks of, with the most threads it has."""
    timed = [r for r in records if r["status"] == "ok"]
    for direction in DIRECTIONS:
        found = [r for r in timed if r["direction"] == direction]
        if not found:
            continue
        threads = max(r["threads"] for r in found)
        isas = {r["isa"] for r in found}
        widest = next(isa for isa in FEATURES if isa in isas)
        main = [r for r in found if (r["isa"], r["threads"]) == (widest, threads)]
        grid = [r for r in main if r["group"] in MEANS]
        yield from of_points(grid, direction)
        yield from of_means(grid, direction)
        yield from of_layers(main, direction)
        avx2 = [r for r in found if (r["isa"], r["threads"]) == ("avx2", threads)]
        yield from of_avx2(avx2, direction)


def of_points(records: list[Record], direction: str) -> Iterator[Finding]:
    """Against the best peer and against the limit, point by point."""
    for r in records:
        where = (r["cell"], direction, r["point"])
        found, peer = ratio(r, BEST), best(r)
        of_peak = r["flops"] / median(r["seconds"][peer]) / r["rates"]["fma"]
        note = f"{peer} at {of_peak:.0%} of the peak, median {found['median']:.3f}"
        note += ", unsteady" * r["unsteady"]
        bound = LEAST_AT_PEAK if of_peak > PEAK else LEAST
        yield Finding("upper end, best peer", *where, found["high"], bound, note=note)
        if direction in AHEAD and of_peak < FAR_FROM_PEAK:
            goal = "median, best peer far from the peak"
            yield Finding(goal, *where, found["median"], AHEAD[direction], note=note)
        if is_big(r["point"]):
            yield Finding("share of the limit", *where, r["share"], SHARE[direction])
    if records and direction in BELOW_ONE:
        below, all_of_them = sum(ratio(r, BEST)["median"] < 1 for r in records), len(records)
        where, note = ("all", direction, "grid"), f"{below} of {all_of_them}"
        bound = BELOW_ONE[direction]
        yield Finding("points below 1", *where, below / all_of_them, bound, most=True, note=note)


def of_means(records: list[Record], direction: str) -> Iterator[Finding]:
    for cell in CELLS:
        ordered = in_order(records, cell, direction)
        for (peer, part), bounds in MEAN[direction].items():
            value = mean(ordered, peer, part)
            if value is not None:
                yield Finding(f"mean, {peer}", cell, direction, part, value, bounds[cell])


def of_layers(records: list[Record], direction: str) -> Iterator[Finding]:
    bounds = LAYERS.get(direction, {})
    for r in records:
        if r["point"] in bounds and "torch" in r["ratios"]:
            value, bound = ratio(r, "torch")["median"], bounds[r["point"]]
            yield Finding("layers, PyTorch", r["cell"], direction, r["point"], value, bound)


def of_avx2(records: list[Record], direction: str) -> Iterator[Finding]:
    """All held to AVX2: see `forced` of the adapters."""
    for cell in CELLS:
        value = mean(in_order(records, cell, direction), "torch", "all")
        if value is not None and direction in MEAN_AVX2:
            bound = MEAN_AVX2[direction]
            yield Finding("mean with AVX2, PyTorch", cell, direction, "all", value, bound)


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
