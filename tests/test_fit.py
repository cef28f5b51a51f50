"""fit: the hand-written loop's numbers on any axes and lengths, best weights, exact restarts.

What a run with a checkpoint survives is tried on processes that are killed.
"""

import functools
import hashlib
import math
import os
import re
import signal
import sys
import time

import numpy as np
import pytest
from parity import assert_close, assert_same, normal, numbers
from processes import finish, start

import bptt
from bptt.files import archive, runs
from bptt.training.batches import Batches

mean_squares = bptt.mse_loss
fit = functools.partial(bptt.fit, progress=False)


class Halving:
    """A schedule in the protocol of the optimisers."""

    def __init__(self, optimizer):
        self.optimizer, self.epochs = optimizer, 0
        self.start = optimizer and optimizer.lr

    def step(self):
        self.epochs += 1
        self.optimizer.lr = self.start / 2**self.epochs

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict):
        self.epochs = state_dict["epochs"]


class Plateau(Halving):
    """One that needs the loss."""

    def __init__(self, optimizer):
        super().__init__(optimizer)
        self.losses = ()

    def step(self, loss):
        self.losses += (loss,)
        super().step()

    def state_dict(self):
        return {"epochs": self.epochs, "losses": self.losses}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.losses = state_dict["losses"]


def tagger(batch_first=False, dropout=0.0, dtype=np.float64):
    """A model with a y for each step."""
    return bptt.Sequential(
        bptt.GRU(3, 6, 2, batch_first=batch_first, dropout=dropout, dtype=dtype, rng=0),
        bptt.Dropout(dropout, rng=1),
        bptt.Linear(6, 4, dtype=dtype, rng=2),
    )


def classifier(batch_first=False, dropout=0.0, dtype=np.float64):
    """A model with a y for each sequence."""
    gru, drop, linear = tagger(batch_first, dropout, dtype)
    return bptt.Sequential(gru, bptt.LastStep(batch_first), drop, linear)


def sequences(N=23, longest=9, dtype=np.float64, seed=0):
    """Lists of x and of targets for each step, and an array of targets for each sequence."""
    lengths = numbers(seed).integers(0, longest + 1, N)
    lengths[:2] = 0, longest
    x = [normal((T, 3), dtype, seed=seed + i) for i, T in enumerate(lengths)]
    steps = [numbers(seed + i).integers(0, 4, T) for i, T in enumerate(lengths)]
    return x, steps, numbers(seed).integers(0, 4, N)


def trained(make=tagger, batch_first=False, dropout=0.5, **options):
    """A model, its optimiser and the history of a run with all that has a state."""
    model = make(batch_first, dropout)
    optimizer = bptt.Adam(model.params, 0.02)
    x, steps, classes = sequences()
    target = steps if make is tagger else classes
    options = {
        "valid": (x[:9], target[:9]),
        "epochs": 4,
        "batch_size": 5,
        "clip": 0.5,
        "schedule": Plateau(optimizer),
    } | options
    history = fit(model, bptt.cross_entropy, optimizer, (x, target), **options)
    return model, optimizer, history


def everything(model, optimizer, history=None):
    """All bits of a run, as text."""
    arrays = {}
    state = (model.state_dict(), optimizer.state_dict(), history and history._asdict())
    tree = runs._without_arrays("run", state, arrays)
    return repr((tree, {name: array.tobytes() for name, array in arrays.items()}))


# ---- the loop


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("make", [tagger, classifier])
def test_is_the_loop_written_by_hand(make, batch_first):
    """One sequence at a time by hand, without padding; all in one batch by fit."""
    x, steps, classes = sequences()
    target = steps if make is tagger else classes
    model = make(batch_first)
    optimizer = bptt.SGD(model.params, lr=0.5, momentum=0.9)
    history = fit(
        model, bptt.cross_entropy, optimizer, (x, target), epochs=3, batch_size=99, clip=0.1
    )

    theirs = make()
    step = bptt.value_and_grad(theirs, functools.partial(bptt.cross_entropy, reduction="sum"))
    optimizer = bptt.SGD(theirs.params, lr=0.5, momentum=0.9)
    count = sum(map(len, x)) if make is tagger else len(x)
    for epoch in range(3):
        total, sums = 0.0, {name: np.zeros_like(array) for name, array in theirs.params.items()}
        for sequence, wanted in zip(x, target, strict=True):
            value, grads = step(
                sequence[:, np.newaxis], np.reshape(wanted, (-1, 1) if make is tagger else -1)
            )
            total += value
            for name, grad in grads.items():
                sums[name] += grad / count
        bptt.clip_grad_norm_(sums, 0.1)
        optimizer.step(sums)
        assert history.train_loss[epoch] == pytest.approx(total / count, rel=1e-12)
    assert_close("training", dict(model.params), dict(theirs.params))
    assert history.best_epoch == 2
    assert history.lr == [0.5] * 3


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("make", [tagger, classifier])
def test_arrays_are_lists_of_equal_lengths(make, batch_first):
    """Also where T, N and C are equal, and shapes alone do not tell the axes."""
    x = normal((4, 4, 3))
    target = numbers().integers(0, 4, (4, 4) if make is tagger else 4)
    runs = []
    for data in [(x, target), ([*x], [*target])]:
        model = make(batch_first)
        if isinstance(data[0], np.ndarray) and not batch_first:
            data = data[0].swapaxes(0, 1), data[1].T
        optimizer = bptt.SGD(model.params, lr=0.5)
        history = fit(model, bptt.cross_entropy, optimizer, data, data, epochs=2, batch_size=4)
        assert history.valid_loss[0] == pytest.approx(history.train_loss[1], rel=1e-12)
        runs.append(dict(model.params))
    assert_close("training", *runs)


def test_a_bare_layer_and_one_without_time():
    x = normal((12, 3))
    model = bptt.Linear(3, 2, dtype=np.float64, rng=0)
    optimizer = bptt.Adam(model.params, 0.1)
    exact = x @ normal((3, 2)) + 1
    history = fit(model, bptt.mse_loss, optimizer, (x, exact), epochs=200, batch_size=5)
    assert history.train_loss[-1] < 1e-3 * history.train_loss[0]

    layer = bptt.LSTM(3, 2, dtype=np.float64, rng=0)
    y = normal((5, 7, 2))
    history = fit(
        layer, bptt.mse_loss, bptt.SGD(layer.params), (normal((5, 7, 3)), y), epochs=1, batch_size=2
    )
    assert math.isfinite(history.train_loss[0])


@pytest.mark.parametrize("make", [tagger, classifier])
def test_losses_are_means_over_targets_whatever_the_batches(make):
    """Also where a batch has no targets at all: the first sequence is empty."""
    x, steps, classes = sequences()
    data = x, steps if make is tagger else classes
    model = make()
    losses = []
    for size in (1, 5, 99):
        history = fit(
            model,
            bptt.cross_entropy,
            bptt.SGD(model.params, 0),
            data,
            data,
            epochs=1,
            batch_size=size,
        )
        losses += history.train_loss + history.valid_loss
    assert losses == pytest.approx([losses[-1]] * 6, rel=1e-12)


def test_what_the_optimiser_does_not_have_stays():
    model = tagger()
    before = model.state_dict()
    head = {name: array for name, array in model.params.items() if name.startswith("2.")}
    x, steps, _ = sequences()
    fit(model, bptt.cross_entropy, bptt.SGD(head, 0.1), (x, steps), epochs=1, batch_size=4)
    changed = {name for name, array in model.params.items() if np.any(array != before[name])}
    assert changed == head.keys()


@pytest.mark.parametrize("training", [False, True])
def test_modes_are_for_training_and_validation_and_put_back(training):
    seen = []

    class Spy(bptt.Dropout):
        def vjp(self, x):
            seen.append(self.training)
            return super().vjp(x)

    model = bptt.Sequential(Spy(0.5, rng=0), bptt.Linear(3, 2, rng=0)).train(training)
    model[1].eval()
    data = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    fit(model, mean_squares, bptt.SGD(model.params), data, data, epochs=2, batch_size=2)
    assert seen[-8:] == [True, True, False, False] * 2
    assert not any(seen[:-8]), "the data are tried in eval mode"
    assert [layer.training for layer in model.modules()] == [training, training, False]


# ---- batches


@pytest.mark.parametrize("longest", [9, 200])
def test_an_epoch_has_each_sequence_once_beside_others_of_its_length(longest):
    x, steps, _ = sequences(500, longest)
    batches = Batches("train", (x, steps), tagger().eval())
    rng = numbers()
    epochs = [batches.cut(16, rng) for _ in range(2)]
    for cut in [*epochs, batches.cut(16)]:
        assert sorted(np.concatenate(cut)) == [*range(500)]
        assert sorted(map(len, cut)) == [4] + [16] * 31
        lengths = [[len(x[i]) for i in indices] for indices in cut]
        padding = sum(max(row) * len(row) - sum(row) for row in lengths)
        assert padding < 0.1 * sum(map(sum, lengths)), "at random it is as much as the data"
    assert {tuple(sorted(indices)) for indices in epochs[0]}.isdisjoint(
        tuple(sorted(indices)) for indices in epochs[1]
    )
    assert np.any(np.diff([len(x[indices[-1]]) for indices in epochs[0][:16]]) < 0), "shuffled"


def test_a_batch_is_a_copy_of_the_right_sequences():
    x, steps, _ = sequences()
    for batch_first in (False, True):
        batches = Batches("train", (x, steps), tagger(batch_first).eval())
        batch = batches.batch(np.array([5, 1, 5]))
        rows = batch.x if batch_first else batch.x.swapaxes(0, 1)
        targets = batch.target if batch_first else batch.target.T
        assert [*batch.lengths] == [len(x[i]) for i in (5, 1, 5)]
        assert batch.weight == sum(batch.lengths)
        for row, target, i in zip(rows, targets, (5, 1, 5), strict=True):
            assert np.array_equal(row[: len(x[i])], x[i])
            assert not row[len(x[i]) :].any()
            assert np.array_equal(target[: len(x[i])], steps[i])
    array = normal((7, 4, 3))
    batches = Batches("train", (array, normal((7, 4, 2))), tagger().eval())
    batch = batches.batch(np.array([2, 0]))
    assert np.array_equal(batch.x, array[:, [2, 0]])
    assert not np.shares_memory(batch.x, array)


# ---- epochs: best weights, stopping, schedules


def drifting(path):
    """A model y = w that training takes along a path; its validation losses are w^2, 99's NaN."""
    model = bptt.Linear(1, 1, bias=False, dtype=np.float64, rng=0)
    steps = iter(path)

    def loss(y, target):
        if not target.any():  # the validation's
            return math.nan if y.mean() > 98 else float(y.mean() ** 2), y
        # one step of SGD with lr 1 takes w to the next place
        return 0.0, (model.params["weight"][0, 0] - next(steps)) / y.size * np.ones_like(y)

    data = (np.ones((2, 1)), np.ones((2, 1))), (np.ones((2, 1)), np.zeros((2, 1)))
    return functools.partial(fit, model, loss, bptt.SGD(model.params, 1.0), *data, batch_size=2)


@pytest.mark.parametrize(
    ("path", "patience", "epochs", "best"),
    [
        ([5, 4, 3, 2], None, 4, 3),
        ([5, 4, 6, 7], None, 4, 1),
        ([5, 4, 6, 7, 3], 2, 4, 1),
        ([5, 4, 6, 3, 7], 2, 5, 3),
        ([5, 4, 4, 1], 1, 3, 1),
        ([99, 4, 5], None, 3, 1),
        ([4, 99, 99, 1], 2, 3, 0),
        ([99, 99, 99, 1], 2, 3, 0),
    ],
)
def test_the_best_weights_are_put_back(path, patience, epochs, best):
    run = drifting(path)
    history = run(epochs=len(path), patience=patience)
    expected = [math.nan if place == 99 else place**2 for place in path[:epochs]]
    assert history.valid_loss == pytest.approx(expected, nan_ok=True)
    assert history.best_epoch == best
    assert run.args[0].params["weight"][0, 0] == pytest.approx(path[best])
    loss = history.valid_loss[best]
    told = f"best_epoch {best}: train_loss 0, valid_loss {loss:.4g})"
    assert repr(history) == f"History({epochs} epochs; {told}"


@pytest.mark.parametrize("make", [Halving, Plateau])
def test_schedules_step_each_epoch(make):
    model = classifier()
    optimizer = bptt.SGD(model.params, 0.8)
    schedule = make(optimizer)
    x, _, classes = sequences()
    data = (x, classes)
    history = fit(
        model,
        bptt.cross_entropy,
        optimizer,
        data,
        data,
        epochs=3,
        batch_size=4,
        schedule=schedule,
    )
    assert history.lr == [0.8, 0.4, 0.2]
    assert optimizer.lr == 0.1
    assert getattr(schedule, "losses", tuple(history.valid_loss)) == tuple(history.valid_loss)


def test_it_learns():
    """Which of four channels has the largest sum: a memory of all steps."""
    rng = numbers()
    x = [rng.normal(size=(T, 4)).astype("f4") for T in rng.integers(1, 12, 600)]
    target = np.array([sequence.sum(axis=0).argmax() for sequence in x])
    model = bptt.Sequential(bptt.GRU(4, 24, rng=0), bptt.LastStep(), bptt.Linear(24, 4, rng=1))
    optimizer = bptt.Adam(model.params, 0.01)
    train, valid = (x[:500], target[:500]), (x[500:], target[500:])
    history = fit(model, bptt.cross_entropy, optimizer, train, valid, epochs=12, batch_size=20)
    assert history.valid_loss[0] > 0.7
    assert min(history.valid_loss) == history.valid_loss[history.best_epoch] < 0.4


# ---- one seed


@pytest.mark.parametrize("make", [tagger, classifier])
def test_one_seed_is_one_result(make):
    first, second, other = (everything(*trained(make, seed=seed)) for seed in (0, 0, 1))
    assert first == second
    assert first != other


def test_generators_of_the_caller_are_left_alone():
    mine = numbers()
    model = bptt.Sequential(bptt.Dropout(0.5, rng=mine), bptt.Linear(3, 2, rng=0))
    before = mine.bit_generator.state
    data = np.ones((4, 3), np.float32), np.zeros((4, 2), np.float32)
    fit(model, mean_squares, bptt.SGD(model.params), data, epochs=1, batch_size=2)
    assert mine.bit_generator.state == before


# ---- interruptions


class Interrupted:
    """A loss that is interrupted the n-th time that it is called."""

    def __init__(self, error, n):
        self.error, self.left = error, n

    def __call__(self, y, target):
        self.left -= 1
        if not self.left:
            raise self.error
        return bptt.cross_entropy(y, target)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("y")])
@pytest.mark.parametrize("n", [1, 3, 15, 18])
def test_after_an_interruption_all_is_as_after_the_last_whole_epoch(tmp_path, error, n):
    """23 sequences are 5 batches, and 9 of validation 2: epochs of 7 calls."""
    path = tmp_path / "c.npz"
    model = tagger(dropout=0.5)
    optimizer = bptt.Adam(model.params, 0.02)
    schedule = Plateau(optimizer)
    x, steps, _ = sequences()
    options = {"batch_size": 5, "schedule": schedule, "clip": 0.5, "checkpoint": path}
    data = (x, steps), (x[:9], steps[:9])
    with pytest.raises(type(error)):
        fit(model, Interrupted(error, n), optimizer, *data, epochs=4, **options)
    whole = (n - 1) // 7
    assert schedule.epochs == whole
    _, arrays = archive.read(path, "checkpoint")
    saved = {name.removeprefix("state/model/"): array for name, array in arrays.items()}
    assert_same(model.state_dict(), {name: saved[name] for name in model.params})
    if whole:
        expected = everything(*trained(epochs=whole, valid=data[1])[:2])
        best = fit(model, bptt.cross_entropy, optimizer, *data, epochs=whole, **options)
        assert len(best.lr) == whole
        assert everything(model, optimizer) == expected
    history = fit(model, bptt.cross_entropy, optimizer, *data, epochs=4, **options)
    assert everything(model, optimizer, history) == everything(*trained())
    assert os.listdir(tmp_path) == ["c.npz"]


# ---- checkpoints


def test_a_run_in_parts_is_the_run(tmp_path):
    whole = everything(*trained(epochs=6))
    for parts in ([6, 6], [1, 2, 6], [3, 6]):
        for suffix in (".npz", ".safetensors"):
            if suffix == ".safetensors":
                pytest.importorskip("safetensors", reason="writes .safetensors")
            path = tmp_path / f"{parts}{suffix}"
            for epochs in parts:
                last = trained(epochs=epochs, checkpoint=path)
            assert everything(*last) == whole


def test_what_was_stopped_early_stays_stopped_and_goes_on_with_more_patience(tmp_path):
    path = tmp_path / "c.npz"
    options = {"epochs": 12, "checkpoint": path, "make": classifier, "dropout": 0.0}
    first = trained(patience=1, **options)
    assert 1 < len(first[2].lr) < 12
    before = path.read_bytes()
    assert everything(*trained(patience=1, **options)) == everything(*first)
    assert path.read_bytes() == before
    longer = trained(patience=None, **options)
    assert len(longer[2].lr) == 12
    assert everything(*longer) == everything(*trained(**options | {"checkpoint": None}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 6}, "batch_size was 5, is 6"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"clip": None}, "clip was 0.5, is None"),
        ({"schedule": None}, "schedule was Plateau, is None"),
        ({"valid": sequences()[:2]}, "valid was 9 sequences, [0-9]+ steps of float64 .*, is 23 "),
        ({"dropout": 0.25}, r"module 1 of the model was GRU\(.*dropout=0.5.*, is GRU\(.*=0.25"),
        ({"make": classifier}, "module 2 of the model was Dropout.*, is LastStep"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, change, message):
    path = tmp_path / "c.npz"
    trained(epochs=1, checkpoint=path)
    before = path.read_bytes()
    if change.get("make") is classifier:
        change = change | {"valid": (sequences()[0][:9], sequences()[2][:9])}
    else:
        change = {"valid": (sequences()[0][:9], sequences()[1][:9])} | change
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))} is of another run: .*{message}"):
        trained(epochs=2, checkpoint=path, **change)
    assert path.read_bytes() == before


def test_a_refused_checkpoint_changes_nothing(tmp_path):
    path = tmp_path / "c.npz"
    trained(epochs=1, checkpoint=path)
    model = tagger(dropout=0.5)
    optimizer = bptt.SGD(model.params, 0.1)
    x, steps, _ = sequences()
    before = everything(model, optimizer)
    call = functools.partial(
        fit, model, bptt.cross_entropy, optimizer, (x, steps), epochs=1, batch_size=5
    )
    with pytest.raises(ValueError, match="optimizer was Adam, is SGD"):
        call(checkpoint=path)
    data = path.read_bytes()
    for bad in (data[:-500], data[:3000] + b"\0" + data[3000:], b""):
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=re.escape(f"{path} is damaged")):
            call(checkpoint=path)
        assert path.read_bytes() == bad
    with pytest.raises(FileNotFoundError, match="none"):
        call(checkpoint=tmp_path / "none" / "c.npz")
    bptt.save(model, path)
    with pytest.raises(ValueError, match="holds a model, must hold a checkpoint"):
        call(checkpoint=path)
    assert everything(model, optimizer) == before


def job(path, deadly=None, count=0):
    """What the killed processes do; `count` is the call of os.`deadly` that kills them."""
    if deadly:
        original = getattr(os, deadly)

        def kill(*args):
            nonlocal count
            count -= 1
            if not count:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args)

        setattr(os, deadly, kill)
    run = trained(epochs=60, checkpoint=path)
    print(hashlib.sha256(everything(*run).encode()).hexdigest())


def started(*arguments):
    told = ", ".join(map(repr, arguments))
    return start(f"from test_fit import job; job({told})")


def changes(path, process, count):
    """Wait until a file has been replaced so many times, or the process has ended."""
    deadline = time.monotonic() + 60
    last = None
    while count and process.poll() is None and time.monotonic() < deadline:
        now = path.stat().st_mtime_ns if path.exists() else None
        count -= now != last
        last = now
        time.sleep(0.0002)


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(tmp_path):
    """Killed while it writes, between files, and at random moments of epochs."""
    reference = started(str(tmp_path / "whole.npz"))
    folder = tmp_path / "killed"
    folder.mkdir()
    path = folder / "c.npz"
    rng = numbers()
    killed = 0
    for moment in [("fsync", 1), ("fsync", 6), ("replace", 4), None, None, None]:
        process = started(str(path), *(moment or ()))
        if moment is None:
            changes(path, process, int(rng.integers(2, 8)))
            time.sleep(rng.uniform(0, 0.02))
            process.kill()
        code, _, err = finish(process, 60)
        assert (code, err) in ((-signal.SIGKILL, ""), (0, ""))
        killed += code != 0
        if path.exists():
            archive.read(path, "checkpoint")
    assert killed >= 4
    (code, out, err), (_, expected, _) = finish(started(str(path)), 60), finish(reference, 60)
    assert (code, err) == (0, "")
    assert len(out) == 64
    assert out == expected
    assert os.listdir(folder) == ["c.npz"], "what killed writers left is gone"


# ---- what is shown


def test_progress_is_shown_on_stderr(capfd, monkeypatch):
    trained(progress=False)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setitem(sys.modules, "tqdm", None)
    _, _, history = trained(progress=True, epochs=2)
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 2
    loss, valid = history.train_loss[1], history.valid_loss[1]
    told = rf"epoch 2/2: loss {loss:.4g}, valid {valid:.4g}, [0-9,]+ samples/s"
    assert re.fullmatch(told, lines[1])


def test_progress_as_a_bar(capfd):
    pytest.importorskip("tqdm", reason="shows a bar of tqdm")
    _, _, history = trained(progress=True, epochs=2)
    out, err = capfd.readouterr()
    assert out == ""
    last = err.split("\r")[-1]
    assert re.search(r"epoch 2/2: 100%.* 46/46 .* samples/s", last)
    assert f"loss {history.train_loss[1]:.4g}, valid {history.valid_loss[1]:.4g}" in last


# ---- bad calls


X, STEPS, CLASSES = sequences()
MIXED = [X[0], X[1].astype("f4")]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": np.tanh}, TypeError, "model is of type ufunc"),
        ({"loss": "mse"}, TypeError, "loss is of type str"),
        ({"optimizer": None}, TypeError, "optimizer is None, must be an optimiser"),
        (
            {"optimizer": bptt.SGD(classifier().params)},
            ValueError,
            "optimizer.params['0.weight_ih_l0'] is not the model's",
        ),
        ({"train": X}, TypeError, "train is of type list, must be a pair (x, target)"),
        ({"train": ([], [])}, ValueError, "train[0] has no sequences"),
        ({"train": (X, CLASSES[1:])}, ValueError, "train[1] has shape (22,), must have N = 23"),
        ({"train": (X, 3)}, ValueError, "train[1] has shape (), must have N = 23 on axis 0"),
        ({"train": (MIXED, [0, 1])}, ValueError, "train[0][1] is float32 (9, 3), must be like"),
        ({"train": ([1.0, 2.0], [0, 1])}, ValueError, "train[0][0] is one number"),
        ({"train": (X, None)}, TypeError, "train[1] is None"),
        ({"train": (np.ones(3), [0])}, ValueError, "train[0] has shape (3,), must be (T, N, ...)"),
        ({"train": (np.ones((4, 2, 5)), [0, 1])}, ValueError, "x has shape"),
        ({"train": (np.ones((4, 2, 3), "f4"), [0, 1])}, TypeError, "x has dtype float32"),
        ({"valid": (X, CLASSES, 1)}, TypeError, "valid is of type tuple, must be a pair"),
        ({"epochs": 0}, ValueError, "epochs is 0"),
        ({"batch_size": 2.5}, TypeError, "batch_size is of type float"),
        ({"schedule": 3}, TypeError, "schedule is of type int, must have step()"),
        ({"schedule": Halving(None)}, ValueError, "schedule is of another optimiser"),
        ({"schedule": Plateau}, ValueError, "schedule is given, must be None without valid"),
        ({"clip": -1}, ValueError, "clip is -1"),
        ({"patience": 0, "valid": (X, CLASSES)}, ValueError, "patience is 0"),
        ({"patience": 1}, ValueError, "patience is given, must be None without valid"),
        ({"seed": None}, TypeError, "seed is None"),
        ({"checkpoint": "run.pkl"}, ValueError, "checkpoint is '"),
        ({"progress": "bar"}, TypeError, "progress is of type str"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    model = classifier()
    optimizer = bptt.SGD(model.params)
    call = {
        "model": model,
        "loss": bptt.cross_entropy,
        "optimizer": optimizer,
        "train": (X, CLASSES),
        "epochs": 1,
        "batch_size": 4,
    } | change
    if isinstance(call.get("schedule"), type):
        call["schedule"] = call["schedule"](optimizer)
    before = everything(model, optimizer)
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        fit(**call)
    assert everything(model, optimizer) == before
    assert model.training


def test_errors_of_targets_for_each_step():
    model = tagger()
    call = functools.partial(fit, model, bptt.cross_entropy, bptt.SGD(model.params))
    for target, message in [
        (STEPS[1:], "train[1] has 22 sequences, must have N = 23"),
        ([*STEPS[:2], STEPS[0], *STEPS[3:]], f"train[1][2] has 0 steps, must have {len(X[2])}"),
        (CLASSES, "train[1][0] is one number"),
    ]:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
            call((X, target), epochs=1, batch_size=4)
    deaf = bptt.Linear(3, 2, dtype=np.float64)
    with pytest.raises(ValueError, match=r"^train\[0\] has sequences of different lengths"):
        fit(deaf, mean_squares, bptt.SGD(deaf.params), (X, STEPS), epochs=1, batch_size=4)


class Summed(bptt.Module):
    """A layer of one's own that has no y for each step, and says so or not."""

    def __init__(self, keeps_steps):
        super().__init__()
        self.keeps_steps = keeps_steps

    def __call__(self, x):
        return x.sum(axis=0)

    def vjp(self, x):
        def pullback(dy=None, wrt=None):
            return bptt.LayerGradients(np.broadcast_to(dy, x.shape).copy(), {})

        return x.sum(axis=0), pullback


def test_a_layer_of_ones_own_says_that_it_has_no_y_for_each_step():
    gru = bptt.GRU(3, 6, rng=0)
    data = [np.ones((5, 3), np.float32)] * 4, np.ones((4, 2), np.float32)
    for keeps_steps in (False, True):
        model = bptt.Sequential(gru, Summed(keeps_steps), bptt.Linear(6, 2, rng=0))
        optimizer = bptt.SGD(model.params, lr=0.01)
        options = {"epochs": 2, "batch_size": 2, "progress": False}
        if keeps_steps:
            with pytest.raises(ValueError, match=r"^model gives y of shape .* keeps_steps is True"):
                bptt.fit(model, bptt.mse_loss, optimizer, data, **options)
        else:
            history = bptt.fit(model, bptt.mse_loss, optimizer, data, **options)
            assert history.train_loss[1] < history.train_loss[0]
