"""The proof of a conversion: a module and a network on the same inputs, and trained for some steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.converters.conversion import compare_sides
from portable_nn.converters.torch.examples import examples, without_dropout
from portable_nn.converters.torch.program import kept, mode, quiet
from portable_nn.converters.torch.training import STEPS, trained
from portable_nn.core.errors import PortableNNWarning, UsageError, VerificationError, listed
from portable_nn.core.text import said
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance, difference
from portable_nn.operators import FLOATS, Array
from portable_nn.training.losses.numbers import MeanSquaredError
from portable_nn.training.optimizers import SGD

TOLERANCES: Final[Mapping[str, float]] = {"float16": 1e-2, "float32": 1e-5, "float64": 1e-8}
"""The largest difference of a parameter after the steps, relative to its largest magnitude or to 1."""

Call: TypeAlias = Callable[[Any, Mapping[str, Array]], Mapping[str, Any]]
"""The call of a module with arrays by the names of a network's inputs: tensors by the names of its outputs."""


def _as_they_are(state: Mapping[str, Array]) -> Mapping[str, Array]:
    return state


@dataclass(frozen=True)
class Theirs:
    """The module that a network is compared with.

    Attributes:
        module: the module.
        call: how it is called.
        parameters: makes parameters of the network of the arrays of a state dict.
        to_train: the module to train, where dropout is part of the code that was written for it.
        admit: makes of drawn inputs such as the module takes, where it takes less than the network.
    """

    module: Any
    call: Call
    parameters: Callable[[Mapping[str, Array]], Mapping[str, Array]] = _as_they_are
    to_train: Callable[[], Any] | None = None
    admit: Callable[[Mapping[str, Array]], Mapping[str, Array]] = _as_they_are


class Apart(NamedTuple):
    """The comparison of five steps of training on both sides.

    Attributes:
        largest: how far each parameter is apart, relative to its largest magnitude or to 1.
        moved: the most that a parameter changed.
        far: texts on those that are farther apart than they may be.
    """

    largest: Mapping[str, float]
    moved: float
    far: tuple[str, ...]


def compare_with_module(theirs: Theirs, network: Network, tolerance: Tolerance, seed: int) -> Proof:
    """The largest differences of the outputs; the module runs in evaluation mode."""
    return compare_sides(network, computed_by(theirs), "the module", tolerance=tolerance, seed=seed, admit=theirs.admit)


def computed_by(theirs: Theirs) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """The outputs of the module in evaluation mode, as arrays."""
    import torch

    def run(feeds: Mapping[str, Array]) -> dict[str, Any]:
        with quiet(), mode(theirs.module, training=False), torch.no_grad(), kept(theirs.module):
            return {name: each.detach().cpu().numpy() for name, each in theirs.call(theirs.module, feeds).items()}

    return run


def compare_training(
    network: Network, theirs: Theirs, in_float64: Callable[[], tuple[Network, Theirs]], seed: int
) -> str:
    """Train copies of both sides with plain SGD on the same examples, without dropout, and compare all parameters.

    The loss is the mean squared error of each output of floats from random numbers. Where parameters in float32 are too
    far apart, roundings may be why: both sides are trained in float64 as well, and must agree to 1e-8.

    Returns a note that says so. Raises ``VerificationError`` that lists the parameters that differ.
    """
    if not any(value.trainable for value in network.graph.parameters):
        return "training was not compared: nothing is trained"
    found = train_both(network, theirs, seed)
    text = f"after {STEPS} steps of training here and there, {len(found.largest)} parameters differ by at most"
    if not found.far:
        return f"{text} {max(found.largest.values(), default=0.0):.1e}"
    heading = f"after {STEPS} steps of training both sides differ"
    if any(array.dtype == np.float64 for array in network.parameters.values()):
        raise VerificationError(listed(found.far, heading))
    exact = train_both(*in_float64(), seed)
    if exact.far:
        raise VerificationError(listed([*found.far, *(f"in float64 {each}" for each in exact.far)], heading))
    return (
        f"{text} {max(exact.largest.values(), default=0.0):.1e} in float64; in float32 {len(found.far)} of them are "
        f"more than 1e-5 apart, up to {max(found.largest.values()):.1e}: roundings grow in training"
    )


def drawn(
    network: Network, seed: int, admit: Callable[[Mapping[str, Array]], Mapping[str, Array]] = _as_they_are
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The examples that both sides are trained on, by input, and the numbers that outputs shall be, by output."""
    rng = np.random.default_rng(seed)
    feeds = dict(admit(examples(network, rng)))
    results = network.compute("numpy", feeds)
    size = len(next(iter(feeds.values())))
    targets = {
        name: np.asarray(rng.standard_normal(result.shape), result.dtype)
        for name, result in results.items()
        if result.dtype.name in FLOATS and result.shape[:1] == (size,) and result.size
    }
    if not targets:
        raise UsageError("training cannot be compared: no output of floats has the batch first, and any numbers")
    return feeds, targets


def train_both(network: Network, theirs: Theirs, seed: int) -> Apart:
    """The difference of each parameter after the steps, on drawn examples."""
    ours = without_dropout(network)
    feeds, targets = drawn(ours, seed, theirs.admit)
    size = len(next(iter(feeds.values())))
    module = theirs.to_train() if theirs.to_train else theirs.module
    try:
        state, rate = trained(module, theirs.call, feeds, targets)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"training cannot be compared, as PyTorch cannot train the module {said(error)}") from error
    begun = {name: array.copy() for name, array in ours.parameters.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PortableNNWarning)
        losses = dict.fromkeys(targets, MeanSquaredError())
        options: dict[str, Any] = {"optimizer": SGD(rate), "batch_size": size, "shuffle": False, "progress": False}
        ours.fit(feeds, targets, loss=losses, epochs=STEPS, **options)
    there = theirs.parameters(state)
    largest, moved, far = dict[str, float](), 0.0, list[str]()
    for name, array in ours.parameters.items():
        if name not in there or array.dtype.name not in FLOATS:
            continue
        apart, scale = abs(difference(array, there[name]).max_abs_error), max(1.0, float(np.abs(array).max(initial=0)))
        largest[name] = apart / scale
        moved = max(moved, float(np.abs(array - begun[name]).max(initial=0)))
        allowed = TOLERANCES[array.dtype.name] * scale
        if not apart <= allowed:
            far.append(f"'{name}' differs by {apart:.3g}, where {allowed:.3g} is allowed")
    return Apart(largest, moved, tuple(far))
