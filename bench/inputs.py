"""The same arrays in every process, made from a seed instead of sent through a pipe."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from cases import GATES, Case
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


class Inputs(NamedTuple):
    """Arguments and incoming gradients of one point, time-major, states (layers*directions,N,H).

    params has PyTorch's names; c_0 and dc_n are None for cells without c, lengths where all
    sequences have T steps.
    """

    x: Array
    params: dict[str, Array]
    h_0: Array
    c_0: Array | None
    lengths: NDArray[np.int64] | None
    dy: Array
    dh_n: Array
    dc_n: Array | None


class Task(NamedTuple):
    """A regression to learn: one number a sequence, from the last h by a linear layer.

    params has the recurrent layer's names and weight (1,H) and bias (1,) of the linear one; batches
    are pairs of x (T,N,I) and target (N,1). max_norm is so small that clipping acts.
    """

    cell: str
    sizes: tuple[int, int]  # I, H
    params: dict[str, Array]
    batches: list[tuple[Array, Array]]
    lr: float = 1e-3
    max_norm: float = 0.5


DRIVEN = 10  # steps with an input where the state decays
BATCHES = 8  # of a task


def make(case: Case, cell: str, dtype: str = "float32", seed: int = 0) -> Inputs:
    """Drawn in float32 whatever the dtype, so that float64 sees exactly the same numbers."""
    t, n, i, h = case.shape
    depth = [case.num_layers, case.directions]
    rng = np.random.default_rng([*case.shape, *depth, len(GATES[cell]), seed])

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape, np.float32).astype(dtype)

    def uniform(*shape: int) -> Array:
        values = (2 * rng.random(shape, np.float32) - 1) / np.sqrt(np.float32(h))
        return np.asarray(values, dtype)

    params = {}
    for layer in range(case.num_layers):
        width = i if layer == 0 else case.directions * h
        for suffix in ["", "_reverse"][: case.directions]:
            end = f"_l{layer}{suffix}"
            params[f"weight_ih{end}"] = uniform(len(GATES[cell]) * h, width)
            params[f"weight_hh{end}"] = uniform(len(GATES[cell]) * h, h)
            params[f"bias_ih{end}"] = uniform(len(GATES[cell]) * h)
            params[f"bias_hh{end}"] = uniform(len(GATES[cell]) * h)
    state = (case.num_layers * case.directions, n, h)
    x = normal(t, n, i)
    if case.decaying:
        x[DRIVEN:] = 0
        for name in params:
            if name.startswith("bias"):
                params[name][:] = 0
    return Inputs(
        x=x,
        params=params,
        h_0=normal(*state),
        c_0=normal(*state) if cell == "lstm" else None,
        lengths=case.lengths(),
        dy=normal(t, n, case.directions * h),
        dh_n=normal(*state),
        dc_n=normal(*state) if cell == "lstm" else None,
    )


def task(case: Case, cell: str, dtype: str = "float32") -> Task:
    """The layer and the sequences of one point, `BATCHES` times with other numbers."""
    drawn = [make(case, cell, dtype, seed) for seed in range(BATCHES)]
    head = {"weight": drawn[0].h_0[0, :1], "bias": drawn[0].h_0[0, 0, :1]}
    batches = [(one.x, one.dh_n[0, :, :1].copy()) for one in drawn]
    return Task(cell, case.shape[2:], {**drawn[0].params, **head}, batches)
