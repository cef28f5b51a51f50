"""What is read from records: those of one setting, the best peer, ratios to it and their means."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import NamedTuple

from cases import GRID, PARTS
from stats import geometric_mean
from store import Record

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


def in_order(records: Iterable[Record], cell: str, direction: str) -> list[Record]:
    """The records of one cell and direction in the order of the grid."""
    found = {r["point"]: r for r in records if (r["cell"], r["direction"]) == (cell, direction)}
    names = [case.name for group in GRID.values() for case in group]
    return [found[name] for name in names if name in found]


def peers(records: Iterable[Record]) -> list[str]:
    """Those that any of the records was timed against, in the order of the run."""
    found = {name: None for r in records if r["status"] == "ok" for name in r["ratios"]}
    return list(found)


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
