"""Five steps of training here and in Keras, after which all weights must be the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from portable_nn.converters.keras.installed import computing_in, keras, quiet
from portable_nn.converters.keras.side import given, rebuilt
from portable_nn.converters.training import NOTHING, STEPS, Batch, drawn, plain, train_both, trains
from portable_nn.core.errors import VerificationError
from portable_nn.core.tensors import NamedArrays
from portable_nn.network import Network

NetworkOf: TypeAlias = Callable[[Mapping[str, Any], Path | None, str], Network]


def _train(model: Any, feeds: NamedArrays, targets: NamedArrays, outputs: Iterable[str], rate: float) -> None:
    """Steps of gradient descent on the mean squared error of the outputs that have targets; ``outputs`` names all."""
    pairs = [(each, targets[name]) for each, name in zip(model.outputs, outputs, strict=True) if name in targets]
    tensors, wanted = zip(*pairs, strict=True)
    with quiet():
        # Outputs in a list, whatever structure the model gives them, and without masks, which losses would use.
        single = keras().Model(model.inputs, [keras().ops.multiply(tensor, 1) for tensor in tensors])
        losses = [keras().losses.MeanSquaredError(dtype=tensor.dtype) for tensor in tensors]
        single.compile(optimizer=keras().optimizers.SGD(rate), loss=losses, jit_compile=False)
        for _ in range(STEPS):
            single.train_on_batch(given(single, feeds), list(wanted) if len(wanted) > 1 else wanted[0])


def _edited(value: Any, edit: Callable[[str, Any], Any], key: str = "") -> Any:
    """A configuration in which ``edit`` has changed all values that are no lists or dicts, given their keys."""
    if isinstance(value, list):
        return [_edited(each, edit) for each in value]
    if isinstance(value, Mapping):
        return {name: _edited(each, edit, name) for name, each in value.items()}
    return edit(key, value)


def _without_chance(key: str, value: Any) -> Any:
    """An option of a layer that drops nothing and adds no noise."""
    is_chance = key in ("rate", "dropout", "recurrent_dropout", "stddev") and type(value) in (int, float)
    return 0.0 if is_chance else value


def _doubled(_: str, value: Any) -> Any:
    """An option of a layer that computes in float64 where it computed in float32."""
    return "float64" if isinstance(value, str) and value == "float32" else value


def _proved(train: Callable[[str], str]) -> str:
    """Prove a training in float64, or one in float32 where parts of Keras have no float64.

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
    same = _edited(config, _without_chance)
    same = same if dtype == "float32" else _edited(same, _doubled)
    network = network_of(same, weights, dtype)
    if not trains(network):
        return NOTHING

    def side(batch: Batch, rate: float) -> NamedArrays:
        with computing_in(dtype), tempfile.TemporaryDirectory(prefix="portable-nn-") as folder:
            model = rebuilt(same, weights)
            _train(model, *batch, network.graph.outputs, rate)
            path = Path(folder) / "trained.weights.h5"
            with quiet():
                model.save_weights(path)
            return network_of(same, path, dtype).parameters

    return train_both(network, side, drawn(network, seed), "Keras").check()


def prove_training_there(network: Network, made: Callable[[Network], tuple[Any, Mapping[str, str]]], seed: int) -> str:
    """Train five steps a network and the Keras model that it is, and compare all weights and running statistics.

    Args:
        network: the network, which stays as it is.
        made: makes the model of a network, and says by which names it calls the inputs.
        seed: that of examples and targets.

    Returns a sentence on what was found. Raises ``VerificationError``.
    """
    return _proved(lambda dtype: _prove_training_there(network, made, seed, dtype)) if trains(network) else NOTHING


def _prove_training_there(
    network: Network, made: Callable[[Network], tuple[Any, Mapping[str, str]]], seed: int, dtype: str
) -> str:
    ours = plain(network, wide=dtype == "float64")
    with computing_in(dtype):
        model, names = made(ours)

        def arrays(other: Any) -> NamedArrays:
            pairs = zip(model.weights, other.weights, strict=True)
            found = {f"Keras's {mine.path}": keras().ops.convert_to_numpy(each.value) for mine, each in pairs}
            return {name: array for name, array in found.items() if "seed_generator" not in name}

        def side(batch: Batch, rate: float) -> NamedArrays:
            feeds = {names[name]: array for name, array in batch.feeds.items()}
            _train(model, feeds, batch.targets, sorted(network.graph.outputs), rate)
            return arrays(model)

        return train_both(ours, side, drawn(ours, seed), "Keras", seen=lambda found: arrays(made(found)[0])).check()
