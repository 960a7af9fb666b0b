"""Modules from the source that is written for them."""

from __future__ import annotations

import itertools
import linecache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from portable_nn.network import Network
from portable_nn.operators import Array

if TYPE_CHECKING:
    from portable_nn.converters.torch.source import Source

_NUMBERS: Final = itertools.count(1)


def executed(source: Source, network: Network) -> Any:
    """The module that a source makes, with the weights of the network, in evaluation mode."""
    import torch

    name = f"<portable-nn network {next(_NUMBERS)}>"
    linecache.cache[name] = (len(source.text), None, source.text.splitlines(keepends=True), name)
    space: dict[str, Any] = {"__name__": "portable_nn_network"}
    exec(compile(source.text, name, "exec"), space)
    with torch.device("meta"):
        module = space["Network"]()
    state = {key: tensor(array) for key, array in source.state(network.parameters.arrays).items()}
    counters = {
        key: torch.zeros((), dtype=torch.long) for key in module.state_dict() if key.endswith("num_batches_tracked")
    }
    module.load_state_dict({**counters, **state}, assign=True)
    for key, array in source.constants.items():
        module.register_buffer(key, tensor(array), persistent=False)
    module.source, module.notes = source.text, source.notes
    return module.eval()


def tensor(array: Array) -> Any:
    """A tensor of its own memory."""
    import torch

    return torch.from_numpy(np.array(array, order="C"))
