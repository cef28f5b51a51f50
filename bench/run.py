"""Verify, then time: bptt against its peers on the grid of cases.py.

    python bench/run.py --cell lstm --group small --report

Each library runs in a process of its own and waits while another one is timed; turns alternate.
Results go to a JSON file point by point, and the next run goes on with what it finds there.
"""

from __future__ import annotations

import argparse
import datetime
from contextlib import ExitStack
from pathlib import Path

import compare
import machine
import progress
import report
from cases import CELLS, DIRECTIONS, GRID
from measure import FULL, QUICK, Effort, Point, measure, verify
from peers import PEERS
from pipe import Pipe
from store import Record, Store, key

OUT = Path(__file__).parent / "results" / "results.json"


def chosen(options: argparse.Namespace) -> list[Point]:
    """The part of the grid that was asked for."""
    return [
        Point(cell, group, case, direction)
        for cell in options.cell
        for group in options.group
        for case in GRID[group]
        for direction in options.direction
        if cell in case.cells
    ]


def others(asked: list[str] | None, isa: str | None) -> list[str]:
    """The peers that can be timed, of those asked for or of all; the rest are named."""
    wanted = asked or [name for name in PEERS if name != "bptt"]
    found = []
    for name in wanted:
        if not PEERS[name].installed():
            print(f"without {name}: needs {' and '.join(PEERS[name].needs)} (pip install .[bench])")
        elif isa and isa not in PEERS[name].forced:
            print(f"without {name}: cannot be held to {isa}")
        else:
            found.append(name)
    return found


def one(
    point: Point, workers: dict[str, Pipe], truth: Pipe, about: Record, effort: Effort
) -> Record:
    """The record of one point, timed only if all libraries agree on it."""
    errors = verify(point, workers, truth)
    agree = all(error <= compare.TOLERANCE for error in errors.values())
    timings = measure(point, workers, about["isa"], about["threads"], effort) if agree else {}
    return {
        "cell": point.cell,
        "direction": point.direction,
        "group": point.group,
        "point": point.case.name,
        **about,
        "date": datetime.date.today().isoformat(),
        "status": "ok" if agree else "disagrees",
        "errors": errors,
        "how": {name: worker.ask("how") for name, worker in workers.items()},
        **timings,
    }


def run(options: argparse.Namespace) -> bool:
    """Measure what the store lacks; False where a point disagreed."""
    store = Store(options.out, machine.cpu())
    effort = QUICK if options.quick else FULL
    if options.rounds:
        effort = effort._replace(rounds=options.rounds)
    agreed = True
    with ExitStack() as stack:
        truth = stack.enter_context(Pipe("reference", options.threads))
        workers = {
            name: stack.enter_context(Pipe(name, options.threads, options.isa))
            for name in ["bptt", *others(options.peers, options.isa)]
        }
        libraries = {name: worker.ask("describe") for name, worker in workers.items()}
        about = {
            "isa": libraries["bptt"]["isa"],
            "threads": options.threads,
            "cpu": machine.cpu(),
            "system": machine.system(),
            "versions": {name: library["version"] for name, library in libraries.items()},
            "build": libraries["bptt"]["build"],
            "quick": options.quick,
            "rounds": effort.rounds,
        }
        points = chosen(options)
        bar = stack.enter_context(progress.bar(len(points)))
        for point in points:
            takers = {
                name: worker
                for name, worker in workers.items()
                if PEERS[name].takes(point.case, point.direction)
            }
            name = key(point.cell, point.direction, point.case.name, about["isa"], options.threads)
            bar.set_description(f"{point.cell} {point.direction} {point.case.name}")
            if not store.has(name, about, takers):
                record = one(point, takers, truth, about, effort)
                store.put(name, record)
                bar.write(report.line(record))
                agreed = agreed and record["status"] == "ok"
            bar.update()
    return agreed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", nargs="+", choices=CELLS, default=CELLS)
    parser.add_argument("--group", nargs="+", choices=list(GRID), default=list(GRID))
    parser.add_argument("--direction", nargs="+", choices=DIRECTIONS, default=DIRECTIONS)
    parser.add_argument(
        "--peers",
        nargs="+",
        choices=[name for name in PEERS if name != "bptt"],
        help="all that are installed",
    )
    parser.add_argument("--threads", type=int, default=min(2, machine.cores()))
    parser.add_argument("--isa", choices=list(machine.FEATURES), help="hold all to it")
    parser.add_argument("--rounds", type=int, help=f"turns of each library ({FULL.rounds})")
    parser.add_argument("--quick", action="store_true", help="a rough look, marked as such")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON to go on with")
    parser.add_argument("--report", action="store_true", help="write pictures beside the JSON")
    options = parser.parse_args()
    agreed = run(options)
    report.show(options.out, pictures=options.report)
    if not agreed:
        raise SystemExit("libraries disagree: see the lines with *** above")


if __name__ == "__main__":
    main()
