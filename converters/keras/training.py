"""Five steps of training here and in Keras, after which all weights must be the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from portable_nn.converters.keras.installed import computing_in, keras, quiet
from portable_nn.converters.keras.side import given, rebuilt
from portable_nn.core.errors import TrainingError, VerificationError
from portable_nn.core.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.samples import rounds
from portable_nn.onnx.verification.conditioning import as_declared, widened
from portable_nn.rewrites.unused import bypassed
from portable_nn.training.optimizers import SGD

STEPS: Final = 5
RATES: Final = (2**-4, 2**-8, 2**-12)
"""The learning rates that are tried until the loss falls: numbers that single precision has exactly."""

NetworkOf: TypeAlias = Callable[[Mapping[str, Any], Path | None, str], Network]
CLOSE: Final[Mapping[str, float]] = {"float32": 1e-5, "float64": 1e-8}
"""How far weights may part in training, absolute and relative to the largest of a tensor, by their type."""


def _examples(network: Network, rng: np.random.Generator) -> dict[str, Array]:
    """Random inputs, of several examples where their number is open."""
    is_open = all(value.shape and value.shape[0] == "batch" for value in network.graph.inputs)
    drawn = [list(rounds(network.graph, rng))[-1] for _ in range(4 if is_open else 1)]
    return {name: np.concatenate([each[name] for each in drawn]) for name in drawn[0]}


def _fitted(
    network: Network, before: Mapping[str, Array], feeds: Mapping[str, Array], targets: Mapping[str, Array]
) -> float:
    """Train the network; the learning rate with which that works."""
    for rate in RATES:
        network.load_weights(before)
        with suppress(TrainingError):
            history = network.fit(
                feeds, targets, loss=dict.fromkeys(targets, "mean_squared_error"), optimizer=SGD(rate), epochs=STEPS,
                batch_size=len(next(iter(feeds.values()))), shuffle=False, progress=False,
            )  # fmt: skip
            if history.rows[-1]["loss"] <= history.rows[0]["loss"]:
                return rate
    raise VerificationError(f"no training can be compared: the loss does not fall, with rates down to {RATES[-1]}")


def _train(model: Any, feeds: Mapping[str, Array], targets: list[Array], rate: float) -> None:
    """Steps of gradient descent on the mean squared error of all outputs."""
    tensors = list(model.outputs)
    with quiet():
        # Outputs in a list, whatever structure the model gives them, and without masks, which losses would use.
        single = keras().Model(model.inputs, [keras().ops.multiply(tensor, 1) for tensor in tensors])
        losses = [keras().losses.MeanSquaredError(dtype=tensor.dtype) for tensor in tensors]
        single.compile(optimizer=keras().optimizers.SGD(rate), loss=losses, jit_compile=False)
        for _ in range(STEPS):
            single.train_on_batch(given(single, feeds), targets if len(targets) > 1 else targets[0])


def _without_chance(value: Any) -> Any:
    """A configuration whose layers drop nothing and add no noise."""
    if isinstance(value, list):
        return [_without_chance(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    random = ("rate", "dropout", "recurrent_dropout", "stddev")
    return {
        key: 0.0 if key in random and type(each) in (int, float) else _without_chance(each)
        for key, each in value.items()
    }


def _doubled(value: Any) -> Any:
    """A configuration that computes in float64 where it computed in float32."""
    if isinstance(value, list):
        return [_doubled(each) for each in value]
    if isinstance(value, Mapping):
        return {key: _doubled(each) for key, each in value.items()}
    return "float64" if isinstance(value, str) and value == "float32" else value


def _proved(train: Callable[[str], str]) -> str:
    """What a training in float64 shows, or one in float32 where parts of Keras have no float64.

    Training multiplies roundings: float32 may part where nothing is wrong, as in deep networks with batch norms.
    """
    try:
        return train("float64")
    except (VerificationError, ValueError, TypeError, RuntimeError, AttributeError, ImportError) as error:
        try:
            return train("float32")
        except VerificationError as other:
            raise (error if isinstance(error, VerificationError) else other) from None


def prove_training_of(config: Mapping[str, Any], weights: Path | None, network_of: NetworkOf, seed: int) -> str:
    """Train five steps on both sides, and compare all weights and running statistics.

    Args:
        config: the configuration, already clean.
        weights: the file of the first weights.
        network_of: makes the network of a configuration, a file of weights and a type of numbers.
        seed: that of examples and targets.

    Returns a sentence on what was found. Raises ``VerificationError``.
    """
    return _proved(lambda dtype: _prove_training_of(config, weights, network_of, seed, dtype))


def _prove_training_of(
    config: Mapping[str, Any], weights: Path | None, network_of: NetworkOf, seed: int, dtype: str
) -> str:
    same = _without_chance(config if dtype == "float32" else _doubled(config))
    network = network_of(same, weights, dtype)
    if not any(value.trainable for value in network.graph.parameters):
        return "no step was trained: nothing is trainable"
    feeds, targets, before, rate = _trained_here(network, seed)
    with computing_in(dtype), tempfile.TemporaryDirectory(prefix="portable-nn-") as folder:
        model = rebuilt(same, weights)
        _train(model, feeds, list(targets.values()), rate)
        trained = Path(folder) / "trained.weights.h5"
        with quiet():
            model.save_weights(trained)
        theirs = network_of(same, trained, dtype)
    pairs = ((f"'{name}'", ours, theirs.parameters[name]) for name, ours in network.parameters.items())
    return _compared(network, before, pairs, dtype)


def _trained_here(
    network: Network, seed: int
) -> tuple[Mapping[str, Array], Mapping[str, Array], Mapping[str, Array], float]:
    """Train the network: the examples, their targets, the weights before, and the learning rate."""
    rng = np.random.default_rng(seed)
    feeds = _examples(network, rng)
    targets = {
        name: (array + rng.standard_normal(array.shape)).astype(array.dtype)
        for name, array in network.compute("numpy", feeds).items()
    }
    before = {name: array.copy() for name, array in network.parameters.items()}
    return feeds, targets, before, _fitted(network, before, feeds, targets)


def _compared(
    network: Network, before: Mapping[str, Array], pairs: Iterable[tuple[str, Array, Array]], dtype: str
) -> str:
    """Compare arrays of both sides, and say how far they are apart. Raises ``VerificationError``."""
    worst, close = 0.0, CLOSE[dtype]
    for name, ours, theirs in pairs:
        apart = float(np.abs(ours - theirs).max(initial=0.0)) / max(1.0, float(np.abs(theirs).max(initial=0.0)))
        worst = max(worst, apart)
        if not apart <= close:
            raise VerificationError(
                f"after {STEPS} steps of training in {dtype} {name} differs by {apart:.3g} between the network and "
                f"Keras's model; {close:g} would be allowed"
            )
    moved = max(float(np.abs(array - before[name]).max(initial=0.0)) for name, array in network.parameters.items())
    return (
        f"{STEPS} steps of training in {dtype} move weights by up to {moved:.2g}, and by the same on both sides to "
        f"{worst:.1e}"
    )


def prove_training_there(network: Network, made: Callable[[Network], tuple[Any, Mapping[str, str]]], seed: int) -> str:
    """Train five steps a network and the Keras model that it is, and compare all weights and running statistics.

    Args:
        network: the network, which stays as it is.
        made: makes the model of a network, and says by which names it calls the inputs.
        seed: that of examples and targets.

    Returns a sentence on what was found. Raises ``VerificationError``.
    """
    if not any(value.trainable for value in network.graph.parameters):
        return "no step was trained: nothing is trainable"
    return _proved(lambda dtype: _prove_training_there(network, made, seed, dtype))


def _prove_training_there(
    network: Network, made: Callable[[Network], tuple[Any, Mapping[str, str]]], seed: int, dtype: str
) -> str:
    ours = _dropping_nothing(network, seed, dtype)
    with computing_in(dtype):
        model, names = made(ours)
        feeds, targets, before, rate = _trained_here(ours, seed)
        given = {names[name]: array for name, array in feeds.items()}
        _train(model, given, [targets[name] for name in sorted(targets)], rate)
        pairs = [
            (f"Keras's '{theirs.path}'", *(keras().ops.convert_to_numpy(each.value) for each in (mine, theirs)))
            for mine, theirs in zip(made(ours)[0].weights, model.weights, strict=True)
            if "seed_generator" not in theirs.path
        ]
    return _compared(ours, before, pairs, dtype)


def _dropping_nothing(network: Network, seed: int, dtype: str) -> Network:
    """A copy of the network in a type of numbers, without dropout, which no two packages draw alike."""
    graph = bypassed(network.graph, {"Dropout"})
    graph = widened(graph) if dtype == "float64" else graph
    return Network.from_graph(
        graph,
        as_declared(graph.parameters, network.parameters.arrays),
        inputs=network.inputs,
        outputs=network.outputs,
        seed=seed,
    )
