"""Recurrent neural networks on NumPy arrays: forward and back-propagation through time, compiled.

`bptt.functional` has the functions (one layer, one direction), `bptt.reference` the same in plain
NumPy; the layers, losses and optimisers here have the names and arguments of PyTorch's;
`bptt.diagnostics` shows how gradients flow through a model.
"""

from bptt import diagnostics, functional, init, reference
from bptt._core import __version__
from bptt.attention import AttentionGradients, BahdanauAttention, LuongAttention
from bptt.classification import binary_cross_entropy_with_logits, cross_entropy, nll_loss
from bptt.clipping import clip_grad_norm_, clip_grad_value_
from bptt.embedding import Embedding
from bptt.functional import ctc_loss
from bptt.layers import Activation, Dropout, Linear
from bptt.losses import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from bptt.module import LayerGradients, Module, RecurrentGradients
from bptt.norm import LayerNorm
from bptt.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from bptt.pooling import LastStep, MaxOverTime, MeanOverTime
from bptt.positions import SinusoidalPositions
from bptt.recurrent import GRU, LSTM, RNN
from bptt.residual import Residual
from bptt.schedules import (
    CosineAnnealingLR,
    LinearLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from bptt.self_attention import MultiHeadSelfAttention
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
from bptt.truncated import truncated

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
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
    "free_memory",
    "functional",
    "get_num_threads",
    "huber_loss",
    "init",
    "l1_loss",
    "mse_loss",
    "nll_loss",
    "reference",
    "set_flush_denormal",
    "set_num_threads",
    "show_config",
    "smooth_l1_loss",
    "summary",
    "truncated",
    "value_and_grad",
]
