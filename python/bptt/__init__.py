"""Recurrent neural networks on NumPy arrays: forward and back-propagation through time, compiled.

`bptt.functional` has the functions (one layer, one direction), `bptt.reference` the same in plain
NumPy; the layers, losses and optimisers here have the names and arguments of PyTorch's.
"""

import typing

from bptt import functional, reference
from bptt._core import __version__
from bptt.layers import Activation, Dropout, LastStep, Linear
from bptt.losses import cross_entropy, mse_loss
from bptt.module import LayerGradients, Module, RecurrentGradients
from bptt.optim import SGD, Adam, clip_grad_norm_
from bptt.recurrent import GRU, LSTM, RNN
from bptt.sequential import Sequential, summary
from bptt.settings import (
    free_memory,
    get_num_threads,
    set_flush_denormal,
    set_num_threads,
    show_config,
)
from bptt.stream import Stream
from bptt.training import value_and_grad

if typing.TYPE_CHECKING:
    from bptt._run import History
    from bptt.fitting import fit
    from bptt.saving import load, save
else:
    # imported when first used: who only computes need not wait for them
    _LATER = {"History": "_run", "fit": "fitting", "load": "saving", "save": "saving"}

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = getattr(import_module(f"bptt.{_LATER[name]}"), name)
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Activation",
    "Adam",
    "Dropout",
    "History",
    "LastStep",
    "LayerGradients",
    "Linear",
    "Module",
    "RecurrentGradients",
    "Sequential",
    "Stream",
    "__version__",
    "clip_grad_norm_",
    "cross_entropy",
    "fit",
    "free_memory",
    "functional",
    "get_num_threads",
    "load",
    "mse_loss",
    "reference",
    "save",
    "set_flush_denormal",
    "set_num_threads",
    "show_config",
    "summary",
    "value_and_grad",
]
