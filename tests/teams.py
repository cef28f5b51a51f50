"""Teams of threads for the smallest work, and settings that are put back after each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import bptt
from bptt import _core


@pytest.fixture(autouse=True)
def settings_kept() -> Iterator[None]:
    """Restore what tests set, in every module that imports this."""
    before = bptt.get_num_threads()
    yield
    bptt.set_num_threads(before)
    bptt.set_flush_denormal(True)
    _core.set_always_share(False)


def team_of(n: int) -> None:
    """Share the smallest work among n threads."""
    bptt.set_num_threads(n)
    _core.set_always_share(True)
