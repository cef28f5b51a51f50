"""What the JSON says: one line a point, a table for each cell and direction, and the means."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import text
from cases import CELLS, DIRECTIONS, GRID, MEANS, PARTS
from stats import geometric_mean
from store import Record, load

BEST = "best peer"  # stands for the name of a peer where ratios are asked for


class Setting(NamedTuple):
    """Records are put side by side only where all of this is the same."""

    cpu: str
    isa: str
    threads: int
    versions: str
    quick: bool

    def __str__(self) -> str:
        rough = "QUICK (a rough look) | " if self.quick else ""
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{rough}{self.cpu} | {self.isa}, {threads} | {self.versions}"


def setting(record: Record) -> Setting:
    versions = ", ".join(f"{name} {v}" for name, v in record["versions"].items())
    return Setting(record["cpu"], record["isa"], record["threads"], versions, record["quick"])


def settings(records: Iterable[Record]) -> dict[Setting, list[Record]]:
    """Records by setting."""
    found: dict[Setting, list[Record]] = {}
    for record in records:
        found.setdefault(setting(record), []).append(record)
    return found


def best(record: Record) -> str:
    """The peer with the least median: what a user would take instead, so never our own reference.

    That one is named only where nothing else was timed.
    """
    peers: list[str] = [name for name in record["ratios"] if name != "reference"]
    return min(peers or record["ratios"], key=lambda peer: median(record["seconds"][peer]))


def ratio(record: Record, peer: str) -> Record:
    """How many times faster than one peer, or than the best one."""
    found: Record = record["ratios"][best(record) if peer == BEST else peer]
    return found


def interval(record: Record, peer: str) -> str:
    found = ratio(record, peer)
    return f"{found['median']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def line(record: Record) -> str:
    """One result, with all that it depends on."""
    name = f"{record['cell']} {record['direction']} {record['point']}"
    if record["status"] != "ok":
        errors = ", ".join(f"{library} {error:.1e}" for library, error in record["errors"].items())
        return f"*** {name} DISAGREES and is not timed: errors {errors} | {setting(record)}"
    ours = text.seconds(median(record["seconds"]["bptt"]))
    ratios = f"{interval(record, BEST)} times the best peer, {best(record)}"
    share = f"{record['share']:.0%} of the limit"
    unsteady = ", UNSTEADY" if record["unsteady"] else ""
    return f"{name}: {ours}, {ratios}, {share}{unsteady} | {setting(record)}"


def note(record: Record) -> str:
    """What a reader of the numbers should know besides."""
    ways = [f"{library}: {way}" for library, way in record["how"].items() if way]
    return ", ".join([*ways, *["unsteady"] * record["unsteady"]])


def in_order(records: Iterable[Record], cell: str, direction: str) -> list[Record]:
    """The records of one cell and direction in the order of the grid."""
    found = {r["point"]: r for r in records if (r["cell"], r["direction"]) == (cell, direction)}
    names = [case.name for group in GRID.values() for case in group]
    return [found[name] for name in names if name in found]


def peers(records: Iterable[Record]) -> list[str]:
    """Those that any of the records was timed against, in the order of the run."""
    found = {name: None for r in records if r["status"] == "ok" for name in r["ratios"]}
    return list(found)


def points(records: list[Record]) -> str:
    """The table of one cell and direction."""
    libraries = ["bptt", *peers(records)]
    header = ["group", "T,N,I,H", *libraries, "best peer", "times it [95 %]"]
    rows = [[*header, "GF/s", "of FMA peak", "of limit", "note"]]
    for record in records:
        if record["status"] != "ok":
            rows.append([record["group"], record["point"], *[""] * (len(rows[0]) - 3), "DISAGREES"])
            continue
        seconds = {name: median(rounds) for name, rounds in record["seconds"].items()}
        speed = record["flops"] / seconds["bptt"]
        rows.append(
            [
                record["group"],
                record["point"],
                *(text.seconds(seconds[name]) if name in seconds else "" for name in libraries),
                best(record),
                interval(record, BEST),
                f"{speed / 1e9:.1f}",
                f"{speed / record['rates']['fma']:.0%}",
                f"{record['share']:.0%}",
                note(record),
            ]
        )
    return text.table(rows, words=[0, 1, len(libraries) + 2, len(rows[0]) - 1])


def mean(records: Iterable[Record], peer: str, part: str) -> float | None:
    """Geometric mean of the ratios of a part of the grid; None unless all its points were timed."""
    ratios = {
        r["point"]: ratio(r, peer)["median"]
        for r in records
        if r["status"] == "ok" and (peer == BEST or peer in r["ratios"])
    }
    names = [case.name for case in PARTS[part]]
    if any(name not in ratios for name in names):
        return None
    return geometric_mean([ratios[name] for name in names])


def means(records: list[Record]) -> str:
    """Geometric means of the ratios: for each cell and direction the best peer, then each peer."""
    rows = [["cell", "direction", "times", *PARTS, "least, at"]]
    for cell in CELLS:
        for direction in DIRECTIONS:
            found = in_order(records, cell, direction)
            for peer in [BEST, *peers(found)] if peers(found) else []:
                values = [_mean_text(found, peer, part) for part in PARTS]
                rows.append([cell, direction, peer, *values, _least(found, peer)])
    return text.table(rows, words=[0, 1, 2, len(rows[0]) - 1])


def _mean_text(records: list[Record], peer: str, part: str) -> str:
    value = mean(records, peer, part)
    if value is None:
        return "incomplete"
    names = {case.name for case in PARTS[part]}
    unsteady = any(r["unsteady"] for r in records if r["point"] in names)
    return f"{value:.2f}" + " (unsteady)" * unsteady


def _least(records: list[Record], peer: str) -> str:
    """The smallest ratio of the groups that enter the means, and its point."""
    timed = [r for r in records if r["status"] == "ok" and r["group"] in MEANS]
    against = [r for r in timed if peer == BEST or peer in r["ratios"]]
    if not against:
        return ""
    lowest = min(against, key=lambda r: ratio(r, peer)["median"])
    return f"{ratio(lowest, peer)['median']:.2f} at {lowest['point']}"


def document(records: Iterable[Record]) -> str:
    """All tables, in Markdown."""
    parts = []
    for where, group in settings(records).items():
        parts.append(f"# {where}")
        for cell in CELLS:
            for direction in DIRECTIONS:
                if found := in_order(group, cell, direction):
                    parts += [f"## {cell}, {direction}", points(found)]
        parts += ["## Geometric means", means(group)]
    return "\n\n".join(parts)


def show(path: Path, pictures: bool) -> None:
    """Print the tables of a JSON file; with `pictures`, draw them beside it."""
    records = load(path).values()
    print(document(records))
    if pictures:
        import plots

        for where, group in settings(records).items():
            suffix = f"{where.isa}-{where.threads}" + "-quick" * where.quick
            for file in plots.draw(group, str(where), path.parent, suffix):
                print(f"wrote {file}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path)
    options = parser.parse_args()
    show(options.json, pictures=True)


if __name__ == "__main__":
    main()
