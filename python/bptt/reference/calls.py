"""A call of a function, of any cell: its arguments are checked, then `time` does the work.

Arguments are looked at in the order of the signature, each for type, rank, shape, then values; the
first fault is raised, and its message opens with the argument's name. One thing comes before all:
w_ih is a float32 or float64 array, because its dtype is everybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..recurrent.cells import CELLS, Cell
from ..results import Array
from . import cells, time


def forward(
    name: str,
    arrays: Sequence[object],
    lengths: object,
    reverse: object,
    training: object,
    checkpoint_every: object,
    out: object,
    **options: object,
) -> list[Any]:
    """Return y, the final states and the cache of a cell's call, whose arrays are in order."""
    row = CELLS[name]
    given = _inputs(row, dict(zip(row.arguments, arrays, strict=True)))
    formulas = cells.FORMULAS[name](
        **{name: option.check(options[name]) for name, option in row.options.items()}
    )
    x, w_hh = given["x"], given["w_hh"]
    T, N, _ = x.shape
    H = w_hh.shape[1]
    row_lengths = None if lengths is None else checks.lengths("lengths", lengths, N, T, "T")
    backwards = checks.flag("reverse", reverse)
    keep = checks.flag("training", training)
    every = checks.checkpoint_every(checkpoint_every, keep)
    target = checks.out(out, x.dtype, "(T, N, H)", (T, N, H))
    _check_size(T, N, H, x.dtype)
    if target is not None:  # the cache refers to what is given, and out may lie over it
        given = {k: a.copy() if np.may_share_memory(a, target) else a for k, a in given.items()}
    given = {k: np.require(a, requirements=("C", "A")) for k, a in given.items()}
    y, state, cache = time.forward(
        formulas, **given, lengths=row_lengths, reverse=backwards, checkpoint_every=every
    )
    if target is not None:
        target[...] = y
        y = target
    return [y, *(getattr(state, letter) for letter in row.states), cache if keep else None]


def backward(
    name: str, cache: object, dy: object, final: Sequence[object], wrt: object
) -> list[Array | None]:
    """Return the gradients of a cell's call, in the order of their names in the table."""
    row = CELLS[name]
    must = f"must be that of reference.{row.forward}(..., training=True)"
    if not isinstance(cache, time.Cache):
        raise TypeError(f"cache is {checks.described(cache)}, {must}")
    if cache.cell.row is not row:
        raise TypeError(f"cache is that of reference.{cache.cell.row.forward}, {must}")
    T = len(cache.x)
    N, H = cache.states[0].h.shape
    dtype = cache.x.dtype
    dy = checks.optional("dy", dy, dtype, "(T, N, H)", (T, N, H))
    dstates = {
        f"d{state}": checks.optional(f"d{state}", given, dtype, "(N, H)", (N, H))
        for state, given in zip(row.final, final, strict=True)
    }
    wanted = checks.wrt(wrt, row.gradients, only_named=("h",))
    gradients = time.backward(cache, dy, **dstates)._asdict()
    return [gradients[field] if field in wanted else None for field in row.gradients]


def _check_size(T: int, N: int, H: int, dtype: checks.Float) -> None:
    """Check that states of this size can be counted; NumPy too takes an empty axis for one."""
    if (T + 1) * max(N, 1) * H * dtype.itemsize >= 2**63:
        raise MemoryError(f"no memory for an array of shape {(T + 1, N, H)}")


def _inputs(cell: Cell, given: dict[str, object]) -> dict[str, Array]:
    """Check the arrays of a forward call, and leave out those that are None where they may be."""
    w_ih = checks.float_array("w_ih", given["w_ih"])
    x = checks.array("x", given["x"], w_ih.dtype)
    if x.ndim != 3:
        raise ValueError(f"x has shape {x.shape}, must be (T, N, I)")
    _, N, I = x.shape  # noqa: E741
    H = len(w_ih) // len(cell.gates) if w_ih.ndim else 0
    shapes = cell.shapes(I, H)
    if not H or w_ih.shape != shapes["w_ih"]:
        raise ValueError(
            f"w_ih has shape {w_ih.shape}, must be {cell.axes('w_ih')} "
            f"with I = {I} and H at least 1"
        )
    checked = {"x": x, "w_ih": w_ih}
    for name in cell.arguments:
        if name not in checked and (given[name] is not None or name not in cell.optional):
            array = checks.array(name, given[name], w_ih.dtype)
            axes = cell.axes(name) if name in shapes else "(N, H)"
            checked[name] = checks.shaped(name, array, axes, shapes.get(name, (N, H)))
    return checked
