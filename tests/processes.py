"""Programs in an interpreter of their own, for what is settled at import or ends a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TESTS = str(Path(__file__).parent)


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with no settings of threads but those given."""
    settings = ("OMP_", "GOMP_", "BPTT_", "OPENBLAS_", "MKL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(settings)}
    path = os.pathsep.join([TESTS, *filter(None, [kept.get("PYTHONPATH")])])
    return {**kept, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", **variables}


def peak() -> int:
    """Bytes of memory that this program has had at most."""
    with open("/proc/self/status") as status:  # getrusage knows the parent's, too
        (line,) = (line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def start(program: str, *options: str, **variables: str) -> subprocess.Popen[str]:
    """Start a program in a new interpreter, from where the tests' own modules can be imported."""
    return subprocess.Popen(
        [sys.executable, *options, "-c", program],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float) -> tuple[int, str, str]:
    """Wait for a program and return its exit code, output and errors.

    A program that takes longer is killed with all that it has started, and an AssertionError.
    """
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout} s\n{out}\n{err}") from None
    return process.returncode, out.strip(), err.strip()


def output(program: str, *options: str, timeout: float = 60, **variables: str) -> str:
    """Return what a program printed, which must end well and print no error."""
    code, out, err = finish(start(program, *options, **variables), timeout)
    assert (code, err) == (0, ""), f"exit code {code}\n{out}\n{err}"
    return out


def assert_interrupted(program: str, after: float, **variables: str) -> None:
    """Assert that Ctrl-C ends a program within a second and a half.

    It prints "begins", and is interrupted so many seconds later; then it prints "interrupted".
    """
    process = start(program, **variables)
    assert process.stdout
    assert process.stdout.readline() == "begins\n"
    time.sleep(after)
    process.send_signal(signal.SIGINT)
    sent = time.perf_counter()
    assert finish(process, 10) == (0, "interrupted", "")
    assert time.perf_counter() - sent < 1.5
