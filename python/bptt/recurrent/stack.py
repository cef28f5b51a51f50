"""Layers and directions in a stack, over the functions of one cell, from given weights and masks.

Letters as in `bptt.functional`, and L layers, D directions; k counts layers and directions, layer
by layer. All arrays are time-major, and nothing here checks them: the functions do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from .. import _checks
from ..results import Array, Cache
from .cells import Cell


def forward(
    functions: ModuleType,
    cell: Cell,
    x: Array,
    weights: Sequence[Sequence[Array | None]],
    states: Sequence[Array | None],
    lengths: Any,
    options: dict[str, Any],
    masks: Sequence[Array],
    out: Array | None,
    H: int,
    D: int,
) -> tuple[Array, list[list[Array]], list[Cache]]:
    """Run all layers, each over the y of the one before it.

    Parameters
    ----------
    functions : bptt.functional or bptt.reference
    cell : Cell
    x : array (T, N, I)
    weights : for each k, the arrays of `cell.weights`, in that order
    states : for each of `cell.initial`, an array (L*D, N, H) or None; or nothing, for zeros
    lengths : array of int (N,) or None
    options : dict
        The other arguments of the forward function; what differs from k to k is written into it.
    masks : arrays (T, N, D*H)
        Dropout of the y of each layer but the last, or none at all.
    out : array (T, N, D*H) or None
        Where y is to lie.
    H, D : int

    Returns
    -------
    y, and for each k the final states in the order of `cell.final`, and the cache
    """
    function = getattr(functions, cell.forward)
    if lengths is not None:
        options["lengths"] = lengths
    caches: list[Cache] = []
    ends: list[list[Array]] = []
    top = len(weights) // D - 1
    for layer in range(top + 1):
        y = out if layer == top else None  # a function makes its own, unless it is to lie elsewhere
        if y is None and D > 1:
            y = _checks.empty((*x.shape[:2], D * H), x.dtype)
        for d in range(D):
            k = layer * D + d
            if y is not None:
                options["out"] = y[:, :, d * H : (d + 1) * H]
                options["reverse"] = d == 1
            arrays = weights[k]
            if states:
                arrays = [*arrays, *[None if state is None else state[k] for state in states]]
            result = function(x, *arrays, **options)
            *end, cache = cell.kept_of(result)
            ends.append(end)
            caches.append(cache)
        if y is None:
            y = result.y
        if layer < len(masks):
            y *= masks[layer]
        x = y
    return x, ends, caches


def backward(
    functions: ModuleType,
    cell: Cell,
    caches: Sequence[Cache],
    masks: Sequence[Array],
    dy: Array | None,
    dstates: Sequence[Array | None],
    wanted: Collection[str],
    watch: Callable[[int, Cache, Array], None] | None,
    H: int,
    D: int,
) -> tuple[Array | None, list[dict[str, Array]]]:
    """Go back through all layers of a forward call.

    Parameters
    ----------
    functions, cell, masks, H, D
        As in the forward call.
    caches : of the forward call
    dy : array (T, N, D*H) or None
    dstates : for each of `cell.final`, the gradient (L*D, N, H) or None; or nothing, for zeros
    wanted : names
        Which of `cell.arguments` are to have a gradient; "x" is that of the first layer.
    watch : callable or None
        Is given each k, its cache and dL/dh_t of all steps (T, N, H).

    Returns
    -------
    dx or None, and for each k the gradients of the other arguments by name, None or not there
    where they are not wanted
    """
    function = getattr(functions, cell.backward)
    found: list[dict[str, Array]] = [{}] * len(caches)
    for layer in reversed(range(len(caches) // D if wanted else 0)):
        if dy is not None and layer < len(masks):
            dy = dy * masks[layer]
        fields = {*wanted, "x"} if layer else {*wanted}
        if watch:
            fields.add("h")
        dx: Array | None = None
        for d in range(D):
            k = layer * D + d
            given = [None if dy is None else dy[:, :, d * H : (d + 1) * H]]
            if dstates:
                given += [None if state is None else state[k] for state in dstates]
            g = found[k] = function(caches[k], *given, wrt=fields)._asdict()
            dx_d, dh = g.pop("x"), g.pop("h")  # are not to outlive their use
            if watch:
                watch(k, caches[k], dh)
            dx = dx_d if dx is None else np.add(dx, dx_d, out=dx)
        dy = dx
    return dy if "x" in wanted else None, found
