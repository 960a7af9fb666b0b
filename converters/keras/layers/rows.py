"""The tables of layers and operations of Keras: a row stands above its function, in the module of its family."""

from typing import Final

from portable_nn.converters.rows import Rows

LAYERS: Final = Rows()
"""The function that makes each layer, by the name of its class: ``(layer, tensor, …) → tensor or tensors``."""

OPERATIONS: Final = Rows()
"""The function that makes each operation of ``keras.ops``, by the name of its class: ``(operation, argument, …) →
tensor``."""
