"""The package as a whole: what importing it costs and brings in, what it says of itself."""

from __future__ import annotations

import importlib.metadata
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import finish, output, start

import bptt
from bptt import _core, diagnostics, functional, init, reference

MODULES = (bptt, diagnostics, functional, init, reference)

# ---- import


def test_import_is_quick(tmp_path: Path) -> None:
    """At most 30 ms more than NumPy's, in CPU time, since a busy machine's clock tells nothing."""
    program = """if True:
        from time import process_time
        import numpy
        begin = process_time()
        import bptt
        print(process_time() - begin)"""
    # an installed package has its bytecode
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    seconds = [float(output(program, **compiled)) for _ in range(8)]
    assert min(seconds[1:]) <= 0.030


def test_numpy_is_all_that_is_needed() -> None:
    """With everything else out of reach, the package imports and a network learns."""
    program = """if True:
        import sys

        class Wall:
            def find_spec(self, name, path=None, target=None):
                top = name.partition(".")[0]
                if top not in {*sys.stdlib_module_names, "bptt", "numpy"}:
                    raise ImportError(f"{name} is not to be imported")

        sys.meta_path.insert(0, Wall())
        import numpy
        before = set(sys.modules)
        import bptt
        new = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(*sorted(new - sys.stdlib_module_names))

        model = bptt.Sequential(bptt.GRU(2, 3, rng=0), bptt.LastStep(), bptt.Linear(3, 2, rng=0))
        step = bptt.value_and_grad(model, bptt.cross_entropy)
        _, gradients = step(numpy.ones((4, 5, 2), "f"), numpy.arange(5) % 2)
        bptt.Adam(model.params).step(gradients)
        bptt.show_config()"""
    found, *rest = output(program).splitlines()
    assert set(found.split()) <= {"bptt", "numpy"}
    assert rest, "show_config prints"


@pytest.mark.parametrize("option", ["-Werror", "-OO"])
def test_import_under_an_option(option: str) -> None:
    output("import bptt; bptt.LSTM(1, 1, rng=0)", option)


# ---- instruction sets


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_forced_isa(isa: str) -> None:
    code, out, err = finish(start("import bptt; bptt.show_config()", BPTT_ISA=isa), 60)
    if isa in _core.isas():
        assert (code, err) == (0, "")
        assert f"instruction set  {isa} " in out
    else:
        assert code == 1
        assert f"ImportError: BPTT_ISA: this CPU lacks the instruction set '{isa}'" in err


def test_unknown_isa() -> None:
    code, _, err = finish(start("import bptt", BPTT_ISA="AVX2"), 60)
    assert code == 1
    assert "ImportError: BPTT_ISA: unknown instruction set 'AVX2'" in err


def test_the_best_isa_is_taken() -> None:
    for variables in ({}, {"BPTT_ISA": ""}):
        assert output("import bptt; print(bptt._core.isa())", **variables) == _core.isas()[-1]


# ---- what it says of itself


def test_show_config(capsys: pytest.CaptureFixture[str]) -> None:
    bptt.show_config()
    rows = dict(row.split("  ", 1) for row in capsys.readouterr().out.splitlines())
    said = {name.strip(): value.strip() for name, value in rows.items()}
    assert said["bptt"] == bptt.__version__
    assert said["instruction set"].startswith(_core.isa())
    assert said["threads"] == str(bptt.get_num_threads())
    assert "omp" in said["OpenMP runtime"]
    assert said["compiler"].startswith(("GCC ", "Clang "))


def test_version() -> None:
    try:
        installed = importlib.metadata.version("bptt")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("bptt is not installed, but found on the path")
    assert bptt.__version__ == installed


def test_types_are_shipped() -> None:
    folder = Path(bptt.__file__).parent
    assert (folder / "py.typed").is_file()
    assert (folder / "_core.pyi").is_file()


def public() -> Iterator[tuple[str, Any]]:
    """All public names, and the public methods of classes."""
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            yield f"{module.__name__}.{name}", value
            if inspect.isclass(value):
                for method in dir(value):
                    if method == "__call__" or not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}", getattr(value, method)


def test_public_names_have_docstrings() -> None:
    things = {name: value for name, value in public() if callable(value) or inspect.ismodule(value)}
    assert len(things) > 40
    assert [name for name, value in things.items() if not inspect.getdoc(value)] == []


def test_all_is_all() -> None:
    """Every listed name is there, and what is there without an underscore is listed."""
    for module in MODULES:
        assert all(hasattr(module, name) for name in module.__all__)
    here = {
        name
        for name, value in vars(bptt).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert here <= set(bptt.__all__)
