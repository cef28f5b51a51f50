"""Do two libraries compute the same thing: one error for each array they return."""

from __future__ import annotations

import numpy as np
from inputs import Array

# float32 against float64; the worst seen from a peer is 7e-6, a bias gradient over 93,440 rows
TOLERANCE = 2e-5
TINY = 2.0**-126  # the smallest normal float32
FEW = 16  # elements below which one cancelled entry proves nothing


def errors(found: dict[str, Array], wanted: dict[str, Array]) -> dict[str, float]:
    """Relative L2 error by name; infinite where an array is missing, misshapen or not finite."""
    return {
        name: _error(found[name], wanted[name]) if found.keys() == wanted.keys() else np.inf
        for name in wanted
    }


def require(library: str, where: str, found: dict[str, Array], wanted: dict[str, Array]) -> None:
    """End the program where a library does not compute what it is to be timed for."""
    worst = max(errors(found, wanted).values())
    if worst > TOLERANCE:
        raise SystemExit(f"{library} disagrees at {where}: error {worst:.1e}")


def _error(found: Array, wanted: Array) -> float:
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return np.inf
    difference = np.subtract(found, wanted, dtype=np.float64).ravel()
    exact = wanted.astype(np.float64).ravel()
    if exact.size == 0:
        return 0.0
    order = np.inf if exact.size < FEW else 2
    size = float(np.linalg.norm(exact, order))
    return float(np.linalg.norm(difference, order)) / max(size, TINY)
