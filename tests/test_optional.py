"""Packages that only some things need: what is said where one is missing."""

import math
import sys

import pytest

from bptt.optional import partner


def test_what_is_there_is_imported():
    assert partner("math", "sums need", "extra") is math


def test_what_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "missing_partner", None)
    with pytest.raises(ImportError) as raised:
        partner("missing_partner.part", "drawings need", "examples")
    assert str(raised.value) == "drawings need missing_partner: pip install 'bptt[examples]'"
    assert isinstance(raised.value.__cause__, ImportError)
