"""Models in files: one table of their kinds, opened whatever the kind is."""

from portable_nn.opening.kinds import load_model, open_any, open_model, open_network, resolve

__all__ = ["load_model", "open_any", "open_model", "open_network", "resolve"]
