"""Recurrent layers: their cells, what stacks them, RNN, LSTM and GRU, and streams."""
