"""What layers made of layers share: parameters by path, one mode, and copies of their own."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
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
    """Raise unless all layers that say where the batch lies, inside of containers too, agree."""
    first: tuple[str, bool] | None = None
    for i, layer in enumerate(layers):
        for part in _speakers(layer):
            place = f"layers[{i}]" if part is layer else f"a part of layers[{i}]"
            if first is None:
                first = f"{place}, {part!r} with batch_first={part.batch_first}", part.batch_first
            elif part.batch_first != first[1]:
                raise ValueError(
                    f"{place} is {part!r} with batch_first={part.batch_first}, "
                    f"must be like {first[0]}"
                )


def _speakers(layer: Module) -> Iterator[Any]:
    """Yield the layer if it says `batch_first`, else those in it that do, if it is a container.

    What is inside of a layer of one's own is its own affair: it may turn axes.
    """
    if getattr(layer, "batch_first", None) is not None:
        yield layer
    elif isinstance(layer, Container):
        for part in layer._layers.values():
            yield from _speakers(part)


def check_layer(name: str, value: object) -> None:
    """Raise unless `value` is a layer."""
    checks.instance(name, value, Module, "a layer of bptt")
