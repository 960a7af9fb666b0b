"""PyTorch modules to networks and back.

``from_torch`` makes a network of a module, and ``read_torch`` says beside it what the proof found and what could not be
kept. The module is exported by ``torch.export``; ``aten`` has a row for each operator of the exported graph.
``to_torch`` makes an ordinary module of a network, and ``write_torch`` its source: both are one text, which the
modules ``source*`` write, with a row for each operator of this package.
"""

from portable_nn.converters.arrays import ENDINGS
from portable_nn.converters.registry import Converter
from portable_nn.converters.torch.importing import from_torch, read_torch
from portable_nn.converters.torch.module import to_torch, write_torch
from portable_nn.converters.torch.optimizers import (
    checkpoint_to_torch,
    optimizer_from_torch,
    optimizer_to_torch,
    torch_to_checkpoint,
)
from portable_nn.converters.torch.states import import_state, load_state, write_state

__all__ = [
    "checkpoint_to_torch",
    "from_torch",
    "import_state",
    "load_state",
    "optimizer_from_torch",
    "optimizer_to_torch",
    "read_torch",
    "to_torch",
    "torch_to_checkpoint",
    "write_state",
    "write_torch",
]

CONVERTER = Converter(
    title="PyTorch",
    packages=("torch",),
    needs="pip install torch",
    from_object=read_torch,
    to_object=to_torch,
    loads=dict.fromkeys(ENDINGS, import_state),
    writes={".py": write_torch},
    beside={".py": ".safetensors"},
)
