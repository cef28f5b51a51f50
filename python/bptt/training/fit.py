"""The training loop as one function: what it takes, and where a run begins, goes on and ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from .. import checks
from ..files import archive, runs
from ..layers.module import Module
from ..optim.base import Optimizer
from .batches import Batches
from .progress import shown
from .run import History, Run, Schedule, wants_loss
from .step import Loss, value_and_grad


def fit(
    model: Module,
    loss: Loss,
    optimizer: Optimizer,
    train: tuple[Any, Any],
    valid: tuple[Any, Any] | None = None,
    *,
    epochs: int,
    batch_size: int,
    schedule: Schedule | None = None,
    clip: float | None = None,
    patience: int | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """Train a model; afterwards it has the weights of its best epoch.

    Parameters
    ----------
    model : Module
        A layer or a Sequential. It is trained in train mode; its own mode is put back at the end.
    loss : callable
        f(y, target) -> (value, dy), such as `cross_entropy`; fix options with functools.partial. It
        should be a mean, so that the size of a batch does not matter.
    optimizer : Optimizer
        Of `model.params`, or of some of them: the others are not changed.
    train : pair (x, target)
        x is an array of N sequences of T steps, such that model(x) and loss(y, target) can be
        called; the batch lies on `model.batch_axis`: (N, T, ...) with batch_first, or without a
        state and layers that know batch_first; else (T, N, ...). Or x is a list of N sequences
        (T_i, ...), whose lengths the model is told. target is then an array of N entries, or, where
        y has an entry for each step, a list of N arrays (T_i, ...). Padding never reaches the loss:
        it gets y and target with all steps of all sequences along one axis.
    valid : pair (x, target), optional
        Like `train`, to tell the best epoch.
    epochs : int
        How often to go through `train`.
    batch_size : int
        Sequences in a step. Those of a list are grouped by length.
    schedule : optional
        Its `step()` is called after each epoch, or `step(valid_loss)` if it needs an argument.
    clip : float, optional
        The most that the norm of all gradients together may be, see `clip_grad_norm_`.
    patience : int, optional
        Stop after so many epochs without a lower loss on `valid`.
    seed : int
        Of the order of the sequences and of dropout: at the start, each layer gets a random
        generator made from it. The same seed gives the same bits.
    checkpoint : path, optional
        A file in .npz or .safetensors that is replaced after each epoch. If it exists, training
        goes on from there: a run that was killed at any moment and is started again by the same
        call ends with the same bits as one that was not. `epochs` and `patience` may differ, for a
        longer run. What the optimiser is set to comes from the file, too.
    progress : bool
        Whether to show a progress bar, or without the package tqdm a line an epoch, on stderr.

    Returns
    -------
    History
        Losses and learning rates of each epoch.

    Raises
    ------
    TypeError, ValueError
        An argument is wrong, or `checkpoint` is damaged or of another run.
    OSError
        `checkpoint` cannot be read or written.

    Notes
    -----
    On any error, and on Ctrl-C, model, optimiser and schedule are what they were after the last
    whole epoch. Losses are weighted by the numbers of sequences, or of steps if those have targets.
    """
    value_and_grad(model, loss)  # checks both
    _check_optimizer(model, optimizer)
    with _modes_kept(model):
        model.eval()  # to try the data on it
        batches = Batches("train", train, model)
        held_out = None if valid is None else Batches("valid", valid, model)
        epochs = checks.size("epochs", epochs)
        batch_size = checks.size("batch_size", batch_size)
        if schedule is not None:
            _check_schedule(schedule, optimizer, held_out)
        if clip is not None:
            clip = checks.real("clip", clip, 0)
        if patience is not None:
            patience = checks.size("patience", patience)
            _check_valid("patience", held_out)
        seed = checks.size("seed", seed, least=0)
        path = None if checkpoint is None else archive.as_path("checkpoint", checkpoint)
        progress = checks.flag("progress", progress)

        run = Run(model, loss, optimizer, batches, held_out, batch_size, schedule, clip)
        told = run.told() | {"seed": seed}
        saved = runs.read(path, told) if path is not None and path.exists() else None
        run.start(seed)
        state = run.state()
        try:
            if path is not None:
                archive.remove_leftovers(path)
            if saved is not None:
                run.load(saved)
                state = run.state()
            elif path is not None:  # a path that cannot be written is found before the first epoch
                runs.write(path, told, state)
            with contextlib.closing(shown(progress, epochs, run.epochs, len(batches))) as bar:
                while not run.is_over(epochs, patience):
                    run.epoch(bar)
                    state = run.state()
                    if path is not None:
                        runs.write(path, told, state)
            return run.finish()
        except BaseException:
            run.load(state)
            raise


@contextlib.contextmanager
def _modes_kept(model: Module) -> Iterator[None]:
    """Put the mode of each layer back at the end."""
    modes = [(layer, layer.training) for layer in model.modules()]
    try:
        yield
    finally:
        for layer, training in modes:
            layer.training = training


def _check_optimizer(model: Module, optimizer: object) -> None:
    its = checks.instance("optimizer", optimizer, Optimizer, "an optimiser of bptt").params
    params = model.params
    for name, array in its.items():
        if array is not params.get(name):
            raise ValueError(
                f"optimizer.params[{name!r}] is not the model's, must be model.params[{name!r}]"
            )


def _check_schedule(schedule: Schedule, optimizer: Optimizer, valid: Batches | None) -> None:
    for name in ("step", "state_dict", "load_state_dict"):
        if not hasattr(schedule, name):
            raise TypeError(f"schedule is {checks.described(schedule)}, must have {name}()")
    if getattr(schedule, "optimizer", optimizer) is not optimizer:
        raise ValueError("schedule is of another optimiser, must be of `optimizer`")
    if wants_loss(schedule):
        _check_valid("schedule", valid)


def _check_valid(name: str, valid: Batches | None) -> None:
    if valid is None:
        raise ValueError(f"{name} is given, must be None without valid: it needs its loss")
