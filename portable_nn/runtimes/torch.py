"""PyTorch: the module that ``to_torch`` makes."""

from __future__ import annotations

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """The module, in one thread."""
    import torch

    from portable_nn.converters.torch import to_torch
    from portable_nn.converters.torch.module import theirs_of
    from portable_nn.converters.torch.proof import computed_by
    from portable_nn.network import load as load_network

    torch.set_num_threads(1)
    network = load_network(task.path)
    run: Run = computed_by(theirs_of(network, to_torch(network, verify=False)))
    return run
