"""What the JSON says: one line a point, a table for each cell and direction, and the means."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import text
from cases import CELLS, DIRECTIONS, MEANS, PARTS
from records import BEST, best, in_order, mean, peers, ratio, setting, settings
from store import Record, load


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
