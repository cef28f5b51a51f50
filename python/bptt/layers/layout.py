"""How sequences lie in the caller's arrays, and their time-major view, which layers work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import _arguments
from ..results import Array

Lengths = NDArray[np.intp]  # (N,), checked


class Layout(NamedTuple):
    """(T, N, .), or (N, T, .) if batch_first, or (T, .) if not batched."""

    batched: bool
    batch_first: bool

    @staticmethod
    def of(x: Array, width: str, batch_first: bool, name: str = "x") -> Layout:
        """Return the layout of x; raise unless its rank is 2 or 3. `width` names its last axis."""
        layout = _LAYOUTS.get((x.ndim, batch_first))
        if layout is None:
            axes = "N, T" if batch_first else "T, N"
            raise ValueError(
                f"{name} has shape {x.shape}, must be ({axes}, {width}) or unbatched (T, {width})"
            )
        return layout

    def time_major(self, given: Array) -> Array:
        """View the caller's array as (T, N, .)."""
        if not self.batched:
            return given[:, np.newaxis]
        return given.swapaxes(0, 1) if self.batch_first else given

    def given(self, time_major: Array) -> Array:
        """View (T, N, .) as the caller's arrays are."""
        if not self.batched:
            return time_major[:, 0]
        return time_major.swapaxes(0, 1) if self.batch_first else time_major

    def check_lengths(self, lengths: object, name: str = "x") -> None:
        """Raise if there are lengths and x is a single sequence."""
        if lengths is not None and not self.batched:
            raise ValueError(f"lengths is given, must be None with an unbatched {name}")

    def lengths(self, value: object, x: Array, name: str = "x") -> Lengths | None:
        """Check the lengths of the sequences in x, None if all are T."""
        self.check_lengths(value, name)
        T, N, *_ = self.time_major(x).shape
        return _arguments.lengths(value, T, N)

    def cleared(self, x: Array, lengths: Lengths | None) -> Array:
        """Return x with zeros past the end of each sequence, where it may hold anything."""
        if lengths is None:
            return x
        cleared = np.zeros(x.shape, x.dtype)
        steps = self.time_major(x)
        there = inside(lengths, len(steps))[..., np.newaxis]
        np.copyto(self.time_major(cleared), steps, where=there)
        return cleared


def inside(lengths: Lengths, T: int) -> NDArray[np.bool_]:
    """Return (T, N): whether sequence n has a step t."""
    return np.arange(T)[:, np.newaxis] < lengths


_LAYOUTS = {
    (2 + batched, first): Layout(batched, first)
    for batched in (False, True)
    for first in (False, True)
}
