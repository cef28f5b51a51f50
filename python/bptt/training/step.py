"""The one function that joins a model and a loss into a training step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypedDict, Unpack, overload

from .. import checks
from ..layers.module import Module
from ..results import Array

Loss = Callable[[Array, Any], tuple[Any, Array]]


class _Options(TypedDict, total=False):
    """What a step may be given whether or not it returns its state."""

    lengths: Any
    state: Any


class Step(Protocol):
    """What `value_and_grad` returns."""

    @overload
    def __call__(
        self, x: Array, target: Any, *, return_state: Literal[False] = ..., **more: Unpack[_Options]
    ) -> tuple[Any, dict[str, Array]]: ...
    @overload
    def __call__(
        self, x: Array, target: Any, *, return_state: Literal[True], **more: Unpack[_Options]
    ) -> tuple[Any, dict[str, Array], Any]: ...


def value_and_grad(model: Module, loss: Loss) -> Step:
    """Return a step that computes a loss and the gradients of all parameters.

    Parameters
    ----------
    model : Module
        A layer or a Sequential. Its mode (train or eval) is left as it is.
    loss : callable
        f(y, target) -> (value, dy), such as `cross_entropy`; fix options with functools.partial.

    Returns
    -------
    step : callable
        ``step(x, target, *, lengths=None, state=None, return_state=False)`` returns (value, grads),
        or (value, grads, state) with `return_state`. grads is a dict by the names of
        `model.params`, for an optimiser. No gradient flows into the state that is given: handing
        the state on from chunk to chunk of a sequence is truncated back-propagation through time.
    """
    checks.instance("model", model, Module, "a layer of bptt")
    if not callable(loss):
        raise TypeError(f"loss is {checks.described(loss)}, must be a function f(y, target)")

    def step(
        x: Array,
        target: Any,
        *,
        lengths: Any = None,
        state: Any = None,
        return_state: bool = False,
    ) -> tuple[Any, ...]:
        return_state = checks.flag("return_state", return_state)
        model._refuse_unused(state, lengths)
        y, end, pullback = model._run(x, state, lengths, keep=True)
        value, dy = loss(y, target)
        grads = pullback(dy, None, ("params",)).params
        return (value, grads, end) if return_state else (value, grads)

    return step
