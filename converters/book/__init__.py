"""The network of T. Rashid's *Make Your Own Neural Network*, 2016: its class, and the arrays that its program keeps.

``neuralNetwork`` takes the place of the class in a notebook. ``import_book`` and ``read_book`` read the two arrays,
which are version 0 of the weight file.
"""

from portable_nn.converters.book.arrays import import_book, read_book
from portable_nn.converters.book.notebook import neuralNetwork
from portable_nn.converters.registry import Converter

__all__ = ["import_book", "neuralNetwork", "read_book"]

CONVERTER = Converter(title="the arrays of a book's network", reads={".npy": import_book})
