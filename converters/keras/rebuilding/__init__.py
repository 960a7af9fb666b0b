"""A network's graph as Keras layers: one row for each operator that has a layer, or an operation of ``keras.ops``.

Each module has the rows of a family of operators; ``rebuilder`` walks through the graph.
"""

from importlib import import_module
from pkgutil import iter_modules

from portable_nn.converters.keras.rebuilding.groups import grouped
from portable_nn.converters.keras.rebuilding.rebuilder import ROWS, Rebuilder
from portable_nn.converters.keras.rebuilding.spatial import form_of

for _family in iter_modules(__path__, f"{__name__}."):
    import_module(_family.name)  # Importing a family adds its rows.

__all__ = ["ROWS", "Rebuilder", "form_of", "grouped"]
