"""What a training run shows on stderr while it goes on."""

from __future__ import annotations

import sys
import time

from ..optional import partner


class Progress:
    """Shows nothing; what the others have in common."""

    def __init__(self, epochs: int, epoch: int, sequences: int) -> None:
        """`epoch` of `epochs` are done; each has so many `sequences`."""
        self.epochs, self.epoch, self.sequences = epochs, epoch, sequences

    def batch(self, sequences: int, loss: float) -> None:
        """A batch is done; `loss` is the epoch's so far."""

    def end(self, *losses: str) -> None:
        """An epoch is done."""
        self.epoch += 1

    def close(self) -> None:
        """The run is over, well or not."""


class Lines(Progress):
    """A line at the end of each epoch."""

    def __init__(self, epochs: int, epoch: int, sequences: int) -> None:
        super().__init__(epochs, epoch, sequences)
        self._start = time.perf_counter()

    def end(self, *losses: str) -> None:
        super().end(*losses)
        now = time.perf_counter()
        rate = self.sequences / max(now - self._start, 1e-9)
        self._start = now
        told = ", ".join((*losses, f"{rate:,.0f} samples/s"))
        print(f"epoch {self.epoch}/{self.epochs}: {told}", file=sys.stderr, flush=True)


class Bar(Progress):
    """One bar of tqdm over all epochs."""

    def __init__(self, epochs: int, epoch: int, sequences: int) -> None:
        tqdm = partner("tqdm", "a progress bar needs", "examples").tqdm
        super().__init__(epochs, epoch, sequences)
        self._before = ""  # the last validation
        self._bar = tqdm(
            total=epochs * sequences,
            initial=epoch * sequences,
            unit=" samples",
            dynamic_ncols=True,
        )
        self._describe()

    def batch(self, sequences: int, loss: float) -> None:
        self._bar.set_postfix_str(f"loss {loss:.4g}{self._before}", refresh=False)
        self._bar.update(sequences)

    def end(self, *losses: str) -> None:
        super().end(*losses)
        self._bar.set_postfix_str(", ".join(losses), refresh=False)
        self._before = "".join(f", {told}" for told in losses[1:])
        self._describe()

    def close(self) -> None:
        self._bar.close()

    def _describe(self) -> None:
        now = min(self.epoch + 1, self.epochs)
        self._bar.set_description_str(f"epoch {now}/{self.epochs}", refresh=False)


def shown(show: bool, epochs: int, epoch: int, sequences: int) -> Progress:
    """Return a bar if tqdm is installed, else lines, or nothing at all."""
    if not show:
        return Progress(epochs, epoch, sequences)
    try:
        return Bar(epochs, epoch, sequences)
    except ImportError:
        return Lines(epochs, epoch, sequences)
