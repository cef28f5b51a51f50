"""Files that a run of `fit` goes on from: a tree of states, and what run it is of."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers.module import Module
from . import archive

Tree = dict[str, Any]  # dicts, lists, tuples, arrays, numbers, words and None


def write(path: Path, run: Mapping[str, Any], state: Tree) -> None:
    """Write the state of a run; `run` says what the run is, see `check_run`."""
    arrays: dict[str, NDArray[Any]] = {}
    tree = _without_arrays("state", state, arrays)
    archive.write(path, "checkpoint", {"run": run, "state": tree}, arrays)


def read(path: Path, run: Mapping[str, Any]) -> Tree:
    """Read the state of a run like `run`.

    Raises
    ------
    OSError, ValueError
        As `archive.read`, or the file is of another run.
    """
    header, arrays = archive.read(path, "checkpoint")
    then = header.get("run", {})
    for key in (*run, *(key for key in then if key not in run)):
        if then.get(key) != run.get(key):
            raise ValueError(
                f"{path} is of another run: {key} was {then.get(key)}, is {run.get(key)}"
            )
    try:
        state: Tree = _with_arrays(header["state"], arrays)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: its state and its arrays do not fit") from error
    return state


def model_told(model: Module) -> dict[str, str]:
    """What a model is made of, by name, as far as it can be told in a few words each."""
    told = {}
    for i, layer in enumerate(model.modules()):
        names = inspect.signature(type(layer)).parameters
        values = {name: getattr(layer, name, None) for name in names}
        plain = bool | int | float | str | np.dtype
        arguments = [f"{name}={v}" for name, v in values.items() if isinstance(v, plain)]
        told[f"module {i} of the model"] = f"{type(layer).__name__}({', '.join(arguments)})"
    for name, array in model.params.items():
        told[f"model.params[{name!r}]"] = f"{array.dtype} {array.shape}"
    return told


def _without_arrays(path: str, tree: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """`tree` in what JSON has; arrays go to `arrays`, by their path."""
    if isinstance(tree, np.ndarray):
        arrays[path] = tree
        return {"array": path}
    if isinstance(tree, Mapping) and all(isinstance(key, str) for key in tree):
        items = tree.items()
        return {"dict": {key: _without_arrays(f"{path}/{key}", v, arrays) for key, v in items}}
    if isinstance(tree, tuple | list):
        kind = "tuple" if isinstance(tree, tuple) else "list"
        return {kind: [_without_arrays(f"{path}/{i}", v, arrays) for i, v in enumerate(tree)]}
    kinds = "an array, number, word, None, or a dict, list or tuple of these"
    return archive.plain(path, tree, kinds)


def _with_arrays(tree: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """The opposite of `_without_arrays`."""
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    match kind:
        case "array":
            return arrays[content]
        case "dict":
            return {key: _with_arrays(value, arrays) for key, value in content.items()}
        case _:
            items = (_with_arrays(value, arrays) for value in content)
            return tuple(items) if kind == "tuple" else list(items)
