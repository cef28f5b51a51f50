"""The guide: its API reference has every public name."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from test_package import MODULES

API = Path(__file__).parents[1] / "docs" / "api"
DIRECTIVE = re.compile(
    r"^\.\. (current|auto)?(module|class|function):: (\S+)$(\n   :members:$)?", re.MULTILINE
)


def described(page: Path) -> list[str]:
    """The names that a page describes, in full."""
    module, names = "", []
    for _, kind, name, members in DIRECTIVE.findall(page.read_text()):
        if kind == "module":
            module = name
            if members:
                names += [f"{name}.{member}" for member in import_module(name).__all__]
        else:
            names.append(name if name.startswith("bptt.") else f"{module}.{name}")
    return names


def test_every_public_name_is_in_the_api_reference() -> None:
    """In the index, and once on another page."""
    public = {f"{module.__name__}.{name}" for module in MODULES for name in module.__all__}
    public -= {"bptt.__version__", *(module.__name__ for module in MODULES)}
    index = API / "index.rst"
    listed = re.findall(r"^   ([\w.]+\w)$", index.read_text(), re.MULTILINE)
    assert public <= {f"bptt.{name}" for name in listed}
    pages = [name for page in API.glob("*.rst") if page != index for name in described(page)]
    assert public <= set(pages)
    assert len(pages) == len(set(pages))
