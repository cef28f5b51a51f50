"""The goals that need measurements of their own, beside the grid of run.py.

    python bench/extras.py cold stream --out bench/results/extras.json

Results go to a JSON file, where they replace older ones; goals.py reads it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import findings
import machine
from cases import CELLS, DIRECTIONS
from extra import accuracy, busy, checkpoints, cold, memory, overhead, stream, training
from extra.contrasts import CONTRASTS
from findings import Finding
from measure import FULL, QUICK, Effort
from peers.bptt import Bptt


class Extra(NamedTuple):
    """What one name stands for: a file of extra/ or a row of its contrasts."""

    directions: tuple[str, ...]
    measure: Callable[[str, str, Effort], Iterator[Finding]]


FILES = (cold, overhead, stream, accuracy, memory, training, busy, checkpoints)
EXTRAS = {
    **{file.__name__.rpartition(".")[2]: Extra(file.DIRECTIONS, file.measure) for file in FILES},
    **{name: Extra(row.directions, row.measure) for name, row in CONTRASTS.items()},
}
OUT = Path(__file__).parent / "results" / "extras.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"all of {', '.join(EXTRAS)}")
    parser.add_argument("--cell", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--direction", nargs="+", choices=DIRECTIONS, default=DIRECTIONS)
    parser.add_argument("--rounds", type=int, help=f"turns of each side ({FULL.rounds})")
    parser.add_argument("--quick", action="store_true", help="a rough look")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON to add to")
    options = parser.parse_args()
    unknown = set(options.names) - EXTRAS.keys()
    if unknown:
        parser.error(f"no {', '.join(unknown)} among {', '.join(EXTRAS)}")
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = effort._replace(rounds=options.rounds)
    about = {"cpu": machine.cpu(), **Bptt(1).describe()}
    for name in options.names or EXTRAS:
        directions = [way for way in EXTRAS[name].directions if way in options.direction]
        for cell, direction in product(options.cell, directions):
            found = []
            for finding in EXTRAS[name].measure(cell, direction, effort):
                found.append(finding)
                mark = "" if finding.reached else "  MISSED"
                place = f"{cell} {direction} {finding.at}"
                print(f"{name} {place}: {finding.value:.3g}{mark}", flush=True)
            findings.save(options.out, found, about)
    print(f"\n{findings.table(findings.load(options.out))}")


if __name__ == "__main__":
    main()
