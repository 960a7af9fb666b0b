"""Models in files: one table of their kinds, and what is done with a model whatever its kind."""

from portable_nn.model_files.opening import load_model, open_any, open_model, open_network, resolve

__all__ = ["load_model", "open_any", "open_model", "open_network", "resolve"]
