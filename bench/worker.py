"""The process of one library: answers requests on its pipes and is blocked in read in between.

Requests are pickled (method, arguments) on standard input, replies pickled (ok, value) on what was
standard output; whatever the library itself prints goes to standard error.
"""

from __future__ import annotations

import gc
import os
import pickle
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import repeat
from time import perf_counter, perf_counter_ns, sleep
from typing import Any

import inputs
import numpy as np
import resident
from cases import Case
from inputs import Array
from peers import PEERS, Call, Stream

BATCH = 1e-3  # seconds of calls between two looks at the clock


def spin(run: Callable[[], Any], seconds: float, batch: int) -> tuple[int, float]:
    """Calls until `seconds` have passed, at least one: how many, and the time they took."""
    calls, elapsed, start = 0, 0.0, perf_counter()
    while elapsed < seconds or not calls:
        for _ in repeat(None, batch):
            run()
        calls += batch
        elapsed = perf_counter() - start
    return calls, elapsed


def laps(steps: Sequence[Callable[[], Any]], seconds: float) -> list[int]:
    """Nanoseconds of each step, all of them in turn again and again until `seconds` have passed."""
    found: list[int] = []
    end = perf_counter() + seconds
    while perf_counter() < end:
        for step in steps:
            start = perf_counter_ns()
            step()
            found.append(perf_counter_ns() - start)
    return found


class Worker:
    """The requests: each public method is one."""

    def __init__(self, library: str, threads: int) -> None:
        self._peer = PEERS[library](threads)
        self._call: Call | None = None
        self._stream: Stream | None = None

    def describe(self) -> dict[str, str]:
        return self._peer.describe()

    def prepare(
        self, case: Case, cell: str, direction: str, dtype: str, seed: int = 0
    ) -> dict[str, Array]:
        """Set the point that is timed, and return what one call gives."""
        self.forget()  # the last point's arrays go before this one's come
        made = inputs.make(case, cell, dtype, seed)
        self._call = self._peer.prepare(case, cell, direction, made)
        return self._call.named(self._call.run())

    def training(self, case: Case, cell: str, dtype: str) -> dict[str, Array]:
        """Set the training loop that is timed, and return what its first pass gives."""
        self.forget()
        self._call = self._peer.training(inputs.task(case, cell, dtype))
        return self._call.named(self._call.run())

    def peak(self, case: Case, cell: str, way: str) -> int:
        """Bytes that forward and backward take at their peak beyond what they return.

        A call of two steps goes before, after which what the library needs but once is no part of
        it. What it keeps of that call's memory it gives back: the call would take its own from
        there unseen. To be asked of a fresh process only.
        """
        self._peer.take(way)
        short = replace(case, shape=(2, *case.shape[1:]))
        first, call = (self._peer.both(c, cell, inputs.make(c, cell)) for c in (short, case))
        first.run()
        result, taken = resident.peak(call.run, self._peer.release)
        return taken - sum(array.nbytes for array in call.named(result).values())

    def stream(self, case: Case, cell: str) -> dict[str, Array]:
        """Set the stream whose steps are timed, and return what its first T steps give."""
        self._stream = self._peer.stream(case, cell, inputs.make(case, cell))
        rows = []
        for step in self._stream.steps:
            step()
            rows.append(self._stream.y().copy())
        return {"y": np.stack(rows)}

    def laps(self, discard: float, seconds: float) -> Array:
        """Seconds of each step, over `seconds` or more, after `discard` of steps."""
        assert self._stream is not None, "laps before stream"
        gc.disable()
        try:
            laps(self._stream.steps, discard)
            return np.array(laps(self._stream.steps, seconds)) * 1e-9
        finally:
            gc.enable()

    def cold(self, idle: float) -> float:
        """Seconds of one call after so many of idleness."""
        assert self._call is not None, "cold before prepare"
        sleep(idle)
        start = perf_counter()
        self._call.run()
        return perf_counter() - start

    def how(self) -> str:
        """Which way the library goes at this point, "" where it has one only."""
        assert self._call is not None, "how before prepare"
        return self._call.how

    def forget(self) -> None:
        """Let go of the point's arrays."""
        self._call = None

    def time(self, discard: float, seconds: float) -> float:
        """Seconds of one call: the mean over `seconds` or more, after `discard` of calls."""
        assert self._call is not None, "time before prepare"
        run = self._call.run
        gc.disable()
        try:
            calls, elapsed = spin(run, discard, 1)
            calls, elapsed = spin(run, seconds, max(1, int(BATCH * calls / elapsed)))
        finally:
            gc.enable()
        return elapsed / calls


def main() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1], int(sys.argv[2]))
    while True:
        try:
            method, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        reply: tuple[bool, Any]
        try:
            reply = True, getattr(worker, method)(*arguments)
        except Exception:
            reply = False, traceback.format_exc()
        pickle.dump(reply, replies, protocol=pickle.HIGHEST_PROTOCOL)
        replies.flush()


if __name__ == "__main__":
    main()
