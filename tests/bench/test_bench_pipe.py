"""bench/pipe.py: what a worker's process is told."""

from __future__ import annotations

from importlib import import_module


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
