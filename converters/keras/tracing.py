"""Layers of one's own in a live model as the layers and operations that their ``call`` makes of symbolic tensors.

Files hold no code, and nothing of this is done for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from portable_nn.converters.keras.installed import keras, quiet
from portable_nn.core.errors import UnsupportedError, UsageError

DEEPEST: Final = 20
"""The depth to which layers of one's own may be nested."""


def traced(model: Any) -> Any:
    """The same model without layers of one's own: a functional one of the very layers, and of operations.

    Raises ``UsageError`` for a subclass of ``keras.Model`` that has no inputs, and ``UnsupportedError`` where a
    ``call`` does not work on symbolic tensors.
    """
    is_kerass = type(model).__module__.partition(".")[0] == "keras"
    if is_kerass and not _has_own(model):
        return model
    if not is_kerass and not hasattr(model, "operations"):
        raise UsageError(
            f"the model '{model.name}' ({type(model).__name__}) is a class of its own, which does not say what it "
            "takes: give keras.Model(x, model(x)) with x = keras.Input(shape)"
        )
    functional = keras().Model(_structure(model, "inputs"), _structure(model, "outputs"), name=model.name)
    for _ in range(DEEPEST):
        if not _has_own(functional):
            return functional
        rows = dict[int, Any]()

        def called(layer: Any, *args: Any, rows: dict[int, Any] = rows, **kwargs: Any) -> Any:
            if not _is_own(layer):
                return layer(*args, **kwargs)
            with _tensors_for_weights(layer, (args, kwargs), rows):
                return _called(layer, model, args, kwargs)

        with quiet():
            functional = keras().models.clone_model(functional, clone_function=_same, call_function=called)
    raise UnsupportedError(
        f"the model '{model.name}'", f"layers of its own stand in each other more than {DEEPEST} deep"
    )


def _structure(model: Any, what: str) -> Any:
    """Inputs or outputs as the model was given them, such as a dict."""
    found = getattr(model, f"_{what}_struct", None)
    return getattr(model, what) if found is None else found


def _same(layer: Any) -> Any:
    return layer


def _is_own(layer: Any) -> bool:
    """True if a layer is code that is none of Keras's, or a model with such a layer in it."""
    if type(layer).__module__.partition(".")[0] != "keras" or type(layer).__name__ == "Lambda":
        return True
    return hasattr(layer, "layers") and _has_own(layer)


def _has_own(model: Any) -> bool:
    return any(_is_own(layer) for layer in model.layers)


def _called(layer: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return layer.call(*args, **kwargs)
    except Exception as error:  # Whatever the code of others raises.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UnsupportedError(
            f"the model '{model.name}'",
            f"'{layer.name}' ({type(layer).__name__}) is a layer of its own, and its call does not work on symbolic "
            f"tensors, as layers and keras.ops do: {type(error).__name__}: {lines[0] if lines else ''}",
        ) from error


@contextmanager
def _tensors_for_weights(layer: Any, given: Any, rows: dict[int, Any]) -> Iterator[None]:
    """Rows of embeddings in place of the weights that a layer holds itself, which no configuration has."""
    found = {name: value for name, value in vars(layer).items() if isinstance(value, keras().Variable)}
    for name, variable in found.items():
        if id(variable) not in rows:
            rows[id(variable)] = _row(f"{layer.name}_{name}".replace("__", "_"), variable, given)
        vars(layer)[name] = rows[id(variable)]
    try:
        yield
    finally:
        vars(layer).update(found)


def _row(name: str, variable: Any, given: Any) -> Any:
    """The weight as the one row of an ``Embedding``, in its shape."""
    ops = keras().ops
    size = 1
    for each in variable.shape:
        size *= each
    first = next(each for each in keras().tree.flatten(given) if isinstance(each, keras().KerasTensor))
    embedding = keras().layers.Embedding(1, size, name=name, dtype=variable.dtype)
    row = embedding(ops.zeros_like(first[(0,) * len(first.shape)], dtype="int32"))
    embedding.set_weights([ops.convert_to_numpy(variable).reshape(1, size)])
    embedding.trainable = variable.trainable
    return ops.reshape(row, variable.shape)
