"""Networks: a graph, its weights, and what goes in and comes out."""

from portable_nn.network.network import Network, Sequential, load
from portable_nn.network.snapshot import Snapshot

__all__ = ["Network", "Sequential", "Snapshot", "load"]
