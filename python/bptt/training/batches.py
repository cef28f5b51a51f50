"""Sequences and their targets, cut into batches: in what order, how padded, along which axes.

Letters as in `bptt.functional`. A model's properties tell which axes its x and y have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..layers.module import Module
from ..results import Array
from .step import Loss

Indices = NDArray[np.intp]

_POOL = 16  # batches, whose sequences are sorted by length together: little padding, much chance


class Batch(NamedTuple):
    """Some sequences as a model and a loss take them."""

    x: NDArray[Any]
    target: NDArray[Any]
    lengths: Indices | None
    steps: NDArray[np.bool_] | None  # which steps of y have a target, like its first two axes
    weight: int  # how many targets there are

    def loss(self, loss: Loss) -> Loss:
        """Return `loss` of y without padding: of the steps that have a target, as rows."""
        steps = self.steps
        if steps is None:
            return loss

        def of_steps(y: Array, target: Any) -> tuple[Any, Array]:
            value, drows = loss(y[steps], target[steps])
            dy = np.zeros_like(y)
            dy[steps] = drows
            return value, dy

        return of_steps


class Batches:
    """The sequences and targets of an argument of `fit`, checked against a model in eval mode.

    Attributes
    ----------
    told : str
        What there is of them, in a few words.
    """

    def __init__(self, name: str, data: object, model: Module) -> None:
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise TypeError(f"{name} is {checks.described(data)}, must be a pair (x, target)")
        x, target = data
        self._model_takes_lengths = model.takes_lengths
        self._axis = model.batch_axis  # of the batch in x
        self._y_axis = self._axis if model._has_steps() else 0
        self._lengths: Indices | None = None
        if isinstance(x, list | tuple):
            self._sequences = _as_sequences(f"{name}[0]", x)
            self._lengths = np.array([len(array) for array in self._sequences], np.intp)
            self._count = len(x)
            if not model.takes_lengths and len({*self._lengths}) > 1:
                raise ValueError(
                    f"{name}[0] has sequences of different lengths, must have equal ones: "
                    f"{type(model).__name__} does not take lengths"
                )
        else:
            self._x = checks.real_array(f"{name}[0]", x)
            if self._x.ndim <= self._axis:
                axes = "(N, ...)" if self._axis == 0 else "(T, N, ...)"
                raise ValueError(f"{name}[0] has shape {self._x.shape}, must be {axes}")
            self._count = self._x.shape[self._axis]
        if not self._count:
            raise ValueError(f"{name}[0] has no sequences, must have at least one")
        self._per_step = self._lengths is not None and model._has_steps()
        self._try(name, model)
        self._check_target(f"{name}[1]", target)

    @property
    def told(self) -> str:
        if self._lengths is None:
            return f"{self._x.dtype} {self._x.shape}"
        first = self._sequences[0]
        steps = f"{self._lengths.sum()} steps of {first.dtype} {first.shape[1:]}"
        return f"{self._count} sequences, {steps}"

    def __len__(self) -> int:
        return self._count

    def cut(self, size: int, rng: np.random.Generator | None = None) -> list[Indices]:
        """Return the sequences of each batch; at random, with a generator.

        Sequences of a batch have similar lengths, where there are lengths.
        """
        order = np.arange(self._count) if rng is None else rng.permutation(self._count)
        if self._lengths is None:
            return _parts(order, size)
        batches = []
        for pool in _parts(order, self._count if rng is None else _POOL * size):
            batches += _parts(pool[np.argsort(self._lengths[pool], kind="stable")], size)
        return batches if rng is None else [batches[i] for i in rng.permutation(len(batches))]

    def batch(self, indices: Indices) -> Batch:
        """Return a batch in arrays of its own."""
        x, lengths = self._inputs(indices)
        if not self._per_step:
            return Batch(x, self._target.take(indices, self._y_axis), lengths, None, len(indices))
        assert self._lengths is not None
        counts = self._lengths[indices]
        T = int(counts.max())
        target = _padded([self._targets[i] for i in indices], T, self._y_axis)
        steps = np.arange(T) < counts[:, np.newaxis]
        weight = int(counts.sum())
        return Batch(x, target, lengths, steps if self._y_axis == 0 else steps.T, weight)

    def _inputs(self, indices: Indices) -> tuple[NDArray[Any], Indices | None]:
        """Return x of some sequences, and what lengths to pass."""
        if self._lengths is None:
            return self._x.take(indices, self._axis), None
        counts = self._lengths[indices]
        x = _padded([self._sequences[i] for i in indices], int(counts.max()), self._axis)
        return x, counts if self._model_takes_lengths else None

    def _try(self, name: str, model: Module) -> None:
        """Raise unless the model takes a sequence, and gives y where its properties say."""
        x, lengths = self._inputs(np.array([0]))
        try:
            shape = model._run(x, None, lengths, keep=False)[0].shape
        except (TypeError, ValueError) as error:
            error.add_note(f"where x is made of {name}[0]")
            raise
        expected = {self._y_axis: 1}
        if self._per_step:
            expected[1 - self._y_axis] = x.shape[1 - self._axis]
        if any(len(shape) <= axis or shape[axis] != size for axis, size in expected.items()):
            must = " and ".join(f"{size} on axis {axis}" for axis, size in expected.items())
            raise ValueError(
                f"model gives y of shape {shape} for one sequence, must have {must}: "
                f"its batch_axis is {self._axis} and keeps_steps is {model._has_steps()}, which "
                "may be set"
            )

    def _check_target(self, label: str, target: Any) -> None:
        if not self._per_step:
            self._target = checks.real_array(label, target)
            shape, axis = self._target.shape, self._y_axis
            if len(shape) <= axis or shape[axis] != self._count:
                raise ValueError(
                    f"{label} has shape {shape}, must have N = {self._count} on axis {axis}, where "
                    "the model's y has the sequences"
                )
            return
        assert self._lengths is not None
        if not isinstance(target, list | tuple):
            target = [*checks.real_array(label, target)]
        if len(target) != self._count:
            raise ValueError(f"{label} has {len(target)} sequences, must have N = {self._count}")
        self._targets = _as_sequences(label, target)
        for i, (steps, length) in enumerate(zip(self._targets, self._lengths, strict=True)):
            if len(steps) != length:
                raise ValueError(f"{label}[{i}] has {len(steps)} steps, must have {length} like x")


def _as_sequences(label: str, values: Sequence[object]) -> list[NDArray[Any]]:
    """Arrays of one dtype, and of one shape but for their first axis."""
    arrays = []
    for i, value in enumerate(values):
        array = checks.real_array(f"{label}[{i}]", value)
        if not array.ndim:
            raise ValueError(f"{label}[{i}] is one number, must be a sequence")
        arrays.append(array)
        first = arrays[0]
        if (array.shape[1:], array.dtype) != (first.shape[1:], first.dtype):
            raise ValueError(
                f"{label}[{i}] is {array.dtype} {array.shape}, must be like "
                f"{label}[0], {first.dtype} {first.shape}, but for the first axis"
            )
    return arrays


def _padded(sequences: Sequence[NDArray[Any]], T: int, axis: int) -> NDArray[Any]:
    """One array, (N, T, ...) or with axis 1 (T, N, ...), zero past each end."""
    first = sequences[0]
    sizes = (len(sequences), T) if axis == 0 else (T, len(sequences))
    array = np.zeros((*sizes, *first.shape[1:]), first.dtype)
    rows = array if axis == 0 else array.swapaxes(0, 1)
    for row, sequence in zip(rows, sequences, strict=True):
        row[: len(sequence)] = sequence
    return array


def _parts(order: Indices, size: int) -> list[Indices]:
    return [order[i : i + size] for i in range(0, len(order), size)]
