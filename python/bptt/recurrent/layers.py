"""RNN, LSTM and GRU as in torch.nn: what each of them has that the others have not."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .. import _arguments
from ..results import Array
from .base import Recurrent


class RNN(Recurrent[Array]):
    """h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), as torch.nn.RNN.

    Elman (1990). f is the argument `nonlinearity`, which stands after num_layers as in torch.nn:
    "tanh", "relu", "leaky_relu", "sigmoid" or "identity". `slope`, at least 0, is leaky_relu's for
    negative arguments.
    """

    _cell = "rnn"
    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        slope: float = 0.01,
        dtype: DTypeLike = np.float32,
        rng: int | np.random.Generator | None = None,
        backend: str = "compiled",
        checkpoint_every: int | None = None,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            dtype=dtype,
            rng=rng,
            backend=backend,
            checkpoint_every=checkpoint_every,
        )
        self.nonlinearity = _arguments.nonlinearity(nonlinearity)
        self.slope = _arguments.slope(slope)

    def _options(self) -> dict[str, Any]:
        return {"nonlinearity": self.nonlinearity, "slope": self.slope}


class LSTM(Recurrent[tuple[Array, Array]]):
    """Gates i f g o; c_t = f c_(t-1) + i g, h_t = o tanh(c_t), as torch.nn.LSTM.

    Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000). The state is a
    pair (h, c).
    """

    _cell = "lstm"
    _gates = 4
    _states = ("h_0", "c_0")


class GRU(Recurrent[Array]):
    """Gates r z n; h_t = (1-z) n + z h_(t-1), as torch.nn.GRU.

    Cho et al. (2014), with the reset gate after the recurrent product:
    n = tanh(W_in x_t + b_in + r (W_hn h_(t-1) + b_hn)).
    """

    _cell = "gru"
    _gates = 3
