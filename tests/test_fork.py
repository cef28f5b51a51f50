"""fork: children compute, and theirs too, whatever the parent's threads are doing meanwhile.

The forks are made in programs of their own, with an end to all waiting: a hang is a failure.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from cells import GRU, LSTM, RNNS, Case, compute
from processes import output

import bptt
from bptt import _core, functional

PROBLEMS = [
    (case.cell, *case.problem())
    for case in (Case(LSTM, 20, 8, 5, 40), Case(GRU, 5, 3, 5, 130), Case(RNNS[0], 30, 9, 5, 17))
]
BUSY = (LSTM, *Case(LSTM, 200, 7, 5, 130).problem())


def bits() -> bytes:
    """Return all bits of all results."""
    results = [compute(functional, *problem) for problem in PROBLEMS]
    return b"".join(value.tobytes() for result in results for value in result.values())


@cache
def right_bits() -> bytes:
    return bits()


def threads_here() -> int:
    return len(os.listdir("/proc/self/task"))


def in_child(check: Callable[[], bool], seconds: float) -> str:
    """Fork and tell what became of check() in the child."""
    pid = os.fork()
    if pid == 0:
        right = False
        try:
            right = check()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0 if right else 1)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return "wrong" if status else "right"
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hung"


def computes() -> bool:
    """Whether a new child computes right, and with a team: with one thread before, two after."""
    return threads_here() == 1 and bits() == right_bits() and threads_here() == 2


def computes_in_threads() -> bool:
    with ThreadPoolExecutor(4) as pool:
        return set(pool.map(lambda _: bits(), range(8))) == {right_bits()}


def child_and_grandchild() -> bool:
    return (
        computes()
        and computes_in_threads()
        and in_child(computes, 10) == "right"
        and bits() == right_bits()
    )


def use_a_team() -> None:
    """Compute with two threads, so that forks have a team to release."""
    bptt.set_num_threads(2)
    _core.set_always_share(True)
    right_bits()
    assert threads_here() > 1


def while_another_computes(work: Callable[[], None]) -> None:
    """Do some work while another thread computes, with a team of its own."""
    begun, done = threading.Event(), threading.Event()

    def compute_on() -> None:
        while not done.is_set():
            compute(functional, *BUSY)
            begun.set()

    thread = threading.Thread(target=compute_on)
    thread.start()
    try:
        assert begun.wait(60)
        work()
        assert thread.is_alive()
    finally:
        done.set()
        thread.join()


def forks(count: int) -> None:
    """Fork many times, computing in the parent now and then."""
    use_a_team()

    def work() -> None:
        for i in range(count):
            fate = in_child(child_and_grandchild, 20)
            assert fate == "right", f"child {i}: {fate}"
            assert i % 2 or bits() == right_bits()

    while_another_computes(work)


def forks_by_another_thread(count: int) -> None:
    """Fork in a thread that is not Python's main one, and has a team of its own."""
    fates: list[str] = []

    def work() -> None:
        use_a_team()
        while_another_computes(
            lambda: fates.extend(in_child(child_and_grandchild, 20) for _ in range(count))
        )

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert fates == ["right"] * count


def pool() -> None:
    """Compute in the processes of multiprocessing's fork context."""
    use_a_team()

    def work() -> None:
        with multiprocessing.get_context("fork").Pool(2) as processes:
            assert processes.map_async(_bits_of, range(8)).get(30) == [right_bits()] * 8

    while_another_computes(work)


def _bits_of(_: int) -> bytes:
    return bits()


def settings() -> None:
    """Settings outlive a fork; what the process may use is read again after it."""

    def child() -> bool:
        chosen = bptt.get_num_threads() == 3 and _core.isa() == _core.isas()[0]
        bits()
        return chosen and threads_here() == 3

    _core.set_isa(_core.isas()[0])
    usual = bptt.get_num_threads()
    assert in_child(lambda: bptt.get_num_threads() == usual, 20) == "right"
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.environ["BPTT_NUM_THREADS"] = "abc"  # is read at import, and never again
    assert in_child(lambda: bptt.get_num_threads() == 1, 20) == "right"
    bptt.set_num_threads(3)
    _core.set_always_share(True)
    assert in_child(child, 20) == "right"


# Python 3.12 warns of forks like these: they are what is tested.
NO_WARNING = "-Wignore:This process:DeprecationWarning"
torch_first = pytest.param(
    "import torch; torch.ones(999, 999).sum(); ",
    marks=pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="no PyTorch here"),
    id="torch first",
)


@pytest.mark.parametrize("before", [pytest.param("", id="alone"), torch_first])
def test_sixty_forks_while_another_thread_computes(before: str) -> None:
    output(f"{before}import test_fork as t; t.forks(60)", NO_WARNING, timeout=120)


def test_forks_by_another_thread() -> None:
    output("import test_fork as t; t.forks_by_another_thread(10)", NO_WARNING)


def test_multiprocessing() -> None:
    output("import test_fork as t; t.pool()", NO_WARNING)


def test_settings_in_a_child() -> None:
    output("import test_fork as t; t.settings()", NO_WARNING)
