"""The functions of `bptt.functional` in plain NumPy: the specification of the compiled ones.

Given the same arguments they return the same numbers, up to rounding.
"""

from . import functions
from .ctc import ctc_loss
from .functions import *  # noqa: F403  # a cell's functions are named in one file

__all__ = ["ctc_loss"]
__all__ += functions.__all__
