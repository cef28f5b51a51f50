"""The functions, compiled and reference: right numbers, whole contracts, the same bits.

What must hold for both runs on `impl`, what only the compiled functions promise on `compiled`.
"""

from __future__ import annotations

import doctest
import gc
import inspect
from collections.abc import Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from cells import (
    CELLS,
    GRU,
    LSTM,
    RNNS,
    VARIANTS,
    Arrays,
    Case,
    Cell,
    assert_true,
    compute,
    run,
    states,
    truth,
)
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_close, assert_same_bits

import bptt
from bptt import _core, functional, reference
from bptt.reference import functions

every_cell = pytest.mark.parametrize("cell", CELLS, ids=str)
every_variant = pytest.mark.parametrize("cell", VARIANTS, ids=str)
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def assert_all_same_bits(actual: Arrays, expected: Arrays) -> None:
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert_same_bits(value, expected[name], name)


# ---- right numbers

# T, N, I, H
SIZES = [
    (0, 2, 3, 5),
    (0, 0, 0, 1),
    (4, 0, 3, 5),
    (5, 2, 0, 3),
    (1, 1, 1, 1),
    (9, 1, 1, 3),
    (1, 7, 3, 17),
    (3, 1, 17, 100),
    (7, 7, 100, 17),
    (4, 2, 16, 64),
    (5, 3, 64, 16),
    (2, 130, 5, 3),  # rows cut at 64
    (6, 70, 17, 65),  # sums and rows one beyond
    (4, 2, 130, 129),
    (3, 3, 5, 300),  # hidden units divided among threads
    (40, 33, 100, 100),
    (300, 2, 3, 17),  # several chunks of time
    (300, 150, 2, 9),
    (1000, 1, 1, 16),
    (130, 9, 513, 17),  # threads that take sequences share panels, in several chunks
]


@every_cell
@every_dtype
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "T{},N{},I{},H{}".format(*sizes))
def test_every_size(
    compiled: ModuleType, cell: Cell, dtype: str, sizes: tuple[int, int, int, int]
) -> None:
    case = Case(cell, *sizes, dtype)
    assert_true(case, run(compiled, case))


@every_variant
@every_dtype
@pytest.mark.parametrize("ragged", [False, True], ids=["padded", "ragged"])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_every_variant(
    compiled: ModuleType, cell: Cell, dtype: str, ragged: bool, reverse: bool
) -> None:
    case = Case(cell, 9, 11, 5, 19, dtype, ragged, reverse)
    assert_true(case, run(compiled, case))


@every_cell
@every_dtype
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("sizes", [(300, 40, 3, 17), (70, 150, 5, 33), (12, 5, 9, 260)])
def test_long_ragged_batches(
    compiled: ModuleType, cell: Cell, dtype: str, reverse: bool, sizes: tuple[int, int, int, int]
) -> None:
    case = Case(cell, *sizes, dtype, ragged=True, reverse=reverse)
    assert_true(case, run(compiled, case))


@every_variant
def test_reference_in_float32(cell: Cell) -> None:
    case = Case(cell, 40, 5, 7, 19, "float32", ragged=True)
    assert_true(case, run(reference, case))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    cell = draw(st.sampled_from(VARIANTS))
    return Case(
        cell,
        T=draw(st.integers(0, 12)),
        N=draw(st.integers(0, 9)),
        inputs=draw(st.integers(0, 20)),
        H=draw(st.integers(1, 40)),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        ragged=draw(st.booleans()),
        reverse=draw(st.booleans()),
        without=draw(st.frozensets(st.sampled_from([*cell.optional, *cell.upstream]))),
        seed=draw(st.integers(0, 2**16)),
    )


@given(case=cases(), data=st.data())
def test_any_call(compiled: ModuleType, case: Case, data: st.DataObject) -> None:
    forward, backward = case.problem()
    wrt = data.draw(st.none() | st.sets(st.sampled_from(case.cell.gradients)))
    results = compute(compiled, case.cell, forward, {**backward, "wrt": wrt})
    wanted = case.cell.fields if wrt is None else wrt
    left_out = {f"d{name}" for name in case.cell.gradients if name not in wanted}
    assert {name for name, value in results.items() if value is None} == left_out
    assert_true(case, {name: value for name, value in results.items() if value is not None})


@every_variant
@every_dtype
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_what_the_cache_saved(impl: ModuleType, cell: Cell, dtype: str, reverse: bool) -> None:
    case = Case(cell, 7, 5, 3, 19, dtype, ragged=True, reverse=reverse)
    given, _ = case.problem()
    saved = cell.forward(impl, {**given, "training": True}).cache.arrays()
    assert saved.keys() == truth(case).keys() & {"h", "c", "gates", "q"}
    assert_true(case, saved)
    for n, length in enumerate(given["lengths"]):
        for name, value in saved.items():
            past = length + 1 if name in ("h", "c") else length
            assert not value[past:, n].any(), name


@every_cell
def test_weights_that_saturate(compiled: ModuleType, cell: Cell) -> None:
    """Preactivations of a few hundred: exp must not overflow, gradients vanish without NaN."""
    case = Case(cell, 5, 3, 3, 17)
    forward, backward = case.problem()
    forward = {k: v * 300 if k in ("w_ih", "b_ih") else v for k, v in forward.items()}
    actual = compute(compiled, cell, forward, backward)
    expected = compute(reference, cell, forward, backward)
    for name, value in actual.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-9, err_msg=name)


# ---- NaN and infinity


@every_variant
@every_dtype
def test_nan_reaches_what_comes_after_it_and_nothing_else(
    impl: ModuleType, cell: Cell, dtype: str
) -> None:
    case = Case(cell, 6, 5, 3, 19, dtype)
    given, _ = case.problem()
    clean = states(cell.forward(impl, given))
    given["x"][2, 3, 1] = np.nan
    marred = states(cell.forward(impl, given))
    assert np.isnan(marred["y"][2:, 3]).all()
    for name in marred:
        hit = np.isnan(marred[name])
        assert not hit[..., [0, 1, 2, 4], :].any(), name
        marred[name][hit] = clean[name][hit]
    assert_all_same_bits(marred, clean)


@every_variant
def test_infinity_goes_through_as_in_the_reference(compiled: ModuleType, cell: Cell) -> None:
    given, _ = Case(cell, 4, 3, 3, 19).problem()
    given["x"][1, 2, 1] = np.inf
    given["x"][2, 0, 0] = -np.inf
    actual = states(cell.forward(compiled, given))
    for name, expected in states(cell.forward(reference, given)).items():
        np.testing.assert_allclose(actual[name], expected, rtol=0, atol=1e-9, err_msg=name)


@every_cell
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_what_lies_past_a_length_reaches_nothing(
    impl: ModuleType, cell: Cell, reverse: bool
) -> None:
    case = Case(cell, 9, 7, 3, 17, "float32", ragged=True, reverse=reverse)
    forward, backward = case.problem()
    expected = compute(impl, cell, forward, backward)
    past = np.arange(case.T)[:, None] >= forward["lengths"]
    forward["x"][past] = np.nan
    backward["dy"][past] = np.nan
    actual = compute(impl, cell, forward, backward)
    assert_all_same_bits(actual, expected)
    assert not actual["y"][past].any()
    assert not actual["dx"][past].any()
    assert not actual["dh"][past].any()


# ---- whose memory is whose


@every_cell
def test_inputs_stay_as_they_were(impl: ModuleType, cell: Cell) -> None:
    forward, backward = Case(cell, 6, 7, 5, 19, "float32", ragged=True).problem()
    given = {k: v for k, v in {**forward, **backward}.items() if isinstance(v, np.ndarray)}
    before = {name: value.tobytes() for name, value in given.items()}
    results = compute(impl, cell, forward, backward)
    assert {name: value.tobytes() for name, value in given.items()} == before
    for name, value in results.items():
        assert not any(np.shares_memory(value, other) for other in given.values()), name


@every_cell
def test_results_are_the_callers(impl: ModuleType, cell: Cell) -> None:
    """Nothing that was returned is read, written or returned again by a later call."""
    forward, backward = Case(cell, 6, 7, 5, 19).problem()
    forward["training"] = True
    result = cell.forward(impl, forward)
    for value in [*states(result).values(), *result.cache.arrays().values()]:
        value[...] = np.nan
    first = cell.backward(impl, result.cache, backward)
    kept = {name: value.copy() for name, value in first.items()}
    other = cell.forward(impl, forward)  # may find the scratch of the first
    second = cell.backward(impl, result.cache, backward)
    assert_all_same_bits(first, kept)
    assert_all_same_bits(second, kept)
    assert_all_same_bits(cell.backward(impl, other.cache, backward), kept)
    for value in first.values():
        assert not any(np.shares_memory(value, again) for again in second.values())


@every_cell
def test_a_cache_keeps_its_inputs_alive(impl: ModuleType, cell: Cell) -> None:
    case = Case(cell, 6, 7, 5, 19)
    expected = run(impl, case)
    forward, backward = case.problem()
    cache = cell.forward(impl, {**forward, "training": True}).cache
    shapes = [value.shape for value in forward.values() if isinstance(value, np.ndarray)]
    del forward
    gc.collect()
    littered = [np.full(shape, np.nan) for shape in shapes for _ in range(20)]
    actual = cell.backward(impl, cache, backward)
    assert len(littered) == 20 * len(shapes)
    assert_all_same_bits(actual, {name: expected[name] for name in actual})


@every_cell
def test_caches_do_not_share(impl: ModuleType, cell: Cell) -> None:
    """Two sizes at once, the later cache used and dropped before the earlier one is used."""
    one, two = Case(cell, 6, 7, 5, 19), Case(cell, 8, 5, 5, 23, seed=1)
    expected = run(impl, one)
    forward, backward = one.problem()
    cache = cell.forward(impl, {**forward, "training": True}).cache
    run(impl, two)
    run(impl, replace(one, seed=2))
    actual = cell.backward(impl, cache, backward)
    assert_all_same_bits(actual, {name: expected[name] for name in actual})


# ---- wrt, out, strides


@every_variant
@every_dtype
def test_wrt_changes_no_bit(impl: ModuleType, cell: Cell, dtype: str) -> None:
    case = Case(cell, 6, 7, 5, 19, dtype, ragged=True)
    forward, backward = case.problem()
    cache = cell.forward(impl, {**forward, "training": True}).cache
    everything = cell.backward(impl, cache, backward)
    rng = np.random.default_rng(0)
    some = [{f for f in cell.gradients if rng.random() < 0.5} for _ in range(8)]
    for wrt in [None, (), cell.fields, *((field,) for field in cell.gradients), *some]:
        part = cell.backward(impl, cache, {**backward, "wrt": wrt})
        given = {name: value for name, value in part.items() if value is not None}
        assert given.keys() == {f"d{field}" for field in (cell.fields if wrt is None else wrt)}
        assert_all_same_bits(given, {name: everything[name] for name in given})


@every_variant
@every_dtype
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_the_gradient_of_a_state_is_that_of_a_call_from_there(
    compiled: ModuleType, cell: Cell, dtype: str, reverse: bool
) -> None:
    """h_t is y_t, and the h_0 of a second call over the steps after it."""
    case = Case(cell, 6, 7, 5, 19, dtype, reverse=reverse)
    forward, backward = case.problem()
    result = cell.forward(compiled, {**forward, "training": True})
    saved = result.cache.arrays()
    found = cell.backward(compiled, result.cache, backward)["dh"]
    for t in range(case.T):
        after, taken = (slice(0, t), case.T - t) if reverse else (slice(t + 1, None), t + 1)
        second = {**forward, "x": forward["x"][after]}
        second |= {f"{s}_0": saved[s][taken] for s in cell.states}
        cache = cell.forward(compiled, {**second, "training": True}).cache
        rest = cell.backward(compiled, cache, {**backward, "dy": backward["dy"][after]})
        assert_same_bits(found[t], backward["dy"][t] + rest["dh_0"], f"dh at step {t}")


@every_cell
@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
def test_out_with_strides(impl: ModuleType, cell: Cell, training: bool) -> None:
    """The upper half of a batch-major bidirectional output; the lower half stays."""
    case = Case(cell, 6, 7, 5, 19, ragged=True)
    forward, backward = case.problem()
    expected = run(impl, case)
    whole = np.full((case.N, case.T, 2 * case.H), 7.0)
    out = whole.swapaxes(0, 1)[:, :, case.H :]
    result = cell.forward(impl, {**forward, "training": training, "out": out})
    assert result.y is out
    assert (whole[:, :, : case.H] == 7).all()
    for name, value in states(result).items():
        assert_same_bits(value, expected[name], name)
    if training:
        out[...] = np.nan  # out is the caller's too
        actual = cell.backward(impl, result.cache, backward)
        assert_all_same_bits(actual, {name: expected[name] for name in actual})


@every_cell
@pytest.mark.parametrize("name", ["x", "w_ih", "w_hh", "h_0"])
@pytest.mark.parametrize("offset", [0, 5])
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
def test_out_may_lie_over_an_input(
    impl: ModuleType, cell: Cell, name: str, offset: int, reverse: bool
) -> None:
    case = Case(cell, 6, 7, 19, 19, reverse=reverse)
    forward, backward = case.problem()
    expected = compute(impl, cell, forward, backward)
    y_size = case.T * case.N * case.H
    memory = np.zeros(offset + y_size + forward[name].size)
    over = memory[: forward[name].size].reshape(forward[name].shape)
    over[...] = forward[name]
    out = memory[offset : offset + y_size].reshape(case.T, case.N, case.H)
    actual = compute(impl, cell, {**forward, name: over, "out": out}, backward)
    assert_all_same_bits(actual, expected)


@every_cell
@every_dtype
def test_batch_major_arrays(impl: ModuleType, cell: Cell, dtype: str) -> None:
    case = Case(cell, 6, 7, 5, 19, dtype, ragged=True)
    forward, backward = case.problem()
    expected = compute(impl, cell, forward, backward)
    forward["x"] = forward["x"].swapaxes(0, 1).copy().swapaxes(0, 1)
    backward["dy"] = backward["dy"].swapaxes(0, 1).copy().swapaxes(0, 1)
    assert_all_same_bits(compute(impl, cell, forward, backward), expected)


# ---- the same bits however the work is divided

# T, N, I, H: whole sequences for each thread, then hidden units for each
DIVIDED = [(60, 64, 100, 100), (300, 40, 3, 17), (9, 7, 17, 17), (6, 3, 20, 300), (30, 2, 16, 64)]


@every_cell
@every_dtype
@pytest.mark.parametrize("sizes", DIVIDED[1:])
def test_many_steps_are_one_step_many_times(
    compiled: ModuleType, cell: Cell, dtype: str, sizes: tuple[int, int, int, int]
) -> None:
    case = Case(cell, *sizes, dtype)
    forward, _ = case.problem()
    whole = cell.forward(compiled, forward)
    one = dict(forward)
    for t in range(case.T):
        result = cell.forward(compiled, {**one, "x": forward["x"][t : t + 1]})
        assert_same_bits(result.y[0], whole.y[t], f"y at step {t}")
        one.update({f"{s}_0": getattr(result, f"{s}_n") for s in cell.states})
    for s in cell.states:
        assert_same_bits(one[f"{s}_0"], getattr(whole, f"{s}_n"), f"{s}_n")


def _of_batch(case: Case, arrays: dict[str, Any], rows: list[int], steps: int) -> dict[str, Any]:
    """Return arguments or results of some sequences of a batch, cut to so many steps."""
    cut = {}
    for name, value in arrays.items():
        if name in ("x", "y", "dx", "dy", "dh"):
            cut[name] = value[:steps, rows]
        elif name.removeprefix("d") in ("h_0", "c_0", "h_n", "c_n", "lengths"):
            cut[name] = value[rows]
        elif name.startswith("d") and name.removeprefix("d") in case.cell.fields:
            continue  # of a weight: a sum over the batch
        else:
            cut[name] = value
    return cut


@every_cell
@every_dtype
@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
@pytest.mark.parametrize("sizes", DIVIDED)
def test_a_sequence_does_not_see_its_batch(
    compiled: ModuleType, cell: Cell, dtype: str, reverse: bool, sizes: tuple[int, int, int, int]
) -> None:
    case = Case(cell, *sizes, dtype, ragged=True, reverse=reverse)
    forward, backward = case.problem()
    whole = compute(compiled, cell, forward, backward)
    rng = np.random.default_rng(0)
    groups = [[n] for n in range(min(case.N, 8))]
    groups.append(list(rng.permutation(case.N)[: case.N // 2 + 1]))
    for rows in groups:
        steps = int(forward["lengths"][rows].max())
        some = _of_batch(case, forward, rows, steps)
        if len(rows) == 1:
            del some["lengths"]  # alone, and not even knowing of lengths
        part = compute(compiled, cell, some, _of_batch(case, backward, rows, steps))
        expected = _of_batch(case, whole, rows, steps)
        assert_all_same_bits({name: part[name] for name in expected}, expected)


@pytest.fixture
def threads() -> Iterator[None]:
    """Share even the smallest work among the threads."""
    before = bptt.get_num_threads()
    _core.set_always_share(True)
    yield
    _core.set_always_share(False)
    bptt.set_num_threads(before)


@every_cell
@every_dtype
@pytest.mark.parametrize("ragged", [False, True], ids=["padded", "ragged"])
@pytest.mark.usefixtures("threads")
def test_any_number_of_threads(compiled: ModuleType, cell: Cell, dtype: str, ragged: bool) -> None:
    cases = [Case(cell, *sizes, dtype, ragged=ragged) for sizes in DIVIDED + SIZES]
    problems = [case.problem() for case in cases]
    found = []
    for n in (1, 2, 3):
        bptt.set_num_threads(n)
        assert bptt.get_num_threads() == n
        found.append([compute(compiled, cell, *problem) for problem in problems])
    for single, *others in zip(*found, strict=True):
        for other in others:
            assert_all_same_bits(other, single)


# ---- sums over many rows


def test_bias_gradients_over_many_rows(compiled: ModuleType) -> None:
    """The identity network without weights: 76,800 rows of dy that are added as they are."""
    dy = np.random.default_rng(0).random((300, 256, 17), dtype=np.float32)
    w, b = np.zeros((17, 17), np.float32), np.zeros(17, np.float32)
    x = np.zeros_like(dy)
    _, _, cache = compiled.rnn_forward(x, w, w, b, b, nonlinearity="identity", training=True)
    found = compiled.rnn_backward(cache, dy)
    exact = dy.sum((0, 1), dtype=np.float64)
    assert_close("bias sums", "float32", found.b_ih, exact, name="db_ih")
    assert_close("bias sums", "float32", found.b_hh, exact, name="db_hh")
    dy[0, 3, 1], dy[0, 3, 2] = np.inf, -np.inf  # at the first step: nothing goes on from there
    summed = compiled.rnn_backward(cache, dy).b_ih
    assert_same_bits(summed[1:3], np.array([np.inf, -np.inf], np.float32), "infinite sums")


# ---- denormals


@pytest.fixture
def flush_denormal() -> Iterator[None]:
    yield
    bptt.set_flush_denormal(True)


@every_dtype
@pytest.mark.parametrize("flush", [True, False])
@pytest.mark.usefixtures("flush_denormal")
def test_denormals(compiled: ModuleType, dtype: str, flush: bool) -> None:
    """The identity network on a denormal x and dy."""
    tiny = np.full((4, 3, 17), np.finfo(dtype).tiny / 4, dtype)
    eye, zeros = np.eye(17, dtype=dtype), np.zeros((17, 17), dtype)
    bptt.set_flush_denormal(flush)
    y, h_n, cache = compiled.rnn_forward(tiny, eye, zeros, nonlinearity="identity", training=True)
    gradients = compiled.rnn_backward(cache, tiny)
    # bits, since a comparison of floats may itself take a denormal for zero
    expected = np.zeros_like(tiny) if flush else tiny
    assert_same_bits(y, expected, "y")
    assert_same_bits(h_n, expected[-1], "h_n")
    assert_same_bits(gradients.x, expected, "dx")
    assert_same_bits(tiny / 2 * 2, tiny, "the caller's own arithmetic")


@every_cell
@pytest.mark.usefixtures("flush_denormal")
def test_flushing_is_seen_in_denormals_only(compiled: ModuleType, cell: Cell) -> None:
    case = Case(cell, 9, 7, 5, 19, "float32")
    bptt.set_flush_denormal(False)
    kept = run(compiled, case)
    bptt.set_flush_denormal(True)
    assert_all_same_bits(run(compiled, case), kept)


# ---- the two modules are twins


@pytest.mark.parametrize("name", reference.__all__)
def test_signatures_and_docstrings_are_the_same(name: str) -> None:
    ours, theirs = getattr(functional, name), getattr(reference, name)
    kinds = [
        [(p.name, p.kind, p.default) for p in inspect.signature(f).parameters.values()]
        for f in (ours, theirs)
    ]
    assert kinds[0] == kinds[1]
    assert inspect.getdoc(ours) == inspect.getdoc(theirs)


def test_the_modules_have_the_same_functions() -> None:
    assert sorted(functional.__all__) == sorted(reference.__all__)


def test_the_examples_in_the_docstrings_run() -> None:
    assert doctest.testmod(functions).attempted > 10
    assert doctest.testmod(functions).failed == 0


@pytest.mark.parametrize("cell", [RNNS[0], LSTM, GRU], ids=str)
def test_without_training_there_is_no_cache(impl: ModuleType, cell: Cell) -> None:
    case = Case(cell, 6, 7, 5, 19)
    forward, _ = case.problem()
    idle, training = (cell.forward(impl, {**forward, "training": t}) for t in (False, True))
    assert idle.cache is None
    assert type(idle) is type(training)
    assert_all_same_bits(states(idle), states(training))
