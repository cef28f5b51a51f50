"""bench/limit.py: the work of a point, and the time that it takes at the least."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import pytest


@pytest.fixture
def limit() -> ModuleType:
    return import_module("limit")


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
    twice = 2 * flops / 1e9 + weights / 1e9  # two more products, and the weights once more
    both = limit.limit(case, "lstm", "forward+backward", rates, caches, 1)
    assert both == pytest.approx(wanted + twice)


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
