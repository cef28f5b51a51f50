"""The time a point cannot beat on this machine, from the rates that the probe measured.

limit = flops / FMA peak + activations / their rate + weight bytes / bandwidth of their cache.
The three terms are added although a kernel may overlap them, so a share of the limit compares
points and versions; it is not a proof that nothing faster exists.
"""

from __future__ import annotations

from typing import NamedTuple

from cases import GATES, Case

SIGMOIDS = {"rnn": 0, "lstm": 3, "gru": 2}  # a hidden unit and step
TANHS = {"rnn": 1, "lstm": 2, "gru": 1}
ITEM = 4  # bytes of a float32


class Rates(NamedTuple):
    """What one probe found, for one ISA and one number of threads, all threads together."""

    fma: float  # floating-point operations a second, two an FMA
    sigmoid: float  # a second
    tanh: float  # a second
    bandwidth: dict[str, float]  # bytes a second read from "L1", "L2", "L3" and "memory"
    clock: float  # cycles a second

    def best(self, other: Rates) -> Rates:
        """The higher of the two for each rate."""
        return Rates(
            max(self.fma, other.fma),
            max(self.sigmoid, other.sigmoid),
            max(self.tanh, other.tanh),
            {level: max(rate, other.bandwidth[level]) for level, rate in self.bandwidth.items()},
            max(self.clock, other.clock),
        )


class Caches(NamedTuple):
    """Sizes in bytes: L1 and L2 of one core, L3 of all."""

    l1: int
    l2: int
    l3: int


def rows(case: Case) -> int:
    """Steps times sequences that do work."""
    lengths = case.lengths()
    return case.shape[0] * case.shape[1] if lengths is None else int(lengths.sum())


def input_sizes(case: Case) -> list[int]:
    """The input width of each layer and direction."""
    _, _, inputs, hidden = case.shape
    widths = [inputs] + [case.directions * hidden] * (case.num_layers - 1)
    return [width for width in widths for _ in range(case.directions)]


def flops(case: Case, cell: str, direction: str) -> int:
    """2*T*N*G*H*(I+H), three times that with the backward pass."""
    hidden = case.shape[3]
    gates = len(GATES[cell]) * hidden
    forward = sum(2 * rows(case) * gates * (i + hidden) for i in input_sizes(case))
    return forward if direction == "forward" else 3 * forward


def activations(case: Case, cell: str) -> tuple[int, int]:
    """Sigmoids and tanhs. Forward's only: derivatives are written from saved outputs."""
    units = rows(case) * case.shape[3] * len(input_sizes(case))
    return SIGMOIDS[cell] * units, TANHS[cell] * units


def weight_bytes(case: Case, cell: str, direction: str) -> int:
    """Bytes of weights read: w_hh at each step, w_ih once; both once more for backward."""
    steps, _, _, hidden = case.shape
    gates = len(GATES[cell]) * hidden
    forward = sum(ITEM * gates * (steps * hidden + inputs) for inputs in input_sizes(case))
    return forward if direction == "forward" else 2 * forward


def weight_level(case: Case, cell: str, caches: Caches, threads: int) -> str:
    """The nearest cache that holds w_hh from step to step, each core its share of the units."""
    size = ITEM * len(GATES[cell]) * case.shape[3] ** 2
    if size <= threads * caches.l1:
        return "L1"
    if size <= threads * caches.l2:
        return "L2"
    return "L3" if size <= caches.l3 else "memory"


def limit(
    case: Case, cell: str, direction: str, rates: Rates, caches: Caches, threads: int
) -> float:
    """Seconds of one call at the limit."""
    sigmoids, tanhs = activations(case, cell)
    bandwidth = rates.bandwidth[weight_level(case, cell, caches, threads)]
    return (
        flops(case, cell, direction) / rates.fma
        + sigmoids / rates.sigmoid
        + tanhs / rates.tanh
        + weight_bytes(case, cell, direction) / bandwidth
    )
