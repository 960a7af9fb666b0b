"""The proof by training: a network and its counterpart take the same steps, and must end with the same weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.errors import PortableNNWarning, UsageError, VerificationError, listed
from portable_nn.core.tolerances import TRAINED
from portable_nn.network import Network
from portable_nn.onnx.samples import meant, redrawn, varied
from portable_nn.onnx.verification.differences import largest_gap, magnitude
from portable_nn.onnx.wide import widened
from portable_nn.operators import FLOATS, NamedArrays
from portable_nn.rewrites.unused import bypassed
from portable_nn.training.optimizers import SGD

STEPS: Final = 5
"""The steps of gradient descent that are compared."""

RATE: Final = 0.01
"""The most that the first step moves a weight, and the largest learning rate."""

BATCH: Final = 8
"""The number of examples, where it is open."""

NOTHING: Final = "training was not compared: nothing is trained"

TrainedSide: TypeAlias = Callable[["Batch", float], Mapping[str, Any]]
"""Trains the other side on a batch by ``STEPS`` steps of plain SGD with a learning rate, and gives its weights by name.

Its loss is that of the network, without dropout: the mean squared error of each output with targets, unless said."""


class Batch(NamedTuple):
    """The examples of every step, by input, and the targets, by output."""

    feeds: NamedArrays
    targets: NamedArrays


class Apart(NamedTuple):
    """The difference of both sides after the steps.

    Attributes:
        largest: how far each tensor is apart, relative to its largest magnitude or to 1.
        moved: the most that a weight of the network changed.
        far: texts on those that are farther apart than they may be.
        where: what was compared, such as ``training in float64 here and in JAX``.
    """

    largest: Mapping[str, float]
    moved: float
    far: tuple[str, ...]
    where: str

    def check(self, *more: str) -> str:
        """Say what is proved, in a sentence. Raises ``VerificationError`` that lists the tensors too far apart."""
        if self.far:
            raise VerificationError(listed([*self.far, *more], f"after {STEPS} steps of {self.where}"))
        return (
            f"training proved: after {STEPS} steps of {self.where}, which move weights by up to {self.moved:.2g}, "
            f"{len(self.largest)} parameters differ by at most {max(self.largest.values(), default=0.0):.1e}"
        )


def trains(network: Network) -> bool:
    """True if a network has a weight that is trained."""
    return any(value.trainable for value in network.graph.parameters)


def plain(network: Network, *, wide: bool = False) -> Network:
    """A copy that drops nothing, as the random numbers of two code bases are others; in float64, if ``wide``."""
    graph = bypassed(network.graph, {"Dropout"})
    return Network.from_graph(
        widened(graph) if wide else graph,
        network.parameters.arrays,
        inputs=network.inputs,
        metadata=network.metadata,
        seed=0,
    )


def drawn(network: Network, seed: int, admit: Callable[[NamedArrays], NamedArrays] = dict) -> Batch:
    """Noise, and random numbers for each output of floats that has the batch first.

    A batch has more examples than a proof of outputs has, as roundings grow where batches are small. ``admit`` turns
    inputs into inputs that the other side takes, where it takes fewer than the network.
    """
    graph, made_for = network.graph, meant(network.graph, network.parameters, network.inputs)
    rng = np.random.default_rng(seed)
    found = varied(graph, rng, made_for)[1]
    batch = {dim for dim in graph.inputs[0].shape[:1] if isinstance(dim, str)}
    wide = {
        value.name: np.empty(
            [BATCH if dim in batch else size for dim, size in zip(value.shape, found[value.name].shape, strict=True)],
            value.dtype,
        )
        for value in graph.inputs
    }
    feeds = admit(redrawn(graph, wide, rng, made_for)[0])
    size = len(next(iter(feeds.values())))
    targets = {
        name: np.asarray(rng.standard_normal(result.shape), result.dtype)
        for name, result in network.compute("numpy", feeds).items()
        if result.dtype.name in FLOATS and result.shape[:1] == (size,) and result.size
    }
    return Batch(feeds, targets)


def train_both(
    network: Network,
    side: TrainedSide,
    batch: Batch,
    what: str,
    *,
    loss: str = "mean_squared_error",
    seen: Callable[[Network], Mapping[str, Any]] = lambda network: network.parameters,
) -> Apart:
    """Train the network, which drops nothing, and the other side on the same batch, and compare all weights.

    Args:
        network: the network, whose weights change.
        side: the other side.
        batch: what both are trained on.
        what: the name of the other side in messages.
        loss: that of each output with targets.
        seen: the network's weights by the names, and in the layouts, in which the other side gives its own.
    """
    if not batch.targets:
        raise UsageError("training cannot be compared: no output of floats has the batch first, and any numbers")
    rate, before = rate_of(network, batch, loss), {name: array.copy() for name, array in network.parameters.items()}
    theirs = side(batch, rate)
    _fit(network, batch, loss, rate, STEPS)
    largest, far = dict[str, float](), list[str]()
    for name, array in seen(network).items():
        if name not in theirs:
            continue
        scale = max(1.0, magnitude(np.asarray(array)))
        apart = largest_gap(array, np.asarray(theirs[name]))
        largest[name], allowed = apart / scale, TRAINED.get(array.dtype.name, 0.0) * scale
        if not apart <= allowed:
            far.append(f"'{name}' differs by {apart:.3g}; {allowed:.3g} would be allowed")
    dtype = max(value.dtype for value in network.graph.parameters if value.trainable)
    return Apart(largest, _moved(network, before), tuple(far), f"training in {dtype} here and in {what}")


def rate_of(network: Network, batch: Batch, loss: str = "mean_squared_error") -> float:
    """A learning rate with which nothing diverges: a power of two, which single precision has exactly."""
    before = {name: array.copy() for name, array in network.parameters.items()}
    _fit(network, batch, loss, 1.0, 1)
    moved = _moved(network, before)
    network.load_weights(before)
    return 2.0 ** math.floor(math.log2(RATE / max(1.0, moved)))


def _fit(network: Network, batch: Batch, loss: str, rate: float, steps: int) -> None:
    size = len(next(iter(batch.feeds.values())))
    options: dict[str, Any] = {"batch_size": size, "shuffle": False, "progress": False, "epochs": steps}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PortableNNWarning)
        network.fit(*batch, loss=dict.fromkeys(batch.targets, loss), optimizer=SGD(rate), **options)


def _moved(network: Network, before: NamedArrays) -> float:
    """The most that training has changed a weight."""
    trained = [value.name for value in network.graph.parameters if value.trainable]
    apart = [float(np.abs(network.parameters[name] - before[name]).max(initial=0)) for name in trained]
    return max(filter(math.isfinite, apart), default=0.0)
