"""Networks: a graph, its weights, and what goes in and comes out."""

from portable_nn.network.inference import Engine
from portable_nn.network.network import Network, Sequential, load
from portable_nn.network.snapshot import Snapshot

__all__ = ["Engine", "Network", "Sequential", "Snapshot", "load"]
