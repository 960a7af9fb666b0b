"""The operators: one home for each, with its shape rule, its numpy kernel, its gradient, and all facts about it.

To add one, write its rules in the module of its family (or in a new module: all are imported here), ``register`` it
there, and add a row to ``tests/cases``.
"""

from importlib import import_module
from pkgutil import walk_packages

from portable_nn.operators.inference import Inference, infer
from portable_nn.operators.registry import REGISTRY, Operator, Type, lookup
from portable_nn.operators.replay import replay
from portable_nn.operators.symbols import Leaf, Symbol, cast, constant, emit, emit_all, integers
from portable_nn.operators.tracing import trace

for _home in walk_packages(__path__, f"{__name__}."):
    import_module(_home.name)  # Importing a module registers its operators.

__all__ = [
    "REGISTRY",
    "Inference",
    "Leaf",
    "Operator",
    "Symbol",
    "Type",
    "cast",
    "constant",
    "emit",
    "emit_all",
    "infer",
    "integers",
    "lookup",
    "replay",
    "trace",
]
