"""The parts of bench/ that need no quiet machine: grid, statistics, limits, errors, resuming."""

from __future__ import annotations

import math
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module", autouse=True)
def _bench_on_path():
    """bench/ is a folder of scripts: its modules are found by their plain names, here only."""
    tops = {path.stem for path in BENCH.iterdir()}

    def ours() -> list[str]:
        return [name for name in sys.modules if name.partition(".")[0] in tops]

    hidden = {name: sys.modules.pop(name) for name in ours()}
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))
    for name in ours():
        sys.modules.pop(name)
    sys.modules.update(hidden)


@pytest.fixture
def cases() -> ModuleType:
    return import_module("cases")


@pytest.fixture
def limit() -> ModuleType:
    return import_module("limit")


LATENCY = """1,1,32,32 1,1,128,128 100,1,32,32 100,1,64,64 100,1,128,128 100,1,256,256 100,1,512,512
    50,1,1024,1024 1000,1,40,128 2000,1,1,16"""
SMALL = """100,8,64,64 100,8,128,128 64,16,32,96 64,32,32,64 100,32,64,64 100,32,128,128
    5,500,510,32"""
LARGE = """100,32,256,256 50,64,512,512 25,64,1024,1024 100,128,128,128 1000,16,128,128
    365,256,30,64 784,64,1,128 25,16,512,512 25,32,1024,1024 150,16,256,256 50,16,1760,1760"""


def test_grid_is_frozen(cases):
    wanted = {"latency": LATENCY.split(), "small": SMALL.split(), "large": LARGE.split()}
    assert tuple(wanted) == cases.MEANS
    assert {group: [c.name for c in cases.GRID[group]] for group in wanted} == wanted
    plain = [case for group in wanted for case in cases.GRID[group]]
    assert all(case == cases.Case(case.shape) for case in plain)
    assert cases.GRID["layers"] == (
        cases.Case((500, 8, 256, 256), num_layers=2, cells=("lstm",)),
        cases.Case((100, 32, 128, 256), num_layers=2, bidirectional=True, cells=("lstm",)),
        cases.Case((200, 32, 128, 128), ragged=True),
        cases.Case((1000, 16, 128, 128), ragged=True),
    )
    names = [case.name for group in cases.GRID.values() for case in group]
    assert len(names) == len(set(names)) == 32


def test_lengths(cases):
    case = cases.GRID["layers"][-1]
    lengths = case.lengths()
    assert lengths.shape == (16,)
    assert lengths.min() >= 100
    assert lengths.max() <= 1000
    assert (lengths == case.lengths()).all()
    assert cases.GRID["small"][0].lengths() is None


def test_inputs_are_the_same_numbers_in_both_dtypes(cases):
    make = import_module("inputs").make
    case = cases.Case((3, 2, 4, 5), num_layers=2, bidirectional=True)
    single, double = make(case, "lstm"), make(case, "lstm", "float64")
    assert list(single.params)[:4] == [
        f"{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    assert single.params["weight_ih_l1_reverse"].shape == (20, 10)
    for name, array in single.params.items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, double.params[name])
    np.testing.assert_array_equal(single.dc_n, double.dc_n)
    assert make(case, "gru").c_0 is None


def test_geometric_mean():
    stats = import_module("stats")
    assert stats.geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert stats.geometric_mean([0.5]) == pytest.approx(0.5)


def test_paired_ratio():
    stats = import_module("stats")
    assert stats.paired_ratio([3.0] * 15, [1.5] * 15) == (2.0, 2.0, 2.0)
    # a drift common to both libraries leaves the paired ratios alone
    drift = np.linspace(1, 3, 15)
    assert stats.paired_ratio(2 * drift, drift) == pytest.approx((2, 2, 2))


def test_bootstrap_interval_covers():
    """The 95 % interval holds the true median in about 95 of 100 experiments."""
    stats = import_module("stats")
    rng = np.random.default_rng(3)
    found = [stats.paired_ratio(rng.lognormal(0, 0.1, 15), [1.0] * 15, 500) for _ in range(200)]
    assert all(ratio.low <= ratio.median <= ratio.high for ratio in found)
    assert 0.88 <= np.mean([ratio.low <= 1 <= ratio.high for ratio in found]) <= 0.99


def test_work_of_a_point(cases, limit):
    case = cases.Case((100, 8, 64, 32))
    assert limit.flops(case, "lstm", "forward") == 2 * 100 * 8 * 4 * 32 * (64 + 32)
    assert limit.flops(case, "gru", "forward+backward") == 3 * 2 * 100 * 8 * 3 * 32 * (64 + 32)
    assert limit.activations(case, "lstm") == (3 * 100 * 8 * 32, 2 * 100 * 8 * 32)
    assert limit.activations(case, "rnn") == (0, 100 * 8 * 32)
    assert limit.weight_bytes(case, "rnn", "forward") == 4 * 32 * (100 * 32 + 64)
    assert limit.weight_bytes(case, "rnn", "forward+backward") == 8 * 32 * (100 * 32 + 64)


def test_work_of_layers_and_lengths(cases, limit):
    deep = cases.Case((7, 2, 3, 5), num_layers=2, bidirectional=True)
    assert limit.input_sizes(deep) == [3, 3, 10, 10]
    rows = 7 * 2
    assert limit.flops(deep, "rnn", "forward") == 2 * rows * 5 * 2 * ((3 + 5) + (10 + 5))
    assert limit.activations(deep, "gru") == (2 * rows * 5 * 4, rows * 5 * 4)
    ragged = cases.Case((50, 4, 3, 5), ragged=True)
    assert limit.rows(ragged) == ragged.lengths().sum() < 200


def test_limit(cases, limit):
    case = cases.Case((10, 1, 8, 16))
    level = {"L1": 1e9, "L2": 1e8, "L3": 1e7, "memory": 1e6}
    rates = limit.Rates(fma=1e9, sigmoid=1e6, tanh=2e6, bandwidth=level, clock=1e9)
    caches = limit.Caches(l1=4 * 4 * 16 * 16, l2=1 << 20, l3=1 << 25)
    flops, sigmoids, tanhs = 2 * 10 * 4 * 16 * 24, 10 * 3 * 16, 10 * 2 * 16
    weights = 4 * 4 * 16 * (10 * 16 + 8)
    wanted = flops / 1e9 + sigmoids / 1e6 + tanhs / 2e6 + weights / 1e9
    assert limit.limit(case, "lstm", "forward", rates, caches, 1) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("hidden", "threads", "level"),
    [(32, 1, "L1"), (64, 1, "L2"), (64, 2, "L1"), (512, 1, "L3"), (2048, 2, "memory")],
)
def test_weights_come_from_the_nearest_cache_that_holds_them(cases, limit, hidden, threads, level):
    caches = limit.Caches(l1=48 << 10, l2=1 << 20, l3=32 << 20)
    case = cases.Case((10, 1, 8, hidden))
    assert limit.weight_level(case, "lstm", caches, threads) == level


def test_best_rates(limit):
    one = limit.Rates(1.0, 5.0, 1.0, {"L1": 1.0}, 2.0)
    two = limit.Rates(2.0, 4.0, 2.0, {"L1": 3.0}, 1.0)
    assert one.best(two) == limit.Rates(2.0, 5.0, 2.0, {"L1": 3.0}, 2.0)


def test_errors():
    compare = import_module("compare")
    exact = np.arange(1.0, 33.0)
    assert compare.errors({"y": exact}, {"y": exact}) == {"y": 0.0}
    off = exact.astype(np.float32)
    off[0] += 1
    wanted = {"y": pytest.approx(1 / np.linalg.norm(exact))}
    assert compare.errors({"y": off}, {"y": exact}) == wanted
    few = {"y": pytest.approx(1 / 8)}  # the largest error over the largest value
    assert compare.errors({"y": off[:8]}, {"y": exact[:8]}) == few
    for wrong in (exact[:8], np.full(32, np.nan), np.full(32, np.inf)):
        assert compare.errors({"y": wrong}, {"y": exact}) == {"y": math.inf}
    assert compare.errors({}, {"y": exact}) == {"y": math.inf}
    assert compare.errors({"y": exact, "z": exact}, {"y": exact}) == {"y": math.inf}
    assert compare.errors({"y": np.zeros(32)}, {"y": exact}) == {"y": 1.0}


def test_environment_of_a_worker(monkeypatch):
    pipe = import_module("pipe")
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("BPTT_ISA", "baseline")
    monkeypatch.setenv("LANG", "C")
    found = pipe.environment(3, {})
    assert found.keys() & {"OMP_WAIT_POLICY", "BPTT_ISA"} == set()
    assert (found["OMP_NUM_THREADS"], found["BPTT_NUM_THREADS"], found["LANG"]) == ("3", "3", "C")
    peers = import_module("peers").PEERS
    assert pipe.environment(3, peers["bptt"].forced["avx2"])["BPTT_ISA"] == "avx2"
    forced = pipe.environment(3, peers["torch"].forced["avx2"])
    assert {name for name in forced if name.startswith(("ATEN_", "ONEDNN_", "MKL_"))} == {
        "ATEN_CPU_CAPABILITY",
        "ONEDNN_MAX_CPU_ISA",
        "MKL_ENABLE_INSTRUCTIONS",
    }


def test_workers_agree(cases):
    """Both adapters of bptt name and shape everything alike; a failed request says why."""
    compare, pipe = import_module("compare"), import_module("pipe")
    layers = {"num_layers": 2, "bidirectional": True}
    with pipe.Pipe("bptt", 1) as ours, pipe.Pipe("reference", 1) as truth:
        for cell in cases.CELLS:
            for extra in ({}, layers, {"ragged": True}):
                for direction in cases.DIRECTIONS:
                    arguments = ("prepare", cases.Case((12, 3, 4, 5), **extra), cell, direction)
                    wanted = truth.ask(*arguments, "float64")
                    errors = compare.errors(ours.ask(*arguments, "float32"), wanted)
                    assert max(errors.values()) < compare.TOLERANCE
                    assert (direction == "forward") == ("dx" not in errors)
        assert ours.ask("time", 0.0, 0.001) > 0
        ours.ask("forget")
        with pytest.raises(pipe.WorkerError, match="time before prepare"):
            ours.ask("time", 0.0, 0.001)


def test_peers_take_what_they_can(cases):
    peers = import_module("peers").PEERS
    plain, ragged = cases.GRID["small"][0], cases.GRID["layers"][-1]
    for name, peer in peers.items():
        full = name in ("bptt", "torch", "reference")
        assert peer.takes(plain, "forward")
        assert peer.takes(plain, "forward+backward") == full
        assert peer.takes(ragged, "forward") == full
    assert peers["bptt"].installed()


@pytest.mark.parametrize("library", ["torch", "onnxruntime", "openvino", "jax"])
def test_peers_agree(cases, library):
    """Each installed library computes what the reference does, for every cell."""
    compare, pipe = import_module("compare"), import_module("pipe")
    peer = import_module("peers").PEERS[library]
    if not peer.installed():
        pytest.skip(f"needs {' and '.join(peer.needs)}")
    with pipe.Pipe(library, 1) as theirs, pipe.Pipe("reference", 1) as truth:
        for cell in cases.CELLS:
            arguments = ("prepare", cases.Case((17, 3, 4, 5)), cell, "forward")
            wanted = truth.ask(*arguments, "float64")
            errors = compare.errors(theirs.ask(*arguments, "float32"), wanted)
            assert max(errors.values()) < compare.TOLERANCE


def test_a_slow_peer_is_timed_in_some_rounds(cases):
    measure = import_module("measure")

    class Worker:
        def __init__(self, library: str) -> None:
            self.library = library

        def ask(self, *request: Any) -> float:
            return 1.0

    effort = measure.QUICK._replace(rounds=7)
    seconds = measure.timed({name: Worker(name) for name in ("bptt", "reference")}, effort)
    assert {name: len(rounds) for name, rounds in seconds.items()} == {"bptt": 7, "reference": 2}


def record(**changes: Any) -> dict[str, Any]:
    return {
        "cell": "lstm",
        "direction": "forward",
        "group": "small",
        "point": "100,8,64,64",
        "isa": "avx2",
        "threads": 2,
        "cpu": "a CPU",
        "versions": {"bptt": "1", "torch": "2"},
        "build": "abc",
        "quick": False,
        "status": "ok",
        "how": {"bptt": "", "torch": "oneDNN"},
        "seconds": {"bptt": [1e-3] * 3, "torch": [2e-3] * 3},
        "ratios": {"torch": {"median": 2.0, "low": 1.9, "high": 2.1}},
        "flops": 10**8,
        "share": 0.5,
        "rates": {"fma": 2e11},
        "unsteady": False,
        **changes,
    }


def test_store_goes_on_where_nothing_changed(tmp_path):
    store = import_module("store")
    path = tmp_path / "new" / "results.json"
    first = store.Store(path, "a CPU")
    both = ["bptt", "torch"]
    assert not first.has("point", record(), both)
    first.put("point", record())
    again = store.Store(path, "a CPU")
    assert again.has("point", record(), both)
    assert again.has("point", record(quick=True), both)  # a full measurement serves for a quick one
    assert not again.has("point", record(build="def"), both)
    assert not again.has("point", record(), [*both, "jax"])
    assert not again.has("point", record(versions={"bptt": "1", "torch": "3"}), both)
    again.put("point", record(quick=True))
    assert not again.has("point", record(), both)
    again.put("point", record(status="disagrees"))
    assert not again.has("point", record(), both)
    with pytest.raises(SystemExit, match="another CPU"):
        store.Store(path, "another CPU")


def test_report():
    report = import_module("report")
    good, bad = record(), record(point="100,8,128,128", status="disagrees")
    bad["errors"] = {"bptt": 0.5}
    assert report.line(good) == (
        "lstm forward 100,8,64,64: 1.00 ms, 2.00 [1.90, 2.10] times the best peer, torch,"
        " 50% of the limit | a CPU | avx2, 2 threads | bptt 1, torch 2"
    )
    assert "DISAGREES and is not timed: errors bptt 5.0e-01" in report.line(bad)
    text = report.document([bad, good, record(quick=True)])
    assert text.index("100,8,64,64") < text.index("100,8,128,128"), "the grid's order"
    assert "QUICK" in text
    assert "DISAGREES" in text
    assert "torch: oneDNN" in text


def test_the_best_peer_is_the_one_with_the_least_median(cases):
    report = import_module("report")
    both = {"torch": {"median": 2.0}, "jax": {"median": 1.5}}
    seconds = {"bptt": [1.0] * 3, "torch": [2.0] * 3, "jax": [1.5, 1.4, 9.0]}
    names = [case.name for case in cases.GRID["small"]]
    records = [record(point=name, ratios=both, seconds=seconds) for name in names]
    assert report.best(records[0]) == "jax"
    own = {"reference": {"median": 1.1}}
    assert report.best(record(ratios={**both, **own}, seconds={**seconds, "reference": [1.1]})) == (
        "jax"
    )
    assert report.best(record(ratios=own, seconds={"reference": [1.1]})) == "reference"
    assert report.ratio(records[0], report.BEST) == {"median": 1.5}
    assert report.mean(records, report.BEST, ["small"]) == pytest.approx(1.5)
    records[0] = record(point=names[0])  # timed against torch alone
    assert report.peers(records) == ["torch", "jax"]
    assert report.mean(records, "jax", ["small"]) is None
    assert report.mean(records, report.BEST, ["small"]) is not None


def test_means_need_every_point_of_the_groups(cases):
    report = import_module("report")
    names = [case.name for case in cases.GRID["small"]]
    ratios = [{"torch": {"median": 2.0 ** (i % 3)}} for i in range(len(names))]
    records = [record(point=n, ratios=r) for n, r in zip(names, ratios, strict=True)]
    assert report.mean(records, "torch", ["small"]) == pytest.approx(2 ** (6 / 7))
    assert report.mean(records[1:], "torch", ["small"]) is None
    assert report.mean(records, "torch", cases.MEANS) is None


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(2.5e-6, "2.50 µs"), (0.012, "12.0 ms"), (0.9996, "1000 ms"), (1.5, "1.50 s")],
)
def test_seconds_as_text(seconds, wanted):
    assert import_module("text").seconds(seconds) == wanted


def test_inputs_of_a_seed_and_of_a_decaying_state(cases):
    make = import_module("inputs").make
    case = cases.Case((30, 2, 4, 5))
    assert (make(case, "gru").x == make(case, "gru", seed=0).x).all()
    assert (make(case, "gru").x != make(case, "gru", seed=1).x).any()
    decaying = make(cases.Case((30, 2, 4, 5), decaying=True), "gru")
    np.testing.assert_array_equal(decaying.x[:10], make(case, "gru").x[:10])
    assert not decaying.x[10:].any()
    assert not decaying.params["bias_hh_l0"].any()
    assert decaying.params["weight_hh_l0"].all()


def test_laps():
    """Every step in turn, again until the time is over, and one time for each."""
    worker, calls = import_module("worker"), []
    found = worker.laps([lambda: calls.append(0), lambda: calls.append(1)], 0.001)
    assert len(found) == len(calls) >= 2
    assert calls[:4] == [0, 1] * (len(calls[:4]) // 2)
    assert min(found) >= 0


@pytest.mark.parametrize("library", ["torch", "onnxruntime"])
def test_streams_of_peers_agree(cases, library):
    """Step by step they compute what the reference does in one call."""
    compare, pipe = import_module("compare"), import_module("pipe")
    if not import_module("peers").PEERS[library].installed():
        pytest.skip(f"needs {library}")
    case = cases.Case((9, 1, 4, 5))
    with pipe.Pipe(library, 1) as theirs, pipe.Pipe("reference", 1) as truth:
        wanted = truth.ask("prepare", case, "lstm", "forward", "float64")
        errors = compare.errors(theirs.ask("stream", case, "lstm"), {"y": wanted["y"]})
        assert errors["y"] < compare.TOLERANCE
        assert (theirs.ask("laps", 0.0, 0.001) > 0).all()


def test_findings(tmp_path):
    findings = import_module("findings")
    least = findings.Finding("speed", "lstm", "1,1,8,8", 1.2, 1.5)
    most = findings.Finding("cost", "lstm", "1,1,8,8", 1.2, 1.5, most=True)
    assert (least.reached, most.reached) == (False, True)
    assert least.margin == pytest.approx(0.8)
    assert most.margin == pytest.approx(1.25)
    better, worse = least._replace(value=2.0), most._replace(value=1.4)
    assert findings.worst([better, most, least, worse]) == [least, worse]
    assert "MISSED" in findings.table([least])
    assert "MISSED" not in findings.table([most])
    assert "1 of 2" in findings.summary([least, better._replace(at="2,1,8,8")])
    path = tmp_path / "new" / "extras.json"
    findings.save(path, [least, most], {"build": "a"})
    findings.save(path, [better], {"build": "a"})
    assert findings.load(path) == [better, most]
    findings.save(path, [least], {"build": "b"})
    assert findings.load(path) == [least]


def test_goals_of_a_run(cases):
    goals = import_module("goals")
    ratios = {"torch": {"median": 1.4, "low": 1.3, "high": 1.5}}
    grid = [(group, case.name) for group in cases.MEANS for case in cases.GRID[group]]
    records = [record(group=group, point=name, ratios=ratios) for group, name in grid]
    slow = {"torch": {"median": 0.9, "low": 0.8, "high": 0.97}}
    near_peak = {"ratios": slow, "flops": 10**9, "seconds": {"bptt": [5e-3], "torch": [5e-3]}}
    records[1] = record(group="latency", point=grid[1][1], **near_peak)
    found = {(f.goal, f.at): f for f in goals.of_run([*records, record(status="disagrees")])}
    assert found["upper end, best peer", grid[0][1]].bound == 1.0
    assert found["upper end, best peer", grid[1][1]].bound == 0.95
    assert found["upper end, best peer", grid[1][1]].reached
    assert found["points below 1", "grid"].value == pytest.approx(1 / 28)
    assert found["mean, best peer", "large"].reached
    assert found["mean, best peer", "small"].value == pytest.approx(1.4)
    assert not found["share of the limit", "100,32,128,128"].reached
    assert ("share of the limit", "100,32,64,64") not in found
    assert found["mean with AVX2, PyTorch", "grid"].reached
    assert list(goals.of_run([record(direction="forward+backward")])) == []


@pytest.mark.parametrize(
    ("point", "big"),
    [("100,32,128,128", True), ("100,64,64,64", False), ("100,8,128,128 ragged", False)],
)
def test_size_from_which_a_share_is_asked_for(point, big):
    assert import_module("goals").is_big(point) == big
