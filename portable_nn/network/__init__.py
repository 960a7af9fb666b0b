"""Networks: a graph, its weights, and what goes in and comes out."""

from portable_nn.network.network import Engine, Network, Sequential, load

__all__ = ["Engine", "Network", "Sequential", "load"]
