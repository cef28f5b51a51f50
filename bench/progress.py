"""A progress bar: tqdm's where it is installed, else plain lines."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, Self


class Bar(Protocol):
    """The part of tqdm that is used here."""

    def set_description(self, desc: str) -> None: ...
    def update(self) -> object: ...
    def write(self, line: str) -> None: ...


class _Lines:
    def __init__(self, total: int) -> None:
        self._done, self._total = 0, total

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def set_description(self, desc: str) -> None:
        print(f"[{self._done + 1}/{self._total}] {desc}", flush=True)

    def update(self) -> None:
        self._done += 1

    def write(self, line: str) -> None:
        print(line, flush=True)


def bar(total: int) -> AbstractContextManager[Bar]:
    """A bar of `total` steps."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _Lines(total)
    shown: AbstractContextManager[Bar] = tqdm(
        total=total, unit="point", dynamic_ncols=True, smoothing=0
    )
    return shown
