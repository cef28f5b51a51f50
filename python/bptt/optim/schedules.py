"""Schedules, which set an optimiser's learning rate from epoch to epoch.

But for `ReduceLROnPlateau` the rate is a function of the epoch and of the rate at the start, so
that there is no other state. One schedule at a time sets a rate; `SequentialLR` joins several.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from typing import Any

from .. import checks
from .base import Optimizer
from .schedule import Checks, EpochSchedule, Schedule, at_least_zero, count

_share = partial(checks.real, low=0, high=1)


class StepLR(EpochSchedule):
    """base_lr gamma^(epoch // step_size), as torch.optim.lr_scheduler.StepLR.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        Epochs between two changes.
    gamma : float
        At least 0.
    """

    step_size: int
    gamma: float

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        super().__init__(optimizer, locals())

    def _options(self) -> Checks:
        return {"step_size": checks.size, "gamma": at_least_zero}

    def _lr_at(self, epoch: int) -> float:
        return self.base_lr * self.gamma ** (epoch // self.step_size)


class CosineAnnealingLR(EpochSchedule):
    """eta_min + (base_lr - eta_min) (1 + cos(pi epoch / T_max)) / 2, as torch's of that name.

    Loshchilov and Hutter (2017), without restarts: after T_max epochs the rate rises again.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Epochs to the least rate.
    eta_min : float
        The least rate, at least 0.
    """

    T_max: int
    eta_min: float

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        super().__init__(optimizer, locals())

    def _options(self) -> Checks:
        return {"T_max": checks.size, "eta_min": at_least_zero}

    def _lr_at(self, epoch: int) -> float:
        share = (1 + math.cos(math.pi * epoch / self.T_max)) / 2
        return self.eta_min + (self.base_lr - self.eta_min) * share


class LinearLR(EpochSchedule):
    """base_lr times a factor that goes from start_factor to end_factor, as torch's: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float
        In (0, 1].
    end_factor : float
        In [0, 1].
    total_iters : int
        Epochs until the end.
    """

    start_factor: float
    end_factor: float
    total_iters: int

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        super().__init__(optimizer, locals())

    def _options(self) -> Checks:
        return {
            "start_factor": _positive_share,
            "end_factor": _share,
            "total_iters": checks.size,
        }

    def _lr_at(self, epoch: int) -> float:
        way = min(epoch, self.total_iters) / self.total_iters
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * way)


class SequentialLR(EpochSchedule):
    """Schedules one after another, each from its own epoch 0 on, as torch's of that name.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of schedules
        Of this optimiser, none of them a ReduceLROnPlateau. Only this one's `step` is called.
    milestones : sequence of int
        Epochs at which the next one begins: rising, above 0, one fewer than schedules.
    """

    schedulers: list[EpochSchedule]
    milestones: list[int]

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[EpochSchedule], milestones: Sequence[int]
    ) -> None:
        super().__init__(optimizer, locals())

    def state_dict(self) -> dict[str, Any]:
        """Return the same as other schedules do, and in it the state of each of `schedulers`."""
        nested = [schedule.state_dict() for schedule in self.schedulers]
        return super().state_dict() | {"schedulers": nested, "milestones": [*self.milestones]}

    def _options(self) -> Checks:
        return {"schedulers": self._as_schedulers, "milestones": self._as_milestones}

    def _saved(self) -> Checks:
        return super()._saved() | {"schedulers": self._read_schedulers}

    def _lr_at(self, epoch: int) -> float:
        i = bisect_right(self.milestones, epoch)
        return self.schedulers[i]._lr_at(epoch - (self.milestones[i - 1] if i else 0))

    def _as_schedulers(self, name: str, value: object) -> list[EpochSchedule]:
        for i, schedule in enumerate(_entries(name, value)):
            must = "a schedule that depends on the epoch alone"
            checks.instance(f"{name}[{i}]", schedule, EpochSchedule, must)
            if schedule.optimizer is not self.optimizer:
                raise ValueError(f"{name}[{i}] has another optimizer, must have this one's")
        return _entries(name, value)

    def _as_milestones(self, name: str, value: object) -> list[int]:
        milestones, least = [], 1
        for i, epoch in enumerate(_entries(name, value)):
            milestones.append(checks.size(f"{name}[{i}]", epoch, least))
            least = milestones[-1] + 1
        if len(milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"{name} has {len(milestones)} entries, must have one fewer than schedulers, "
                f"which has {len(self.schedulers)}"
            )
        return milestones

    def _read_schedulers(self, name: str, value: object) -> list[dict[str, Any]]:
        states = _entries(name, value)
        if len(states) != len(self.schedulers):
            raise ValueError(f"{name} has {len(states)} entries, must have {len(self.schedulers)}")
        return [
            schedule._read(f"{name}[{i}]", state)
            for i, (schedule, state) in enumerate(zip(self.schedulers, states, strict=True))
        ]

    def _take(self, read: dict[str, Any]) -> None:
        for schedule, its in zip(self.schedulers, read.pop("schedulers"), strict=True):
            schedule._take(its)
        super()._take(read)


class ReduceLROnPlateau(Schedule):
    """Multiplies the rate by `factor` where a metric no longer gets better, as torch's.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether a lower or a higher metric is better.
    factor : float
        In [0, 1).
    patience : int
        Epochs without a better metric that are borne; the one after them reduces the rate.
    threshold : float
        By how much a metric must be better than the best to count.
    threshold_mode : {"rel", "abs"}
        Whether that is a share of the best or an amount.
    cooldown : int
        Epochs after a reduction in which no metric counts as bad.
    min_lr : float
        The least rate, at least 0.
    eps : float
        A reduction by no more than this is not made.

    Attributes
    ----------
    best : float
        The best metric so far.
    num_bad_epochs, cooldown_counter : int
        Epochs since the best, and those of the cooldown still to come.
    """

    mode: str
    factor: float
    patience: int
    threshold: float
    threshold_mode: str
    cooldown: int
    min_lr: float
    eps: float

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(optimizer, locals())
        self.best = math.inf if self.mode == "min" else -math.inf
        self.num_bad_epochs = 0
        self.cooldown_counter = 0

    def step(self, metrics: float) -> None:
        """Reduce the learning rate if it is time to.

        Parameters
        ----------
        metrics : float
            The epoch's metric, such as the validation loss. NaN is not better than anything.
        """
        metric = checks.number("metrics", metrics)
        self.last_epoch += 1
        if self._is_better(metric):
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            lr = self.optimizer.lr
            reduced = max(lr * self.factor, self.min_lr)
            if lr - reduced > self.eps:
                self._set_lr(reduced)
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _is_better(self, metric: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        margin = self.threshold
        if self.threshold_mode == "rel":
            return sign * metric > sign * self.best * (1 + sign * margin)
        return sign * metric > sign * self.best + margin

    def _options(self) -> Checks:
        return {
            "mode": partial(checks.choice, choices=("min", "max")),
            "factor": _below_one,
            "patience": count,
            "threshold": at_least_zero,
            "threshold_mode": partial(checks.choice, choices=("rel", "abs")),
            "cooldown": count,
            "min_lr": at_least_zero,
            "eps": at_least_zero,
        }

    def _saved(self) -> Checks:
        return super()._saved() | {
            "best": checks.number,
            "num_bad_epochs": count,
            "cooldown_counter": count,
        }


def _positive_share(name: str, value: object) -> float:
    number = _share(name, value)
    if number == 0:
        raise ValueError(f"{name} is 0, must be above 0")
    return number


def _below_one(name: str, value: object) -> float:
    number = _share(name, value)
    if number == 1:
        raise ValueError(f"{name} is 1, must be below 1")
    return number


def _entries(name: str, value: object) -> list[Any]:
    return list(checks.instance(name, value, (list, tuple), "a list"))
