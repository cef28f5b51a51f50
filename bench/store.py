"""The JSON file of results: one record a point, found again by what was measured and on what.

A record is a plain dictionary, written by run.py:
    cell, direction, group, point     the key, with isa and threads
    cpu, system, date, versions, build, quick;
                  versions are of all libraries of the run
    status     "ok", or "disagrees": then errors says how far, and nothing was timed
    errors     {library: largest error of its arrays, against the reference in float64}
    how        {library: which of its several ways it went, or ""}
    seconds    {library: [one call, a round each]}
    ratios     {peer: {median, low, high}}, how many times faster bptt is
    flops, limit, share, rates
    drift      relative difference of the FMA peaks before and after
    others     share of the cores' time that other processes took meanwhile
    unsteady   drift or others stayed above 5 % in every attempt
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def key(cell: str, direction: str, point: str, isa: str, threads: int) -> str:
    return f"{cell} {direction} {point} {isa} {threads}"


class Store:
    """Records by key; each one put is on disk when `put` returns."""

    def __init__(self, path: Path, cpu: str) -> None:
        self.path = path
        self.records: dict[str, Record] = load(path) if path.exists() else {}
        others = {record["cpu"] for record in self.records.values()} - {cpu}
        if others:
            raise SystemExit(f"{path} was measured on {others.pop()}, this is {cpu}: use --out")

    def has(self, name: str, wanted: Record, libraries: Collection[str]) -> bool:
        """A record of these is there, of the same versions and made with at least the same care."""
        record = self.records.get(name)
        return (
            record is not None
            and record["status"] == "ok"
            and (wanted["quick"] or not record["quick"])
            and record["build"] == wanted["build"]
            and set(libraries) <= record["seconds"].keys()
            and wanted["versions"].items() <= record["versions"].items()
        )

    def put(self, name: str, record: Record) -> None:
        self.records[name] = record
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".part")
        unfinished.write_text(json.dumps(self.records, indent=1) + "\n")
        unfinished.replace(self.path)


def load(path: Path) -> dict[str, Record]:
    """The records of a file, by key."""
    records: dict[str, Record] = json.loads(path.read_text())
    return records
