"""Keras: models and their ``.keras`` files as networks, and networks as Keras models."""

from functools import partial
from typing import Any

from portable_nn.converters.conversion import Imported
from portable_nn.converters.keras.reading import from_keras, imported, read_keras
from portable_nn.converters.keras.weights_file import read_keras_weights
from portable_nn.converters.keras.writing import to_keras, write_keras
from portable_nn.converters.registry import Converter

__all__ = ["from_keras", "read_keras", "read_keras_weights", "to_keras", "write_keras"]


def _from_object(model: Any, **options: Any) -> Imported:
    return imported(model, **options)


CONVERTER = Converter(
    title="Keras",
    packages=("keras",),
    needs="pip install keras",
    from_object=_from_object,
    to_object=to_keras,
    reads={".keras": partial(read_keras, training="evaluation"), ".weights.h5": read_keras_weights},
    loads={".weights.h5": read_keras_weights},
    writes={".keras": write_keras},
)
