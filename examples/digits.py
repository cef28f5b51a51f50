"""Handwritten digits, read row by row: a recurrent network trained on real data.

scikit-learn's 1,797 images of 8 x 8 pixels are sequences of 8 steps (rows) of 8 inputs (pixels). An
LSTM, GRU or RNN reads an image from top to bottom, and what it holds after the last row tells the
digit. Five-fold cross-validation: each image is classified once, by a network that has not seen it.

    python examples/digits.py --cell gru

Needs scikit-learn, matplotlib and tqdm.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

import bptt

Images = NDArray[np.float32]  # (n, 8, 8), 0 to 1
Labels = NDArray[np.int64]  # (n,)

CELLS: dict[str, Any] = {"lstm": bptt.LSTM, "gru": bptt.GRU, "rnn": bptt.RNN}
UNITS, BATCH, RATE, EPOCHS, FOLDS = 64, 32, 0.01, 30, 5
TRAIN, TEST = "#0072B2", "#D55E00"  # told apart by every eye
ROWS, COLUMNS = 2, 6  # of digits read right, and of digits read wrong


class Fold(NamedTuple):
    """What training and testing on one fold gave."""

    losses: NDArray[np.float64]  # (epochs + 1, 2): train, test; the first before training
    predicted: Labels  # of the test images
    accuracy: float
    seconds: float  # of training, without the tests in between


def network(cell: str, rng: np.random.Generator) -> bptt.Sequential:
    """Return a network that reads images (n, 8, 8) as n sequences and gives logits (n, 10)."""
    return bptt.Sequential(
        CELLS[cell](8, UNITS, batch_first=True, rng=rng),
        bptt.LastStep(batch_first=True),
        bptt.Linear(UNITS, 10, rng=rng),
    )


def train_fold(
    cell: str,
    train: tuple[Images, Labels],
    test: tuple[Images, Labels],
    *,
    epochs: int,
    rng: np.random.Generator,
    progress: Callable[[float, float], object],
) -> Fold:
    """Train a new network on `train` and test it on `test`; tell `progress` both losses."""
    images, labels = train
    model = network(cell, rng)
    optimiser = bptt.Adam(model.params, lr=RATE)
    step = bptt.value_and_grad(model, bptt.cross_entropy)

    def losses() -> list[float]:
        return [bptt.cross_entropy(model(x), target)[0] for x, target in (train, test)]

    curve = [losses()]
    seconds = 0.0
    for epoch in range(epochs):
        start = time.perf_counter()
        model.train()
        order = rng.permutation(len(images))
        for first in range(0, len(order), BATCH):
            # the rate falls to zero over the whole run: no choice of a best epoch is needed
            optimiser.lr = RATE * (1 - (epoch + first / len(order)) / epochs)
            batch = order[first : first + BATCH]
            _, grads = step(images[batch], labels[batch])
            bptt.clip_grad_norm_(grads, 1.0)
            optimiser.step(grads)
        seconds += time.perf_counter() - start
        model.eval()
        curve.append(losses())
        progress(*curve[-1])
    predicted = model(test[0]).argmax(-1)
    return Fold(np.array(curve), predicted, float(np.mean(predicted == test[1])), seconds)


def draw_losses(axes: Axes, folds: Sequence[Fold]) -> None:
    """Draw the losses of each fold against the epoch as thin lines, and their means as thick."""
    curves = np.array([fold.losses for fold in folds])
    epochs = curves.shape[1] - 1
    for kind, (name, colour, style) in enumerate((("train", TRAIN, "--"), ("test", TEST, "-"))):
        mean = curves[:, :, kind].mean(axis=0)
        axes.plot(curves[:, :, kind].T, style, color=colour, linewidth=0.8, alpha=0.4)
        axes.plot(
            mean, style, color=colour, linewidth=2.5, label=f"{name}, at the end {mean[-1]:.2g}"
        )
    axes.set(yscale="log", xlabel="epoch", ylabel="cross-entropy", xlim=(0, max(epochs, 1)))
    axes.set_title(f"Loss: mean (thick) of {len(folds)} folds (thin)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def draw_digits(
    figure: SubFigure, title: str, images: Images, captions: Sequence[str], colour: str
) -> None:
    """Draw up to ROWS x COLUMNS images with their captions."""
    figure.suptitle(title, color=colour)
    grid = figure.subplots(ROWS, COLUMNS)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, caption in zip(grid.flat, images, captions, strict=False):
        axes.set_axis_on()
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(caption, color=colour, fontsize=10, pad=3)
        axes.spines[:].set(color=colour, linewidth=2)


def draw(
    path: Path, title: str, folds: Sequence[Fold], images: Images, labels: Labels, read: Labels
) -> None:
    """Write the picture: losses on the left, digits read right and wrong on the right."""
    figure = plt.figure(figsize=(12, 6), layout="constrained")
    figure.suptitle(title, fontsize=14, fontweight="bold")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.3))
    draw_losses(left.subplots(), folds)
    rng = np.random.default_rng(0)
    halves = right.subfigures(2, 1)
    for half, colour, what, chosen in (
        (halves[0], TRAIN, "right", np.flatnonzero(read == labels)),
        (halves[1], TEST, "wrong", np.flatnonzero(read != labels)),
    ):
        shown = rng.permutation(chosen)[: ROWS * COLUMNS]
        shown = shown[np.argsort(labels[shown], kind="stable")]
        captions = [
            f"{read[i]} \N{CHECK MARK}" if what == "right" else f"read {read[i]}, is {labels[i]}"
            for i in shown
        ]
        told = f"Read {what}: {len(chosen):,} of {len(labels):,} images"
        if len(shown) < len(chosen):
            told += f", here {len(shown)} at random"
        draw_digits(half, told, images[shown], captions, colour)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def cross_validate(
    cell: str, images: Images, labels: Labels, *, epochs: int
) -> tuple[list[Fold], Labels]:
    """Train and test on each fold; return what each gave, and what each image was read as."""
    splits = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(images, labels)
    folds = []
    read = np.empty_like(labels)
    with tqdm(total=FOLDS * epochs, unit="epoch", dynamic_ncols=True) as bar:

        def progress(train_loss: float, test_loss: float) -> None:
            bar.set_postfix_str(f"loss {train_loss:.4f}, test {test_loss:.4f}", refresh=False)
            bar.update()

        for k, (train, test) in enumerate(splits):
            bar.set_description(f"fold {k + 1} of {FOLDS}")
            fold = train_fold(
                cell,
                (images[train], labels[train]),
                (images[test], labels[test]),
                epochs=epochs,
                rng=np.random.default_rng(k),
                progress=progress,
            )
            folds.append(fold)
            read[test] = fold.predicted
            bar.write(f"fold {k + 1}: test accuracy {fold.accuracy:.2%}")
    return folds, read


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and test on all folds, print the accuracies and write the picture."""
    parser = argparse.ArgumentParser(description="Read handwritten digits row by row.")
    parser.add_argument(
        "--cell", choices=CELLS, default="lstm", help="%(choices)s (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="default: %(default)s")
    parser.add_argument(
        "--output", type=Path, default=Path("digits.png"), help="picture (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error("--epochs must be at least 1")
    if not options.output.parent.is_dir():
        parser.error(f"--output: there is no directory {options.output.parent}")

    start = time.perf_counter()
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)
    labels = digits.target
    name = options.cell.upper()
    print(f"{len(images):,} images as sequences of 8 rows: {name}(8, {UNITS}), Linear({UNITS}, 10)")
    folds, read = cross_validate(options.cell, images, labels, epochs=options.epochs)
    mean = float(np.mean([fold.accuracy for fold in folds]))
    seconds = sum(fold.seconds for fold in folds) / (FOLDS * options.epochs)  # of an epoch
    seen = len(images) * (FOLDS - 1) / FOLDS  # in an epoch, on average
    print(f"mean test accuracy: {mean:.2%}")
    print(f"training: {seconds:.3f} s per epoch, {seen / seconds:,.0f} images/s")
    title = f"{name} reading handwritten digits row by row: {mean:.1%} right on unseen images"
    draw(options.output, title, folds, images, labels, read)
    print(f"picture: {options.output}; all in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
