"""The base of RNN, LSTM and GRU: layers and directions over the forward and backward of one cell.

Letters as in `bptt.functional`, and L layers, D directions. A layer works time-major; batch_first
and the two directions are views of the arrays that are handed in and out, not copies.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from .. import _arguments, _checks, functional, reference
from ..layers.dropout import dropout_mask
from ..layers.layout import Layout
from ..layers.module import Module, RecurrentGradients, RecurrentPullback
from ..layers.parameters import uniform
from ..results import Array, Cache
from .stream import Stream

State = TypeVar("State")

_BACKENDS = {"compiled": functional, "reference": reference}

# Where set, told of each layer and direction k that a pullback goes through: the recurrent layer,
# k, its cache and dL/dh_t of all steps (T, N, H). So bptt.diagnostics sees into any container.
watcher: ContextVar[Callable[[Recurrent[Any], int, Cache, Array], None] | None] = ContextVar(
    "watcher", default=None
)


class _Tape(NamedTuple):
    """What a call keeps for its pullbacks."""

    layout: Layout
    shape: tuple[int, ...]  # of y
    caches: list[Cache]  # (L*D), layer by layer
    masks: list[Array | None]  # (L), dropout of each layer's y


class Recurrent(Module, Generic[State]):
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

    stateful = True
    takes_lengths = True

    _cell: ClassVar[str]
    _gates: ClassVar[int]
    _states: ClassVar[tuple[str, ...]] = ("h_0",)
    _forward_name: ClassVar[str]
    _backward_name: ClassVar[str]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "_cell" in vars(cls):
            cls._forward_name, cls._backward_name = f"{cls._cell}_forward", f"{cls._cell}_backward"
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
        self.input_size = _checks.as_size("input_size", input_size)
        self.hidden_size = _checks.as_size("hidden_size", hidden_size)
        self.num_layers = _checks.as_size("num_layers", num_layers)
        self.bias = _arguments.flag("bias", bias)
        self.batch_first = _arguments.flag("batch_first", batch_first)
        self.dropout = _checks.as_real("dropout", dropout, 0, 1)
        self.bidirectional = _arguments.flag("bidirectional", bidirectional)
        self.dtype = _checks.as_dtype(dtype)
        self._rng = _checks.as_rng(rng)
        self.backend = _checks.as_choice("backend", backend, _BACKENDS)
        self.checkpoint_every = _arguments.checkpoint_every(checkpoint_every, True)
        if self.dropout and self.num_layers == 1:
            warnings.warn(
                f"dropout acts between layers: dropout={self.dropout} does nothing with "
                "num_layers=1",
                UserWarning,
                stacklevel=2 if type(self).__init__ is Recurrent.__init__ else 3,
            )
        self._directions = 2 if self.bidirectional else 1
        # of each layer and direction; without biases two of the four have no array
        self._fours = [self._four_names(k) for k in range(self.num_layers * self._directions)]
        bound = 1 / math.sqrt(self.hidden_size)
        self._params = uniform(self._shapes(), bound, self.dtype, self._rng)

    def __call__(
        self, x: Array, state: State | None = None, *, lengths: Any = None
    ) -> tuple[Array, State]:
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
        return self._forward(x, state, lengths, False)[:2]

    def vjp(
        self, x: Array, state: State | None = None, *, lengths: Any = None
    ) -> tuple[Array, State, RecurrentPullback]:
        """Return y and the final state, as a call does, and their pullback.

        pullback(dy=None, dstate=None, wrt=None) takes the gradients of y and of the final state, in
        their shapes, None for zero, and returns `RecurrentGradients`: x, state, and params by name.
        wrt is a collection of "x", "state", "params"; a field left out is None and costs nothing.
        It may be called more than once. It refers to x and the parameters: changing them before
        its last call is the caller's error.
        """
        y, end, layout, caches, masks = self._forward(x, state, lengths, True)
        tape = _Tape(layout, y.shape, caches, masks)
        return y, end, partial(self._backward, tape)

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

    def _forward(
        self, x: Any, state: Any, lengths: Any, keep: bool
    ) -> tuple[Array, Any, Layout, list[Cache], list[Array | None]]:
        x = _checks.as_array("x", x, self.dtype)
        layout = Layout.of(x, "input_size", self.batch_first)
        below = layout.time_major(x)
        T, N, inputs = below.shape
        if inputs != self.input_size:
            raise ValueError(
                f"x has shape {x.shape}, must have a last axis of input_size = {self.input_size}"
            )
        states = self._split("state", state, N, layout.batched)
        D, H, top = self._directions, self.hidden_size, self.num_layers - 1
        weight = self._params.get
        forward = getattr(_BACKENDS[self.backend], self._forward_name)
        options = self._options()  # only what differs from the defaults, to pass little
        options["training"] = keep
        if keep and self.checkpoint_every is not None:
            options["checkpoint_every"] = self.checkpoint_every
        if lengths is not None:
            layout.check_lengths(lengths)
            options["lengths"] = lengths
        caches: list[Cache] = []
        masks: list[Array | None] = []
        ends: list[Sequence[Array]] = []
        y: Array | None = None  # a function makes its own, unless it is to lie in another way
        for layer in range(top + 1):
            above: Array | None = None
            if self.batch_first and layer == top:
                y = _checks.empty((*x.shape[:-1], D * H), self.dtype)
                above = layout.time_major(y)
            elif D > 1:
                above = _checks.empty((T, N, D * H), self.dtype)
            for d in range(D):
                k = layer * D + d
                initial = [None if part is None else part[k] for part in states]
                if above is not None:
                    options["out"] = above[:, :, d * H : (d + 1) * H]
                    options["reverse"] = d == 1
                result = forward(below, *map(weight, self._fours[k]), *initial, **options)
                caches.append(result[-1])
                ends.append(result[1:-1])
            if above is None:
                above = result[0]
            mask = None
            if self.dropout and self.training and layer < top:
                mask = dropout_mask(self._rng, self.dropout, above.shape, self.dtype)
                above *= mask
            masks.append(mask)
            below = above
        if y is None:
            y = layout.given(below)
        return y, self._join(ends, layout.batched), layout, caches, masks

    def _backward(
        self, tape: _Tape, dy: Any = None, dstate: Any = None, wrt: Any = None
    ) -> RecurrentGradients:
        layout = tape.layout
        if dy is not None:
            dy = _arguments.shaped(
                "dy", _checks.as_array("dy", dy, self.dtype), "the shape of y", tape.shape
            )
            dy = layout.time_major(dy)
        N = tape.shape[0 if layout.batch_first else 1] if layout.batched else 1
        dstates = self._split("dstate", dstate, N, layout.batched)
        wanted = _arguments.wrt(wrt, RecurrentGradients._fields)
        backward = getattr(_BACKENDS[self.backend], self._backward_name)
        watch = watcher.get()
        D, H = self._directions, self.hidden_size
        params: dict[str, Array] = {}
        starts: list[Sequence[Array]] = [()] * (self.num_layers * D)
        for layer in reversed(range(self.num_layers) if wanted else ()):
            mask = tape.masks[layer]
            if mask is not None:
                dy = dy * mask
            fields = self._fields(wanted, layer)
            if watch:
                fields |= {"h"}
            dx: Array | None = None
            for d in range(D):
                k = layer * D + d
                g = backward(
                    tape.caches[k],
                    None if dy is None else dy[:, :, d * H : (d + 1) * H],
                    *(None if final is None else final[k] for final in dstates),
                    wrt=fields,
                )
                names = self._fours[k][: 4 if self.bias else 2]
                params.update(zip(names, g[1 : 1 + len(names)], strict=True))
                starts[k] = g[5:-1]
                if watch:
                    watch(self, k, tape.caches[k], g.h)
                dx = g.x if dx is None else np.add(dx, g.x, out=dx)
            dy = dx
        return RecurrentGradients(
            layout.given(dy) if "x" in wanted else None,
            self._join(starts, layout.batched) if "state" in wanted else None,
            {name: params[name] for name in self._params} if "params" in wanted else None,
        )

    def _four_names(self, k: int) -> list[str]:
        """Names of w_ih, w_hh, b_ih and b_hh of layer and direction k."""
        layer, d = divmod(k, self._directions)
        end = f"_l{layer}{'_reverse' if d else ''}"
        return [f"{kind}{end}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by name."""
        D, H = self._directions, self.hidden_size
        rows = self._gates * H
        shapes: dict[str, tuple[int, ...]] = {}
        for k in range(self.num_layers * D):
            inputs = self.input_size if k < D else D * H
            four = ((rows, inputs), (rows, H), (rows,), (rows,))
            names = self._fours[k][: 4 if self.bias else 2]
            shapes.update(zip(names, four, strict=False))
        return shapes

    def _options(self) -> dict[str, Any]:
        """What else the cell's forward function takes."""
        return {}

    def _fields(self, wanted: frozenset[str], layer: int) -> frozenset[str]:
        """The gradients that the backward function of one layer has to give."""
        fields: list[str] = []
        if layer > 0 or "x" in wanted:
            fields += ["x"]
        if "params" in wanted:
            fields += ["w_ih", "w_hh", "b_ih", "b_hh"][: 4 if self.bias else 2]
        if "state" in wanted:
            fields += self._states
        return frozenset(fields)

    def _split(self, name: str, state: Any, N: int, batched: bool) -> list[Array | None]:
        """Check a state or its gradient: one array (L*D, N, H), or None, a part of it."""
        if state is None:
            return [None] * len(self._states)
        parts = [state]
        if len(self._states) > 1:
            if not isinstance(state, tuple | list) or len(state) != len(self._states):
                raise TypeError(f"{name} is {_arguments.described(state)}, must be a pair (h, c)")
            parts = [*state]
        LD, H, dtype = len(self._fours), self.hidden_size, self.dtype
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
        return _arguments.shaped(label, _checks.as_array(label, part, self.dtype), axes, shape)

    def _join(self, parts: Sequence[Sequence[Array]], batched: bool) -> Any:
        """The opposite of `_split`, from the parts of each layer and direction."""
        if len(parts) == 1:
            stacked = [part[None] if batched else part for part in parts[0]]
        else:
            join = np.stack if batched else np.concatenate
            stacked = [join(part) for part in zip(*parts, strict=True)]
        return stacked[0] if len(stacked) == 1 else tuple(stacked)
