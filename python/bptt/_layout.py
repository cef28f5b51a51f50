"""How sequences lie in the caller's arrays, and their time-major view, which layers work on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .results import Array


class Layout(NamedTuple):
    """(T, N, .), or (N, T, .) if batch_first, or (T, .) if not batched."""

    batched: bool
    batch_first: bool

    @staticmethod
    def of(x: Array, width: str, batch_first: bool) -> Layout:
        """Return the layout of x; raise unless its rank is 2 or 3. `width` names its last axis."""
        layout = _LAYOUTS.get((x.ndim, batch_first))
        if layout is None:
            axes = "N, T" if batch_first else "T, N"
            raise ValueError(
                f"x has shape {x.shape}, must be ({axes}, {width}) or unbatched (T, {width})"
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

    def check_lengths(self, lengths: object) -> None:
        """Raise if there are lengths and x is a single sequence."""
        if lengths is not None and not self.batched:
            raise ValueError("lengths is given, must be None with an unbatched x")


_LAYOUTS = {
    (2 + batched, first): Layout(batched, first)
    for batched in (False, True)
    for first in (False, True)
}
