"""The proof by training, with a model or a function of JAX as the other side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from portable_nn.converters.training import NOTHING, STEPS, Batch, drawn, plain, train_both, trains
from portable_nn.core.errors import UsageError
from portable_nn.core.text import said
from portable_nn.network import Network


class Trained(NamedTuple):
    """The model or function that is trained in JAX.

    Attributes:
        params: the tree that is trained.
        rest: a tree that the steps carry on, such as running statistics.
        forward: ``(params, rest, *inputs)`` to the outputs by name and the new rest.
        arrays: from both trees to arrays by the names of the parameters of the network, and as they are there.
    """

    params: Any
    rest: Any
    forward: Callable[..., tuple[Mapping[str, Any], Any]]
    arrays: Callable[[Any, Any], Mapping[str, Any]]

    def side(self, inputs: list[str], batch: Batch, rate: float) -> Mapping[str, Any]:
        """The arrays after the steps."""
        import jax
        import jax.numpy as jnp

        def loss(params: Any, rest: Any) -> Any:
            outputs, after = self.forward(params, rest, *(batch.feeds[name] for name in inputs))
            return sum(jnp.mean((outputs[name] - target) ** 2) for name, target in batch.targets.items()), after

        step = jax.jit(jax.value_and_grad(loss, has_aux=True))
        params, rest = self.params, self.rest
        for _ in range(STEPS):
            try:
                (_, rest), slopes = step(params, rest)
            except ValueError as error:  # As of a while_loop.
                raise UsageError(
                    f"training cannot be compared, as JAX cannot differentiate the model {said(error)}"
                ) from error
            params = jax.tree.map(lambda old, slope: old - rate * slope, params, slopes)
        return self.arrays(params, rest)


def compare_training(network: Network, side: Trained, *, seed: int = 0) -> tuple[str, ...]:
    """Train a copy of the network and the other side on the same examples by gradient descent on the squared error.

    Returns a note where it could not be done: nothing is trained, or nodes draw random numbers.

    Raises ``VerificationError`` that lists all parameters that differ.
    """
    if not trains(network) or not (batch := drawn(network, seed)).targets:
        return (NOTHING,)
    if any(node.operator == "Dropout" for node in network.graph.nodes):
        return ("training was not compared: Dropout draws other random numbers on both sides",)
    inputs = [value.name for value in network.graph.inputs]
    train_both(plain(network), partial(side.side, inputs), batch, "JAX").check()
    return ()
