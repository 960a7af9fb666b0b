"""Code bases that run what a network becomes in them, a function each."""

from __future__ import annotations

import runpy
from functools import partial
from typing import Any

from portable_nn.network import load
from portable_nn.runtimes.task import Run, Task, given


def keras(task: Task) -> Run:
    """The model that ``to_keras`` makes, computed by what ``KERAS_BACKEND`` says, or by what is installed."""
    from portable_nn.converters.keras.writing import runner

    return runner(load(task.path))


def jax(task: Task) -> Run:
    """The function that ``to_jax`` makes, compiled, on the processor; in double precision where the network is."""
    import jax

    from portable_nn.converters.jax import to_jax
    from portable_nn.converters.jax.application import runner

    network = load(task.path)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", any(type.dtype == "float64" for type in network.types.values()))
    variables, apply, *_ = to_jax(network, verify=False)
    return runner(network.graph, variables, apply)


def torch(task: Task) -> Run:
    """The module that ``to_torch`` makes, in one thread."""
    import torch

    from portable_nn.converters.torch import to_torch
    from portable_nn.converters.torch.module import theirs_of
    from portable_nn.converters.torch.proof import computed_by

    torch.set_num_threads(1)
    network = load(task.path)
    return partial(computed_by, theirs_of(network, to_torch(network, verify=False)))


def numpy(task: Task) -> Run:
    """The function ``predict`` of the file that ``export --code numpy`` writes."""
    from portable_nn.converters.source import write_numpy

    path = task.folder / "net.py"
    write_numpy(load(task.path), path, verify=False)
    predict = runpy.run_path(str(path))["predict"]

    def run(feeds: Any) -> Any:
        found = predict(*given(task, feeds))
        return found if len(task.outputs) > 1 else [found]

    return run
