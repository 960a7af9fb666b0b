"""Keras's layers as this package's: one row for each class of layers, in the module of its family."""

from importlib import import_module
from pkgutil import iter_modules

from portable_nn.converters.keras.spec import LAYERS, OPERATIONS

for _family in iter_modules(__path__, f"{__name__}."):
    import_module(_family.name)  # Importing a family adds its rows.

__all__ = ["LAYERS", "OPERATIONS"]
