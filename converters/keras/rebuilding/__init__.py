"""A network's graph as Keras layers: one row for each operator that has a layer, or an operation of ``keras.ops``.

Each module has the rows of a family of operators; ``rebuilder`` walks through the graph.
"""

from typing import Final

from portable_nn.converters.keras.rebuilding import (
    elementwise,
    layout,
    linear,
    normalization,
    recurrent,
    spatial,
)
from portable_nn.converters.keras.rebuilding.groups import grouped
from portable_nn.converters.keras.rebuilding.rebuilder import Rebuilder, Row
from portable_nn.converters.keras.rebuilding.spatial import form_of

__all__ = ["ROWS", "Rebuilder", "form_of", "grouped"]

ROWS: Final[dict[str, Row]] = {
    **linear.ROWS,
    **spatial.ROWS,
    **normalization.ROWS,
    **elementwise.ROWS,
    **layout.ROWS,
    **recurrent.ROWS,
}
