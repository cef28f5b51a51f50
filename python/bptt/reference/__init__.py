"""Recurrent layers, their back-propagation through time and the CTC loss, in plain NumPy.

The twin of `bptt.functional`: the same functions, which given the same arguments return the same
numbers, up to rounding.
"""

from .ctc import ctc_loss
from .functions import (
    gru_backward,
    gru_forward,
    lstm_backward,
    lstm_forward,
    rnn_backward,
    rnn_forward,
)

__all__ = [
    "ctc_loss",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]
