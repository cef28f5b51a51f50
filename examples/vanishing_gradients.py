"""Vanishing and exploding gradients, and what helps: one picture and a table.

At each step back in time a gradient is multiplied by the network's derivative. Below 1 in size it
vanishes, above 1 it explodes, both exponentially fast (Hochreiter, 1991; Bengio et al., 1994).
bptt.diagnostics shows which networks hold it before any training, and the adding problem
(Hochreiter and Schmidhuber, 1997) which of them learn: of T random numbers in [0, 1], two are
marked, one in each half, and their sum is to be told after the last. Always saying 1 has a mean
squared error of 1/6.

    python examples/vanishing_gradients.py --output docs/vanishing.png

Needs matplotlib.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import DTypeLike, NDArray

import bptt
from bptt.diagnostics import GradientFlow, gradient_flow

Array = NDArray[np.floating]
Build = Callable[[int, DTypeLike, np.random.Generator], Any]  # of T, a recurrent layer

UNITS, BATCH, STEPS, LENGTHS, TESTED = 32, 32, 3000, (100, 200, 400), 2000
FLOW_T, CLIPPED_T, CLIPPED_STEPS = 200, 100, 150
CHANCE, GOAL = 1 / 6, 0.01
LARGE = 1.05  # 1.05^200 is 17,000


# ---- the networks


def simple(nonlinearity: str, w_hh: float | None = None) -> Build:
    """Return an RNN with PyTorch's initial values, or one whose w_hh is a multiple of identity.

    With the identity: Le, Jaitly and Hinton (2015), "A simple way to initialize recurrent networks
    of rectified linear units".
    """

    def build(T: int, dtype: DTypeLike, rng: np.random.Generator) -> bptt.RNN:
        rnn = bptt.RNN(2, UNITS, nonlinearity=nonlinearity, dtype=dtype, rng=rng)
        if w_hh is not None:
            for name, array in rnn.params.items():
                array[...] = 0.05 * rng.normal(size=array.shape) if "weight_ih" in name else 0
            bptt.init.recurrent_(rnn, bptt.init.eye_)
            rnn.params["weight_hh_l0"][:] *= w_hh
        return rnn

    return build


def half_open(T: int, dtype: DTypeLike, rng: np.random.Generator) -> bptt.LSTM:
    """Return an LSTM with PyTorch's initial values, among which f is near 1/2."""
    return bptt.LSTM(2, UNITS, dtype=dtype, rng=rng)


def open_gates(kind: type[bptt.LSTM] | type[bptt.GRU]) -> Build:
    """Return an LSTM whose f, or a GRU whose z, begins near 1.

    The biases are those of Tallec and Ollivier (2018), "Can recurrent neural networks warp time?":
    the units forget in from 1 to T steps.
    """

    def build(T: int, dtype: DTypeLike, rng: np.random.Generator) -> bptt.LSTM | bptt.GRU:
        layer = kind(2, UNITS, dtype=dtype, rng=rng)
        bptt.init.chrono_(layer, T, rng)
        return layer

    return build


class Network(NamedTuple):
    """A network of the story: its name, how it begins, its rate, and how it is drawn."""

    name: str
    build: Build
    rate: float
    colour: str
    label: tuple[int, str]  # at which t its name stands, on which side of its line
    style: str = "-"


NETWORKS = (
    Network("sigmoid RNN", simple("sigmoid"), 3e-4, "#56B4E9", (183, "left")),
    Network("tanh RNN", simple("tanh"), 3e-4, "#0072B2", (155, "right")),
    Network("LSTM, gates half open", half_open, 1e-2, "#888888", (157, "left")),
    Network(f"ReLU RNN, w_hh = {LARGE} I", simple("relu", LARGE), 3e-4, "#D55E00", (60, "above")),
    Network("ReLU RNN, w_hh = I", simple("relu", 1.0), 3e-4, "#CC79A7", (10, "above")),
    Network(
        "leaky ReLU RNN, w_hh = I", simple("leaky_relu", 1.0), 3e-4, "#7B3F99", (60, "above"), "--"
    ),
    Network("LSTM, forget gate open", open_gates(bptt.LSTM), 1e-2, "#000000", (10, "below")),
    Network("GRU, update gate open", open_gates(bptt.GRU), 1e-2, "#009E73", (10, "below")),
)
EXPLODING = NETWORKS[3]


def whole(
    network: Network, T: int, rng: np.random.Generator, dtype: DTypeLike = np.float32
) -> bptt.Sequential:
    """Return the network with its readout: x (T, N, 2) -> y (N, 1), about 1 at first."""
    readout = bptt.Linear(UNITS, 1, dtype=dtype, rng=rng)
    readout.params["bias"][:] = 1
    return bptt.Sequential(network.build(T, dtype, rng), bptt.LastStep(), readout)


# ---- what is measured


def adding_problem(
    rng: np.random.Generator, T: int, N: int, dtype: DTypeLike = np.float32
) -> tuple[Array, Array]:
    """Return x (T, N, 2), numbers in [0, 1] and marks, and the sums of the two marked (N, 1)."""
    x = np.zeros((T, N, 2), dtype)
    x[:, :, 0] = rng.random((T, N))
    marked = np.array([rng.integers(0, T // 2, N), rng.integers(T // 2, T, N)])
    x[marked, np.arange(N), 1] = 1
    return x, x[marked, np.arange(N), 0].sum(axis=0)[:, np.newaxis]


def flow_of(network: Network) -> GradientFlow:
    """Return the flow of gradients before training, in float64: float32 ends at 1e-38."""
    model = whole(network, FLOW_T, np.random.default_rng(0), np.float64)
    x, target = adding_problem(np.random.default_rng(1), FLOW_T, BATCH, np.float64)
    return gradient_flow(model, x, target, bptt.mse_loss)


def factor(flow: GradientFlow) -> float:
    """Return by what dL/dh_t is multiplied at a step back in time, on average far from the loss."""
    dh = flow.layers[0].dh
    far = len(dh) // 2
    return float((dh[0] / dh[far]) ** (1 / far))


def train(
    model: bptt.Sequential, optimiser: Any, T: int, steps: int, *, clip: float | None
) -> list[float]:
    """Train on new sequences at each step, the rate falling from half-time; return the losses."""
    rng = np.random.default_rng(2)
    step = bptt.value_and_grad(model, bptt.mse_loss)
    rate = optimiser.lr
    losses = []
    # a network that explodes overflows: that is what is shown
    with np.errstate(over="ignore", invalid="ignore"):
        for i in range(steps):
            loss, grads = step(*adding_problem(rng, T, BATCH))
            if clip is not None:
                bptt.clip_grad_norm_(grads, clip)
            optimiser.lr = rate * min(1.0, 2 * (1 - i / steps))
            optimiser.step(grads)
            losses.append(loss)
    return losses


def error_of(network: Network, T: int, steps: int) -> float:
    """Train a new network by Adam; return its squared error on sequences it has not seen."""
    model = whole(network, T, np.random.default_rng(0))
    train(model, bptt.Adam(model.params, lr=network.rate), T, steps, clip=1.0)
    x, target = adding_problem(np.random.default_rng(3), T, TESTED)
    with np.errstate(over="ignore", invalid="ignore"):
        return bptt.mse_loss(model(x), target)[0]


def descent(clip: float | None) -> list[float]:
    """Return the losses of plain gradient descent on the network that explodes."""
    model = whole(EXPLODING, CLIPPED_T, np.random.default_rng(0))
    optimiser = bptt.SGD(model.params, lr=0.003, momentum=0.9)
    return train(model, optimiser, CLIPPED_T, CLIPPED_STEPS, clip=clip)


# ---- table and picture


def told(name: str, radius: str, growth: str, first: str, errors: Sequence[str]) -> str:
    """Return a line of the table."""
    return f"{name:25} {radius:>6} {growth:>13} {first:>10} " + "".join(f"{e:>9}" for e in errors)


# Where a name stands beside its point: offset in points, alignments.
SIDES = {
    "left": ((-6, 0), "right", "center"),
    "right": ((6, 0), "left", "center"),
    "above": ((0, 5), "left", "bottom"),
    "below": ((0, -5), "left", "top"),
}


def draw_flows(axes: Axes, flows: Sequence[GradientFlow]) -> None:
    """Draw dL/dh_t of each network, with its name at the line."""
    for network, flow in zip(NETWORKS, flows, strict=True):
        dh = flow.layers[0].dh
        axes.plot(dh, network.style, color=network.colour, linewidth=2.4)
        t, side = network.label
        offset, ha, va = SIDES[side]
        axes.annotate(
            network.name,
            (t, dh[t]),
            offset,
            textcoords="offset points",
            ha=ha,
            va=va,
            color=network.colour,
            fontweight="bold",
        )
    axes.set(yscale="log", ylim=(1e-16, 1e8), xlim=(0, FLOW_T - 1))
    axes.set(xlabel="step t (the loss is at the last)", ylabel="norm of $dL/dh_t$")
    axes.set_title("Before training: the gradient on its way back in time, from right to left")


def draw_clipping(axes: Axes, clipped: Sequence[float], free: Sequence[float]) -> None:
    """Draw the losses of the network that explodes, with and without clipping."""
    top, blue = 1e6, "#0072B2"
    finite = [loss for loss in free if math.isfinite(loss)]
    axes.plot(clipped, color=blue, linewidth=2)
    axes.plot([*finite, top], color=EXPLODING.colour, linewidth=2)
    steps = f"{len(finite)} step" + "s" * (len(finite) > 1)
    axes.text(8, 3e4, f"without clipping:\nNaN after {steps}", color=EXPLODING.colour)
    axes.text(50, 100, "gradient clipped\nto norm 1", color=blue)
    axes.axhline(CHANCE, color="#555555", linestyle=":")
    axes.text(len(clipped), 0.05, "always saying 1: 1/6", ha="right", va="center", color="#555555")
    axes.set(yscale="log", ylim=(0.02, top), xlim=(0, len(clipped)))
    axes.set(xlabel=f"step of gradient descent, T = {CLIPPED_T}", ylabel="mean squared error")
    axes.set_title(f"Clipping tames w_hh = {LARGE} I")


def draw_errors(axes: Axes, lengths: Sequence[int], errors: NDArray[np.float64]) -> None:
    """Draw the error of each network (row) at each length (column) as dots, largest T lowest."""
    least, most = 2e-5, 1.0
    rows = np.arange(len(NETWORKS))
    colours = [network.colour for network in NETWORKS]
    drops = np.linspace(-0.2, 0.2, len(lengths)) if len(lengths) > 1 else [0.0]
    sizes = np.linspace(30, 130, len(lengths))
    for T, column, drop, size in zip(lengths, errors.T, drops, sizes, strict=True):
        shown = np.clip(np.nan_to_num(column, nan=most), least, most)  # NaN: at the edge
        axes.scatter(shown, rows + drop, size, colours, edgecolors="white", zorder=3, clip_on=False)
        axes.scatter([], [], size, "#555555", label=f"T = {T}")
    for x, style, what in ((CHANCE, ":", "saying 1"), (GOAL, "--", "0.01")):
        axes.axvline(x, color="#555555", linestyle=style)
        axes.text(x, -0.75, what, ha="center", va="bottom", color="#555555", fontsize=11)
    axes.set(xscale="log", xlim=(least, most), ylim=(len(rows) - 0.4, -0.6))
    axes.set(xlabel="mean squared error on new sequences")
    axes.set_yticks(rows, [network.name for network in NETWORKS])
    for label, colour in zip(axes.get_yticklabels(), colours, strict=True):
        label.set(color=colour, fontweight="bold")
    axes.tick_params(axis="y", length=0)
    axes.set_title("After training: the adding problem", pad=22)
    axes.legend(frameon=False, loc="upper left")


def draw(
    path: Path,
    flows: Sequence[GradientFlow],
    clipped: Sequence[float],
    free: Sequence[float],
    lengths: Sequence[int],
    errors: NDArray[np.float64],
) -> None:
    """Write the picture."""
    with plt.rc_context({"font.size": 12, "axes.titleweight": "bold", "axes.titlesize": 13}):
        figure = plt.figure(figsize=(11, 9.5), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(1.15, 1), width_ratios=(1, 1.15))
        draw_flows(figure.add_subplot(grid[0, :]), flows)
        draw_clipping(figure.add_subplot(grid[1, 0]), clipped, free)
        draw_errors(figure.add_subplot(grid[1, 1]), lengths, errors)
        for axes in figure.axes:
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, dpi=130)
        plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, train, print the table and write the picture."""
    parser = argparse.ArgumentParser(description="Which networks hold their gradients, and learn.")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, metavar="T")
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path("vanishing.png"), help="picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if min(options.lengths) < 4:
        parser.error("--lengths must be at least 4")
    if options.steps < 1:
        parser.error("--steps must be at least 1")
    if not options.output.parent.is_dir():
        parser.error(f"--output: there is no directory {options.output.parent}")

    start = time.perf_counter()
    print(f"dL/dh_t before training at T = {FLOW_T}, and mean squared error on the adding problem")
    print(f"after {options.steps} steps of Adam, gradients clipped to norm 1\n")
    heads = [f"T={T}" for T in options.lengths]
    print(told("network", "radius", "factor a step", "|dL/dh_0|", heads))
    print(told("always saying 1", "", "", "", [f"{CHANCE:.5f}"] * len(heads)))
    flows, errors = [], []
    for network in NETWORKS:
        flow = flow_of(network)
        layer = flow.layers[0]
        radius = next(layer.gates[g].radius for g in "hgn" if g in layer.gates)
        row = [error_of(network, T, options.steps) for T in options.lengths]
        shown = f"{radius:.2f}", f"{factor(flow):.3f}", f"{layer.dh[0]:.0e}"
        print(told(network.name, *shown, [f"{error:.5f}" for error in row]), flush=True)
        flows.append(flow)
        errors.append(row)
    clipped, free = descent(1.0), descent(None)
    print(f"\n{EXPLODING.name} by gradient descent, T = {CLIPPED_T}: loss {free[0]:.3g} at first;")
    print(f"without clipping {free[-1]:.3g}, clipped to norm 1 {clipped[-1]:.3g} at the end")
    best = np.min(errors[-2:], axis=0)
    for T, error in zip(options.lengths, best, strict=True):
        print(f"T = {T}: the better of LSTM and GRU has {error:.5f}")
    draw(options.output, flows, clipped, free, options.lengths, np.array(errors))
    print(f"picture: {options.output}; all in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
