"""bench/findings.py: what was measured against what was wanted."""

from __future__ import annotations

from importlib import import_module

import pytest


def test_findings(tmp_path):
    findings = import_module("findings")
    least = findings.Finding("speed", "lstm", "forward", "1,1,8,8", 1.2, 1.5)
    most = findings.Finding("cost", "lstm", "forward", "1,1,8,8", 1.2, 1.5, most=True)
    assert (least.reached, most.reached) == (False, True)
    assert least.margin == pytest.approx(0.8)
    assert most.margin == pytest.approx(1.25)
    better, worse = least._replace(value=2.0), most._replace(value=1.4)
    assert findings.worst([better, most, least, worse]) == [least, worse]
    assert "MISSED" in findings.table([least])
    assert "MISSED" not in findings.table([most])
    assert "1 of 2" in findings.summary([least, better._replace(at="2,1,8,8")])
    training = better._replace(direction="forward+backward")
    assert findings.worst([least, training]) == [least, training]
    assert findings.summary([least, training]).count("of 1") == 2
    assert most._replace(value=0.0).reached
    path = tmp_path / "new" / "extras.json"
    findings.save(path, [least, most], {"build": "a"})
    findings.save(path, [better], {"build": "a"})
    assert findings.load(path) == [better, most]
    findings.save(path, [least], {"build": "b"})
    assert findings.load(path) == [least]
