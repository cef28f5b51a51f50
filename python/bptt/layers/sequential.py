"""A chain of layers that is itself a layer, and a table of what a model holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, overload

from .. import checks
from ..results import Array
from .base import Forward, Gradients
from .container import Container, check_batch_axes, check_layer, under
from .module import Module, RecurrentGradients, RecurrentPullback

State = tuple[Any, ...]


class Sequential(Container):
    """Layers one after the other, as torch.nn.Sequential; may itself stand in a Sequential.

    Parameters
    ----------
    *layers : Module
        At least one. Those that know where the batch lies (`batch_first`) must agree.

    Notes
    -----
    The state is a tuple with one entry a stateful layer, None for a zero state. `lengths` go to
    the layers that take them. Parameters are named by the place of their layer:
    "0.weight_ih_l0".
    """

    _kind = RecurrentGradients
    _dy_axes = None  # the last layer checks dy

    def __init__(self, *layers: Module) -> None:
        if not layers:
            raise TypeError("layers is empty, must be at least one layer")
        for i, layer in enumerate(layers):
            check_layer(f"layers[{i}]", layer)
        check_batch_axes(layers)
        super().__init__({str(i): layer for i, layer in enumerate(layers)})

    @property
    def layers(self) -> tuple[Module, ...]:
        """The layers in their order."""
        return tuple(self._layers.values())

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Module:
        return self.layers[index]

    def __repr__(self) -> str:
        lines = (f"({i}): {layer!r}" for i, layer in enumerate(self.layers))
        return "Sequential(\n  " + "\n".join(lines).replace("\n", "\n  ") + "\n)"

    @overload
    def __call__(
        self,
        x: Array,
        state: Any = None,
        *,
        lengths: Any = None,
        return_state: Literal[False] = False,
    ) -> Array: ...
    @overload
    def __call__(
        self, x: Array, state: Any = None, *, lengths: Any = None, return_state: Literal[True]
    ) -> tuple[Array, State]: ...
    def __call__(
        self, x: Array, state: Any = None, *, lengths: Any = None, return_state: bool = False
    ) -> Array | tuple[Array, State]:
        """Return y, or (y, state) with `return_state`, and keep nothing.

        Parameters
        ----------
        x : array
            What the first layer takes.
        state : tuple, optional
            One entry a stateful layer, None for a zero state; zero by default.
        lengths : array of int (N,), optional
            For the layers that take them.
        return_state : bool
            Whether to return the tuple of final states too.
        """
        return_state = checks.flag("return_state", return_state)
        y, end, _ = self._run_checked(x, state, lengths, keep=False)
        return (y, end) if return_state else y

    @overload
    def vjp(
        self,
        x: Array,
        state: Any = None,
        *,
        lengths: Any = None,
        return_state: Literal[False] = False,
    ) -> tuple[Array, RecurrentPullback]: ...
    @overload
    def vjp(
        self, x: Array, state: Any = None, *, lengths: Any = None, return_state: Literal[True]
    ) -> tuple[Array, State, RecurrentPullback]: ...
    def vjp(
        self, x: Array, state: Any = None, *, lengths: Any = None, return_state: bool = False
    ) -> tuple[Array, RecurrentPullback] | tuple[Array, State, RecurrentPullback]:
        """Return y, the final states with `return_state`, and the pullback.

        pullback(dy=None, dstate=None, wrt=None) returns `RecurrentGradients`, as that of
        `Recurrent.vjp` does; dstate and its field state are tuples like the state.
        """
        return_state = checks.flag("return_state", return_state)
        y, end, pullback = self._run_checked(x, state, lengths, keep=True)
        return (y, end, pullback) if return_state else (y, pullback)

    def _run_checked(self, x: Any, state: Any, lengths: Any, keep: bool) -> tuple[Any, Any, Any]:
        self._refuse_unused(state, lengths)
        return self._run(x, state, lengths, keep)

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        states = self._split("state", state)
        ends = []
        pullbacks = []
        for i, layer in enumerate(self.layers):
            try:
                x, end, pullback = layer._run(x, states[i], lengths, keep)
            except (TypeError, ValueError) as error:
                error.add_note(f"in layer {i} of Sequential, {layer!r}")
                raise
            pullbacks.append(pullback)
            if layer.stateful:
                ends.append(end)
        return x, tuple(ends), partial(self._back, pullbacks) if keep else None

    def _back(
        self, pullbacks: list[Any], dy: Any, dstate: Any, wanted: frozenset[str]
    ) -> Gradients:
        dstates = self._split("dstate", dstate)
        fields = [self._fields(layer, wanted) for layer in self.layers]
        # Gradients go down to the first layer that has something to give, and no further.
        first = next((i for i, field in enumerate(fields) if field), len(fields))
        starts = []
        params = []
        for i in reversed(range(first, len(fields))):
            if i > first:
                fields[i] |= {"x"}
            g = pullbacks[i](dy, dstates[i], fields[i])
            dy = g.x
            if "params" in wanted:
                params.append(under(str(i), g.params or {}))
            if "state" in fields[i]:
                starts.append(g.state)
        return (
            dy if "x" in wanted else None,
            tuple(reversed(starts)) if "state" in wanted else None,
            {name: da for layer in reversed(params) for name, da in layer.items()}
            if "params" in wanted
            else None,
        )

    @staticmethod
    def _fields(layer: Module, wanted: frozenset[str]) -> set[str]:
        """What a layer has of what is wanted."""
        has = {"x": True, "state": layer.stateful, "params": bool(layer.params)}
        return {field for field in wanted if has[field]}

    def _split(self, name: str, state: Any) -> list[Any]:
        """One entry a layer, None where it has no state or gets none."""
        count = sum(layer.stateful for layer in self.layers)
        if state is None:
            state = (None,) * count
        if not isinstance(state, tuple | list):
            raise TypeError(
                f"{name} is {checks.described(state)}, must be a tuple of {count} entries, "
                "one for each stateful layer"
            )
        if len(state) != count:
            raise ValueError(
                f"{name} has {len(state)} entries, must have {count}, one for each stateful layer"
            )
        entries = iter(state)
        return [next(entries) if layer.stateful else None for layer in self.layers]


def summary(model: Module) -> None:
    """Print a table of the parameters of a model: shapes, counts, bytes.

    Parameters
    ----------
    model : Module
        A layer or a Sequential.
    """
    params = model.params
    rows = [
        (name, str(array.shape), f"{array.size:,}", f"{array.nbytes:,}")
        for name, array in params.items()
    ]
    total = sum(array.nbytes for array in params.values())
    rows.append(("total", "", f"{model.num_parameters():,}", f"{total:,}"))
    rows.insert(0, ("parameter", "shape", "numbers", "bytes"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print(repr(model))
    for name, shape, numbers, size in rows:
        print(
            f"{name:<{widths[0]}}  {shape:<{widths[1]}}  "
            f"{numbers:>{widths[2]}}  {size:>{widths[3]}}"
        )
