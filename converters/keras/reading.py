"""Keras models and their files as networks, and the proof that both compute the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from portable_nn.converters.conversion import Imported, Training, accepted, compare_sides
from portable_nn.converters.keras import archive
from portable_nn.converters.keras.building import Builder, Taken
from portable_nn.converters.keras.installed import installed, keras, quiet
from portable_nn.converters.keras.side import clean, hinted, rebuilt, run_model
from portable_nn.converters.keras.spec import ALONE, Weights
from portable_nn.converters.keras.training import prove_training_of
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import FormatError, GraphError, RefusalError, UnsupportedError, UsageError, listed
from portable_nn.core.tensors import NamedArrays
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.network.classes import declare_classes
from portable_nn.onnx.verify import Proof, Tolerance

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
            functional = keras().models.clone_model(
                functional, clone_function=lambda layer: layer, call_function=called
            )
    raise UnsupportedError(
        f"the model '{model.name}'", f"layers of its own stand in each other more than {DEEPEST} deep"
    )


def _structure(model: Any, what: str) -> Any:
    """Inputs or outputs as the model was given them, such as a dict."""
    found = getattr(model, f"_{what}_struct", None)
    return getattr(model, what) if found is None else found


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


__all__ = ["from_keras", "read_keras"]

NO_SIDE: Final = "Keras is not installed, so nothing was compared: the shapes of all weights fit the layers"


@check_kinds
def from_keras(
    model: Any,
    *,
    labels: Sequence[str] = (),
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
    training: Training = "same",
) -> Network:
    """The network that a Keras model is, which takes and gives the same arrays.

    Args:
        model: a functional or Sequential model of Keras 3; models in it, layers that are used several times, several
            inputs and outputs are taken over. Layers of your own, models of your own in it and ``Lambda`` are taken
            as the layers and operations that their ``call`` makes of tensors.
        labels: the names of the classes, in the order of the output's numbers.
        verify: whether both sides run on the same inputs, and are compared.
        atol: the absolute tolerance of that.
        rtol: the tolerance relative to the largest magnitude in an output.
        seed: the seed of these inputs, and of the network.
        prove_training: whether five steps of gradient descent on both sides must also give the same weights.
        training: ``"same"`` refuses a model with noise in training that has no counterpart here, such as
            ``GaussianNoise``; ``"evaluation"`` takes it without, and notes so.

    Raises:
        UnsupportedError: a layer has no counterpart here, or is one of your own whose ``call`` does not work on
            symbolic tensors; all are listed.
        VerificationError: both sides do not compute the same.
        UsageError: it is no Keras model, or a subclass of ``keras.Model`` that is not called on a ``keras.Input``.

    >>> import keras
    >>> from portable_nn.converters.keras import from_keras
    >>> net = from_keras(keras.models.load_model("mine.keras"))  # doctest: +SKIP
    """
    return imported(**locals()).network


def imported(model: Any, **options: Any) -> Imported:
    """The network that ``from_keras`` makes, with the proof and the notes."""
    if not hasattr(model, "layers") or not hasattr(model, "save"):
        raise UsageError(f"expected a Keras model, not a {type(model).__name__}")
    with tempfile.TemporaryDirectory(prefix="portable-nn-") as folder:
        path = Path(folder) / "model.keras"
        with suppress(AttributeError):
            if not model.built:
                raise UsageError(f"the model '{model.name}' was never built: call it once, or begin with keras.Input")
        model = traced(model)
        with quiet():
            model.save(path)
        return _read(path, where=f"the model '{model.name}'", model=model, **options)


@check_kinds
def read_keras(
    path: str | Path,
    *,
    labels: Sequence[str] = (),
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
    training: Training = "same",
) -> Imported:
    """The network in a ``.keras`` file. Keras is not needed, and nothing in the file is executed.

    If Keras is installed, it computes the other side of the comparison: of the layers that were read, and not of what
    else the file may hold.

    Args:
        path: the file.
        labels: as for ``from_keras``.
        verify: as for ``from_keras``.
        atol: as for ``from_keras``.
        rtol: as for ``from_keras``.
        seed: as for ``from_keras``.
        prove_training: as for ``from_keras``.
        training: as for ``from_keras``.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is damaged, hostile or contradicts itself.
        UnsupportedError: a layer has no counterpart here, or holds code (Lambda, own classes); all are listed.
        VerificationError: both sides do not compute the same.
    """
    return _read(**locals(), where=str(path), model=None)


def _read(
    path: str | Path,
    *,
    where: str,
    model: Any,
    labels: Sequence[str] = (),
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
    training: Training = "same",
) -> Imported:
    with archive.opened(path) as found:
        arrays = archive.read_weights(found.weights, path) if found.weights else {}
        network, taken = _network(found.config, arrays, where, seed)
        accepted([note for note in taken.notes if note.endswith(ALONE)], training)
        notes = list(taken.notes)
        if found.config.get("compile_config"):
            notes.append("loss, metrics and optimizer are left out: fit is told them again")
        proof = Proof()
        if verify and model is None and not installed():
            notes.append(NO_SIDE)
        elif verify:
            side = model if model is not None else rebuilt(found.config, found.weights)
            with hinted(found.config):
                tolerance = Tolerance(atol, rtol)
                proof = compare_sides(
                    network, partial(run_model, side, network), "Keras's model", tolerance=tolerance, seed=seed
                )
        if prove_training:
            if not installed():
                raise UsageError("prove_training needs Keras, which trains the other side: pip install keras")

            def network_of(config: Mapping[str, Any], weights: Path | None, dtype: str) -> Network:
                read = archive.read_weights(weights, path) if weights else {}
                floats = {name: array.astype(dtype) for name, array in read.items() if array.dtype.kind == "f"}
                return _network(config, {**read, **floats}, where, seed)[0]

            notes.append(prove_training_of(clean(found.config), found.weights, network_of, seed))
        declare_classes(network, labels)
        return Imported(network, proof, tuple(notes))


def _network(config: Mapping[str, Any], arrays: NamedArrays, where: str, seed: int) -> tuple[Network, Taken]:
    """The network of a configuration. Sizes that are left open differ from input to input, unless they cannot."""
    faults: RefusalError | None = None
    for separate in (True, False):
        try:
            taken = Builder(config, Weights(arrays), separate=separate).build()
            return _assembled(taken, config, seed), taken
        except RefusalError as error:
            if faults is None or len(faults.faults) != len(error.faults):
                faults = error
        except GraphError as error:
            raise FormatError(where, str(error)) from None
    assert faults is not None
    damaged = any(word in fault for fault in faults.faults for word in ("weight", "is not described", "wait for"))
    kind = FormatError if damaged else UnsupportedError
    raise kind(where, listed(faults.faults, "cannot be taken over"))


def _assembled(taken: Taken, config: Mapping[str, Any], seed: int) -> Network:
    name = config["config"].get("name")
    values = [symbol for _, symbol in taken.outputs]
    network = Network(
        list(taken.inputs.values()), values, seed=seed, name=name if isinstance(name, str) and name else "model"
    )
    network = _renamed(network, [name for name, _ in taken.outputs], seed)
    frozen = [value.name for value in network.graph.parameters if value.trainable and _is_frozen(value.name, taken)]
    if frozen:
        network.freeze(*frozen)
    return network


def _is_frozen(name: str, taken: Taken) -> bool:
    return any(name == each or (each.endswith(".") and name.startswith(each)) for each in taken.frozen)


def _renamed(network: Network, wanted: list[str], seed: int) -> Network:
    """The network with the names that Keras's layers and outputs have.

    A layer's value is that behind its activation, and an output's that in Keras's order of axes; what is before them is
    called ``dense.linear`` and ``conv2d.channels_first``.
    """
    graph, outputs = network.graph, network.graph.outputs
    made = {name for node in graph.nodes for name in node.outputs}
    changes = _behind(made)
    fixed = {value.name for value in (*graph.inputs, *graph.parameters)}
    back = {changes.get(name, name): name for name in (*made, *fixed)}
    for old, new in zip(outputs, wanted, strict=True):
        stays = changes.get(old, old) == new or back.get(new) in outputs or outputs.count(old) > 1
        if stays or not fixed.isdisjoint((old, new)):
            continue
        if new in back:
            changes[back[new]] = f"{new}.channels_first"
            back[f"{new}.channels_first"] = back[new]
        changes[old], back[new] = new, old
    if not changes:
        return network
    nodes = tuple(
        replace(
            node,
            name=changes.get(node.name, node.name) if node.name in node.outputs else node.name,
            inputs=tuple(changes.get(each, each) for each in node.inputs),
            outputs=tuple(changes.get(each, each) for each in node.outputs),
        )
        for node in graph.nodes
    )
    infos = [replace(info, name=changes.get(info.name, info.name)) for info in network.outputs]
    return Network.from_graph(
        replace(graph, nodes=nodes, outputs=tuple(changes.get(each, each) for each in outputs)),
        network.parameters.arrays,
        inputs=network.inputs,
        outputs=infos,
        seed=seed,
        copy=False,
    )


def _behind(made: set[str]) -> dict[str, str]:
    """The names of values whose layers have an activation, which takes the name of the layer."""
    pairs = [(name, name.removesuffix(_ACTIVATION)) for name in made if name.endswith(_ACTIVATION)]
    return {
        old: new
        for name, before in pairs
        if before in made
        for old, new in ((before, f"{before}.linear"), (name, before))
    }


_ACTIVATION: Final = ".activation"
