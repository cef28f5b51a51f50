"""bench/goals.py: which goals a run reaches."""

from __future__ import annotations

from importlib import import_module

import pytest
from samples import record


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
    assert found["mean with AVX2, PyTorch", "all"].reached
    assert not any(goal.startswith("median") for goal, _ in found)


def test_goals_of_training(cases):
    goals = import_module("goals")
    ratios = {"torch": {"median": 1.9, "low": 1.3, "high": 2.0}}
    training = {"direction": "forward+backward", "ratios": ratios, "isa": "avx512"}
    grid = [(group, case.name) for group in cases.MEANS for case in cases.GRID[group]]
    records = [record(group=group, point=name, **training) for group, name in grid]
    fast = {"flops": 10**9, "seconds": {"bptt": [5e-3], "torch": [6.5e-3]}}  # 77 % of the peak
    records[1] = record(group="latency", point=grid[1][1], **training, **fast)
    records += [
        record(group="layers", point=case.name, **training) for case in cases.GRID["layers"]
    ]
    forward = record(group=grid[0][0], point=grid[0][1])  # the other direction, held to AVX2
    everything = goals.of_run([forward, *records])
    found = {(f.goal, f.at): f for f in everything if f.direction == "forward+backward"}
    assert found["median, best peer far from the peak", grid[0][1]].bound == 1.15
    assert ("median, best peer far from the peak", grid[1][1]) not in found
    wanted = {"all": 1.8, "N > 1": 1.4}
    assert {part: found["mean, best peer", part].bound for part in wanted} == wanted
    assert not found["mean, torch", "all"].reached
    assert found["share of the limit", "100,32,128,128"].bound == 0.8
    assert found["layers, PyTorch", "100,32,128,256 2 layers bidirectional"].reached
    assert not found["layers, PyTorch", "200,32,128,128 ragged"].reached
    assert len([goal for goal, _ in found if goal == "upper end, best peer"]) == len(grid)
    assert ("points below 1", "grid") not in found


def test_points_with_bounds_of_their_own_are_of_the_grid(cases):
    names = {case.name for case in cases.GRID["layers"]}
    for bounds in import_module("goals").LAYERS.values():
        assert bounds.keys() <= names


@pytest.mark.parametrize(
    ("point", "big"),
    [("100,32,128,128", True), ("100,64,64,64", False), ("100,8,128,128 ragged", False)],
)
def test_size_from_which_a_share_is_asked_for(point, big):
    assert import_module("goals").is_big(point) == big
