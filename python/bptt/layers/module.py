"""What all layers are: named parameters, a train or eval mode, and saving and loading by name."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np

from .. import checks
from ..results import Array


class LayerGradients(NamedTuple):
    """Gradients of a layer without state; None where `wrt` left a field out."""

    x: Array | None
    params: dict[str, Array] | None


class RecurrentGradients(NamedTuple):
    """Gradients of a layer with state; None where `wrt` left a field out.

    `state` is shaped like the layer's state: an array, for LSTM a pair, for Sequential a tuple.
    """

    x: Array | None
    state: Any
    params: dict[str, Array] | None


Pullback = Callable[..., LayerGradients]
RecurrentPullback = Callable[..., RecurrentGradients]


class Module:
    """Base of all layers and containers.

    A layer of your own derives from it, fills `self._params` in its constructor and defines
    `__call__(x)`, which keeps nothing, and `vjp(x)`, which returns (y, pullback) where
    pullback(dy=None, wrt=None) returns `LayerGradients`. With `stateful = True` they are
    `__call__(x, state=None) -> (y, state)` and `vjp(x, state=None) -> (y, state, pullback)` where
    pullback(dy=None, dstate=None, wrt=None) returns `RecurrentGradients`. With
    `takes_lengths = True` both have the keyword argument `lengths`. If its y has no entry for each
    step of x, `keeps_steps` is False. To be saved, it keeps each argument of its constructor but
    `rng` as an attribute of the same name.

    Attributes
    ----------
    training : bool
        Whether dropout acts. True for a new layer; set by `train` and `eval`.
    stateful : bool
        Whether the layer takes and returns a state.
    takes_lengths : bool
        Whether the layer has the argument `lengths`.
    keeps_steps : bool or None
        Whether y has an entry for each step of x, on the same axes. None: as it follows from the
        layers that this one is made of, none of which may drop the steps. It may be set.
    """

    stateful: bool = False
    takes_lengths: bool = False
    keeps_steps: bool | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in vars(cls):
            cls.__init__ = _inherited_init(cls)  # type: ignore[method-assign]

    def __init__(self) -> None:
        self.training = True
        self._params: dict[str, Array] = {}

    def __repr__(self) -> str:
        """The call that makes such a layer: what it must be given, and what is not as by default.

        Arguments are read from the attributes of the same names.
        """
        arguments = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name, parameter.default)
            if parameter.default is parameter.empty:
                arguments.append("..." if value is parameter.empty else repr(value))
            elif name != "rng" and np.any(value != parameter.default):
                arguments.append(f"{name}={str(value) if name == 'dtype' else value!r}")
        return f"{type(self).__name__}({', '.join(arguments)})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return y, or (y, state) where the layer has a state, and keep nothing."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    def vjp(self, *args: Any, **kwargs: Any) -> Any:
        """Return what a call returns, and the pullback: the layer's gradients from those of y."""
        raise NotImplementedError(f"{type(self).__name__} does not define vjp")

    @property
    def params(self) -> Mapping[str, Array]:
        """The live arrays by name.

        Write into an array (`layer.params["bias"][:] = 0`) to change the layer. The mapping itself
        is read-only: a new array under an old name would be unknown to the optimiser.
        """
        return MappingProxyType(self._params)

    def config(self) -> dict[str, Any]:
        """Return the arguments of the constructor by name, but for `rng`.

        They are the attributes of the same names; `*args` is a tuple.

        Raises
        ------
        TypeError
            There is no such attribute.
        """
        names = [name for name in inspect.signature(type(self)).parameters if name != "rng"]
        for name in names:
            if not hasattr(self, name):
                raise TypeError(
                    f"{type(self).__name__} has no attribute {name!r}, must keep each argument of "
                    "its constructor under its name"
                )
        return {name: getattr(self, name) for name in names}

    def modules(self) -> Iterator[Module]:
        """Yield this layer and all that it is made of, each once, as torch.nn.Module.modules does.

        They are in attributes, or in tuples, lists and mappings there.
        """
        seen: set[int] = set()
        waiting: list[Module] = [self]
        while waiting:
            module = waiting.pop()
            if id(module) not in seen:
                seen.add(id(module))
                yield module
                waiting += reversed([*module._parts()])

    def _parts(self) -> Iterator[Module]:
        """Yield the layers that this one holds itself."""
        waiting: list[Any] = [*reversed(vars(self).values())]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Module):
                yield value
            elif isinstance(value, Mapping):
                waiting += reversed([*value.values()])
            elif isinstance(value, tuple | list):
                waiting += reversed(value)

    def _has_steps(self) -> bool:
        """Return what `keeps_steps` says or leaves to the parts."""
        if self.keeps_steps is not None:
            return self.keeps_steps
        return all(part._has_steps() for part in self._parts())

    @property
    def batch_axis(self) -> int:
        """The axis of x on which its sequences lie: 0 of (N, T, ...), 1 of (T, N, ...).

        That is what `batch_first` of this layer, or of those it is made of, says. Where none says
        anything, it is 1 of a layer with a state and 0 of others.
        """
        for layer in self.modules():
            batch_first = getattr(layer, "batch_first", None)
            if batch_first is not None:
                return 0 if batch_first else 1
        return 1 if self.stateful else 0

    def num_parameters(self) -> int:
        """Return how many numbers the parameters hold."""
        return sum(array.size for array in self.params.values())

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the parameters by name, under torch.nn's names."""
        return {name: array.copy() for name, array in self.params.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy parameters in; on an error nothing has changed.

        Parameters
        ----------
        state_dict : mapping of str to array
            One array a parameter, in its shape, of any real dtype; it is converted. A PyTorch
            module's `state_dict()` will do.

        Raises
        ------
        ValueError
            A name is missing or unknown, or a shape differs.
        TypeError
            `state_dict` is no mapping, or an entry is not an array of real numbers.
        """
        params = self.params
        # All copies are made first: one may fail, or be of another of our own arrays.
        new = checks.copies("state_dict", state_dict, params)
        for name, array in params.items():
            checks.writeable(f"params[{name!r}]", array)
        for name, array in params.items():
            array[...] = new[name]

    def train(self, mode: bool = True) -> Self:
        """Set train mode, in which dropout acts, or with False eval mode; return self.

        It is the mode of this layer and of all that it is made of.
        """
        mode = checks.flag("mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set eval mode, in which dropout does nothing; return self."""
        return self.train(False)

    def _run(self, x: Any, state: Any, lengths: Any, keep: bool) -> tuple[Any, Any, Any]:
        """Call the layer in the one arity that containers use.

        Returns (y, state, pullback), with pullback(dy, dstate, wrt) where `keep`, else None. A
        layer without state leaves `state` alone and returns None there.
        """
        options = {"lengths": lengths} if self.takes_lengths else {}
        if self.stateful:
            return self.vjp(x, state, **options) if keep else (*self(x, state, **options), None)
        if not keep:
            return self(x, **options), None, None
        y, pullback = self.vjp(x, **options)
        return y, None, lambda dy, dstate, wrt: pullback(dy, wrt)

    def _refuse_unused(self, state: Any, lengths: Any) -> None:
        """Raise where an argument is given that no layer takes: it would go unheard."""
        empty = state is None or (isinstance(state, tuple) and not state)
        if not empty and not self.stateful:
            raise ValueError(f"state is given, must be None: {type(self).__name__} has no state")
        if lengths is not None and not self.takes_lengths:
            raise ValueError(
                f"lengths is given, must be None: {type(self).__name__} does not take lengths"
            )


def _inherited_init(cls: type[Module]) -> Any:
    """Return an `__init__` like that of the base, but it names `cls` where arguments are wrong."""

    @functools.wraps(cls.__init__)
    def __init__(self: Module, *args: Any, **kwargs: Any) -> None:
        init = super(cls, self).__init__
        try:
            init(*args, **kwargs)
        except TypeError:
            signature = inspect.signature(init)
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                names = ", ".join(signature.parameters) or "no arguments"
                raise TypeError(f"{cls.__name__}() {error}, takes {names}") from None
            raise

    return __init__
