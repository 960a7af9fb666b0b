"""The network of T. Rashid's *Make Your Own Neural Network*, 2016, of which version 0 of the weight file is.

``import_book`` and ``read_book`` read the two arrays that its program keeps.
"""

from portable_nn.converters.book.arrays import import_book, read_book

__all__ = ["import_book", "read_book"]
