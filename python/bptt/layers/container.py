"""What layers made of layers share: parameters by path, one mode, and copies of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self

from .. import checks
from ..results import Array
from .base import OneMethod
from .module import Module


class Container(OneMethod):
    """A layer made of `layers`, whose parameters are named "layer's name.parameter's name"."""

    def __init__(self, layers: Mapping[str, Module]) -> None:
        super().__init__()
        self._layers = dict(layers)
        self.stateful = any(layer.stateful for layer in layers.values())
        self.takes_lengths = any(layer.takes_lengths for layer in layers.values())
        self.keeps_steps = all(layer.keeps_steps for layer in layers.values())

    def __copy__(self) -> Self:
        """A container of shallow copies: same arrays, but a mode of its own."""
        new = type(self).__new__(type(self))
        layers = {name: copy.copy(layer) for name, layer in self._layers.items()}
        new.__dict__.update(self.__dict__, _layers=layers)
        return new

    @property
    def params(self) -> Mapping[str, Array]:
        """The live arrays of all layers by name; see `Module.params`."""
        params: dict[str, Array] = {}
        for path, layer in self._layers.items():
            params |= under(path, layer.params)
        return MappingProxyType(params)


def under(path: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Name the parameters of a layer, or their gradients, as its container does."""
    return {f"{path}.{name}": array for name, array in arrays.items()}


def check_batch_axes(layers: Sequence[Module]) -> None:
    """Raise unless all that know where the batch lies, inside of layers too, agree."""
    first: tuple[str, Any] | None = None
    for i, layer in enumerate(layers):
        for part in layer.modules():
            batch_first = getattr(part, "batch_first", None)
            if batch_first is None:
                continue
            name = f"layers[{i}]" if part is layer else f"{part!r} in layers[{i}]"
            if first is None:
                first = f"{name}, {part!r}" if part is layer else name, batch_first
            elif batch_first != first[1]:
                told = f"{name} is {part!r}" if part is layer else f"{name} is"
                raise ValueError(
                    f"{told} with batch_first={batch_first}, must be like {first[0]} "
                    f"with batch_first={first[1]}"
                )


def check_layer(name: str, value: object) -> None:
    """Raise unless `value` is a layer."""
    checks.instance(name, value, Module, "a layer of bptt")
