"""bench/: modules stand on each other, never both ways."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

BENCH = Path(__file__).parents[2] / "bench"


def test_no_two_modules_import_each_other():
    files = {".".join(p.relative_to(BENCH).with_suffix("").parts): p for p in BENCH.rglob("*.py")}
    needs: dict[str, set[str]] = {}
    for name, path in files.items():
        found = needs.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    graph = {name: found & files.keys() for name, found in needs.items()}
    assert graph["report"] >= {"plots", "records"}
    TopologicalSorter(graph).prepare()  # raises where there is a cycle
