"""A residual connection around a layer: gradients have a way past it that changes nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import checks
from ..results import Array
from .base import Forward, Gradients
from .container import Container, check_layer, under
from .module import LayerGradients, Module, RecurrentGradients


class Residual(Container):
    """y = x + layer(x).

    He et al. (2016), "Deep Residual Learning for Image Recognition". The block of a Transformer is
    Residual(Sequential(LayerNorm(...), layer)).

    Parameters
    ----------
    layer : Module
        Its y must have the shape of its x. A state and lengths are passed on to it where it takes
        them; what it gives past the end of a sequence is zero in the layers here, so y is x there.

    Notes
    -----
    Parameters are named "layer.name". As for any layer, a call returns (y, state) if the layer has
    a state (`stateful`), else y.
    """

    def __init__(self, layer: Module) -> None:
        check_layer("layer", layer)
        super().__init__({"layer": layer})
        self._kind = RecurrentGradients if self.stateful else LayerGradients

    @property
    def layer(self) -> Module:
        """The layer inside."""
        return self._layers["layer"]

    def __call__(self, x: Array, state: Any = None, *, lengths: Any = None) -> Any:
        """Return y, or (y, state) if the layer is stateful, and keep nothing.

        Parameters
        ----------
        x : array, float32 or float64
            What the layer takes.
        state : optional
            The layer's.
        lengths : array of int (N,), optional
            For a layer that takes them.
        """
        self._refuse_unused(state, lengths)
        y, end, _ = self._run(x, state, lengths, keep=False)
        return (y, end) if self.stateful else y

    def vjp(self, x: Array, state: Any = None, *, lengths: Any = None) -> Any:
        """Return what a call returns, and the pullback.

        pullback(dy=None, wrt=None) returns `LayerGradients`; if the layer is stateful,
        pullback(dy=None, dstate=None, wrt=None) returns `RecurrentGradients`.
        """
        self._refuse_unused(state, lengths)
        y, end, pullback = self._run(x, state, lengths, keep=True)
        if self.stateful:
            return y, end, pullback
        return y, lambda dy=None, wrt=None: pullback(dy, None, wrt)

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        x = checks.float_array("x", x)
        y, end, pullback = self.layer._run(x, state, lengths, keep)
        if y.shape != x.shape:
            raise ValueError(f"layer gives y of shape {y.shape}, must be that of x = {x.shape}")
        # not in place: a layer of one's own may have kept y, or return its last step as the state
        return x + y, end, partial(self._back, pullback) if keep else None

    def _back(self, pullback: Any, dy: Array, dstate: Any, wanted: frozenset[str]) -> Gradients:
        """The layer's gradients, with dx = dy + the layer's dx."""
        g = pullback(dy, dstate, wanted)
        return (
            None if g.x is None else dy + g.x,
            g.state if self.stateful else None,
            None if g.params is None else under("layer", g.params),
        )
