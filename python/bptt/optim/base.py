"""The base of optimisers: parameters, hyperparameters, what is kept, and a step in one call.

The arithmetic is one pass over each parameter in csrc/isa/optim.h. An optimiser says what its
hyperparameters are, what it keeps for each parameter, and the constants of a step.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .. import _core, checks
from ..results import Array


def _betas(name: str, value: object) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"{name} is {checks.described(value)}, must be a pair of real numbers")
    first, second = (checks.real(f"{name}[{i}]", beta, 0, 1) for i, beta in enumerate(value))
    if first == 1 or second == 1:
        raise ValueError(f"{name} is {value!r}, must be below 1")
    return first, second


_at_least_zero = partial(checks.real, low=0)
_CHECKS: dict[str, checks.Check] = {
    "lr": _at_least_zero,
    "momentum": _at_least_zero,
    "dampening": _at_least_zero,
    "betas": _betas,
    "alpha": partial(checks.real, low=0, high=1),
    "lr_decay": _at_least_zero,
    "initial_accumulator_value": _at_least_zero,
    "eps": _at_least_zero,
    "weight_decay": _at_least_zero,
    "nesterov": checks.flag,
    "centered": checks.flag,
}


class Optimizer:
    """What optimisers have in common.

    Attributes
    ----------
    params : dict of str to array
        The live arrays that `step` changes.
    lr : float
        The learning rate; may be set between steps, like the other hyperparameters.
    initial_lr : float
        The learning rate as it was last set but by a schedule; a new schedule begins from it.
    """

    lr: float

    _rule: ClassVar[str]  # the compiled core's name
    _hyperparameters: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._hyperparameters = tuple(inspect.signature(cls).parameters)[1:]  # all but params

    def __init__(self, params: Mapping[str, Array], **hyperparameters: Any) -> None:
        checks.instance("params", params, Mapping, "a mapping such as layer.params")
        names: dict[int, str] = {}
        for name, array in params.items():
            checks.live(f"params[{name!r}]", array)
            if id(array) in names:
                raise ValueError(
                    f"params[{name!r}] is the same array as params[{names[id(array)]!r}], "
                    "must be there once"
                )
            names[id(array)] = name
        self.params = dict(params)
        self._steps = 0
        self._kept: dict[str, dict[str, Array] | None] = {}
        self._configure(hyperparameters)
        self.initial_lr = self.lr

    def _begin(self, params: Mapping[str, Array], given: Mapping[str, Any]) -> None:
        """Begin with the arguments of a constructor by name: its locals."""
        Optimizer.__init__(self, params, **{name: given[name] for name in self._hyperparameters})

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self._hyperparameters:
            super().__setattr__(name, value)
            return
        self._configure({name: value})
        if name == "lr":
            self.initial_lr = self.lr

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._hyperparameters)
        return f"{type(self).__name__}({told})"

    def step(self, grads: Mapping[str, Array]) -> None:
        """Change the parameters by one step; on an error nothing has changed.

        Parameters
        ----------
        grads : mapping of str to array
            One gradient a parameter, in its shape and dtype.
        """
        params = self.params
        if not isinstance(grads, Mapping) or grads.keys() != params.keys():
            checks.names("grads", grads, params)
        constants = self._constants(self._steps + 1)
        gradients = [grads[name] for name in params]
        if not self._update(constants, params, gradients):
            self._step_on_copies(grads, constants)
        self._steps += 1

    def _update(
        self, constants: tuple[float, ...], params: dict[str, Array], gradients: list[Array]
    ) -> bool:
        kept = [None if arrays is None else list(arrays.values()) for arrays in self._kept.values()]
        return _core.update(self._rule, constants, list(params.values()), gradients, kept)

    def _step_on_copies(self, grads: Mapping[str, Array], constants: tuple[float, ...]) -> None:
        """Step where an array is not contiguous, aligned and of native byte order, or is wrong."""
        gradients = []
        for name, array in self.params.items():
            label = f"grads[{name!r}]"
            grad = checks.array(label, grads[name], array.dtype.newbyteorder("="))
            grad = checks.shaped(label, grad, "the parameter's", array.shape)
            gradients.append(np.require(grad, None, ["C", "A"]))
            checks.writeable(f"params[{name!r}]", array)
        copies = {name: _ready(array) for name, array in self.params.items()}
        self._kept = {
            slot: arrays and {name: _ready(array) for name, array in arrays.items()}
            for slot, arrays in self._kept.items()
        }
        self._update(constants, copies, gradients)
        for name, array in self.params.items():
            if array is not copies[name]:
                array[...] = copies[name]

    def state_dict(self) -> dict[str, Any]:
        """Return the hyperparameters, the number of steps and copies of what is kept, by name."""
        state = {name: getattr(self, name) for name in self._hyperparameters}
        state |= {"initial_lr": self.initial_lr, "steps": self._steps}
        for slot, arrays in self._kept.items():
            if arrays is not None:
                state[slot] = {name: array.copy() for name, array in arrays.items()}
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the optimiser of this `state_dict()` was; on an error nothing changed."""
        given = state_dict if isinstance(state_dict, Mapping) else {}
        new = self._checked({name: given[name] for name in self._hyperparameters if name in given})
        slots = self._slots(new)
        kept = [slot for slot, begin in slots.items() if begin is not None]
        names = (*self._hyperparameters, "initial_lr", "steps", *kept)
        checks.names("state_dict", state_dict, names)
        initial_lr = _at_least_zero("initial_lr", state_dict["initial_lr"])
        steps = checks.size("steps", state_dict["steps"], least=0)
        copies = {
            slot: checks.copies(f"state_dict[{slot!r}]", state_dict[slot], self.params)
            for slot in kept
        }
        self._kept = {slot: copies.get(slot) for slot in slots}
        self._steps = steps
        vars(self).update(new, initial_lr=initial_lr)

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All hyperparameters, those that are given after a check."""
        now = {name: getattr(self, name) for name in self._hyperparameters if name not in given}
        return now | {name: _CHECKS[name](name, value) for name, value in given.items()}

    def _configure(self, given: Mapping[str, Any]) -> None:
        """Set hyperparameters, and make the arrays that are needed now; on an error neither."""
        new = self._checked(given)
        kept = {}
        for slot, begin in self._slots(new).items():
            kept[slot] = None if begin is None else self._kept.get(slot)
            if begin is not None and kept[slot] is None:
                kept[slot] = {
                    name: np.full(array.shape, begin, array.dtype.newbyteorder("="))
                    for name, array in self.params.items()
                }
        vars(self).update(new, _kept=kept)

    @staticmethod
    def _slots(given: Mapping[str, Any]) -> dict[str, float | None]:
        """What is kept for each parameter in the order of the compiled rule: the value with which
        its array begins, None where these hyperparameters need none."""
        raise NotImplementedError

    def _constants(self, t: int) -> tuple[float, ...]:
        """The constants of step t = 1, 2, ..., in the order of the compiled rule."""
        raise NotImplementedError


def _ready(array: Array) -> Array:
    """The array, or a copy that the compiled core can work on."""
    return np.require(array, array.dtype.newbyteorder("="), ["C", "A", "W"])
