"""JAX: the function that ``to_jax`` makes, compiled."""

from __future__ import annotations

from portable_nn.runtimes.task import Run, Task


def load(task: Task) -> Run:
    """The function on the processor; in double precision where the network is."""
    import jax

    from portable_nn.converters.jax import to_jax
    from portable_nn.converters.jax.application import runner
    from portable_nn.network import load as load_network

    network = load_network(task.path)
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", any(type.dtype == "float64" for type in network.types.values()))
    variables, apply, *_ = to_jax(network, verify=False)
    return runner(network.graph, variables, apply)
