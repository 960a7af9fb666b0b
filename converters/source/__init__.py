"""Networks as source code: a readable module of numpy, and a file of C99."""

from portable_nn.converters.registry import Converter
from portable_nn.converters.source.c_file import write_c
from portable_nn.converters.source.numpy_module import write_numpy

__all__ = ["write_c", "write_numpy"]

NUMPY = Converter(title="modules of numpy", writes={".py": write_numpy}, beside={".py": ".npz"})
C = Converter(title="C", writes={".c": write_c})
