"""The parent's end of a worker: starts the process with a known environment and asks it things."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from peers import PEERS

WORKER = Path(__file__).with_name("worker.py")
# Settings of thread libraries that a shell may carry and that would change the result
DROPPED = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("BPTT_", "ATEN_", "ONEDNN_", "DNNL_", "XLA_", "JAX_"),
)


class WorkerError(Exception):
    """A request failed in the worker; the message is its traceback."""


def environment(threads: int, forced: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with one thread count for every library, and what is forced."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(DROPPED)}
    counts = {name: str(threads) for name in ("OMP_NUM_THREADS", "BPTT_NUM_THREADS")}
    return {**kept, **counts, **forced}


class Pipe:
    """One library in its own process; a context manager that ends it."""

    def __init__(self, library: str, threads: int, isa: str | None = None) -> None:
        self.library = library
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), library, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(threads, PEERS[library].forced[isa] if isa else {}),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, method: str, *arguments: Any) -> Any:
        """The value that the worker's method returns."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            pickle.dump((method, arguments), stdin)
            stdin.flush()
            ok, value = pickle.load(stdout)
        except (EOFError, BrokenPipeError):
            code = self._process.wait()
            raise WorkerError(f"the {self.library} worker ended with code {code}") from None
        if not ok:
            raise WorkerError(f"in the {self.library} worker:\n{value}")
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.__exit__(kind, error, trace)  # closes the pipes: the worker's read ends
