"""The base of RNN, LSTM and GRU: a stack of one cell, with parameters of its own.

Letters as in `stack`. A layer works time-major; batch_first and the two directions are views of the
arrays that are handed in and out, not copies.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from .. import _core, checks, functional, reference
from ..layers.base import Forward, Gradients, State, StateLayer
from ..layers.dropout import dropout_mask
from ..layers.layout import Layout
from ..layers.parameters import uniform
from ..results import Array, Cache
from . import stack
from .cells import Cell
from .stream import Stream

_BACKENDS = {"compiled": functional, "reference": reference}
# Lengths, T and N to what functions take, checked and, where that pays, sorted.
_SORTED: dict[str, Callable[[Any, int, int], Any]] = {
    "compiled": _core.Lengths,
    "reference": lambda lengths, T, N: checks.lengths("lengths", lengths, N, T, "T"),
}

# Where set, told of each layer and direction k that a pullback goes through: the recurrent layer,
# k, its cache and dL/dh_t of all steps (T, N, H). So bptt.diagnostics sees into any container.
watcher: ContextVar[Callable[[Recurrent[Any], int, Cache, Array], None] | None] = ContextVar(
    "watcher", default=None
)


class Recurrent(StateLayer[State]):
    """What RNN, LSTM and GRU have in common; what follows here is part of their documentation too.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    num_layers : int
        L; layer l > 0 reads the y of layer l-1.
    bias : bool
        Whether there are bias_ih and bias_hh.
    batch_first : bool
        Whether x and y are (N, T, .) instead of (T, N, .); states are not affected.
    dropout : float
        Probability, in [0, 1], of zeroing an element of the y of each layer but the last, in train
        mode.
    bidirectional : bool
        Whether a second set of weights reads the sequence from its end; D is then 2, else 1.
    dtype : float32 or float64
    rng : None, int or numpy.random.Generator
        Source of the initial values, uniform in +-1/sqrt(H), and of dropout's masks.
    backend : {"compiled", "reference"}
        `bptt.functional` or `bptt.reference`.
    checkpoint_every : int, optional
        k: `vjp` keeps of each layer no more than its inputs and the state before every k-th step,
        and the pullback computes the rest again, k steps at a time. Gradients are the same, bit for
        bit; see `bptt.functional`.

    Notes
    -----
    `params` are, for layer k, weight_ih_lk (G*H, I or D*H), weight_hh_lk (G*H, H), bias_ih_lk and
    bias_hh_lk (G*H,), and the same with the suffix _reverse for the second direction.
    """

    _cell: ClassVar[Cell]
    _dy_axes = None  # the way back does without an array of zeros

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "_cell" in vars(cls) and cls.__doc__ and Recurrent.__doc__:  # there are none under -OO
            shared = inspect.cleandoc(Recurrent.__doc__).partition("\n")[2]
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__)}\n{shared}"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
        backend: str = "compiled",
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__()
        self.input_size = checks.size("input_size", input_size)
        self.hidden_size = checks.size("hidden_size", hidden_size)
        self.num_layers = checks.size("num_layers", num_layers)
        self.bias = checks.flag("bias", bias)
        self.batch_first = checks.flag("batch_first", batch_first)
        self.dropout = checks.real("dropout", dropout, 0, 1)
        self.bidirectional = checks.flag("bidirectional", bidirectional)
        self.dtype = checks.float_dtype(dtype)
        self._rng = checks.generator(rng)
        self.backend = checks.choice("backend", backend, _BACKENDS)
        self.checkpoint_every = checks.checkpoint_every(checkpoint_every, True)
        if self.dropout and self.num_layers == 1:
            kinds = (kind for kind in type(self).__mro__ if issubclass(kind, Recurrent))
            warnings.warn(
                f"dropout acts between layers: dropout={self.dropout} does nothing with "
                "num_layers=1",
                UserWarning,
                stacklevel=1 + sum("__init__" in vars(kind) for kind in kinds),  # the caller
            )
        self._directions = 2 if self.bidirectional else 1
        weights, biases = self._cell.weights, self._cell.biases
        self._weights = [name for name in weights if self.bias or name not in biases]
        # for each layer and direction; without biases those of biases have no array
        self._names = [self._names_of(k) for k in range(self.num_layers * self._directions)]
        bound = 1 / math.sqrt(self.hidden_size)
        self._params = uniform(self._shapes(), bound, self.dtype, self._rng)

    def stream(self, batch: int = 1) -> Stream:
        """Return the layer as a stream of steps, with a zero state.

        Parameters
        ----------
        batch : int
            N, the number of sequences that advance together.

        Returns
        -------
        Stream
            With a copy of the weights: changing them later does not reach it. It ignores dropout.

        Raises
        ------
        ValueError
            The layer is bidirectional or its backend is the reference, or batch is less than 1.
        TypeError
            batch is not an integer.
        """
        return Stream(self, batch)

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y and the final state, and keep nothing.

        Parameters
        ----------
        x : array (T, N, I), or (N, T, I) with batch_first
            Or unbatched (T, I); y and the states are then without the axis N.
        state : array (L*D, N, H), for LSTM a pair (h_0, c_0) of them, optional
            The initial state, zero by default.
        lengths : array of int (N,), optional
            Of the sequences, 0..T, in any order. Past its end a sequence's y is zero, and its final
            state is the one after its last step.

        Returns
        -------
        y : array (T, N, D*H), or (N, T, D*H) with batch_first
        state : like the argument

        Raises
        ------
        TypeError, ValueError
            An argument has the wrong type, dtype, shape or values.
        """
        x = checks.array("x", x, self.dtype)
        layout = Layout.of(x, "input_size", self.batch_first)
        below = layout.time_major(x)
        T, N, inputs = below.shape
        if inputs != self.input_size:
            raise ValueError(
                f"x has shape {x.shape}, must have a last axis of input_size = {self.input_size}"
            )
        states = () if state is None else self._split("state", state, N, layout.batched)
        if lengths is not None:
            layout.check_lengths(lengths)
            if len(self._names) > 1:  # once for all functions; one does it itself
                lengths = _SORTED[self.backend](lengths, T, N)
        functions, cell = _BACKENDS[self.backend], self._cell
        D, H = self._directions, self.hidden_size
        # only what differs from the defaults, to pass little
        options = self._options() if cell.options else {}
        options["training"] = keep
        if keep and self.checkpoint_every is not None:
            options["checkpoint_every"] = self.checkpoint_every
        masks: list[Array] = []
        if self.dropout and self.training:
            shape = (T, N, D * H)
            for _ in range(self.num_layers - 1):
                masks.append(dropout_mask(self._rng, self.dropout, shape, self.dtype))
        y: Array | None = None
        out: Array | None = None
        if self.batch_first:
            y = checks.empty((*x.shape[:-1], D * H), self.dtype)
            out = layout.time_major(y)
        weights = []
        for names in self._names:
            weights.append([*map(self._params.get, names.values())])
        above, ends, caches = stack.forward(
            functions, cell, below, weights, states, lengths, options, masks, out, H, D
        )
        if y is None:
            y = layout.given(above)
        back = partial(self._back, layout, N, y.shape, caches, masks) if keep else None
        return y, self._join(ends, layout.batched), back

    def _back(
        self,
        layout: Layout,
        N: int,
        shape: tuple[int, ...],
        caches: list[Cache],
        masks: list[Array],
        dy: Any,
        dstate: Any,
        wanted: frozenset[str],
    ) -> Gradients:
        if dy is not None:
            dy = checks.array("dy", dy, self.dtype)
            dy = layout.time_major(checks.shaped("dy", dy, "the shape of y", shape))
        functions, cell, watch = _BACKENDS[self.backend], self._cell, watcher.get()
        D, H = self._directions, self.hidden_size
        dstates = () if dstate is None else self._split("dstate", dstate, N, layout.batched)
        fields = []
        if "params" in wanted:
            fields += self._weights
        if "state" in wanted:
            fields += cell.initial
        if "x" in wanted:
            fields.append("x")
        told = partial(watch, self) if watch else None
        dx, found = stack.backward(functions, cell, caches, masks, dy, dstates, fields, told, H, D)
        start = params = None
        if "state" in wanted:
            starts = [[g[name] for name in cell.initial] for g in found]
            start = self._join(starts, layout.batched)
        if "params" in wanted:
            params = {}
            for names, g in zip(self._names, found, strict=True):
                for weight in self._weights:
                    params[names[weight]] = g[weight]
        return None if dx is None else layout.given(dx), start, params

    def _names_of(self, k: int) -> dict[str, str]:
        """Names of the parameters of layer and direction k, by those of the cell's weights."""
        layer, d = divmod(k, self._directions)
        end = f"_l{layer}{'_reverse' if d else ''}"
        kinds = {"w": "weight", "b": "bias"}
        return {name: f"{kinds[name[0]]}{name[1:]}{end}" for name in self._cell.weights}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by name."""
        D, H = self._directions, self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        for k, names in enumerate(self._names):
            of = self._cell.shapes(self.input_size if k < D else D * H, H)
            shapes.update({names[name]: of[name] for name in self._weights})
        return shapes

    def _options(self) -> dict[str, Any]:
        """What else the cell's forward function takes."""
        return {name: getattr(self, name) for name in self._cell.options}

    def _split(self, name: str, state: Any, N: int, batched: bool) -> list[Array | None]:
        """Check a state or its gradient: one array (L*D, N, H), or None, a part of it."""
        parts = self._cell.parts(name, state)
        LD, H, dtype = len(self._names), self.hidden_size, self.dtype
        shape = (LD, N, H) if batched else (LD, H)
        for i, part in enumerate(parts):
            if type(part) is not np.ndarray or part.shape != shape or part.dtype != dtype:
                parts[i] = self._state_part(
                    name if len(parts) == 1 else f"{name}[{i}]", part, shape
                )
        return parts if batched else [None if p is None else p[:, np.newaxis] for p in parts]

    def _state_part(self, label: str, part: Any, shape: tuple[int, ...]) -> Array | None:
        if part is None:
            return None
        axes = "(num_layers*D, N, H)" if len(shape) == 3 else "(num_layers*D, H)"
        return checks.shaped(label, checks.array(label, part, self.dtype), axes, shape)

    def _join(self, parts: Sequence[Sequence[Array]], batched: bool) -> Any:
        """The opposite of `_split`, from the parts of each layer and direction."""
        if len(parts) == 1:
            stacked = [part[None] if batched else part for part in parts[0]]
        else:
            join = np.stack if batched else np.concatenate
            stacked = [join(part) for part in zip(*parts, strict=True)]
        return stacked[0] if len(stacked) == 1 else tuple(stacked)
