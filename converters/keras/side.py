"""Keras as the other side of a comparison: its model on the same inputs, and trained in the same steps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from msgspec.structs import replace

from portable_nn.converters.conversion import Side
from portable_nn.converters.keras.installed import keras, quiet
from portable_nn.core.errors import TrainingError, VerificationError
from portable_nn.format.tensors import Array
from portable_nn.network import Network
from portable_nn.onnx.samples import rounds
from portable_nn.training.optimizers import SGD

STEPS: Final = 5
RATES: Final = (2**-4, 2**-8, 2**-12)
"""The learning rates that are tried until the loss falls: numbers that single precision has exactly."""

NetworkOf: TypeAlias = Callable[[Mapping[str, Any], Path | None], Network]
CLOSE: Final = 1e-5
"""How far weights may part in training, absolute and relative to the largest of a tensor."""


def run_model(model: Any, network: Network) -> Side:
    """Runs a Keras model on arrays by the network's input names."""

    def run(feeds: Mapping[str, Array]) -> Mapping[str, Any]:
        with quiet():
            found = model(_given(model, feeds), training=False)
            if isinstance(found, Mapping) and set(found) == set(network.graph.outputs):
                found = [found[name] for name in network.graph.outputs]
            outputs = [keras().ops.convert_to_numpy(each) for each in _flat(found)]
        return dict(zip(network.graph.outputs, outputs, strict=True))

    return run


def _given(model: Any, feeds: Mapping[str, Array]) -> Any:
    """What a model is called with: one array, or several in the structure of its inputs."""
    if len(feeds) == 1:
        return next(iter(feeds.values()))
    struct = getattr(model, "_inputs_struct", None)
    if isinstance(struct, Mapping):
        return {key: feeds[_layer(tensor)] for key, tensor in struct.items()}
    return [feeds[_layer(tensor)] for tensor in model.inputs]


def _layer(tensor: Any) -> str:
    """The name of the layer that makes a tensor of a model."""
    return str(tensor._keras_history.operation.name)


def _flat(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [inner for key in sorted(value) for inner in _flat(value[key])]
    if isinstance(value, list | tuple):
        return [inner for each in value for inner in _flat(each)]
    return [value]


_NOT_NEEDED: Final = ("_initializer", "_regularizer", "_constraint")


def clean(value: Any) -> Any:
    """A configuration that has been checked, without what says how weights begin and how they are trained.

    So nothing is left in it that names an object but layers, models, policies of types, and tensors.
    """
    if isinstance(value, list):
        return [clean(each) for each in value]
    if not isinstance(value, Mapping):
        return value
    left_out = ("compile_config", "shared_object_id", "seed")
    return {
        key: clean(each)
        for key, each in value.items()
        if key not in left_out and not (isinstance(key, str) and key.endswith(_NOT_NEEDED))
    }


def rebuilt(config: Mapping[str, Any], weights: Path | None) -> Any:
    """Keras's model of a configuration that has been checked: only Keras's own layers, and only options of theirs."""
    with quiet():
        made = keras().saving.deserialize_keras_object(clean(config), safe_mode=True)
        if weights is not None:
            made.load_weights(weights)
    return made


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
            single.train_on_batch(_given(single, feeds), targets if len(targets) > 1 else targets[0])


@contextmanager
def hinted(config: Mapping[str, Any]) -> Iterator[None]:
    """Say what is known of a disagreement that ends the block."""
    try:
        yield
    except VerificationError as error:
        if keras().backend.backend() == "torch" and _averages_same(config):
            raise VerificationError(
                f"{error}. Under PyTorch, Keras counts the padding of an average pool with padding='same' where it is "
                "uneven; under JAX and TensorFlow it does not, as here: set KERAS_BACKEND=jax to compare"
            ) from None
        raise


def _averages_same(value: Any) -> bool:
    if isinstance(value, list):
        return any(_averages_same(each) for each in value)
    if not isinstance(value, Mapping):
        return False
    kind, config = value.get("class_name"), value.get("config")
    if isinstance(kind, str) and kind.startswith("AveragePooling") and isinstance(config, Mapping):
        return bool(config.get("padding") == "same")
    return any(_averages_same(each) for each in value.values())


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


def prove_training_of(config: Mapping[str, Any], weights: Path | None, network_of: NetworkOf, seed: int) -> str:
    """Train five steps on both sides, and compare all weights and running statistics.

    Args:
        config: the configuration, already clean.
        weights: the file of the first weights.
        network_of: makes the network of a configuration and a file of weights.
        seed: that of examples and targets.

    Returns a sentence on what was found. Raises ``VerificationError``.
    """
    same = _without_chance(config)
    network = network_of(same, weights)
    if not any(value.trainable for value in network.graph.parameters):
        return "no step was trained: nothing is trainable"
    rng = np.random.default_rng(seed)
    feeds = _examples(network, rng)
    targets = {
        name: (array + rng.standard_normal(array.shape)).astype(array.dtype)
        for name, array in network.compute("numpy", feeds).items()
    }
    before = {name: array.copy() for name, array in network.parameters.items()}
    rate = _fitted(network, before, feeds, targets)
    model = rebuilt(same, weights)
    _train(model, feeds, list(targets.values()), rate)
    with tempfile.TemporaryDirectory(prefix="portable-nn-") as folder:
        trained = Path(folder) / "trained.weights.h5"
        with quiet():
            model.save_weights(trained)
        theirs = network_of(same, trained)
    worst = 0.0
    for name, ours in network.parameters.items():
        other = theirs.parameters[name]
        apart = float(np.abs(ours - other).max(initial=0.0)) / max(1.0, float(np.abs(other).max(initial=0.0)))
        worst = max(worst, apart)
        if not apart <= CLOSE:
            raise VerificationError(
                f"after {STEPS} steps of training '{name}' differs by {apart:.3g} between the network and Keras's "
                f"model; {CLOSE:g} would be allowed"
            )
    moved = max(float(np.abs(array - before[name]).max(initial=0.0)) for name, array in network.parameters.items())
    return f"{STEPS} steps of training move weights by up to {moved:.2g}, and by the same on both sides to {worst:.1e}"


def prove_training_there(network: Network, made: Callable[[Network], tuple[Any, Mapping[str, str]]], seed: int) -> str:
    """Train five steps a network and the Keras model that it is, and compare all weights and running statistics.

    Args:
        network: the network, which stays as it is.
        made: makes the model of a network, and says by which names it calls the inputs.
        seed: that of examples and targets.

    Returns a sentence on what was found. Raises ``VerificationError``.
    """
    ours = _dropping_nothing(network, seed)
    if not any(value.trainable for value in ours.graph.parameters):
        return "no step was trained: nothing is trainable"
    rng = np.random.default_rng(seed)
    feeds = _examples(ours, rng)
    targets = {
        name: (array + rng.standard_normal(array.shape)).astype(array.dtype)
        for name, array in ours.compute("numpy", feeds).items()
    }
    before = {name: array.copy() for name, array in ours.parameters.items()}
    model, names = made(ours)
    rate = _fitted(ours, before, feeds, targets)
    _train(model, {names[name]: array for name, array in feeds.items()}, [targets[n] for n in sorted(targets)], rate)
    worst = 0.0
    for mine, theirs in zip(made(ours)[0].weights, model.weights, strict=True):
        one, other = (keras().ops.convert_to_numpy(each.value) for each in (mine, theirs))
        if "seed_generator" in theirs.path:
            continue
        apart = float(np.abs(one - other).max(initial=0.0)) / max(1.0, float(np.abs(other).max(initial=0.0)))
        worst = max(worst, apart)
        if not apart <= CLOSE:
            raise VerificationError(
                f"after {STEPS} steps of training Keras's '{theirs.path}' differs by {apart:.3g} from that of the "
                f"network; {CLOSE:g} would be allowed"
            )
    moved = max(float(np.abs(array - before[name]).max(initial=0.0)) for name, array in ours.parameters.items())
    return f"{STEPS} steps of training move weights by up to {moved:.2g}, and by the same on both sides to {worst:.1e}"


def _dropping_nothing(network: Network, seed: int) -> Network:
    """A copy of the network without dropout, which no two packages draw alike."""
    nodes = tuple(
        replace(node, operator="Identity", inputs=node.inputs[:1], outputs=node.outputs[:1], attributes={})
        if node.operator == "Dropout"
        else node
        for node in network.graph.nodes
    )
    return Network.from_graph(
        replace(network.graph, nodes=nodes),
        network.parameters.arrays,
        inputs=network.inputs,
        outputs=network.outputs,
        seed=seed,
    )
