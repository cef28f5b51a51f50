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
from collections.abc import Callable
from itertools import repeat
from time import perf_counter
from typing import Any

import inputs
from cases import Case
from inputs import Array
from peers import PEERS, Call

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


class Worker:
    """The requests: each public method is one."""

    def __init__(self, library: str, threads: int) -> None:
        self._peer = PEERS[library](threads)
        self._call: Call | None = None

    def describe(self) -> dict[str, str]:
        return self._peer.describe()

    def prepare(self, case: Case, cell: str, direction: str, dtype: str) -> dict[str, Array]:
        """Set the point that is timed, and return what one call gives."""
        self.forget()  # the last point's arrays go before this one's come
        self._call = self._peer.prepare(case, cell, direction, inputs.make(case, cell, dtype))
        return self._call.named(self._call.run())

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
