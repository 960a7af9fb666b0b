"""Networks: a graph, its weights, and the description of its inputs and outputs."""

from portable_nn.network.loading import load
from portable_nn.network.network import Network, remade
from portable_nn.network.sequential import Sequential
from portable_nn.network.snapshot import Snapshot
from portable_nn.network.stream import Stream

__all__ = ["Network", "Sequential", "Snapshot", "Stream", "load", "remade"]
