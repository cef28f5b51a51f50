"""A training run between two epochs, as a state that can be kept, and an epoch of it."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..files.runs import Tree, model_told
from ..layers import generators
from ..layers.module import Module
from ..optim.base import Optimizer
from ..optim.clipping import clip_grad_norm_
from ..results import Array
from .batches import Batches
from .progress import Progress
from .step import Loss, value_and_grad


class Schedule(Protocol):
    """What `fit` needs of a schedule of the learning rate."""

    def step(self, *args: Any, **kwargs: Any) -> object:
        """Set the optimiser's lr for the next epoch, as a function of the loss if it takes one."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: Any) -> None: ...


class History(NamedTuple):
    """What `fit` returns: a value of each epoch, and which epoch's weights the model has.

    Attributes
    ----------
    train_loss : list of float
        The mean over an epoch's batches, each before its step and in train mode.
    valid_loss : list of float
        After the epoch, in eval mode; empty without `valid`.
    lr : list of float
        The learning rate during the epoch.
    best_epoch : int
        Counted from 0: that of the least valid_loss; the last without `valid`.
    """

    train_loss: list[float]
    valid_loss: list[float]
    lr: list[float]
    best_epoch: int

    def __repr__(self) -> str:
        best = self.best_epoch
        losses = f"train_loss {self.train_loss[best]:.4g}"
        if self.valid_loss:
            losses += f", valid_loss {self.valid_loss[best]:.4g}"
        return f"History({len(self.train_loss)} epochs; best_epoch {best}: {losses})"


def wants_loss(schedule: Schedule) -> bool:
    """Whether step() needs an argument, as that of a plateau schedule does."""
    parameters = inspect.signature(schedule.step).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.default is p.empty and p.kind in positional for p in parameters)


class _Mean:
    """A mean of losses by the weights of their batches; those of weight 0 have no loss."""

    def __init__(self) -> None:
        self._total, self._weight = 0.0, 0

    def add(self, value: Any, weight: int) -> None:
        if weight:
            self._total += float(value) * weight
            self._weight += weight

    def value(self) -> float:
        return self._total / self._weight if self._weight else math.nan


@dataclass
class Run:
    """What a run is made of; `start` before the first epoch."""

    model: Module
    loss: Loss
    optimizer: Optimizer
    train: Batches
    valid: Batches | None
    batch_size: int
    schedule: Schedule | None
    clip: float | None

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.history.lr)

    def told(self) -> dict[str, Any]:
        """Return what the bits of the run depend on, as far as it can be told in a few words."""
        return model_told(self.model) | {
            "optimizer": type(self.optimizer).__name__,
            "optimizer.params": [*self.optimizer.params],
            "train": self.train.told,
            "valid": None if self.valid is None else self.valid.told,
            "batch_size": self.batch_size,
            "schedule": None if self.schedule is None else type(self.schedule).__name__,
            "clip": self.clip,
        }

    def start(self, seed: int) -> None:
        """Begin with no epoch done, and with new random generators."""
        self._shuffling = np.random.default_rng(seed)
        generators.reseed(self.model, self._shuffling)
        self.history = History([], [], [], -1)
        self._best: dict[str, Array] | None = None

    def state(self) -> Tree:
        """Return copies of all that the rest of the run depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "history": self.history._asdict(),
            "best": self._best,
            "shuffling": self._shuffling.bit_generator.state,
            "dropout": generators.states(self.model),
        }

    def load(self, state: Tree) -> None:
        """Go back, or on, to where `state()` was called."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        self.model.load_state_dict(state["model"])
        self.history = History(**state["history"])
        self._best = state["best"]
        self._shuffling.bit_generator.state = state["shuffling"]
        generators.set_states(self.model, state["dropout"])

    def epoch(self, progress: Progress) -> None:
        """Train for one epoch, then validate."""
        done = self.epochs
        lr = self.optimizer.lr
        train_loss = self._train(progress)
        valid_loss = [] if self.valid is None else [self._validate(self.valid)]
        best = self._best_epoch(valid_loss)
        # new lists: states refer to the old ones
        self.history = History(
            [*self.history.train_loss, train_loss],
            self.history.valid_loss + valid_loss,
            [*self.history.lr, lr],
            best,
        )
        if valid_loss and best == done:
            self._best = self.model.state_dict()
        if self.schedule is not None:
            self.schedule.step(*(valid_loss if wants_loss(self.schedule) else ()))
        progress.end(f"loss {train_loss:.4g}", *(f"valid {value:.4g}" for value in valid_loss))

    def is_over(self, epochs: int, patience: int | None) -> bool:
        """Whether all epochs are done, or the last `patience` of them were in vain."""
        in_vain = self.epochs - 1 - self.history.best_epoch
        return self.epochs >= epochs or (patience is not None and in_vain >= patience)

    def finish(self) -> History:
        """Put the best weights back."""
        if self._best is not None:
            self.model.load_state_dict(self._best)
        return self.history

    def _train(self, progress: Progress) -> float:
        self.model.train()
        mean = _Mean()
        for indices in self.train.cut(self.batch_size, self._shuffling):
            batch = self.train.batch(indices)
            step = value_and_grad(self.model, batch.loss(self.loss))
            value, grads = step(batch.x, batch.target, lengths=batch.lengths)
            grads = {name: grads[name] for name in self.optimizer.params}
            if self.clip is not None:
                clip_grad_norm_(grads, self.clip)
            self.optimizer.step(grads)
            mean.add(value, batch.weight)
            progress.batch(len(indices), mean.value())
        return mean.value()

    def _validate(self, valid: Batches) -> float:
        self.model.eval()
        mean = _Mean()
        for indices in valid.cut(self.batch_size):
            batch = valid.batch(indices)
            y = self.model._run(batch.x, None, batch.lengths, keep=False)[0]
            mean.add(batch.loss(self.loss)(y, batch.target)[0], batch.weight)
        return mean.value()

    def _best_epoch(self, valid_loss: list[float]) -> int:
        """The best of the epochs before and the one that has just ended; NaN is worst."""
        done, best = self.epochs, self.history.best_epoch
        if not done or not valid_loss:
            return done
        least = self.history.valid_loss[best]
        better = valid_loss[0] < least or (math.isnan(least) and not math.isnan(valid_loss[0]))
        return done if better else best
