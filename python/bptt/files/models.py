"""Saving a model in a file, and making it again: its arrays, and what its layers were made with."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import _arguments
from ..layers import generators
from ..layers.module import Module
from . import archive

Classes = Mapping[str, type[Module]]


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Save a model: its arrays by PyTorch's names, and its layers' classes and arguments.

    Parameters
    ----------
    model : Module
        A layer or a Sequential, of bptt or your own; see `Module.config`.
    path : path
        Ends in .npz, which ``numpy.load`` reads too, or in .safetensors (needs the package
        safetensors), which ``safetensors.torch.load_file`` reads too. The file appears or is
        replaced at once when all is on disk; on an error it is what it was.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or an argument of a layer is not a number, word, dtype, layer, None or
        tuple of these.
    ImportError
        The package safetensors is needed and missing.

    Notes
    -----
    Each layer's mode (train or eval) is saved. States of random generators are not.
    """
    if not isinstance(model, Module):
        raise TypeError(f"model is {_arguments.described(model)}, must be a layer of bptt")
    target = archive.as_path("path", path)
    header = {"model": _told("model", model, _own_classes())}
    archive.write(target, "model", header, model.state_dict())


def load(path: str | os.PathLike[str], *, classes: Iterable[type[Module]] = ()) -> Any:
    """Return the model that was saved in a file.

    Parameters
    ----------
    path : path
        As for `save`.
    classes : iterable of type
        Layers of your own that the file may name. No others are made, but for those of bptt, and
        nothing that the file names is imported or executed.

    Returns
    -------
    Module
        Of the saved class, with the saved arrays and modes. Dropout has new random generators.

    Raises
    ------
    OSError
        The file cannot be opened.
    ValueError
        It is damaged, not a file of `save`, names an unknown class, or its parts do not fit
        together.
    ImportError
        The package safetensors is needed and missing.
    """
    source = archive.as_path("path", path)
    own = _own_classes()
    given = {}
    for cls in classes:
        if not (isinstance(cls, type) and issubclass(cls, Module)):
            raise TypeError(f"classes has {cls!r}, must have classes of layers")
        _check_name(cls, own)
        given[cls.__name__] = cls
    found = archive.read(source, "model")
    count = sum(array.size for array in found.arrays.values())
    try:
        model = _Maker(own, given, count).made("model", found.header.get("model"))
        if not isinstance(model, Module):
            raise ValueError("model is not a layer")
        model.load_state_dict(found.arrays)
    except (TypeError, ValueError, ArithmeticError, MemoryError, RecursionError) as error:
        told = str(error) or type(error).__name__
        raise ValueError(f"{source} cannot be made a model: {told}") from error
    generators.reseed(model, np.random.default_rng())
    return model


def _own_classes() -> dict[str, type[Module]]:
    """The layers that bptt exports, by name."""
    import bptt

    exported = {name: getattr(bptt, name) for name in bptt.__all__}
    return {
        name: value
        for name, value in exported.items()
        if isinstance(value, type) and issubclass(value, Module) and value is not Module
    }


def _check_name(cls: type[Module], own: Classes) -> None:
    """Raise where a name would mean two classes."""
    if own.get(cls.__name__, cls) is not cls:
        raise ValueError(f"{cls!r} has the name of a layer of bptt, must have another")


def _told(label: str, value: object, own: Classes) -> Any:
    """`value`, an argument of a layer, in what JSON has."""
    if isinstance(value, Module):
        _check_name(type(value), own)
        arguments = value.config().items()
        return {
            "class": type(value).__name__,
            "training": value.training,
            "arguments": {name: _told(f"{label}.{name}", item, own) for name, item in arguments},
        }
    if isinstance(value, tuple | list):
        return [_told(f"{label}[{i}]", item, own) for i, item in enumerate(value)]
    if isinstance(value, np.dtype):
        return value.name
    return archive.plain(label, value, "a number, word, dtype, layer, None or tuple of these")


class _Maker:
    """Makes layers of what `_told` told of them, in memory that the file's `count` numbers bound.

    The checksums of a file find damage, not intent: a header may ask for any size.
    """

    def __init__(self, own: Classes, given: Classes, count: int) -> None:
        self._own, self._given = own, given
        self._largest = max(count, 2**20)
        self._zeros = _Zeros(count)

    def made(self, label: str, told: Any) -> Any:
        """Return an argument of a layer, or a layer."""
        if isinstance(told, list):
            return tuple(self.made(f"{label}[{i}]", item) for i, item in enumerate(told))
        if not isinstance(told, dict):
            return told
        name, arguments = told.get("class"), told.get("arguments")
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise ValueError(f"{label} has no class with arguments")
        cls = self._own.get(name) or self._given.get(name)
        if cls is None:
            raise ValueError(
                f"{label} is of class {name!r}, which is not among bptt's or `classes`"
            )
        signature = inspect.signature(cls)
        unknown = arguments.keys() - signature.parameters.keys() | arguments.keys() & {"rng"}
        if unknown:
            raise ValueError(f"{label} has arguments that {name} has not: {sorted(unknown)}")
        values = {key: self.made(f"{label}.{key}", item) for key, item in arguments.items()}
        if name in self._own:
            for key, value in values.items():
                if signature.parameters[key].default is not None:  # else it is no size of an array
                    self._check_size(f"{label}.{key}", value)
            if "rng" in signature.parameters:
                values["rng"] = self._zeros
        # orders them as the signature has them, *args included
        call = inspect.BoundArguments(signature, values)
        layer = cls(*call.args, **call.kwargs)
        layer.training = _arguments.flag(f"{label}.training", told.get("training"))
        return layer

    def _check_size(self, label: str, value: Any) -> None:
        sizes = value if isinstance(value, tuple) else (value,)
        if all(isinstance(size, int) for size in sizes) and math.prod(sizes) > self._largest:
            raise ValueError(f"{label} is {value}, must be at most {self._largest}")


class _Zeros(np.random.Generator):
    """Draws zeros, `count` at most, as initial values: the file's will replace them."""

    def __init__(self, count: int) -> None:
        super().__init__(np.random.PCG64(0))
        self._left = count

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return self._drawn(size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return self._drawn(size)

    def standard_normal(self, size: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return self._drawn(size)

    def _drawn(self, size: Any) -> Any:
        shape = size if isinstance(size, tuple) else () if size is None else (size,)
        self._left -= math.prod(shape)
        if self._left < 0:
            raise ValueError("its layers have more parameters than it has numbers")
        return np.zeros(shape)
