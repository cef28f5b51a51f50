"""Calls while others want the cores: no hang, and the bits of one thread on a quiet machine.

Everything happens in programs of their own, with an end to all waiting: a hang is a failure.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cells import GRU, LSTM, RNNS, Case, compute
from processes import finish, output, start

import bptt
from bptt import _core, functional

# hidden units for each thread, with a barrier a step; whole sequences for each; products shared
PROBLEMS = [
    (case.cell, *case.problem())
    for case in (
        Case(LSTM, 60, 3, 5, 130, "float32"),
        Case(RNNS[0], 200, 2, 3, 150, "float32"),
        Case(GRU, 40, 9, 5, 33, ragged=True),
        Case(LSTM, 90, 1, 20, 30),
    )
]
ALL_CORES = max(2, len(os.sched_getaffinity(0)))


def bits(i: int) -> bytes:
    """Return all bits of what one problem gives."""
    results = compute(functional, *PROBLEMS[i])
    return b"".join(results[name].tobytes() for name in sorted(results))


@functools.cache
def right_bits() -> list[bytes]:
    """Return those of one thread; to be asked for before there is a load."""
    before = bptt.get_num_threads()
    bptt.set_num_threads(1)
    try:
        return [bits(i) for i in range(len(PROBLEMS))]
    finally:
        bptt.set_num_threads(before)


def share(team: int) -> None:
    """Have all work shared from now on, however small."""
    right_bits()
    bptt.set_num_threads(team)
    _core.set_always_share(True)


def rounds(count: int) -> None:
    """Compute everything so many times."""
    for i in list(range(len(PROBLEMS))) * count:
        assert bits(i) == right_bits()[i], f"problem {i}"


def tell() -> None:
    """Print what the right bits are, which is to be the same in all programs."""
    print(hashlib.sha256(b"".join(right_bits())).hexdigest())


def program(*lines: str) -> str:
    return "\n".join(["import test_load as t", *lines, "t.tell()"])


@functools.cache
def quiet() -> str:
    """Return what a program tells that runs by itself on one thread."""
    return output(program(), BPTT_NUM_THREADS="1")


@contextmanager
def busy() -> Iterator[None]:
    """Have another process keep a core busy."""
    process = start("while True: pass")
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


what_is_shared = pytest.mark.parametrize(
    "shared", ["t.share(t.ALL_CORES)", "t.right_bits()"], ids=["all work", "large calls"]
)


# ---- other processes


@what_is_shared
def test_two_processes_that_ask_for_all_cores(shared: str) -> None:
    expected = quiet()
    both = [start(program(shared, "t.rounds(25)")) for _ in range(2)]
    ends = [finish(process, 90) for process in both]
    assert ends == [(0, expected, "")] * 2


def test_one_core_is_busy() -> None:
    expected = quiet()
    with busy():
        assert output(program("t.share(t.ALL_CORES)", "t.rounds(25)")) == expected


def pin(cores: set[int]) -> None:
    """Let all threads of this process run on these cores only."""
    for task in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(task), cores)


@pytest.mark.parametrize("team", [2, 3])
def test_a_team_on_one_core(team: int) -> None:
    """An affinity that came after the team: a member waits while another has the only core."""
    lines = f"t.share({team})", "t.rounds(1)", "t.pin({min(t.os.sched_getaffinity(0))})"
    assert output(program(*lines, "t.rounds(25)")) == quiet()


def test_an_affinity_before_import() -> None:
    first = min(os.sched_getaffinity(0))
    begin = f"import os; os.sched_setaffinity(0, {{{first}}})\n"
    lines = "assert t.bptt.get_num_threads() == 1", "t.share(2)", "t.rounds(10)"
    assert output(begin + program(*lines)) == quiet()


def others_share(seconds: float) -> float:
    """Compute for a while, and return which share of the process's time other threads had."""
    x = np.ones((100, 16, 64), "f")
    w_ih, w_hh = np.zeros((512, 64), "f"), np.zeros((512, 128), "f")
    alone, together = time.thread_time(), time.process_time()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        functional.lstm_forward(x, w_ih, w_hh)
    together = time.process_time() - together
    return 1 - (time.thread_time() - alone) / together


def crowded() -> None:
    """Two threads on one core leave off sharing, but for trying it again now and then."""
    bptt.set_num_threads(2)
    others_share(0.2)
    pin({min(os.sched_getaffinity(0))})
    others_share(0.3)
    shares = [others_share(0.5) for _ in range(6)]
    assert min(shares) < 0.2, shares
    assert max(shares) > 0.01, shares


def test_a_crowded_team_leaves_the_work_to_one_thread() -> None:
    output("import test_load as t; t.crowded()")


def test_a_limit_of_openmps() -> None:
    lines = "t.share(4)", "t.rounds(10)"
    assert output(program(*lines), OMP_THREAD_LIMIT="1") == quiet()


# ---- control groups


@contextmanager
def group_of_one_core() -> Iterator[Path]:
    """Make a control group with a quota of one core, or skip the test."""
    mount = Path("/sys/fs/cgroup")
    name = f"bptt-test-{os.getpid()}"
    limits = {
        mount / "cpu" / name: {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"},
        mount / name: {"cpu.max": "100000 100000"},
    }
    for folder, files in limits.items():
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            for file, text in files.items():
                with (folder / file).open("r+") as opened:  # which makes none
                    opened.write(text)
        except OSError:
            folder.rmdir()
            continue
        try:
            yield folder
        finally:
            folder.rmdir()
        return
    pytest.skip("no control group can be made here")


def test_a_quota_of_one_core() -> None:
    """It is seen at import; a larger team, that the system stops again and again, is right."""
    expected = quiet()
    with group_of_one_core() as folder:
        begin = f"import os; open('{folder}/cgroup.procs', 'w').write(str(os.getpid()))\n"
        lines = "assert t.bptt.get_num_threads() == 1", "t.share(2)", "t.rounds(10)"
        assert output(begin + program(*lines)) == expected


# ---- other threads of the process


def thousand_calls(always_share: bool) -> None:
    """Make 1,000 calls of forward and of backward, 125 in each of 8 threads at once."""
    share(ALL_CORES)
    _core.set_always_share(always_share)
    begin = threading.Barrier(8)

    def work(first: int) -> int:
        begin.wait(30)
        for i in itertools.islice(itertools.cycle(range(len(PROBLEMS))), first, first + 125):
            assert bits(i) == right_bits()[i], f"problem {i}"
        return 125

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 1000


@pytest.mark.parametrize("always_share", [True, False])
def test_a_thousand_calls_from_eight_threads(always_share: bool) -> None:
    lines = f"t.thousand_calls({always_share})"
    assert output(program(lines), timeout=120) == quiet()


REGION = """
#include <omp.h>
extern "C" void in_parallel(int threads, int times, void (*f)(int)) {
#pragma omp parallel num_threads(threads)
  for (int i = 0; i < times; ++i) f(omp_get_thread_num());
}
"""


@pytest.fixture(scope="session")
def library() -> Iterator[str]:
    """Another program's code: a library with a parallel region of its own."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    if not compiler:
        pytest.skip("there is no C++ compiler here")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/region.so"
        command = [compiler, "-shared", "-fPIC", "-fopenmp", "-x", "c++", "-", "-o", path]
        done = subprocess.run(command, input=REGION, text=True, capture_output=True)
        if done.returncode:
            pytest.skip(f"{compiler} cannot compile OpenMP: {done.stderr.splitlines()[-1]}")
        yield path


def inside_a_region(path: str, threads: int, times: int) -> None:
    """Compute in each thread of another program's parallel region, and after it."""
    region, came = ctypes.CDLL(path).in_parallel, set()
    share(2)

    def body(thread: int) -> None:
        came.add(thread)
        rounds(1)

    for _ in range(times):
        region(threads, 3, ctypes.CFUNCTYPE(None, ctypes.c_int)(body))
        rounds(1)
    assert came == set(range(threads))


@pytest.mark.parametrize("levels", ["1", "2"])
def test_inside_the_region_of_a_compiled_program(library: str, levels: str) -> None:
    lines = f"t.inside_a_region({library!r}, 3, 4)"
    assert output(program(lines), OMP_MAX_ACTIVE_LEVELS=levels) == quiet()


def beside_torch() -> None:
    """Compute while another thread has PyTorch compute, with threads of its own."""
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(ALL_CORES)
    a = torch.randn(600, 600, generator=torch.Generator().manual_seed(0))
    gru = torch.nn.GRU(60, 60)
    x, ended = torch.randn(40, 16, 60), threading.Event()

    def torchs() -> list[Any]:
        y, _ = gru(x)
        (y.sum() + a.exp().sum()).backward()
        gradients = [p.grad.clone() for p in gru.parameters()]
        gru.zero_grad()
        return [a @ a, a.sin(), y.detach(), *gradients]

    torchs_right, problems = torchs(), []

    def work() -> int:
        for count in itertools.count():
            if ended.is_set():
                return count
            problems.extend(
                i
                for i, (found, right) in enumerate(zip(torchs(), torchs_right, strict=True))
                if not torch.allclose(found, right, rtol=1e-5, atol=1e-5)
            )
        raise AssertionError

    with ThreadPoolExecutor(1) as pool:
        count = pool.submit(work)
        try:
            rounds(10)
        finally:
            ended.set()
        assert count.result(30) > 0
    assert not problems


@pytest.mark.parametrize("first", [True, False], ids=["torch first", "bptt first"])
@what_is_shared
def test_torch_in_the_same_process(first: bool, shared: str) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    begin = "import torch; torch.ones(999, 999).sum()\n" if first else ""
    lines = shared, "t.rounds(2)", "t.beside_torch()", "t.rounds(2)"
    assert output(begin + program(*lines), timeout=120) == quiet()
