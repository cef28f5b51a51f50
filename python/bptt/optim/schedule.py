"""The bases of schedules: what is saved, and rates that are a function of the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from .. import checks
from .base import Optimizer

Checks = dict[str, checks.Check]

at_least_zero = partial(checks.real, low=0)
count = partial(checks.size, least=0)


class Schedule:
    """What schedules have in common.

    Attributes
    ----------
    optimizer : Optimizer
        Whose `lr` is set.
    last_epoch : int
        The number of calls of `step`.
    """

    last_epoch: int

    def __init__(self, optimizer: Optimizer, given: Mapping[str, Any]) -> None:
        """`given` has the arguments of the constructor by name: its locals will do."""
        self.optimizer = checks.instance("optimizer", optimizer, Optimizer, "an optimiser of bptt")
        for name, check in self._options().items():
            setattr(self, name, check(name, given[name]))
        self.last_epoch = 0

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._options())
        return f"{type(self).__name__}({told})"

    def state_dict(self) -> dict[str, Any]:
        """Return the arguments, the progress and the optimiser's learning rate, by name."""
        lr = {"lr": self.optimizer.lr}
        return lr | {name: getattr(self, name) for name in self._saved() if name != "lr"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where the schedule of this `state_dict()` was; on an error nothing changed.

        The optimiser's learning rate is restored, too.
        """
        self._take(self._read("state_dict", state_dict))

    def _read(self, label: str, state_dict: Any) -> dict[str, Any]:
        """What is in a state dict, checked."""
        saved = self._saved()
        checks.names(label, state_dict, saved)
        return {name: check(name, state_dict[name]) for name, check in saved.items()}

    def _take(self, read: dict[str, Any]) -> None:
        self._set_lr(read.pop("lr"))
        vars(self).update(read)

    def _set_lr(self, lr: float) -> None:
        self.optimizer._configure({"lr": lr})  # initial_lr stays

    def _options(self) -> Checks:
        """The constructor's arguments, but the optimiser."""
        raise NotImplementedError

    def _saved(self) -> Checks:
        return {"lr": at_least_zero, **self._options(), "last_epoch": count}


class EpochSchedule(Schedule):
    """A schedule whose rate is a function of the epoch and of the rate at the start.

    Attributes
    ----------
    base_lr : float
        The rate at the start: the optimiser's `initial_lr`.
    """

    base_lr: float

    def __init__(self, optimizer: Optimizer, given: Mapping[str, Any]) -> None:
        super().__init__(optimizer, given)
        self.base_lr = optimizer.initial_lr
        self._set_lr(self._lr_at(0))

    def step(self) -> None:
        """Set the learning rate of the next epoch."""
        lr = self._lr_at(self.last_epoch + 1)
        self._set_lr(lr)
        self.last_epoch += 1

    def _saved(self) -> Checks:
        return super()._saved() | {"base_lr": at_least_zero}

    def _lr_at(self, epoch: int) -> float:
        raise NotImplementedError
