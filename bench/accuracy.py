"""How accurate exp, sigmoid and tanh are: every float32 there is, and dense samples of float64.

    python bench/accuracy.py

It takes some minutes on two cores, writes what it has to a JSON file as it goes and, when it is
interrupted, goes on from there the next time. At the end it prints tables, and fails if a bound is
exceeded. See ulp.py for how errors are counted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np
import text
from ulp import FORMATS, FUNCTIONS, Worst, measure, special_values

from bptt import _core

OUT = Path(__file__).parent / "results" / "accuracy.json"
BOUNDS = {"exp": 1, "sigmoid": 2, "tanh": 4}  # ULP; elsewhere 1, absolutely
TASKS = [(dtype, block) for dtype, form in FORMATS.items() for block in range(form.blocks)]
SAVE_SECONDS = 5


def load(path: Path) -> dict[str, Any]:
    """What is known of this build of bptt on this CPU: `done` tasks, and the worst of them."""
    build = hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()[:16]
    about = {"cpu": machine.cpu(), "compiler": _core.compiler, "isas": _core.isas(), "build": build}
    if path.exists():
        known: dict[str, Any] = json.loads(path.read_text())
        if {name: known[name] for name in about} == about:
            return known
        print(f"{path.name} is of another build or CPU: from the beginning", flush=True)
    return {**about, "done": 0, "worst": {}}


def save(path: Path, known: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(known, indent=1) + "\n")
    unfinished.replace(path)


def run(path: Path, processes: int, seconds: float) -> dict[str, Any]:
    """Do the tasks that are left, or as many as there is time for."""
    known, begin = load(path), time.monotonic()
    saved = begin
    left = TASKS[known["done"] :]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for found in pool.imap(measure, left):
            known["done"] += 1
            for key, worst in found.items():
                known["worst"][key] = Worst(*known["worst"].get(key, ())).or_worse(worst)
            now = time.monotonic()
            if now - saved > SAVE_SECONDS or known["done"] == len(TASKS):
                saved = now
                save(path, known)
                print(f"{known['done']} of {len(TASKS)} blocks, {now - begin:.0f} s", flush=True)
                if now - begin > seconds:
                    break
    return known


def errors_table(dtype: str, known: dict[str, Any]) -> str:
    """A line for each function and instruction set."""
    smallest = f"2^{FORMATS[dtype].lowest}"
    rows = [
        ["function", "ISA", "largest error, ULP", "at", "bound", f"elsewhere, {smallest}", "at"]
    ]
    for name in FUNCTIONS:
        for isa in known["isas"]:
            worst = Worst(*known["worst"][f"{dtype} {name} {isa}"])
            ulp_at, absolute_at = (
                str(np.dtype(dtype).type(x)) for x in (worst.ulp_at, worst.absolute_at)
            )
            bound = str(BOUNDS[name])
            rows.append([name, isa, f"{worst.ulp:.4f}", ulp_at, bound, f"{worst.absolute:.4f}"])
            rows[-1].append(absolute_at if worst.absolute else "")
    return text.table(rows, words=(0, 1))


def special_table(isas: list[str]) -> str:
    """A line for each function and dtype; instruction sets that differ have lines of their own."""
    rows = [["function", "dtype", "ISA", "-inf", "-0", "0", "inf", "NaN"]]
    for name in FUNCTIONS:
        for dtype in FORMATS:
            same: dict[tuple[str, ...], list[str]] = {}
            for isa in isas:
                same.setdefault(tuple(special_values(dtype, name, isa)), []).append(isa)
            for values, those in same.items():
                rows.append([name, dtype, "all" if those == isas else ", ".join(those), *values])
    return text.table(rows, words=(0, 1, 2))


def exceeded(known: dict[str, Any]) -> list[str]:
    """Where a bound does not hold."""
    return [
        key
        for key, worst in known["worst"].items()
        if not (worst[0] <= BOUNDS[key.split()[1]] and worst[2] <= 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=machine.cores())
    parser.add_argument("--seconds", type=float, default=np.inf, help="stop then, to go on later")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON to go on with")
    options = parser.parse_args()
    known = run(options.out, options.processes, options.seconds)
    if known["done"] < len(TASKS):
        raise SystemExit(f"{known['done']} of {len(TASKS)} blocks are done: run it again to go on")
    print(f"{known['cpu']}, {known['compiler']}, build {known['build']}")
    for dtype, form in FORMATS.items():
        print(f"\n{dtype}, {form.blocks * form.block} inputs\n\n{errors_table(dtype, known)}")
    print(f"\n{special_table(known['isas'])}")
    if exceeded(known):
        raise SystemExit(f"bounds exceeded: {', '.join(exceeded(known))}")


if __name__ == "__main__":
    main()
