"""Threads: Python's that call at once, and the team of one call."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from cells import CELLS, LSTM, Arrays, Case, Cell, compute
from numpy.typing import NDArray
from processes import finish, output, start
from teams import settings_kept, team_of  # noqa: F401  (a fixture)
from tolerances import assert_same_bits

import bptt
from bptt import _core, functional

# T, N, I, H: whole sequences for each thread; hidden units for each; steps too small to share
SIZES = [(20, 9, 5, 33), (6, 3, 7, 130), (30, 1, 3, 5)]
CASES = [
    Case(cell, *sizes, dtype, ragged=ragged, reverse=ragged)
    for cell in CELLS
    for sizes in SIZES
    for dtype, ragged in (("float32", False), ("float64", True))
]


def assert_all_same_bits(actual: Arrays, expected: Arrays) -> None:
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert_same_bits(value, expected[name], name)


@pytest.mark.parametrize("cell", CELLS, ids=str)
@pytest.mark.parametrize("T", [3, 200])
def test_a_wide_input_has_the_same_bits_for_every_team(cell: Cell, T: int) -> None:
    """Panels of over 4 MiB, which members who take rows share instead of packing their own."""
    inputs = (4 << 20) // (4 * cell.gates * 48) + 1
    x, arguments = wide(cell, T, inputs)
    _core.set_always_share(False)
    expected = cell.forward(functional, {"x": x, **arguments}).y
    for team in (1, 2, 3, 9):  # more members than sequences, too
        team_of(team)
        assert_same_bits(
            cell.forward(functional, {"x": x, **arguments}).y, expected, f"y of {team}"
        )
    alone = cell.forward(functional, {"x": x[:, 2:3], **arguments}).y
    assert_same_bits(alone, expected[:, 2:3], "y of one sequence alone")


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_wide_inputs_gradients_have_the_same_bits_for_every_team(cell: Cell) -> None:
    """Members who take rows gather together what could be over 1 MiB, a full chunk's inputs."""
    case = Case(cell, 4, 9, (1 << 20) // (4 * 512) + 1, 17, "float32", ragged=True)
    forward, backward = case.problem()
    _core.set_always_share(False)
    expected = compute(functional, cell, forward, backward)
    for team in (1, 2, 3, 11):
        team_of(team)
        assert_all_same_bits(compute(functional, cell, forward, backward), expected)


def test_gradients_have_the_same_bits_where_panels_stand_in_them() -> None:
    """Of w_hh, in the place of its gradient, with members who take rows and such who take units."""
    for sizes in ((8, 9, 600, 240), (8, 3, 20, 272)):
        forward, backward = Case(LSTM, *sizes, "float64").problem()
        _core.set_always_share(False)
        expected = compute(functional, LSTM, forward, backward)
        for team in (2, 3):
            team_of(team)
            assert_all_same_bits(compute(functional, LSTM, forward, backward), expected)


def wide(cell: Cell, T: int, inputs: int) -> tuple[NDArray[Any], Arrays]:
    rng = np.random.default_rng(0)
    rows, H, N = cell.gates * 48, 48, 7
    one = rng.normal(size=(N, inputs)).astype("f")
    arguments = {"w_ih": rng.normal(0, 0.01, (rows, inputs)).astype("f")}
    arguments["w_hh"] = rng.normal(0, 0.2, (rows, H)).astype("f")
    arguments["b_ih"] = rng.normal(size=rows).astype("f")
    return np.broadcast_to(one, (T, N, inputs)), arguments


# ---- Python threads that call at once


def eight_threads(team: int, always_share: bool) -> None:
    """Compute all cases in 8 threads at once, in orders of their own, while settings change."""
    problems = [(case.cell, *case.problem()) for case in CASES]
    _core.set_always_share(False)
    expected = [compute(functional, *problem) for problem in problems]

    _core.set_always_share(always_share)
    begin = threading.Barrier(9)

    def work(seed: int) -> None:
        begin.wait(30)
        for i in random.Random(seed).sample(range(len(problems)), len(problems)) * 3:
            assert_all_same_bits(compute(functional, *problems[i]), expected[i])

    with ThreadPoolExecutor(8) as pool:
        threads = [pool.submit(work, seed) for seed in range(8)]
        begin.wait(30)
        while not all(thread.done() for thread in threads):
            for n in (team, 1):
                bptt.set_num_threads(n)
                bptt.free_memory()
                threading.Event().wait(0.005)
        for thread in threads:
            thread.result()


@pytest.mark.parametrize("team", [2, 3])
@pytest.mark.parametrize("always_share", [False, True])
def test_eight_threads_at_once(team: int, always_share: bool) -> None:
    eight_threads(team, always_share)


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
def test_eight_threads_with_torch_imported_first() -> None:
    output(
        "import torch; torch.ones(999, 999).sum(); import test_threads as t; t.eight_threads(2, 1)"
    )


def test_threads_share_a_cache() -> None:
    case = Case(LSTM, 20, 9, 5, 33)
    forward, backward = case.problem()
    cache = LSTM.forward(functional, {**forward, "training": True}).cache
    expected = LSTM.backward(functional, cache, backward)
    team_of(2)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: LSTM.backward(functional, cache, backward), range(40)):
            assert_all_same_bits(found, expected)


# ---- how many threads


def tell_team() -> None:
    """Print how many threads bptt tells of, and how many a call brings up."""
    _core.set_always_share(True)
    problem = Case(LSTM, 20, 9, 5, 33).problem()
    told, before = bptt.get_num_threads(), len(os.listdir("/proc/self/task"))
    compute(functional, LSTM, *problem)
    print(told, 1 + len(os.listdir("/proc/self/task")) - before)


TELL = "import test_threads as t; t.tell_team()"


@pytest.mark.parametrize("n", [1, 3, 5])
def test_a_team_may_be_larger_than_the_machine(n: int) -> None:
    assert output(f"import bptt; bptt.set_num_threads({n}); {TELL}") == f"{n} {n}"


@pytest.mark.parametrize(
    ("variables", "n"),
    [
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"BPTT_NUM_THREADS": "1"}, 1),
        ({"BPTT_NUM_THREADS": "3"}, 3),
        ({"BPTT_NUM_THREADS": "3", "OMP_NUM_THREADS": "1"}, 3),
        ({"BPTT_NUM_THREADS": "", "OMP_NUM_THREADS": "1"}, 1),
        ({"OMP_THREAD_LIMIT": "1"}, 1),
        ({"OMP_THREAD_LIMIT": "2", "BPTT_NUM_THREADS": "3"}, 2),
    ],
    ids=str,
)
def test_environment(variables: dict[str, str], n: int) -> None:
    assert output(TELL, **variables) == f"{n} {n}"


@pytest.mark.parametrize("text", ["abc", "0", "1025", "-1", "2.0", "3 4", " ", str(2**64 + 2)])
def test_environment_that_is_wrong(text: str) -> None:
    code, _, err = finish(start("import bptt", BPTT_NUM_THREADS=text), 60)
    assert code == 1
    assert err.endswith(
        f"ImportError: BPTT_NUM_THREADS is '{text}', must be an integer from 1 to 1024"
    )


def test_affinity() -> None:
    assert (
        output(f"import os; os.sched_setaffinity(0, {{min(os.sched_getaffinity(0))}}); {TELL}")
        == "1 1"
    )


def test_threadpoolctl() -> None:
    """Its limit holds where it is set, also below what set_num_threads asked for, and no longer."""
    pytest.importorskip("threadpoolctl")
    program = f"""if True:
        import threadpoolctl, bptt
        bptt.set_num_threads(2)
        with threadpoolctl.threadpool_limits(1):
            {TELL}
        {TELL}"""
    assert output(program) == "1 1\n2 2"


@pytest.mark.parametrize("variables", [{"OMP_THREAD_LIMIT": "2"}, {"OMP_DYNAMIC": "true"}], ids=str)
def test_fewer_threads_than_asked_for(variables: dict[str, str]) -> None:
    """The runtime may grant fewer than a call asks for: nobody waits for those that never come."""
    output("import test_threads as t; t.eight_threads(5, True)", **variables)


@pytest.mark.parametrize("n", [0, -1, 1025])
def test_a_number_of_threads_out_of_range(n: int) -> None:
    before = bptt.get_num_threads()
    with pytest.raises(ValueError, match=f"n is {n}, must be from 1 to 1024"):
        bptt.set_num_threads(n)
    assert bptt.get_num_threads() == before


@pytest.mark.parametrize("n", [2.0, "3", None, True])
def test_a_number_of_threads_that_is_none(n: Any) -> None:
    with pytest.raises(TypeError, match=r"^n is (None|of type \w+), must be an integer"):
        bptt.set_num_threads(n)


def inside_openmp() -> None:
    """Call from each thread of another program's parallel region."""
    with open("/proc/self/maps") as maps:
        (path,) = {line.split()[-1] for line in maps if _core.openmp_runtime() in line}
    problem = Case(LSTM, 20, 9, 5, 33).problem()
    expected, found = compute(functional, LSTM, *problem), []
    team_of(3)
    body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(
        lambda _: found.append(compute(functional, LSTM, *problem))
    )
    ctypes.CDLL(path).GOMP_parallel(body, None, 4, 0)
    for each in found:
        assert_all_same_bits(each, expected)
    print(len(found))


@pytest.mark.skipif("gomp" not in _core.openmp_runtime(), reason="enters a region of libgomp's")
@pytest.mark.parametrize("levels", ["1", "2"])
def test_inside_a_parallel_region(levels: str) -> None:
    program = "import test_threads as t; t.inside_openmp()"
    assert output(program, OMP_MAX_ACTIVE_LEVELS=levels) == "4"
