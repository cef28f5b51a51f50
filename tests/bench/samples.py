"""A record as run.py writes it, made up."""

from __future__ import annotations

from typing import Any


def record(**changes: Any) -> dict[str, Any]:
    return {
        "cell": "lstm",
        "direction": "forward",
        "group": "small",
        "point": "100,8,64,64",
        "isa": "avx2",
        "threads": 2,
        "cpu": "a CPU",
        "versions": {"bptt": "1", "torch": "2"},
        "build": "abc",
        "quick": False,
        "status": "ok",
        "how": {"bptt": "", "torch": "oneDNN"},
        "seconds": {"bptt": [1e-3] * 3, "torch": [2e-3] * 3},
        "ratios": {"torch": {"median": 2.0, "low": 1.9, "high": 2.1}},
        "flops": 10**8,
        "share": 0.5,
        "rates": {"fma": 2e11},
        "unsteady": False,
        **changes,
    }
