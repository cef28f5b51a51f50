"""bench/records.py, report.py and text.py: what is read from records, and what is told of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from samples import record


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
    reading = import_module("records")
    both = {"torch": {"median": 2.0}, "jax": {"median": 1.5}}
    seconds = {"bptt": [1.0] * 3, "torch": [2.0] * 3, "jax": [1.5, 1.4, 9.0]}
    names = [case.name for case in cases.GRID["small"]]
    records = [record(point=name, ratios=both, seconds=seconds) for name in names]
    assert reading.best(records[0]) == "jax"
    own = {"reference": {"median": 1.1}}
    assert reading.best(
        record(ratios={**both, **own}, seconds={**seconds, "reference": [1.1]})
    ) == ("jax")
    assert reading.best(record(ratios=own, seconds={"reference": [1.1]})) == "reference"
    assert reading.ratio(records[0], reading.BEST) == {"median": 1.5}
    assert reading.mean(records, reading.BEST, "small") == pytest.approx(1.5)
    records[0] = record(point=names[0])  # timed against torch alone
    assert reading.peers(records) == ["torch", "jax"]
    assert reading.mean(records, "jax", "small") is None
    assert reading.mean(records, reading.BEST, "small") is not None


def test_means_need_every_point_of_the_groups(cases):
    reading = import_module("records")
    names = [case.name for case in cases.GRID["small"]]
    ratios = [{"torch": {"median": 2.0 ** (i % 3)}} for i in range(len(names))]
    records = [record(point=n, ratios=r) for n, r in zip(names, ratios, strict=True)]
    assert reading.mean(records, "torch", "small") == pytest.approx(2 ** (6 / 7))
    assert reading.mean(records[1:], "torch", "small") is None
    assert reading.mean(records, "torch", "all") is None


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [(2.5e-6, "2.50 µs"), (0.012, "12.0 ms"), (0.9996, "1000 ms"), (1.5, "1.50 s")],
)
def test_seconds_as_text(seconds, wanted):
    assert import_module("text").seconds(seconds) == wanted


def test_both_directions_stand_in_one_table_of_means(cases):
    report = import_module("report")

    def at(case: Any, direction: str, median: float) -> dict[str, Any]:
        return record(point=case.name, direction=direction, ratios={"torch": {"median": median}})

    grid = cases.PARTS["all"]
    records = [at(case, "forward", 2.0) for case in grid]
    records += [at(case, "forward+backward", 8.0 if case.shape[1] == 1 else 4.0) for case in grid]
    header, _, *rows = [line.split("|") for line in report.means(records).splitlines()]
    n = [cell.strip() for cell in header].index("N > 1")
    found = {(row[2].strip(), row[3].strip()): [cell.strip() for cell in row] for row in rows}
    assert found["forward", "best peer"][n] == "2.00"
    assert found["forward+backward", "torch"][n] == "4.00"
    assert 4 < float(found["forward+backward", "torch"][n - 1]) < 8
