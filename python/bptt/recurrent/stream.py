"""Step by step through layers, the weights packed once and the state held between calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _arguments, _checks, _core
from ..layers.layout import Layout
from ..results import Array

if TYPE_CHECKING:
    from .base import Recurrent


class Stream(_core.Stream):
    """What `layer.stream(batch)` returns: the layer's forward pass, one step or a block at a time.

    The weights are copied when it is made: later changes of the layer's parameters do not reach it.
    A layer's two biases are added then, as `set_flush_denormal` stands at that moment. There is no
    dropout, whatever the layer's mode. All work is done by the calling thread, and the
    bits are those of the layer's call for the whole sequence.

    `step(x, out=None)` advances all sequences by one step. x is (N, I), or (I,) with a batch of 1;
    the y it returns, (N, H) or (H,), is the last layer's. It is written to `out` if that is given,
    and then nothing is allocated, provided that x and `out` are contiguous arrays of the layer's
    dtype and share no memory. It takes no lock but the interpreter's, which it keeps.
    """

    def __init__(self, layer: Recurrent[Any], batch: int) -> None:
        if layer.bidirectional:
            raise ValueError("bidirectional is True, must be False: a stream does not know the end")
        if layer.backend != "compiled":
            raise ValueError(f"backend is {layer.backend!r}, must be 'compiled' for a stream")
        params, fours = layer.params, layer._fours
        self._start(
            layer._cell,
            [[params[name].copy() if name in params else None for name in four] for four in fours],
            _checks.as_size("batch", batch),
            layer._options(),
            layer.batch_first,
        )

    def _start(
        self,
        cell: str,
        weights: list[list[Array | None]],
        batch: int,
        options: dict[str, Any],
        batch_first: bool,
    ) -> None:
        self._made_of = (cell, weights, batch, options, batch_first)
        first = weights[0][0]
        assert first is not None
        gates, (rows, inputs) = {"rnn": 1, "gru": 3, "lstm": 4}[cell], first.shape
        self._layout = Layout(True, batch_first)
        self._shape = (len(weights), batch, rows // gates)
        _checks.empty(self._shape, first.dtype)  # a MemoryError, if no memory holds a state
        self._inputs, self._dtype, self._pair = inputs, first.dtype, cell == "lstm"
        super().__init__(
            cell, weights, batch, options.get("nonlinearity", "tanh"), options.get("slope", 0.0)
        )

    def __repr__(self) -> str:
        cell, _, batch, _, _ = self._made_of
        layers, _, hidden = self._shape
        return f"<Stream of {cell.upper()}({self._inputs}, {hidden}, {layers}), batch={batch}>"

    def steps(self, x: Any, out: Array | None = None) -> Array:
        """Advance by a block of T steps in one call, which keeps the interpreter lock.

        Parameters
        ----------
        x : array (T, N, I), or (N, T, I) if the layer is batch_first, or (T, I) with a batch of 1
        out : array, optional
            Where y is written; it has y's shape and the layer's dtype, and its last axis is
            contiguous.

        Returns
        -------
        array (T, N, H), (N, T, H) or (T, H)
            The last layer's y of each step.

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type, dtype or shape. Whatever is raised, also by a signal's
            handler in a long call, the state is as before.
        """
        _, batch, hidden = self._shape
        x = _checks.as_array("x", x, self._dtype)
        layout = Layout.of(x, "input_size", self._layout.batch_first)
        if not layout.batched and batch != 1:
            raise ValueError(f"x has shape {x.shape}, must have three axes, the batch is {batch}")
        below = layout.time_major(x)
        if below.shape[1:] != (batch, self._inputs):
            axes = "(N, T, I)" if layout.batch_first else "(T, N, I)"
            raise ValueError(
                f"x has shape {x.shape}, must be {axes} with N = {batch} and I = {self._inputs}"
            )
        shape = (*x.shape[:-1], hidden)
        if out is None:
            out = _checks.empty(shape, self._dtype)
        elif not isinstance(out, np.ndarray):
            raise TypeError(f"out is {_arguments.described(out)}, must be a {self._dtype} array")
        elif out.dtype != self._dtype:
            raise TypeError(f"out has dtype {out.dtype}, must be {self._dtype}")
        elif out.shape != shape:
            raise ValueError(f"out has shape {out.shape}, must be {shape}")
        super().steps(below, layout.time_major(out))
        return out

    @property
    def state(self) -> Any:
        """The state after the last step, copied: (L, N, H), for the LSTM a pair (h, c).

        It may be set to arrays of the same shapes, which are copied. None is zero, also in a pair.
        """
        parts = self.get_state()
        return tuple(parts) if self._pair else parts[0]

    @state.setter
    def state(self, state: Any) -> None:
        if state is None and self._pair:
            state = (None, None)
        parts = state if self._pair else (state,)
        if not isinstance(parts, tuple | list) or len(parts) != 1 + self._pair:
            raise TypeError(f"state is {_arguments.described(state)}, must be a pair (h, c)")
        zeros = np.zeros(self._shape, self._dtype)
        self.set_state(*(zeros if part is None else part for part in parts))

    def reset(self, rows: Any = None) -> None:
        """Set the state of all sequences to zero, or of those in `rows`.

        Parameters
        ----------
        rows : int, slice, or array of int or bool, optional
            Which of the N sequences, as an index of an array's axis.

        Raises
        ------
        IndexError
            A row is out of range, or `rows` is no index.
        """
        if isinstance(rows, tuple):
            raise IndexError(f"rows is {rows}, must be an index of one axis")
        chosen = np.zeros(self._shape[1], bool)
        chosen[slice(None) if rows is None else rows] = True
        self.clear(chosen)

    def __getstate__(self) -> dict[str, Any]:
        return {"made_of": self._made_of, "state": self.get_state()}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self._start(*kept["made_of"])
        self.set_state(*kept["state"])
