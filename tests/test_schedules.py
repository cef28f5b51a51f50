"""Schedules: PyTorch's learning rates over 100 epochs, exact restarts, and what is refused."""

import copy
import json
import math
import pickle
import re

import numpy as np
import pytest
from parity import numbers

import bptt

EPOCHS = 100


def optimiser(lr=0.1):
    return bptt.SGD({"a": np.zeros(2)}, lr)


# each schedule by its name, with arguments that torch's takes, too
SCHEDULES = {
    "step": ("StepLR", {"step_size": 7}),
    "slow step": ("StepLR", {"step_size": 30, "gamma": 0.5}),
    "cosine": ("CosineAnnealingLR", {"T_max": 100}),
    "cosine that returns": ("CosineAnnealingLR", {"T_max": 13, "eta_min": 0.003}),
    "cosine of one": ("CosineAnnealingLR", {"T_max": 1}),
    "warm-up": ("LinearLR", {}),
    "linear decay": ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 60}),
    "warm-up, cosine": (
        "SequentialLR",
        {"schedulers": ["warm-up", "cosine that returns"], "milestones": [5]},
    ),
    "three": ("SequentialLR", {"schedulers": ["cosine", "step", "warm-up"], "milestones": [1, 40]}),
    "nested": ("SequentialLR", {"schedulers": ["warm-up, cosine", "step"], "milestones": [30]}),
}
PLATEAUS = {
    "defaults": {},
    "impatient": {"patience": 0, "factor": 0.5},
    "highest": {"mode": "max", "patience": 2, "factor": 0.7},
    "by an amount": {"threshold_mode": "abs", "threshold": 0.2, "patience": 1, "factor": 0.5},
    "highest by an amount": {"mode": "max", "threshold_mode": "abs", "patience": 1, "factor": 0.9},
    "cooldown": {"patience": 1, "cooldown": 3, "factor": 0.5, "min_lr": 0.01},
    "too small a change": {"patience": 0, "factor": 0.9, "eps": 1e-3},
}


def make(module, name, its_optimiser):
    """The schedule in bptt or in torch.optim.lr_scheduler."""
    kind, arguments = SCHEDULES[name]
    if kind == "SequentialLR":
        parts = [make(module, part, its_optimiser) for part in arguments["schedulers"]]
        arguments = arguments | {"schedulers": parts}
    return getattr(module, kind)(its_optimiser, **arguments)


def torch_optimiser(torch, lr=0.1):
    return torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr)


def rates_of_torch(torch, theirs, *, steps):
    """The learning rate at the start and after each step(*arguments)."""
    optimizer = theirs.optimizer
    rates = [optimizer.param_groups[0]["lr"]]
    optimizer.step()  # else torch warns
    for arguments in steps:
        theirs.step(*arguments)
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def metrics(seed=0):
    """A loss that falls, with noise, then stays, then is not a number, then falls again."""
    noise = numbers(seed).normal(0, 0.05, EPOCHS)
    fall = [3 * 0.9 ** min(epoch, 25) for epoch in range(EPOCHS)]
    values = np.array(fall) + noise
    values[50:53] = math.nan
    values[80:] -= 0.5
    return values.tolist()


@pytest.mark.parametrize(
    "name", [name for name in SCHEDULES if name != "nested"]
)  # which torch cannot do
def test_rates_equal_torchs(torch, name):
    ours = make(bptt, name, optimiser())
    theirs = make(torch.optim.lr_scheduler, name, torch_optimiser(torch))
    expected = rates_of_torch(torch, theirs, steps=[()] * EPOCHS)
    found = [ours.optimizer.lr]
    for _ in range(EPOCHS):
        assert ours.step() is None
        found.append(ours.optimizer.lr)
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-13)
    assert ours.last_epoch == EPOCHS


def test_nested_schedules_are_their_parts_in_a_row():
    nested, its = make(bptt, "nested", optimiser()), optimiser()
    parts = [make(bptt, name, its) for name in ("warm-up", "cosine that returns", "step")]
    flat = bptt.SequentialLR(its, parts, [5, 30])
    for _ in range(EPOCHS):
        assert nested.optimizer.lr == its.lr
        nested.step()
        flat.step()


@pytest.mark.parametrize("arguments", PLATEAUS.values(), ids=PLATEAUS)
@pytest.mark.parametrize("sign", [1, -1])
def test_plateaus_equal_torchs(torch, arguments, sign):
    values = [sign * value for value in metrics()]
    ours = bptt.ReduceLROnPlateau(optimiser(), **arguments)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(torch_optimiser(torch), **arguments)
    expected = rates_of_torch(torch, theirs, steps=[(value,) for value in values])
    found = [ours.optimizer.lr]
    for value in values:
        ours.step(value)
        found.append(ours.optimizer.lr)
    assert found == pytest.approx(expected, rel=1e-12)
    for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
        assert getattr(ours, name) == getattr(theirs, name)


def test_the_plateaus_above_reduce_the_rate():
    """Else they would compare nothing."""
    for arguments in PLATEAUS.values():
        schedule = bptt.ReduceLROnPlateau(optimiser(), **arguments)
        for value in metrics():
            schedule.step(value)
        assert schedule.optimizer.lr < 0.1


def test_a_schedule_begins_from_the_rate_last_set_by_hand():
    """Not from what another schedule has made of it."""
    its = optimiser()
    bptt.LinearLR(its, start_factor=0.5)
    assert its.lr == 0.05
    assert its.initial_lr == 0.1
    assert bptt.StepLR(its, 3).base_lr == 0.1
    its.lr = 0.3
    assert bptt.StepLR(its, 3).base_lr == 0.3


def test_a_restored_optimiser_knows_the_rate_last_set_by_hand():
    its, other = optimiser(), optimiser(9)
    bptt.LinearLR(its, start_factor=0.5)
    other.load_state_dict(its.state_dict())
    assert other.lr == 0.05
    assert bptt.StepLR(other, 3).base_lr == 0.1


# ---- saving


def every():
    """All schedules as (a maker, the arguments of a step in each epoch)."""
    for name in SCHEDULES:
        yield pytest.param(lambda its, name=name: make(bptt, name, its), [()] * EPOCHS, id=name)
    steps = [(value,) for value in metrics()]
    for name, arguments in PLATEAUS.items():
        yield pytest.param(
            lambda its, a=arguments: bptt.ReduceLROnPlateau(its, **a), steps, id=f"plateau, {name}"
        )


@pytest.mark.parametrize(("maker", "steps"), list(every()))
@pytest.mark.parametrize("order", ["optimiser first", "schedule first"])
def test_a_restored_schedule_continues_with_the_same_bits(maker, steps, order):
    schedule = maker(optimiser(1 / 3))
    for arguments in steps[:37]:
        schedule.step(*arguments)
    saved = json.loads(json.dumps(schedule.state_dict()))
    saved_optimiser = schedule.optimizer.state_dict()
    twins = [copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule)), maker(optimiser(9))]
    loads = [(twins[2].optimizer, saved_optimiser), (twins[2], saved)]
    for thing, state in loads if order == "optimiser first" else loads[::-1]:
        thing.load_state_dict(state)
    assert twins[2].state_dict() == schedule.state_dict()
    assert repr(twins[2]) == repr(schedule)
    for arguments in steps[37:]:
        schedule.step(*arguments)
        for twin in twins:
            twin.step(*arguments)
            assert twin.optimizer.lr == schedule.optimizer.lr
    assert twins[2].state_dict() == schedule.state_dict()


def test_a_schedule_restored_alone_restores_the_rate():
    schedule = bptt.StepLR(optimiser(), 1)
    schedule.step()
    other = bptt.StepLR(optimiser(5), 3)
    other.load_state_dict(schedule.state_dict())
    assert other.optimizer.lr == schedule.optimizer.lr
    assert other.step_size == 1


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("step", lambda s: s.pop("lr"), ValueError, "state_dict has the names"),
        ("step", lambda s: s.update(other=1), ValueError, "state_dict has the names"),
        ("step", lambda s: s.update(last_epoch=-1), ValueError, "last_epoch is -1"),
        ("step", lambda s: s.update(gamma="1"), TypeError, "gamma is of type str"),
        ("step", lambda s: s.update(lr=-1), ValueError, "lr is -1"),
        ("cosine", lambda s: s.update(base_lr=None), TypeError, "base_lr is None"),
        ("three", lambda s: s["schedulers"].pop(), ValueError, "schedulers has 2 entries"),
        ("three", lambda s: s["milestones"].pop(), ValueError, "milestones has 1 entries"),
        (
            *("three", lambda s: s["schedulers"][2].pop("base_lr")),
            *(ValueError, "schedulers[2] has the names"),
        ),
        ("three", lambda s: s["schedulers"][2].update(lr=-1), ValueError, "lr is -1"),
    ],
)
def test_a_refused_load_changes_nothing(name, change, error, message):
    schedule, other = make(bptt, name, optimiser()), make(bptt, name, optimiser(2))
    schedule.step()
    before = copy.deepcopy(schedule.state_dict())
    bad = copy.deepcopy(other.state_dict())
    change(bad)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        schedule.load_state_dict(bad)
    with pytest.raises(TypeError, match=r"^state_dict is None"):
        schedule.load_state_dict(None)
    assert schedule.state_dict() == before
    assert schedule.optimizer.initial_lr == 0.1


# ---- what is refused


@pytest.mark.parametrize(
    ("kind", "arguments", "error", "message"),
    [
        ("StepLR", {"step_size": 0}, ValueError, "step_size is 0"),
        ("StepLR", {"step_size": 1.5}, TypeError, "step_size is of type float"),
        ("StepLR", {"step_size": 1, "gamma": -1}, ValueError, "gamma is -1"),
        ("CosineAnnealingLR", {"T_max": 0}, ValueError, "T_max is 0"),
        ("CosineAnnealingLR", {"T_max": 1, "eta_min": -1}, ValueError, "eta_min is -1"),
        ("LinearLR", {"start_factor": 0}, ValueError, "start_factor is 0"),
        ("LinearLR", {"start_factor": 2}, ValueError, "start_factor is 2"),
        ("LinearLR", {"end_factor": -1}, ValueError, "end_factor is -1"),
        ("LinearLR", {"total_iters": 0}, ValueError, "total_iters is 0"),
        ("ReduceLROnPlateau", {"mode": "least"}, ValueError, "mode is 'least'"),
        ("ReduceLROnPlateau", {"factor": 1}, ValueError, "factor is 1"),
        ("ReduceLROnPlateau", {"patience": -1}, ValueError, "patience is -1"),
        ("ReduceLROnPlateau", {"threshold": None}, TypeError, "threshold is None"),
        ("ReduceLROnPlateau", {"threshold_mode": 1}, TypeError, "threshold_mode is of type int"),
        ("ReduceLROnPlateau", {"cooldown": -1}, ValueError, "cooldown is -1"),
        ("ReduceLROnPlateau", {"min_lr": -1}, ValueError, "min_lr is -1"),
        ("ReduceLROnPlateau", {"eps": math.nan}, ValueError, "eps is nan"),
        ("SequentialLR", {"schedulers": None, "milestones": []}, TypeError, "schedulers is None"),
        ("SequentialLR", {"schedulers": [3], "milestones": []}, TypeError, "schedulers[0] is of"),
        ("StepLR", {"optimizer": None, "step_size": 1}, TypeError, "optimizer is None"),
    ],
)
def test_a_refused_schedule_leaves_the_optimiser_alone(kind, arguments, error, message):
    its = optimiser()
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        getattr(bptt, kind)(**{"optimizer": its} | arguments)
    assert its.lr == its.initial_lr == 0.1


def test_schedules_that_do_not_fit_together():
    its = optimiser()
    one, two = bptt.StepLR(its, 1), bptt.LinearLR(its)
    before = its.lr
    for schedulers, milestones, message in [
        ([one, bptt.StepLR(optimiser(), 1)], [1], "schedulers[1] has another optimizer"),
        ([one, bptt.ReduceLROnPlateau(its)], [1], "schedulers[1] is of type ReduceLROnPlateau"),
        ([one, two], [], "milestones has 0 entries"),
        ([one, two], [0], "milestones[0] is 0, must be at least 1"),
        ([one, two, one], [3, 3], "milestones[1] is 3, must be at least 4"),
        ([], [], "milestones has 0 entries"),
    ]:
        with pytest.raises((ValueError, TypeError), match=f"^{re.escape(message)}"):
            bptt.SequentialLR(its, schedulers, milestones)
        assert its.lr == before


def test_a_refused_metric_changes_nothing():
    schedule = bptt.ReduceLROnPlateau(optimiser(), patience=0)
    schedule.step(1.0)
    before = schedule.state_dict()
    for metric in (None, "1", np.ones(1)):
        with pytest.raises(TypeError, match=r"^metrics is "):
            schedule.step(metric)
    assert schedule.state_dict() == before
    schedule.step(np.float32(2))
    assert schedule.optimizer.lr == pytest.approx(0.01)
