"""Networks: a graph, its weights, and the description of its inputs and outputs."""

from portable_nn.network.network import Network, Sequential, load
from portable_nn.network.snapshot import Snapshot
from portable_nn.network.stream import Stream

__all__ = ["Network", "Sequential", "Snapshot", "Stream", "load"]
