"""bench/store.py: a run goes on where nothing changed."""

from __future__ import annotations

from importlib import import_module

import pytest
from samples import record


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
