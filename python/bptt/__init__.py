"""Recurrent neural networks on NumPy arrays: forward and back-propagation through time, compiled.

`bptt.functional` has the functions (one layer, one direction), `bptt.reference` the same in plain
NumPy; the layers, losses and optimisers here have the names and arguments of PyTorch's;
`bptt.diagnostics` shows how gradients flow through a model.
"""

import typing

from bptt import functional, reference
from bptt._core import __version__
from bptt.functional import ctc_loss
from bptt.layers.activation import Activation
from bptt.layers.dropout import Dropout
from bptt.layers.linear import Linear
from bptt.layers.module import LayerGradients, Module, RecurrentGradients
from bptt.layers.pooling import LastStep, MaxOverTime, MeanOverTime
from bptt.layers.sequential import Sequential, summary
from bptt.recurrent import layers as _recurrent
from bptt.recurrent.layers import *  # noqa: F403  # a new cell is named there
from bptt.recurrent.stream import Stream
from bptt.settings import (
    free_memory,
    get_num_threads,
    set_flush_denormal,
    set_num_threads,
    show_config,
)
from bptt.training.step import value_and_grad

if typing.TYPE_CHECKING:
    from bptt import diagnostics, init
    from bptt.files.models import load, save
    from bptt.layers.attention import AttentionGradients, BahdanauAttention, LuongAttention
    from bptt.layers.embedding import Embedding
    from bptt.layers.norm import LayerNorm
    from bptt.layers.positions import SinusoidalPositions
    from bptt.layers.residual import Residual
    from bptt.layers.self_attention import MultiHeadSelfAttention
    from bptt.losses import (
        binary_cross_entropy_with_logits,
        cross_entropy,
        huber_loss,
        l1_loss,
        mse_loss,
        nll_loss,
        smooth_l1_loss,
    )
    from bptt.optim import SGD, Adagrad, Adam, AdamW, RMSprop
    from bptt.optim.clipping import clip_grad_norm_, clip_grad_value_
    from bptt.optim.schedules import (
        CosineAnnealingLR,
        LinearLR,
        ReduceLROnPlateau,
        SequentialLR,
        StepLR,
    )
    from bptt.training.fit import fit
    from bptt.training.run import History
    from bptt.training.truncation import truncated
else:
    # Imported when first used: importing bptt takes little longer than importing NumPy.
    _LATER = {
        "diagnostics": (),
        "files.models": ("load", "save"),
        "init": (),
        "layers.attention": ("AttentionGradients", "BahdanauAttention", "LuongAttention"),
        "layers.embedding": ("Embedding",),
        "layers.norm": ("LayerNorm",),
        "layers.positions": ("SinusoidalPositions",),
        "layers.residual": ("Residual",),
        "layers.self_attention": ("MultiHeadSelfAttention",),
        "losses": (),
        "losses.classification": (
            "binary_cross_entropy_with_logits",
            "cross_entropy",
            "nll_loss",
        ),
        "losses.regression": ("huber_loss", "l1_loss", "mse_loss", "smooth_l1_loss"),
        "optim": ("SGD", "Adagrad", "Adam", "AdamW", "RMSprop"),
        "optim.clipping": ("clip_grad_norm_", "clip_grad_value_"),
        "optim.schedules": (
            "CosineAnnealingLR",
            "LinearLR",
            "ReduceLROnPlateau",
            "SequentialLR",
            "StepLR",
        ),
        "training.fit": ("fit",),
        "training.run": ("History",),
        "training.truncation": ("truncated",),
    }

    def __getattr__(name):
        from importlib import import_module

        for module, names in _LATER.items():
            if name in names:
                globals()[name] = getattr(import_module(f"bptt.{module}"), name)
                return globals()[name]
        if name in _LATER:
            return import_module(f"bptt.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})


__all__ = [
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "AttentionGradients",
    "BahdanauAttention",
    "CosineAnnealingLR",
    "Dropout",
    "Embedding",
    "History",
    "LastStep",
    "LayerGradients",
    "LayerNorm",
    "Linear",
    "LinearLR",
    "LuongAttention",
    "MaxOverTime",
    "MeanOverTime",
    "Module",
    "MultiHeadSelfAttention",
    "RMSprop",
    "RecurrentGradients",
    "ReduceLROnPlateau",
    "Residual",
    "Sequential",
    "SequentialLR",
    "SinusoidalPositions",
    "StepLR",
    "Stream",
    "__version__",
    "binary_cross_entropy_with_logits",
    "clip_grad_norm_",
    "clip_grad_value_",
    "cross_entropy",
    "ctc_loss",
    "diagnostics",
    "fit",
    "free_memory",
    "functional",
    "get_num_threads",
    "huber_loss",
    "init",
    "l1_loss",
    "load",
    "mse_loss",
    "nll_loss",
    "reference",
    "save",
    "set_flush_denormal",
    "set_num_threads",
    "show_config",
    "smooth_l1_loss",
    "summary",
    "truncated",
    "value_and_grad",
]
__all__ += _recurrent.__all__
