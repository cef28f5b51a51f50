"""The examples as a user runs them, and their claims: formula, gradients, what is learnt."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from parity import assert_close, assert_same, normal, slope_along, torch_twin

import bptt

EXAMPLES = Path(__file__).parents[1] / "examples"

FUNCTIONS = {
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "relu": lambda a: np.where(a > 0, a, 0),
    "leaky_relu": lambda a: np.where(a > 0, a, 0.01 * a),
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does, with what it prints as text."""
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=600
    )


def run_well(name: str, *arguments: str, cwd: Path) -> tuple[str, str]:
    done = run(name, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return done.stdout, done.stderr


def number(label: str, text: str) -> float:
    """The number that stands behind a label."""
    found = re.search(rf"{label}:? +([0-9.]+)", text)
    assert found, f"no {label!r} in\n{text}"
    return float(found[1])


@pytest.fixture(scope="module")
def elman() -> ModuleType:
    return load("elman")


@pytest.fixture(scope="module")
def digits() -> ModuleType:
    for partner in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(partner, reason=f"examples/digits.py needs {partner}")
    return load("digits")


@pytest.fixture(scope="module")
def hybrid() -> ModuleType:
    pytest.importorskip("matplotlib", reason="examples/hybrid.py needs matplotlib")
    return load("hybrid")


@pytest.fixture(scope="module")
def vanishing() -> ModuleType:
    pytest.importorskip("matplotlib", reason="examples/vanishing_gradients.py needs matplotlib")
    return load("vanishing_gradients")


def any_network(elman, f, g, x):
    """The example's network in float64 with other weights, for which g acts on both signs."""
    model = elman.network(f, g, np.random.default_rng(0), dtype=np.float64)
    for seed, array in enumerate(model.params.values()):
        array[...] = normal(array.shape, seed=seed) / np.sqrt(array.shape[-1])
    rnn, readout, _ = model
    readout.params["bias"][:] -= readout(rnn(x)[0]).mean()
    return model


pairs = pytest.mark.parametrize(("f", "g"), [(f, g) for f in FUNCTIONS for g in FUNCTIONS])


def test_elman_has_all_nonlinearities(elman):
    assert set(elman.NONLINEARITIES) == set(FUNCTIONS)


@pairs
def test_elman_is_its_formula(elman, f, g):
    x = normal((7, 3, 1), seed=9)
    model = any_network(elman, f, g, x)
    W_xh, W_hh, b_x, b_h, W_hy, b_y = model.params.values()
    y = model(x)
    before = []  # of g
    for n in range(3):
        h = np.zeros(len(W_hh))
        for t in range(7):
            h = FUNCTIONS[f](W_hh @ h + W_xh @ x[t, n] + b_x + b_h)
            a = W_hy @ h + b_y
            before.append(a)
            np.testing.assert_allclose(y[t, n], FUNCTIONS[g](a), rtol=1e-12, atol=1e-15)
    assert np.min(before) < 0 < np.max(before)


@pairs
def test_elman_gradient_is_the_slope_of_its_loss(elman, f, g):
    x, target = elman.temporal_xor(np.random.default_rng(1), 3, dtype=np.float64)
    model = any_network(elman, f, g, x)
    step = bptt.value_and_grad(model, bptt.mse_loss)
    _, grads = step(x, target)
    for name, array in model.params.items():
        direction = normal(array.shape, seed=2)
        found = slope_along(lambda: step(x, target)[0], [array], [direction])
        assert found == pytest.approx(np.sum(grads[name] * direction), rel=1e-6, abs=0), name


@pairs
def test_elman_learns_to_remember(elman, f, g):
    rng = np.random.default_rng(0)
    model = elman.network(f, g, rng)
    x, target = elman.temporal_xor(rng, 200)
    before, _ = bptt.mse_loss(model(x), target)
    losses = elman.train(model, rng)
    after, _ = bptt.mse_loss(model(x), target)
    assert len(losses) == elman.STEPS
    assert np.mean(losses[-50:]) < np.mean(losses[:5]) / 1000
    assert after < before / 1000
    assert after < elman.memoryless_loss(x, target) / 1000


def test_elman_task_needs_memory(elman):
    x, target = elman.temporal_xor(np.random.default_rng(0), 5000)
    assert set(np.unique(x)) == {-1, 1}
    earlier = np.concatenate([np.full_like(x[:1], -1), x[:-1]])
    np.testing.assert_array_equal(target, np.where(x != earlier, np.float32(0.8), np.float32(0.2)))
    # x_t tells nothing (but at the first step): the best answer without memory is the mean
    assert elman.memoryless_loss(x, target) == pytest.approx(0.3**2, rel=5e-3)
    assert elman.memoryless_loss(x[1:], target[1:]) == pytest.approx(0.3**2, rel=1e-4)


def test_elman_memoryless_loss(elman):
    x, target = np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 5, 5])
    assert elman.memoryless_loss(x, target) == pytest.approx(2 * 0.25 / 4)
    assert elman.memoryless_loss(x, 3 * x - 1) == 0


def test_elman_from_the_command_line(tmp_path):
    arguments = ("--hidden", "relu", "--output", "leaky_relu", "--steps", "1000")
    out, _ = run_well("elman", *arguments, cwd=tmp_path)
    shown = [float(loss) for loss in re.findall(r"^step +\d+ of 1000 +loss ([0-9.]+)", out, re.M)]
    assert len(shown) == 11
    assert shown[-1] < shown[0] / 100
    assert number("after training", out) < number("best without memory", out) / 100
    assert number("after training", out) < number("before training", out) / 100
    assert list(tmp_path.iterdir()) == []
    done = run("elman", "--hidden", "relu6", cwd=tmp_path)
    assert done.returncode == 2
    assert "--hidden: invalid choice: 'relu6'" in done.stderr


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_elman_classifier_equals_torch(elman, torch, dtype):
    model = elman.classifier(np.random.default_rng(0), dtype=dtype)
    rnn, _, linear = model
    theirs, head = torch_twin(rnn), torch_twin(linear)
    assert repr(theirs) == "RNN(10, 8, batch_first=True)"
    x = normal((1, 5, 10), dtype)
    y, pullback = model.vjp(x)
    _, dy = bptt.cross_entropy(y, [1])
    g = pullback(dy)

    x_torch = torch.tensor(x, requires_grad=True)
    steps, _ = theirs(x_torch)
    logits = head(steps[:, -1, :])
    torch.nn.functional.cross_entropy(logits, torch.tensor([1])).backward()
    assert y.shape == (1, 2)
    assert_close("layers", y, logits.detach().numpy())
    assert_close("layers", g.x, x_torch.grad.numpy())
    expected = {f"0.{name}": p.grad.numpy() for name, p in theirs.named_parameters()}
    expected |= {f"2.{name}": p.grad.numpy() for name, p in head.named_parameters()}
    assert_close("layers", g.params, expected)


def accuracies(out: str) -> list[float]:
    return [float(a) for a in re.findall(r"^fold \d: test accuracy ([0-9.]+)%$", out, re.M)]


def share_of_colour(picture: np.ndarray, colour: str) -> float:
    """The share of pixels that have a colour such as "#0072B2"."""
    wanted = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return float(np.mean(np.all(np.abs(picture[..., :3] - wanted) < 0.01, axis=-1)))


def test_digits_by_lstm(digits, tmp_path):
    """The whole default run: the project's main job."""
    from matplotlib.image import imread

    out, err = run_well("digits", cwd=tmp_path)
    folds, mean = accuracies(out), number("mean test accuracy", out)
    assert len(folds) == 5
    assert mean >= 96
    assert mean == pytest.approx(np.mean(folds), abs=0.011), "both are rounded"
    assert re.search(r"training: [0-9.]+ s per epoch, [0-9,]+ images/s", out)
    assert "100%" in err, "the progress bar"
    assert f"{5 * digits.EPOCHS}/{5 * digits.EPOCHS}" in err

    assert [path.name for path in tmp_path.iterdir()] == ["digits.png"]
    picture = imread(tmp_path / "digits.png")
    assert picture.shape[0] >= 600
    assert picture.shape[1] >= 1000
    curves, _, read = np.array_split(picture[..., :3], 3, axis=1)
    for part in (curves, read):  # lines, frames
        for colour in (digits.TRAIN, digits.TEST):
            assert share_of_colour(part, colour) > 0.002
    assert 0.1 < np.mean(read.mean(axis=-1) < 0.5) < 0.6, "the ink of the digits"


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_digits_by_other_cells(digits, tmp_path, cell):
    arguments = ("--cell", cell, "--epochs", "5", "--output", "of.png")
    out, _ = run_well("digits", *arguments, cwd=tmp_path)
    assert f"{cell.upper()}(8, {digits.UNITS})" in out
    assert len(accuracies(out)) == 5
    assert number("mean test accuracy", out) >= 90
    assert (tmp_path / "of.png").read_bytes().startswith(b"\x89PNG")


def some_digits(count):
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return (bunch.images[:count] / 16).astype(np.float32), bunch.target[:count]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_digits_are_the_same_each_run(digits, cell):
    images, labels = some_digits(200)
    (first, read), (second, again) = (
        digits.cross_validate(cell, images, labels, epochs=2) for _ in range(2)
    )
    assert np.array_equal(read, again)
    for a, b in zip(first, second, strict=True):
        assert_same({"losses": a.losses}, {"losses": b.losses})
    assert not np.array_equal(first[0].losses, first[1].losses)
    assert first[0].losses[0] == pytest.approx(np.log(10), abs=0.1), "before training"
    assert first[0].losses[-1, 0] < first[0].losses[0, 0]
    right = read == labels
    assert np.mean([fold.accuracy for fold in first]) == pytest.approx(right.mean(), abs=0.01)


def test_digits_are_read_by_who_has_not_seen_them(digits, monkeypatch):
    """Each image is in one test set, and not in the training set of that fold."""
    images = np.arange(200, dtype=np.float32).reshape(200, 1, 1)
    labels = np.repeat(np.arange(10), 20)
    seen = []

    def train_fold(cell, train, test, **options):
        assert not set(train[0].flat) & set(test[0].flat)
        assert len(train[0]) + len(test[0]) == 200
        assert np.array_equal(np.bincount(test[1]), np.full(10, 4)), "as many of each digit"
        seen.extend(test[0].flat)
        return SimpleNamespace(predicted=test[0].astype(int).ravel(), accuracy=0.0)

    monkeypatch.setattr(digits, "train_fold", train_fold)
    _, read = digits.cross_validate("lstm", images, labels, epochs=1)
    assert sorted(seen) == list(range(200))
    assert np.array_equal(read, np.arange(200)), "in the order of the images"


@pytest.mark.parametrize("right", [0, 3, 200])
def test_digits_are_drawn_with_any_number_right(digits, tmp_path, right):
    images, labels = some_digits(200)
    read = (labels + (np.arange(200) >= right)) % 10
    fold = digits.Fold(np.array([[2.3, 2.3], [0.1, 0.2]]), read, right / 200, 1.0)
    digits.draw(tmp_path / "d.png", "title", [fold], images, labels, read)
    assert (tmp_path / "d.png").stat().st_size > 10_000


def test_hybrid_recalls_what_its_parts_do_not(hybrid, tmp_path):
    """The whole default run."""
    from matplotlib.image import imread

    out, _ = run_well("hybrid", cwd=tmp_path)
    assert number("hybrid: accuracy", out) >= 98
    for part in ("GRU", "attention"):
        assert number(f"{part}: accuracy", out) <= 60
        assert f"{part}: " in out
    assert len(re.findall(r"^  step +\d+ +loss [0-9.]+ +test accuracy", out, re.M)) == 12

    assert [path.name for path in tmp_path.iterdir()] == ["hybrid.png"]
    picture = imread(tmp_path / "hybrid.png")
    curves, bars = np.array_split(picture[..., :3], 2, axis=1)
    for colour in hybrid.COLOURS.values():
        assert share_of_colour(curves, colour) > 0.001
    assert share_of_colour(bars, hybrid.COLOURS["hybrid"]) > 0.001


def test_hybrid_task_is_what_it_says(hybrid):
    x, lengths, answers = hybrid.recall(np.random.default_rng(0), 500, 5)
    assert x.shape == (11, 500)
    assert set(lengths) == {3, 5, 7, 9, 11}
    for steps, length, answer in zip(x.T, lengths, answers, strict=True):
        letters, digits, asked = steps[: length - 1 : 2], steps[1:length:2], steps[length - 1]
        assert len(set(letters)) == len(letters)
        assert letters.max() < 16 <= digits.min()
        assert digits[list(letters).index(asked)] == 16 + answer
        assert not steps[length:].any()
    assert np.array_equal(np.unique(answers), np.arange(10))


@pytest.mark.parametrize("name", ["hybrid", "GRU", "attention"])
def test_hybrid_does_not_see_past_the_question(hybrid, name):
    model = hybrid.network(name, np.random.default_rng(0))
    x, lengths, answers = hybrid.recall(np.random.default_rng(0), 50, 5)
    y = model(x, lengths=lengths)
    x[np.arange(11)[:, None] >= lengths] = 20
    assert_close("layers", model(x, lengths=lengths), y.astype(np.float64))
    right = np.mean(y.argmax(-1) == answers)
    assert hybrid.accuracy(model, hybrid.Recall(x, lengths, answers)) == right


def test_hybrid_is_the_same_each_run_and_looks_at_all_of_one(hybrid, capsys):
    (model, curve), (_, again) = (
        hybrid.train("hybrid", np.random.default_rng(0), pairs=3, steps=20) for _ in range(2)
    )
    assert np.array_equal(curve, again)
    assert np.array_equal(curve[:, 0], np.arange(21))
    example = hybrid.recall(np.random.default_rng(3), 1, 3)
    weights = hybrid.looked_at(model, example)
    assert weights.shape == (hybrid.HEADS, example.lengths[0])
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("example", "arguments", "message"),
    [
        ("digits", ("--epochs", "0"), "--epochs must be at least 1"),
        ("digits", ("--output", "none/d.png"), "--output: there is no directory none"),
        ("digits", ("--cell", "cnn"), "--cell: invalid choice: 'cnn'"),
        ("hybrid", ("--pairs", "17"), "--pairs must be in 1..16"),
        ("hybrid", ("--steps", "0"), "--steps must be at least 1"),
        ("hybrid", ("--output", "none/d.png"), "--output: there is no directory none"),
    ],
)
def test_bad_arguments_are_refused(
    request, capsys, tmp_path, monkeypatch, example, arguments, message
):
    program = request.getfixturevalue(example)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^2$"):
        program.main(arguments)
    assert message in capsys.readouterr().err


def test_adding_problem(vanishing):
    x, target = vanishing.adding_problem(np.random.default_rng(0), 31, 5000)
    values, marks = x[..., 0], x[..., 1]
    assert 0 <= values.min() < values.max() <= 1
    assert set(np.unique(marks)) == {0, 1}
    for half in (marks[:15], marks[15:]):
        np.testing.assert_array_equal(half.sum(axis=0), 1)
        assert half.any(axis=1).all(), "each step is marked now and then"
    np.testing.assert_allclose((values * marks).sum(axis=0)[:, None], target, rtol=1e-6)
    assert np.mean((target - 1) ** 2) == pytest.approx(vanishing.CHANCE, rel=0.05)


def test_gradients_vanish_explode_and_hold(vanishing):
    factors = {n.name: vanishing.factor(vanishing.flow_of(n)) for n in vanishing.NETWORKS}
    assert factors["sigmoid RNN"] < 0.25, "the greatest slope, by a radius below 1"
    assert factors["tanh RNN"] < 0.7
    assert factors["LSTM, gates half open"] < 0.7
    assert factors["ReLU RNN, w_hh = 1.05 I"] == pytest.approx(1.05, abs=0.001)
    assert factors["ReLU RNN, w_hh = I"] == pytest.approx(1, abs=0.001)
    assert factors["leaky ReLU RNN, w_hh = I"] == pytest.approx(1, abs=0.001)
    assert 0.98 < factors["LSTM, forget gate open"] < 1
    assert 0.98 < factors["GRU, update gate open"] < 1


@pytest.mark.parametrize("T", [100, 200, 400])
def test_an_open_gate_learns_the_adding_problem(vanishing, T):
    assert vanishing.error_of(vanishing.NETWORKS[-1], T, 1000) < 0.01


def test_a_tanh_network_does_not(vanishing):
    assert vanishing.error_of(vanishing.NETWORKS[1], 100, 1000) > 0.15


def test_clipping_tames_what_explodes(vanishing):
    clipped, free = vanishing.descent(1.0), vanishing.descent(None)
    assert clipped[0] == free[0] > 100
    assert np.isnan(free[-1])
    assert np.isfinite(clipped).all()
    assert np.mean(clipped[-30:]) < 0.5


def test_vanishing_from_the_command_line(vanishing, tmp_path):
    from matplotlib.image import imread

    arguments = ("--steps", "20", "--lengths", "4", "30", "--output", "of.png")
    out, _ = run_well("vanishing_gradients", *arguments, cwd=tmp_path)
    for network in vanishing.NETWORKS:
        row = re.search(rf"^{re.escape(network.name)} +(.*)$", out, re.M)
        assert row, network.name
        assert len(row[1].split()) == 3 + 2
    for T in (4, 30):
        assert number(f"T = {T}: the better of LSTM and GRU has", out) < 1
    assert [path.name for path in tmp_path.iterdir()] == ["of.png"]
    picture = imread(tmp_path / "of.png")
    for network in vanishing.NETWORKS:
        assert share_of_colour(picture, network.colour) > 0.0005, network.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--lengths", "100", "3"), "--lengths must be at least 4"),
        (("--steps", "0"), "--steps must be at least 1"),
        (("--output", "none/v.png"), "--output: there is no directory none"),
    ],
)
def test_vanishing_refuses(vanishing, capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match=r"^2$"):
        vanishing.main(arguments)
    assert message in capsys.readouterr().err
