"""Keras: the model that ``to_keras`` makes, computed by what ``KERAS_BACKEND`` says, or by what is installed."""

from __future__ import annotations

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """The model of layers."""
    from portable_nn.converters.keras.writing import runner
    from portable_nn.network import load as load_network

    return runner(load_network(task.path))
