"""Packages that are only needed for some things, and imported only then."""

from __future__ import annotations

import importlib
from typing import Any


def partner(module: str, needed_by: str, extra: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        Its first part is the package's name.
    needed_by : str
        What cannot be had without it, with its verb: "files in .safetensors need".
    extra : str
        bptt's extra that installs it.

    Raises
    ------
    ImportError
        It is not there; the message says what to install.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{needed_by} {package}: pip install 'bptt[{extra}]'") from error
