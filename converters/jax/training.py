"""Five steps of training here and in JAX: both must end with the same parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.errors import UsageError, VerificationError, listed
from portable_nn.core.text import said
from portable_nn.network import Network
from portable_nn.onnx.meant import meant
from portable_nn.onnx.samples import varied
from portable_nn.operators import FLOATS, Array, infer
from portable_nn.training.fit import fit
from portable_nn.training.optimizers import SGD

STEPS: Final = 5
EXACT: Final = {"float64": 1e-8}
"""How far a parameter may be, relative to its largest number, by its element type; 1e-5 for all others."""


class Trained(NamedTuple):
    """What is trained in JAX.

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


def compare_training(network: Network, side: Trained, *, seed: int = 0) -> tuple[str, ...]:
    """Train a copy of the network and the other side on the same examples by gradient descent on the squared error.

    The targets are random numbers of the size of the outputs, and the learning rate is so small that nothing diverges.

    Returns a note where it could not be done: nothing is trained, or nodes draw random numbers.

    Raises ``VerificationError`` that lists all parameters that differ.
    """
    types, rng = infer(network.graph).types, np.random.default_rng(seed)
    batch = {value.shape[:1] for value in network.graph.inputs}  # An output without examples has no loss of examples.
    outputs = [name for name in network.graph.outputs if types[name].dtype in FLOATS and types[name].shape[:1] in batch]
    if not outputs or not any(value.trainable for value in network.graph.parameters):
        return ("training was not compared: nothing is trained",)
    if any(node.operator == "Dropout" for node in network.graph.nodes):
        return ("training was not compared: Dropout draws other random numbers on both sides",)
    feeds = varied(network.graph, rng, meant(network.graph, network.parameters, network.inputs))[1]
    found = network.compute("numpy", feeds)
    targets = {name: np.asarray(rng.standard_normal(found[name].shape), found[name].dtype) for name in outputs}
    theirs, rate = _trained(side, [feeds[value.name] for value in network.graph.inputs], targets)
    ours, count = copy.copy(network), len(next(iter(feeds.values())))
    options: dict[str, Any] = {"optimizer": SGD(rate), "epochs": STEPS, "batch_size": count, "shuffle": False}
    fit(ours, feeds, targets, loss=dict.fromkeys(outputs, "mean_squared_error"), progress=False, **options)
    faults = []
    for name, array in theirs.items():
        wanted = ours.parameters[name]
        if np.array_equal(array, wanted, equal_nan=True):  # Constants may be infinite, or NaN.
            continue
        apart = np.abs(np.asarray(array) - wanted)
        allowed = EXACT.get(wanted.dtype.name, 1e-5) * max(1.0, float(np.abs(wanted).max(initial=0)))
        if not float(apart.max(initial=0)) <= allowed:
            faults.append(f"'{name}' differs by {apart.max():.3g}; {allowed:.3g} would be allowed")
    if faults:
        raise VerificationError(listed(faults, f"after {STEPS} steps of training here and in JAX"))
    return ()


def _trained(side: Trained, inputs: list[Array], targets: Mapping[str, Array]) -> tuple[Mapping[str, Any], float]:
    """The arrays after the steps, and the learning rate."""
    import jax
    import jax.numpy as jnp

    def loss(params: Any, rest: Any) -> Any:
        outputs, after = side.forward(params, rest, *inputs)
        return sum(jnp.mean((outputs[name] - target) ** 2) for name, target in targets.items()), after

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    params, rest = side.params, side.rest
    try:
        slopes = jax.tree.leaves(step(params, rest)[1])
    except ValueError as error:  # As of a while_loop.
        raise UsageError(f"training cannot be compared, as JAX cannot differentiate the model {said(error)}") from error
    rate = 0.01 / max([1.0, *(float(jnp.abs(each).max()) for each in slopes if each.size)])
    for _ in range(STEPS):
        (_, rest), slope = step(params, rest)
        params = jax.tree.map(lambda old, down: old - rate * down, params, slope)
    return side.arrays(params, rest), rate
