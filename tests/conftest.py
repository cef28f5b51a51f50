"""Fixtures shared by the tests: each implementation, each instruction set, and the settings."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import hypothesis
import pytest
from tolerances import LARGEST, TOLERANCES

from bptt import _core, functional, reference

# The same examples in each run: a failure is the commit's, not the day's. To look for new ones:
# pytest --hypothesis-profile=explore
hypothesis.settings.register_profile(
    "fixed", deadline=None, derandomize=True, print_blob=True, max_examples=150
)
hypothesis.settings.register_profile(
    "explore", deadline=None, print_blob=True, max_examples=3000, database=None
)
hypothesis.settings.load_profile("fixed")


def _compiled(isa: str) -> Iterator[ModuleType]:
    before = _core.isa()
    _core.set_isa(isa)
    yield functional
    _core.set_isa(before)


@pytest.fixture(scope="module", params=_core.isas(), ids=lambda isa: f"compiled[{isa}]")
def compiled(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """bptt.functional on each instruction set of this CPU."""
    yield from _compiled(request.param)


@pytest.fixture(
    scope="module",
    params=["reference", *_core.isas()],
    ids=lambda isa: isa if isa == "reference" else f"compiled[{isa}]",
)
def impl(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """bptt.reference, then bptt.functional on each instruction set of this CPU."""
    if request.param == "reference":
        yield reference
    else:
        yield from _compiled(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the largest errors, from which tolerances.py is kept."""
    for key, largest in sorted(LARGEST.items()):
        terminalreporter.write_line(
            f"largest error of {' in '.join(key)}: {largest:.2g}, allowed {TOLERANCES[key]:.2g}"
        )


@pytest.fixture
def backend(impl: ModuleType) -> str:
    """What the layers call the implementation."""
    return "reference" if impl is reference else "compiled"


@pytest.fixture
def torch() -> ModuleType:
    """PyTorch, or the test is skipped."""
    return pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
