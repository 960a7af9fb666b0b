"""Networks as source code: a readable module of numpy, and a file of C99."""

from portable_nn.converters.source.numpy_module import write_numpy

__all__ = ["write_numpy"]
