"""The founding example: Elman's network, trained by gradient descent through time.

    h_t = f(W_hh h_(t-1) + W_xh x_t + b_h)
    y_t = g(W_hy h_t + b_y)

f and g are each one of sigmoid, tanh, ReLU and Leaky ReLU. The task is a temporal exclusive or,
after Elman (1990), "Finding Structure in Time": y_t tells whether x_t differs from x_(t-1). The
present input alone says nothing about that (but at the first step), so what the network gains over
a constant answer comes from its memory.

    python examples/elman.py --hidden sigmoid --output relu
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

import bptt

Array = NDArray[np.floating]

NONLINEARITIES = ("sigmoid", "tanh", "relu", "leaky_relu")
SAME, DIFFERENT = 0.2, 0.8  # the targets: within reach of every g
UNITS, T, N = 16, 20, 32
STEPS = 4096
BAR = 40


def network(
    f: str, g: str, rng: np.random.Generator, *, dtype: DTypeLike = np.float32
) -> bptt.Sequential:
    """Return the network: x (T, N, 1) -> y (T, N, 1).

    W_xh is "0.weight_ih_l0", W_hh "0.weight_hh_l0", b_h the sum of "0.bias_ih_l0" and
    "0.bias_hh_l0" (as in PyTorch, there are two), W_hy "1.weight" and b_y "1.bias".
    """
    readout = bptt.Linear(UNITS, 1, dtype=dtype, rng=rng)
    # Start at the mean of the targets: a ReLU that starts below zero would never learn.
    readout.params["bias"][:] = (SAME + DIFFERENT) / 2
    return bptt.Sequential(
        bptt.RNN(1, UNITS, nonlinearity=f, dtype=dtype, rng=rng), readout, bptt.Activation(g)
    )


def classifier(
    rng: np.random.Generator | None = None, *, dtype: DTypeLike = np.float32
) -> bptt.Sequential:
    """Return a network that reads x (N, T, 10) and gives two logits at the last step: (N, 2)."""
    return bptt.Sequential(
        bptt.RNN(10, 8, batch_first=True, dtype=dtype, rng=rng),
        bptt.LastStep(batch_first=True),
        bptt.Linear(8, 2, dtype=dtype, rng=rng),
    )


def temporal_xor(
    rng: np.random.Generator, sequences: int, *, dtype: DTypeLike = np.float32
) -> tuple[Array, Array]:
    """Return x (T, N, 1), random signs, and the target (T, N, 1) for each step.

    Before the first step there was -1, so that the first target is certain too.
    """
    bits = rng.integers(0, 2, (T + 1, sequences, 1))
    bits[0] = 0
    different = bits[1:] != bits[:-1]
    return (2 * bits[1:] - 1).astype(dtype), np.where(different, DIFFERENT, SAME).astype(dtype)


def memoryless_loss(x: Array, target: Array) -> float:
    """Return the least squared error of any function of x_t alone: the mean target for each x."""
    best = np.empty_like(target)
    for value in np.unique(x):
        best[x == value] = target[x == value].mean()
    return bptt.mse_loss(best, target)[0]


def train(model: bptt.Sequential, rng: np.random.Generator, *, steps: int = STEPS) -> list[float]:
    """Train by gradient descent, on new sequences in each step; return the loss of each step.

    Prints the loss at steps 1, 2, 4, 8, ... and at the last.
    """
    optimiser = bptt.SGD(model.params, lr=0.2, momentum=0.9)
    step = bptt.value_and_grad(model, bptt.mse_loss)
    dtype = model.params["1.bias"].dtype
    losses: list[float] = []
    for i in range(1, steps + 1):
        loss, grads = step(*temporal_xor(rng, N, dtype=dtype))
        bptt.clip_grad_norm_(grads, 0.1)
        optimiser.step(grads)
        losses.append(loss)
        if i.bit_count() == 1 or i == steps:
            bar = "#" * round(BAR * loss / losses[0])
            print(f"step {i:5d} of {steps}   loss {loss:.6f}   {bar}", flush=True)
    return losses


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the network that the command line names and tell how well it remembers."""
    parser = argparse.ArgumentParser(description="Train Elman's network on a temporal XOR.")
    for option, letter, default in (("--hidden", "f", "tanh"), ("--output", "g", "sigmoid")):
        told = f"{letter}: %(choices)s (default: %(default)s)"
        parser.add_argument(
            option, choices=NONLINEARITIES, default=default, metavar="NAME", help=told
        )
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args(arguments)

    rng = np.random.default_rng(options.seed)
    model = network(options.hidden, options.output, rng)
    print(f"f = {options.hidden}, g = {options.output}: does x_t differ from x_(t-1)?")
    x, target = temporal_xor(rng, 1000)
    before, _ = bptt.mse_loss(model(x), target)
    start = time.perf_counter()
    train(model, rng, steps=options.steps)
    seconds = time.perf_counter() - start
    y = model(x)
    after, _ = bptt.mse_loss(y, target)

    print("\nthe start of a new sequence")
    for name, array in (("x", x), ("target", target), ("y", y)):
        print(f"  {name:6}", *(f"{value:5.2f}" for value in array[:12, 0, 0]))
    print(f"mean squared error on {x.shape[1]} new sequences of {T} steps")
    print(f"  before training      {before:.6f}")
    print(f"  best without memory  {memoryless_loss(x, target):.6f}")
    print(f"  after training       {after:.6f}   ({options.steps} steps in {seconds:.1f} s)")

    logits = classifier(rng)(rng.normal(size=(1, 5, 10)).astype(np.float32))
    print("\nthe classifier, untrained: x (1, 5, 10) -> RNN(10, 8) -> last step -> Linear(8, 2)")
    print("  logits", *(f"{value:.3f}" for value in logits[0]))


if __name__ == "__main__":
    main()
