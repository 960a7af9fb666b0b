"""PyTorch modules to networks and back.

``from_torch`` makes a network of a module, and ``read_torch`` says beside it what the proof found and what could not be
kept. The module is exported by ``torch.export``; ``aten`` has a row for each operator of the exported graph.
"""

from portable_nn.converters.registry import Converter
from portable_nn.converters.torch.importing import from_torch, read_torch

__all__ = ["CONVERTER", "from_torch", "read_torch"]

CONVERTER = Converter(
    title="PyTorch",
    packages=("torch",),
    needs="pip install torch",
    from_object=read_torch,
)
