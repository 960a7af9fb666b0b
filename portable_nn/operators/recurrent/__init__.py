"""Recurrent operators: RNN, LSTM and GRU, and their gradients through time."""
