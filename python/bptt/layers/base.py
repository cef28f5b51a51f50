"""What stands between a layer and its callers: from the one method `_forward`, all that they see.

A layer derives from the class that has its arguments: `Layer` (x), `LengthsLayer` (x, lengths) or
`StateLayer` (x, state, lengths). Containers, which have signatures of their own, call layers by
`_run` and are called by it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from types import FunctionType
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from .. import checks
from ..results import Array
from .module import LayerGradients, Module, Pullback, RecurrentGradients, RecurrentPullback

State = TypeVar("State")
_Method = TypeVar("_Method", bound=Callable[..., Any])

# back(dy, dstate, wanted) -> gradients of x, state and parameters, None where not in `wanted`
Gradients = tuple[Array | None, Any, dict[str, Array] | None]
Back = Callable[[Any, Any, frozenset[str]], Gradients]
Forward = tuple[Any, Any, Back | None]  # y, the new state, and the way back where it is to be kept


class OneMethod(Module):
    """A layer that is written as one method, `_forward`."""

    _kind: type[LayerGradients] | type[RecurrentGradients] = LayerGradients
    # How messages tell the shape that dy must have, y's. None: dy reaches `back` unchecked, and
    # None, which is zero, is not made an array.
    _dy_axes: ClassVar[str | None] = "the shape of y"

    def _forward(self, x: Any, state: Any, lengths: Any, keep: bool) -> Forward:
        """Return y, the new state and, if `keep`, the way back; arguments are as the caller's."""
        raise NotImplementedError

    def _run(self, x: Any, state: Any, lengths: Any, keep: bool) -> tuple[Any, Any, Any]:
        y, end, back = self._forward(x, state, lengths, keep)
        if back is None:
            return y, end, None
        like = None if self._dy_axes is None else (y.shape, y.dtype)
        return y, end, partial(self._pullback, back, like)

    def _pullback(
        self,
        back: Back,
        like: tuple[tuple[int, ...], np.dtype[Any]] | None,
        dy: Any = None,
        dstate: Any = None,
        wrt: Any = None,
    ) -> LayerGradients | RecurrentGradients:
        if like is not None:
            dy = checks.gradient("dy", dy, like[1], cast(str, self._dy_axes), like[0])
        dx, dstate, params = back(dy, dstate, checks.wrt(wrt, self._kind._fields))
        if self._kind is LayerGradients:
            return LayerGradients(dx, params)
        return RecurrentGradients(dx, dstate, params)


class _Called(OneMethod):
    """What a class that gives `_forward`, `__call__` or `vjp` gets besides."""

    _is_written: ClassVar[bool] = False  # anew, in a layer of one's own: a call, or vjp
    _call_is_vjp: ClassVar[bool] = False  # also where a layer of one's own has another vjp

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_forward" in vars(cls) and hasattr(cls.__call__, "of_one_method"):
            cls.__call__ = _documented(cls.__call__, cls._forward.__doc__)  # type: ignore[method-assign]
        if cls._call_is_vjp and not hasattr(cls.vjp, "of_one_method"):
            cls.__call__ = _call_by_vjp  # type: ignore[method-assign]
        made = (hasattr(method, "of_one_method") for method in (cls.__call__, cls.vjp))
        cls._is_written = not all(made)

    def _run(self, x: Any, state: Any, lengths: Any, keep: bool) -> tuple[Any, Any, Any]:
        if self._is_written or "vjp" in vars(self):
            return Module._run(self, x, state, lengths, keep)
        return OneMethod._run(self, x, state, lengths, keep)


def _made(method: _Method) -> _Method:
    """Mark a call or a vjp as made of `_forward`."""
    method.of_one_method = True  # type: ignore[attr-defined]
    return method


class Layer(_Called):
    """y of x."""

    @_made
    def __call__(self, x: Any) -> Array:
        return cast(Array, self._forward(x, None, None, False)[0])

    @_made
    def vjp(self, x: Any) -> tuple[Array, Pullback]:
        """Return y and its pullback(dy=None, wrt=None); wrt is a collection of "x", "params"."""
        y, _, pullback = OneMethod._run(self, x, None, None, True)
        return y, lambda dy=None, wrt=None: pullback(dy, None, wrt)


class LengthsLayer(_Called):
    """y of x and the lengths of its sequences."""

    takes_lengths = True

    @_made
    def __call__(self, x: Any, *, lengths: Any = None) -> Array:
        return cast(Array, self._forward(x, None, lengths, False)[0])

    @_made
    def vjp(self, x: Any, *, lengths: Any = None) -> tuple[Array, Pullback]:
        """Return y and its pullback(dy=None, wrt=None); wrt is a collection of "x", "params"."""
        y, _, pullback = OneMethod._run(self, x, None, lengths, True)
        return y, lambda dy=None, wrt=None: pullback(dy, None, wrt)


class StateLayer(_Called, Generic[State]):
    """y and the new state of x, a state and lengths."""

    stateful = True
    takes_lengths = True
    _kind = RecurrentGradients

    @_made
    def __call__(
        self, x: Any, state: State | None = None, *, lengths: Any = None
    ) -> tuple[Array, State]:
        return self._forward(x, state, lengths, False)[:2]

    @_made
    def vjp(
        self, x: Any, state: State | None = None, *, lengths: Any = None
    ) -> tuple[Array, State, RecurrentPullback]:
        """Return y and the final state, as a call does, and their pullback.

        pullback(dy=None, dstate=None, wrt=None) takes the gradients of y and of the final state, in
        their shapes, None for zero, and returns `RecurrentGradients`: x, state, and params by name.
        wrt is a collection of "x", "state", "params"; a field left out is None and costs nothing.
        It may be called more than once. It refers to x and the parameters: changing them before
        its last call is the caller's error.
        """
        return OneMethod._run(self, x, state, lengths, True)


def no_params(wanted: frozenset[str]) -> dict[str, Array] | None:
    """Return the gradients of the parameters of a layer that has none."""
    return {} if "params" in wanted else None


def _documented(method: Any, doc: str | None) -> Any:
    """Return a copy of a method with another docstring."""
    new = FunctionType(method.__code__, method.__globals__, method.__name__, method.__defaults__)
    new.__kwdefaults__ = method.__kwdefaults__
    update_wrapper(new, method)
    new.__doc__ = doc
    return new


def _call_by_vjp(self: Module, x: Any, **options: Any) -> Any:
    """Return the y of vjp."""
    return self.vjp(x, **options)[0]
