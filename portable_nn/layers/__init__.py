"""Layers: builders that add nodes and the parameters they need to a graph.

A layer is called on a symbol and returns a symbol. Called twice, it uses the same parameters twice. To add one, write
it in the module of its family and add its name to that module's ``__all__``: from there it gets into ``portable_nn``.

Every layer takes ``name``, the name of its node and the prefix of its parameters' names (``hidden`` and
``hidden.weight``); by default they are numbered: ``dense_1``, ``dense_2``.
"""

from typing import TYPE_CHECKING

from portable_nn.layers.activation import *
from portable_nn.layers.attention import *
from portable_nn.layers.convolution import *
from portable_nn.layers.dense import *
from portable_nn.layers.dropout import *
from portable_nn.layers.layer import *
from portable_nn.layers.normalization import *
from portable_nn.layers.pooling import *
from portable_nn.layers.pytorch import COUNTERPARTS, explained
from portable_nn.layers.recurrent import *
from portable_nn.layers.resizing import *
from portable_nn.layers.scaling import *
from portable_nn.layers.shape import *
from portable_nn.layers.tables import *

if not TYPE_CHECKING:  # A type checker takes what comes with a star for public; it could not follow this sum.
    _FAMILIES = """
        activation attention convolution dense dropout layer normalization pooling recurrent resizing scaling shape
        tables
    """
    __all__ = sorted(name for family in _FAMILIES.split() for name in globals()[family].__all__)
    globals().update(
        {name: explained(name, globals()[name]) for name in {row.builder for row in COUNTERPARTS.values()}}
    )
