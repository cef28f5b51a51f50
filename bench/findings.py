"""One thing that was measured against one bound: the common form of all goals."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import text


class Finding(NamedTuple):
    """`value` is to be at least `bound`, or at most where `most`; `note` is what it is made of."""

    goal: str
    cell: str
    direction: str
    at: str
    value: float
    bound: float
    most: bool = False
    note: str = ""

    @property
    def reached(self) -> bool:
        return self.margin >= 1

    @property
    def margin(self) -> float:
        """1 at the bound, more beyond it."""
        if self.most:
            return self.bound / self.value if self.value else math.inf
        return self.value / self.bound

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.goal, self.cell, self.direction, self.at

    @property
    def wanted(self) -> str:
        return f"{'at most' if self.most else 'at least'} {self.bound:g}"


def worst(findings: Iterable[Finding]) -> list[Finding]:
    """Of each thing that was measured in several runs, the run that was furthest from its goal."""
    found: dict[tuple[str, str, str, str], Finding] = {}
    for finding in findings:
        other = found.get(finding.key)
        if other is None or finding.margin < other.margin:
            found[finding.key] = finding
    return list(found.values())


def table(findings: list[Finding]) -> str:
    rows = [["goal", "cell", "direction", "at", "measured", "wanted", "", "note"]]
    for f in findings:
        mark = "" if f.reached else "MISSED"
        rows.append([f.goal, f.cell, f.direction, f.at, f"{f.value:.3g}", f.wanted, mark, f.note])
    return text.table(rows, words=[0, 1, 2, 3, 5, 6, 7])


def summary(findings: list[Finding]) -> str:
    """A row for each goal, cell and direction: how many points reach it, the furthest from it."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.goal, f.cell, f.direction), []).append(f)
    rows = [["goal", "cell", "direction", "reached", "worst", "wanted", "at"]]
    for group, found in groups.items():
        least = min(found, key=lambda finding: finding.margin)
        reached = f"{sum(f.reached for f in found)} of {len(found)}"
        rows.append([*group, reached, f"{least.value:.3g}", least.wanted, least.at])
    return text.table(rows, words=[0, 1, 2, 5, 6])


def load(path: Path) -> list[Finding]:
    return [Finding(**fields) for fields in json.loads(path.read_text())["findings"]]


def save(path: Path, findings: Iterable[Finding], about: dict[str, str]) -> None:
    """Into the file, where they replace what was found there under the same key.

    What was found of another build or on another machine, as `about` names them, is dropped.
    """
    kept = []
    if path.exists() and about.items() <= json.loads(path.read_text()).items():
        kept = load(path)
    merged = {finding.key: finding for finding in [*kept, *findings]}
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [finding._asdict() for finding in merged.values()]
    path.write_text(json.dumps({**about, "findings": rows}, indent=1) + "\n")
