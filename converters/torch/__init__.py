"""PyTorch modules to networks and back.

``from_torch`` makes a network of a module, and ``read_torch`` says beside it what the proof found and what could not be
kept. The module is exported by ``torch.export``; ``aten`` has a row for each operator of the exported graph.
``to_torch`` makes an ordinary module of a network, and ``write_source`` its source: both are one text, which the
modules ``source*`` write, with a row for each operator of this package.
"""

from portable_nn.converters.registry import Converter
from portable_nn.converters.torch.importing import from_torch, read_torch
from portable_nn.converters.torch.module import to_torch, write_source

__all__ = ["CONVERTER", "from_torch", "read_torch", "to_torch", "write_source"]

CONVERTER = Converter(
    title="PyTorch",
    packages=("torch",),
    needs="pip install torch",
    from_object=read_torch,
    to_object=to_torch,
    writes={".py": write_source},
    beside={".py": ".safetensors"},
)
