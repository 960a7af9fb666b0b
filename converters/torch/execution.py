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
    tied = {key: state[whose] for key, whose in source.tied.items()}
    module.load_state_dict({**counters, **state, **tied}, assign=True)
    for key, whose in source.tied.items():
        _set(module, key, whose)
    for key, array in source.constants.items():
        owner, _, name = key.rpartition(".")
        module.get_submodule(owner).register_buffer(name, tensor(array), persistent=False)
    for name, value in (("source", source.text), ("notes", source.notes)):
        if not hasattr(module, name):  # A layer may have this name.
            setattr(module, name, value)
    return module.eval()


def _set(module: Any, key: str, whose: str) -> None:
    """Let a parameter, or a buffer, be another one as well."""
    (owner, _, name), (other, _, there) = key.rpartition("."), whose.rpartition(".")
    setattr(module.get_submodule(owner), name, getattr(module.get_submodule(other), there))


def tensor(array: Array) -> Any:
    """A tensor of its own memory."""
    import torch

    return torch.from_numpy(np.array(array, order="C"))
