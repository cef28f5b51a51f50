"""The frozen grid of shapes: what every speed this project states was measured on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CELLS = ("rnn", "lstm", "gru")
GATES = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}  # their letters in PyTorch's order
DIRECTIONS = ("forward", "forward+backward")


@dataclass(frozen=True)
class Case:
    """One point: shape is (T, N, I, H), steps, sequences, inputs and hidden units."""

    shape: tuple[int, int, int, int]
    num_layers: int = 1
    bidirectional: bool = False
    ragged: bool = False  # lengths uniform in [T/10, T] instead of T for every sequence
    decaying: bool = False  # no bias, and no input after some steps: the state shrinks to denormals
    cells: tuple[str, ...] = CELLS

    @property
    def name(self) -> str:
        marks = [
            f"{self.num_layers} layers" if self.num_layers > 1 else "",
            "bidirectional" if self.bidirectional else "",
            "ragged" if self.ragged else "",
            "decaying" if self.decaying else "",
        ]
        return " ".join([",".join(map(str, self.shape)), *filter(None, marks)])

    @property
    def is_layer(self) -> bool:
        """Beyond one layer, one direction of time and T steps for every sequence."""
        return self.num_layers > 1 or self.bidirectional or self.ragged

    @property
    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def lengths(self) -> NDArray[np.int64] | None:
        """Steps of each sequence (N,), the same in every process; None where all are T."""
        if not self.ragged:
            return None
        t, n, _, _ = self.shape
        return np.random.default_rng(t * n).integers(t // 10, t + 1, n)


GRID: dict[str, tuple[Case, ...]] = {
    "latency": (
        Case((1, 1, 32, 32)),
        Case((1, 1, 128, 128)),
        Case((100, 1, 32, 32)),
        Case((100, 1, 64, 64)),
        Case((100, 1, 128, 128)),
        Case((100, 1, 256, 256)),
        Case((100, 1, 512, 512)),
        Case((50, 1, 1024, 1024)),
        Case((1000, 1, 40, 128)),
        Case((2000, 1, 1, 16)),
    ),
    "small": (
        Case((100, 8, 64, 64)),
        Case((100, 8, 128, 128)),
        Case((64, 16, 32, 96)),
        Case((64, 32, 32, 64)),
        Case((100, 32, 64, 64)),
        Case((100, 32, 128, 128)),
        Case((5, 500, 510, 32)),
    ),
    "large": (
        Case((100, 32, 256, 256)),
        Case((50, 64, 512, 512)),
        Case((25, 64, 1024, 1024)),
        Case((100, 128, 128, 128)),
        Case((1000, 16, 128, 128)),
        Case((365, 256, 30, 64)),
        Case((784, 64, 1, 128)),
        Case((25, 16, 512, 512)),  # the last four are DeepBench's
        Case((25, 32, 1024, 1024)),
        Case((150, 16, 256, 256)),
        Case((50, 16, 1760, 1760)),
    ),
    "layers": (
        Case((500, 8, 256, 256), num_layers=2, cells=("lstm",)),
        Case((100, 32, 128, 256), num_layers=2, bidirectional=True, cells=("lstm",)),
        Case((200, 32, 128, 128), ragged=True),
        Case((1000, 16, 128, 128), ragged=True),
    ),
}
MEANS = ("latency", "small", "large")  # the groups that enter the geometric means
_ALL = tuple(case for group in MEANS for case in GRID[group])
PARTS: dict[str, tuple[Case, ...]] = {  # of what means are taken
    **{group: GRID[group] for group in MEANS},
    "all": _ALL,
    "N > 1": tuple(case for case in _ALL if case.shape[1] > 1),
}
