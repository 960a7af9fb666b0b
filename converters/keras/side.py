"""Keras as the other side of a comparison: its model on the same inputs, and trained in the same steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from portable_nn.converters.keras.installed import keras, quiet
from portable_nn.converters.keras.spec import config_of
from portable_nn.converters.keras.structures import parts
from portable_nn.core.errors import VerificationError
from portable_nn.core.tensors import NamedArrays
from portable_nn.network import Network


def run_model(model: Any, network: Network, feeds: NamedArrays) -> Mapping[str, Any]:
    """The outputs of a Keras model for arrays by the network's input names."""
    with quiet():
        try:
            found = model(given(model, feeds), training=False)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            lines = [line.strip() for line in str(error).replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()]
            raise VerificationError(
                f"Keras cannot run the model with {keras().backend.backend()}, so that nothing is compared: "
                f"{' '.join(filter(None, lines[:3]))} (verify=False takes it over all the same)"
            ) from error
        if isinstance(found, Mapping) and set(found) == set(network.graph.outputs):
            found = [found[name] for name in network.graph.outputs]
        outputs = [keras().ops.convert_to_numpy(each) for each in _flat(found)]
    return dict(zip(network.graph.outputs, outputs, strict=True))


def given(model: Any, feeds: NamedArrays) -> Any:
    """The arguments that a model is called with: one array, or several in the structure of its inputs."""
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
    if isinstance(value, Mapping) and str(value.get("class_name")).startswith("AveragePooling"):
        return bool(config_of(value).get("padding") == "same")
    return any(map(_averages_same, parts(value)))
