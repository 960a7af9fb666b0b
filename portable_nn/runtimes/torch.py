"""PyTorch: the module that ``to_torch`` makes."""

from __future__ import annotations

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """The module, in one thread."""
    import torch

    from portable_nn.converters.torch import to_torch
    from portable_nn.converters.torch.module import runner
    from portable_nn.network import load as load_network

    torch.set_num_threads(1)
    network = load_network(task.path)
    run: Run = runner(network, to_torch(network, verify=False))
    return run
