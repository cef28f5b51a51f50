"""A recurrent network, a block of a Transformer, and both in one: who can look something up?

The task is associative recall. A sequence shows pairs of a letter and a digit, each letter once,
and then asks for one of the letters again; the answer is the digit that followed it:

    K 3  B 7  E 0  B ?   ->  7

GRUs alone have to keep all pairs in their states. Attention alone finds the letter, but at the
letter there is no digit. In the hybrid the GRU binds a digit to the letter before it, and attention
fetches what was bound.

    python examples/hybrid.py --pairs 8

Needs matplotlib.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

import bptt

LETTERS, DIGITS = "ABCDEFGHIJKLMNOP", "0123456789"  # symbols 0..15 and 16..25
WIDTH, HEADS, BATCH, RATE, STEPS, PAIRS = 32, 2, 64, 0.003, 400, 8
TESTED = 1000  # sequences
COLOURS = {"hybrid": "#0072B2", "GRU": "#D55E00", "attention": "#009E73"}


class Recall(NamedTuple):
    """Sequences and their answers."""

    x: NDArray[np.intp]  # (T, N), symbols; 0 past the end
    lengths: NDArray[np.intp]  # (N,)
    answers: NDArray[np.intp]  # (N,), 0..9


def recall(rng: np.random.Generator, sequences: int, pairs: int) -> Recall:
    """Return random sequences of 1 to `pairs` pairs each, and the question."""
    n = np.arange(sequences)
    count = rng.integers(1, pairs + 1, sequences)
    letters = rng.permuted(np.tile(np.arange(len(LETTERS)), (sequences, 1)), axis=1)[:, :pairs]
    digits = rng.integers(0, len(DIGITS), (sequences, pairs))
    asked = rng.integers(0, count)
    x = np.zeros((2 * pairs + 1, sequences), np.intp)
    x[:-1:2], x[1::2] = letters.T, len(LETTERS) + digits.T
    lengths = 2 * count + 1
    x[lengths - 1, n] = letters[n, asked]
    x[np.arange(len(x))[:, np.newaxis] >= lengths] = 0
    return Recall(x, lengths, digits[n, asked])


def block(*layers: bptt.Module) -> bptt.Residual:
    """Return a residual block of a Transformer: normalised, passed on, and added."""
    return bptt.Residual(bptt.Sequential(bptt.LayerNorm(WIDTH), *layers))


def network(name: str, rng: np.random.Generator) -> bptt.Sequential:
    """Return the network of this name: x (T, N) -> logits (N, 10)."""
    gru = block(bptt.GRU(WIDTH, WIDTH, rng=rng))
    attention = block(bptt.MultiHeadSelfAttention(WIDTH, HEADS, causal=True, rng=rng))
    middle: dict[str, tuple[bptt.Module, ...]] = {
        "hybrid": (gru, attention),
        "GRU": (gru, block(bptt.GRU(WIDTH, WIDTH, rng=rng))),
        # attention alone knows no order
        "attention": (bptt.SinusoidalPositions(), attention),
    }
    feed_forward = (
        bptt.Linear(WIDTH, 2 * WIDTH, rng=rng),
        bptt.Activation("relu"),
        bptt.Linear(2 * WIDTH, WIDTH, rng=rng),
    )
    return bptt.Sequential(
        bptt.Embedding(len(LETTERS) + len(DIGITS), WIDTH, rng=rng),
        *middle[name],
        block(*feed_forward),
        bptt.LastStep(),
        bptt.LayerNorm(WIDTH),
        bptt.Linear(WIDTH, len(DIGITS), rng=rng),
    )


def accuracy(model: bptt.Sequential, test: Recall) -> float:
    """Return the share of right answers."""
    return float(np.mean(model(test.x, lengths=test.lengths).argmax(-1) == test.answers))


def train(
    name: str, rng: np.random.Generator, *, pairs: int, steps: int
) -> tuple[bptt.Sequential, NDArray[np.float64]]:
    """Train on new sequences in each step; return the model and (step, test accuracy) on the way.

    Prints them too.
    """
    model = network(name, rng)
    test = recall(np.random.default_rng(1), TESTED, pairs)
    optimiser = bptt.Adam(model.params, lr=RATE)
    step = bptt.value_and_grad(model, bptt.cross_entropy)
    print(f"{name}: {model.num_parameters():,} parameters")
    start = time.perf_counter()
    curve = [(0, accuracy(model, test))]
    for i in range(1, steps + 1):
        optimiser.lr = RATE * min(1, i / 50) * (1 - (i - 1) / steps)  # up, then down
        x, lengths, answers = recall(rng, BATCH, pairs)
        loss, grads = step(x, answers, lengths=lengths)
        bptt.clip_grad_norm_(grads, 1.0)
        optimiser.step(grads)
        if i % max(steps // 20, 1) == 0 or i == steps:
            curve.append((i, accuracy(model, test)))
            if len(curve) % 5 == 1:
                print(f"  step {i:5d}   loss {loss:.4f}   test accuracy {curve[-1][1]:.2%}")
    print(f"{name}: accuracy {curve[-1][1]:.2%} after {time.perf_counter() - start:.1f} s")
    return model, np.array(curve)


def looked_at(hybrid: bptt.Sequential, example: Recall) -> NDArray[np.floating]:
    """Return what the last step of the first sequence looks at: (heads, its length)."""
    embedding, gru, attention, *_ = hybrid
    h, _ = gru(embedding(example.x), lengths=example.lengths)
    norm, heads = attention.layer
    length = example.lengths[0]
    return heads.weights(norm(h), lengths=example.lengths)[0, :, length - 1, :length]


def draw_curves(axes: Axes, curves: dict[str, NDArray[np.float64]]) -> None:
    """Draw the test accuracy of each network against the step."""
    for name, curve in curves.items():
        told = f"{name}, at the end {curve[-1, 1]:.1%}"
        axes.plot(*curve.T, color=COLOURS[name], linewidth=2.5, label=told)
    axes.set(xlabel="step", ylabel="test accuracy", ylim=(0, 1.02), title="Who learns to recall")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_weights(axes: Axes, example: Recall, weights: NDArray[np.floating]) -> None:
    """Draw how much the question looks at each step, one bar a head."""
    symbols = [(LETTERS + DIGITS)[i] for i in example.x[: weights.shape[1], 0]]
    at = np.arange(len(symbols))
    for head, shares in enumerate(weights):
        axes.bar(
            at + (head - 0.5) * 0.4,
            shares,
            width=0.4,
            color=COLOURS["hybrid"],
            alpha=1 - head / 2,
            label=f"head {head + 1}",
        )
    axes.set_xticks(at, [*symbols[:-1], f"{symbols[-1]}?"])
    axes.set(ylabel="weight", title=f"Where the hybrid looks to answer {symbols[-1]}?")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the three networks, print how well they recall and write the picture."""
    parser = argparse.ArgumentParser(description="Train a recurrent-Transformer hybrid to recall.")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="at most (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path("hybrid.png"), help="picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if not 1 <= options.pairs <= len(LETTERS):
        parser.error(f"--pairs must be in 1..{len(LETTERS)}")
    if options.steps < 1:
        parser.error("--steps must be at least 1")
    if not options.output.parent.is_dir():
        parser.error(f"--output: there is no directory {options.output.parent}")

    start = time.perf_counter()
    models, curves = {}, {}
    for name in COLOURS:
        rng = np.random.default_rng(0)
        models[name], curves[name] = train(name, rng, pairs=options.pairs, steps=options.steps)
    print(f"chance alone: {1 / len(DIGITS):.0%}")

    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    draw_curves(left, curves)
    example = recall(np.random.default_rng(2), 1, options.pairs)
    draw_weights(right, example, looked_at(models["hybrid"], example))
    figure.savefig(options.output, dpi=120)
    plt.close(figure)
    print(f"picture: {options.output}; all in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
