"""Recurrent neural networks on NumPy arrays: forward and back-propagation through time, compiled.

`bptt.functional` has the functions (one layer, one direction), `bptt.reference` the same in plain
NumPy; the layers, losses and optimisers here have the names and arguments of PyTorch's.
"""

from bptt import functional, reference
from bptt._core import __version__
from bptt.attention import AttentionGradients, BahdanauAttention, LuongAttention
from bptt.embedding import Embedding
from bptt.layers import Activation, Dropout, Linear
from bptt.losses import cross_entropy, mse_loss
from bptt.module import LayerGradients, Module, RecurrentGradients
from bptt.norm import LayerNorm
from bptt.optim import SGD, Adam, clip_grad_norm_
from bptt.pooling import LastStep, MaxOverTime, MeanOverTime
from bptt.positions import SinusoidalPositions
from bptt.recurrent import GRU, LSTM, RNN
from bptt.residual import Residual
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
    "Adam",
    "AttentionGradients",
    "BahdanauAttention",
    "Dropout",
    "Embedding",
    "LastStep",
    "LayerGradients",
    "LayerNorm",
    "Linear",
    "LuongAttention",
    "MaxOverTime",
    "MeanOverTime",
    "Module",
    "MultiHeadSelfAttention",
    "RecurrentGradients",
    "Residual",
    "Sequential",
    "SinusoidalPositions",
    "Stream",
    "__version__",
    "clip_grad_norm_",
    "cross_entropy",
    "free_memory",
    "functional",
    "get_num_threads",
    "mse_loss",
    "reference",
    "set_flush_denormal",
    "set_num_threads",
    "show_config",
    "summary",
    "truncated",
    "value_and_grad",
]
