"""The Jacobian of the game of two networks at their current weights, and its eigenvalues.

F is the gradient of the generator's loss with respect to its weights, followed by that of the discriminator's loss with
respect to its own; J is its Jacobian. Simultaneous gradient descent is z ← z - η·F(z); near an equilibrium it
multiplies the component along each eigenvector of J by 1 - ηλ. Eigenvalues with a positive real part are stable, with a
negative one unstable; an imaginary part is a rotation. Mescheder et al. (arXiv:1801.04406) have the opposite signs:
their vector field is -F.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.adversarial.gan.batches import taken
from portable_nn.adversarial.gan.graph import MIX, PENALTY, R1, ROLES, GanGraph
from portable_nn.adversarial.gan.objectives import find_gan_loss
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.engines.plan import Plan
from portable_nn.network import Network
from portable_nn.onnx.wide import widened
from portable_nn.operators import Array, Leaf, Symbol, constant, emit
from portable_nn.operators.differentiation import gradients

DIRECTION: Final = "direction/"
MOST: Final = 3000
"""The largest number of weights for a dense Jacobian: 72 MB, and about ten seconds for its eigenvalues."""


class GameJacobian:
    """F and J of a pair at one batch, in float64, exact: each row of J is a second pass backwards through the graph.

    Args:
        generator, discriminator: the networks; their current weights are read at each call.
        batch: ``(real, noise)``: arrays (n, …), or dicts by the networks' input names, with conditions in ``real``.
        loss, r1, penalty, conditions: as in ``train_gan``, ``r1`` and ``penalty`` numbers.

    Raises ``ShapeError`` or ``UsageError`` where these do not fit, or there are more than ``MOST`` weights.
    """

    def __init__(
        self,
        generator: Network,
        discriminator: Network,
        batch: tuple[Any, Any],
        *,
        loss: str = "non_saturating",
        r1: float | None = None,
        penalty: float = 10.0,
        conditions: Sequence[str] = (),
    ) -> None:
        found, self._networks = find_gan_loss(loss), (generator, discriminator)
        pair = GanGraph(
            widened(generator.graph),
            widened(discriminator.graph),
            found,
            conditions=conditions,
            r1=r1 is not None,
            penalty=found.penalised,
            training=False,
        )
        field = {weight: flow for role in ROLES for weight, flow in pair.flows(role).items()}
        self.size = sum(math.prod(map(int, weight.shape)) for weight in field)
        if self.size > MOST:
            raise UsageError(
                f"a dense Jacobian is for up to {MOST:,} weights, and these two networks have {self.size:,}"
            )
        self._arrays = {
            str(leaf.name): np.zeros([int(dim) for dim in leaf.shape], leaf.dtype)
            for role in ROLES
            for leaf in pair.parameters[role].values()
        }
        self._plan, self._field, self._rows = self._compile(pair, field, _count(batch))
        self._directions = [self._plan.inputs[f"{DIRECTION}{weight.name}"] for weight in field]
        self._fill(pair, batch)
        self.penalise(r1=r1 or 0.0, penalty=penalty)

    def _compile(self, pair: GanGraph, field: dict[Leaf, Symbol], count: int) -> tuple[Plan, list[Array], list[Array]]:
        directions = [Leaf(f"{DIRECTION}{weight.name}", weight.dtype, weight.shape) for weight in field]
        terms = [flow * to for flow, to in zip(field.values(), directions, strict=True)]
        first, *others = (emit("ReduceSum", term, keepdims=0) for term in terms)
        total = sum(others, first)
        rows = gradients([total], [constant(1, total.dtype)], [*field])
        outputs = [*field.values(), *(row for row in rows if row is not None)]
        traced, shapes = pair.traced(outputs, directions, count, "Jacobian of a pair")
        plan = Plan(traced.graph, shapes, self._arrays)
        zeros = [np.zeros([int(dim) for dim in weight.shape]) for weight in field]
        return (
            plan,
            [plan.outputs[traced.names[flow]] for flow in field.values()],
            [zero if row is None else plan.outputs[traced.names[row]] for zero, row in zip(zeros, rows, strict=True)],
        )

    def _fill(self, pair: GanGraph, batch: tuple[Any, Any]) -> None:
        inputs = self._plan.inputs
        given = [(batch[0], {**pair.real, **pair.conditions}, "the real examples"), (batch[1], pair.noise, "the noise")]
        for source, wanted, what in given:
            arrays = taken(source, wanted, what)
            for name, leaf in wanted.items():
                if leaf.name in inputs:
                    inputs[leaf.name][...] = arrays[name]
        if MIX in inputs:
            inputs[MIX][...] = np.random.default_rng(0).random(inputs[MIX].shape)

    def penalise(self, *, r1: float, penalty: float) -> None:
        """Set the weights of the penalties of the loss."""
        for name, value in ((R1, r1), (PENALTY, penalty)):
            if name in self._plan.inputs:
                self._plan.inputs[name][()] = value

    def _read(self) -> None:
        for role, network in zip(ROLES, self._networks, strict=True):
            for name, array in network.parameters.items():
                self._arrays[f"{role}/{name}"][...] = array

    def field(self) -> NDArray[np.float64]:
        """F, (n,): both gradients, weight by weight."""
        self._read()
        self._plan.run()
        return np.concatenate([flow.ravel() for flow in self._field])

    def __call__(self) -> NDArray[np.float64]:
        """J, (n, n): row i is the gradient of F's element i."""
        self._read()
        result = np.empty((self.size, self.size))
        place = 0
        for direction in self._directions:
            flat = direction.reshape(-1)
            for index in range(flat.size):
                flat[index] = 1
                self._plan.run()
                result[place] = np.concatenate([row.ravel() for row in self._rows])
                flat[index] = 0
                place += 1
        return result

    def eigenvalues(self) -> NDArray[np.complex128]:
        """The eigenvalues of J, (n,), by falling modulus of the imaginary part, then by the real part."""
        found = np.linalg.eigvals(self()).astype(np.complex128)
        return found[np.lexsort((found.imag, found.real, -np.abs(found.imag)))]


def _count(batch: tuple[Any, Any]) -> int:
    """The number of examples, the same for real ones and noise."""
    if not isinstance(batch, tuple) or len(batch) != 2:
        raise UsageError("batch must be a pair (real examples, noise)")
    parts = [list(part.values()) if isinstance(part, Mapping) else [part] for part in batch]
    counts = {len(array) for part in parts for array in part}
    if len(counts) != 1 or not next(iter(counts)):
        raise ShapeError(f"real examples and noise must be equally many, at least 1, not {sorted(counts)}")
    return int(next(iter(counts)))
