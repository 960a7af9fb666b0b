"""A row for each ATen operator: what makes this package's nodes of it. To add an operator, add a row to its family."""

from importlib import import_module
from pkgutil import iter_modules

from portable_nn.converters.torch.aten.rows import ROWS, Size, Use, row_of

for _family in iter_modules(__path__, f"{__name__}."):
    import_module(_family.name)  # Importing a family adds its rows.

__all__ = ["ROWS", "Size", "Use", "row_of"]
