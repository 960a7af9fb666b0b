"""A network's graph as Keras layers: one row for each operator that has a layer, or an operation of ``keras.ops``.

Each module has the rows of a family of operators; ``rebuilder`` walks through the graph.
"""

from typing import Final

from portable_nn.converters.keras.rebuilding import (
    attention,
    elementwise,
    functions,
    layout,
    linear,
    normalization,
    recurrent,
    spatial,
)
from portable_nn.converters.keras.rebuilding.forms import form_of
from portable_nn.converters.keras.rebuilding.groups import grouped
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row

__all__ = ["ROWS", "Rebuilder", "form_of", "grouped"]

ROWS: Final[dict[str, Row]] = {
    **attention.ROWS,
    **linear.ROWS,
    **spatial.ROWS,
    **normalization.ROWS,
    **elementwise.ROWS,
    **functions.ROWS,
    **layout.ROWS,
    **recurrent.ROWS,
}
