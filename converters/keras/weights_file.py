"""Files of Keras weights, ``.weights.h5``, read into a network that is there already."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from portable_nn.converters.conversion import Imported, compare_sides
from portable_nn.converters.keras.archive import read_weights
from portable_nn.converters.keras.installed import installed, quiet
from portable_nn.converters.keras.layers.cells import read_cell
from portable_nn.converters.keras.reading import NO_SIDE, from_keras
from portable_nn.converters.keras.side import run_model
from portable_nn.converters.keras.spec import Spec, Weights, snake_case
from portable_nn.converters.keras.writing import to_keras
from portable_nn.converters.layers.gates import KERAS, Recurrent
from portable_nn.converters.layers.weights import ROWS, Row
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import FormatError, RefusalError, UnsupportedError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import some
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance


class _Layer(NamedTuple):
    """A layer of the network: what operators read its parameters, these, their shapes, and those that are frozen."""

    name: str
    operators: frozenset[str]
    arrays: NamedArrays
    shapes: Mapping[str, tuple[int, ...]]
    frozen: frozenset[str]


_ROLE: Final = re.compile(
    r"(?P<layer>.+?)\.(?P<role>(forward_layer\.|backward_layer\.|cell\.|cell_\d+\.|cells\.)\w+_l0|(query|key|value|output)\.(weight|bias)"
    r"|depthwise\.weight|(input|recurrent)\.(weight|bias)|\w+)"
)


def _layers(network: Network) -> list[_Layer]:
    """The layers that have parameters, in the order of the graph."""
    readers = network.graph.readers()
    parts: dict[str, dict[str, str]] = {}
    for name in network.parameters:
        match = _ROLE.fullmatch(name)
        layer, role = (match["layer"], match["role"]) if match else (name, "")
        parts.setdefault(layer, {})[role] = name
    frozen = {value.name for value in network.graph.parameters if not value.trainable}
    return [
        _Layer(
            layer,
            frozenset(node.operator for name in roles.values() for node in readers.get(name, ())),
            {role: network.parameters[name] for role, name in roles.items()},
            {role: network.parameters[name].shape for role, name in roles.items()},
            frozenset(role for role, name in roles.items() if name in frozen),
        )
        for layer, roles in parts.items()
    ]


def placed(network: Network, arrays: NamedArrays) -> dict[str, Array]:
    """The parameters of the network by name, in its layouts. Raises ``RefusalError`` where the layers are others."""
    weights, left = Weights(arrays), _layers(network)
    found = _model("", weights, left)
    if unused := weights.left():
        raise RefusalError(f"it holds {some([repr(name) for name in unused])}, which no layer of the network has")
    return found


def _model(place: str, weights: Weights, layers: Sequence[_Layer]) -> dict[str, Array]:
    """The parameters of the layers of a model at a place of the file, all of which must be filled."""
    places, found = _places(weights, place), dict[str, Array]()
    models = [each for each in places if any(name.startswith(f"{each}/layers/") for name in weights.places)]
    left = [layer for layer in layers if not models or "." not in layer.name]
    for each in places:
        if each not in models:
            layer, made = _fitting(each, _kind(each), weights, left)
            left.remove(layer)
            found |= {f"{layer.name}.{role}": array for role, array in made.items()}
    without = [f"'{layer.name}'" for layer in left if not layer.frozen.issuperset(layer.shapes)]
    if without:
        raise RefusalError(f"it has no weights for {some(without)}")
    return found | _models(models, weights, layers) if models else found


def _models(models: Sequence[str], weights: Weights, layers: Sequence[_Layer]) -> dict[str, Array]:
    """The parameters of models in a model: the layers whose names begin alike."""
    names, found = (
        [*dict.fromkeys(each.name.partition(".")[0] for each in layers if "." in each.name)],
        dict[str, Array](),
    )
    inner = {each: _inner(each, weights, layers, names) for each in models}
    for each, fitting in inner.items():
        if len(fitting) > sum(_kind(other) == _kind(each) for other in inner):
            raise RefusalError(
                f"the models {some(fitting)} have the same layers, and the file does not tell them apart"
            )
        free = [name for name in fitting if name in names]
        if not free:
            raise RefusalError(f"the model '{each}' fits none that is left in the network")
        names.remove(free[0])
        found |= fitting[free[0]]
    if names:
        raise RefusalError(f"it has no weights for {some(names)}")
    return found


def _inner(place: str, weights: Weights, layers: Sequence[_Layer], names: Sequence[str]) -> dict[str, dict[str, Array]]:
    """The parameters that a model in the file is for each model in the network that it fits, by its name."""
    found = dict[str, dict[str, Array]]()
    for name in names:
        parts = [each._replace(name=each.name[len(name) + 1 :]) for each in layers if each.name.startswith(f"{name}.")]
        with suppress(RefusalError):
            found[name] = {f"{name}.{each}": array for each, array in _model(place, weights, parts).items()}
    return found


def _kind(place: str) -> str:
    """The class of a layer, as paths have it."""
    return re.sub(r"_\d+$", "", place.rpartition("/")[2])


def _places(weights: Weights, model: str) -> list[str]:
    """The layers of a model in the file: by class, and by number in a class."""
    begin = f"{model}/layers/".removeprefix("/")
    found = {begin + place.removeprefix(begin).split("/")[0] for place in weights.places if place.startswith(begin)}
    found = {place for place in found if any(name.startswith(f"{place}/") for name in weights.arrays)}

    def order(place: str) -> tuple[str, int]:
        kind, number = re.fullmatch(r"(.*?)(?:_(\d+))?", place).groups()  # type: ignore[union-attr]
        return kind, int(number or 0)

    return sorted(found, key=order)


def _fitting(place: str, kind: str, weights: Weights, left: list[_Layer]) -> tuple[_Layer, dict[str, Array]]:
    """The first layer of the network that has the parameters that a layer of the file makes."""
    if kind in ("time_distributed", "spectral_normalization"):
        return _held(place, weights, left)
    if kind not in LAYERS:
        raise RefusalError(f"what the arrays of '{place}' are is not known without the model")
    tried = list[str]()
    for layer in left:
        spec = Spec(kind, {}, layer.name, place, weights, [])
        try:
            made = LAYERS[kind](spec, layer)
        except (RefusalError, ValueError, IndexError):
            continue
        shapes = {role: array.shape for role, array in made.items()}
        wanted = {role: shape for role, shape in layer.shapes.items() if role in shapes or role not in layer.frozen}
        if shapes == wanted:
            return layer, made
        tried.append(f"'{layer.name}' has {_told(wanted)}, and the file {_told(shapes)}")
    raise RefusalError(f"the layer '{place}' fits none that is left in the network{': ' if tried else ''}{some(tried)}")


def _held(place: str, weights: Weights, left: list[_Layer]) -> tuple[_Layer, dict[str, Array]]:
    """A layer in TimeDistributed or SpectralNormalization, whose class the file does not tell."""
    for index in range(weights.count(place)):
        weights.take(place, index)
    for kind in LAYERS:
        with suppress(RefusalError):
            return _fitting(f"{place}/layer", kind, weights, left)
    raise RefusalError(f"the layer '{place}' fits none that is left in the network")


def _told(shapes: Mapping[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{role} {format_shape(shape)}" for role, shape in shapes.items())


# -- one row for each class


def _arrays(spec: Spec, *places: str) -> list[Array]:
    """The arrays of a layer, or of a layer in it."""
    where = "/".join((spec.place, *places))
    return [spec.weights.take(where, index) for index in range(spec.weights.count(where))]


def _plain(row: Row, spec: Spec, layer: _Layer) -> dict[str, Array]:
    """The weights of a layer whose axes alone are in another order; those that are frozen may be missing."""
    if row.operators and layer.operators.isdisjoint(row.operators):
        raise RefusalError("another operator")
    made, by_place = dict[str, Array](), dict[str, list[str]]()
    for role in filter(layer.shapes.__contains__, row.weights):
        by_place.setdefault(row.place(role), []).append(role)
    for place, roles in by_place.items():
        found = _arrays(spec, *([place] if place else [])) or _arrays(spec, f"_{place}")
        if len(found) < len(roles):
            roles = [role for role in roles if role not in layer.frozen or role.startswith("running")]
        made |= {role: row.weights[role](array) for role, array in zip(roles, found, strict=True)}
    return made


def _statistics(spec: Spec, layer: _Layer) -> dict[str, Array]:
    """The scale and offset of Normalization. The file does not tell whether it undoes them; those of the network do."""
    mean, variance, *_ = _arrays(spec)
    std = np.maximum(np.sqrt(variance), 1e-7)
    for numbers in ((1 / std, -mean / std), (std, mean)):
        made = {
            role: np.broadcast_to(array, layer.shapes[role])
            for role, array in zip(("scale", "offset"), numbers, strict=True)
        }
        if all(np.allclose(array, layer.arrays[role], 1e-4, 1e-6) for role, array in made.items()):
            return made
    raise RefusalError("its statistics are not those of the network")


def _cell(spec: Spec, layer: _Layer, *places: str, kind: Recurrent | None = None) -> tuple[Array, ...]:
    """The weights of a cell, as the standard's operator has them."""
    where = "/".join((spec.place, *places))
    kind = kind or next((kind for kind in KERAS.values() if kind.operator in layer.operators), None)
    if kind is None:
        raise RefusalError("another operator")
    kernel, recurrent, *bias = _arrays(spec, *places)
    config = {
        "units": len(recurrent), "use_bias": bool(bias), "reset_after": bool(bias) and bias[0].ndim == 2,
    }  # fmt: skip
    cell = read_cell(Spec("", config, spec.name, where, spec.weights, []), kind, len(kernel))
    return tuple(each for each in (cell.weight, cell.recurrent, cell.bias) if each is not None)


_CELL: Final = ("weight_l0", "recurrent_l0", "bias_l0")


def _recurrent(spec: Spec, layer: _Layer) -> dict[str, Array]:
    return {f"cell.{role}": array[None] for role, array in zip(_CELL, _cell(spec, layer, "cell"), strict=False)}


def _cells(spec: Spec, layer: _Layer) -> dict[str, Array]:
    """The cells of RNN, one or several in a row, which the file numbers by class."""
    begin, found = f"{spec.place}/cell/cells/", dict[str, Array]()
    names = sorted(name for name in spec.weights.places if name.startswith(begin)) or [f"{spec.place}/cell"]
    for number in sorted({role.split(".")[0] for role in layer.shapes}, key=lambda name: int(name.rpartition("_")[2])):
        wanted = {role: shape for role, shape in layer.shapes.items() if role.startswith(f"{number}.")}
        for name in sorted(names, key=lambda name: (len(name), name)):
            kind = next((kind for word, kind in _CELLS.items() if name.startswith(f"{begin}{word}_cell")), None)
            with suppress(RefusalError):
                parts = _cell(spec, layer, *name.removeprefix(f"{spec.place}/").split("/"), kind=kind)
                made = {f"{number}.{role}": array[None] for role, array in zip(_CELL, parts, strict=False)}
                if {role: array.shape for role, array in made.items()} == wanted:
                    found |= made
                    names.remove(name)
                    break
    return found


_CELLS: Final = {snake_case(name): kind for name, kind in KERAS.items()}
"""The kinds of cells by the beginnings of their places."""


def _bidirectional(spec: Spec, layer: _Layer) -> dict[str, Array]:
    both = [_cell(spec, layer, place, "cell") for place in ("forward_layer", "backward_layer")]
    if any(role.startswith("cells.") for role in layer.shapes):
        return {f"cells.{role}": np.stack(pair) for role, pair in zip(_CELL, zip(*both, strict=True), strict=False)}
    return {
        f"{place}.{role}": array[None]
        for place, cell in zip(("forward_layer", "backward_layer"), both, strict=True)
        for role, array in zip(_CELL, cell, strict=False)
    }


LAYERS: Final[Mapping[str, Callable[[Spec, _Layer], dict[str, Array]]]] = {
    **{snake_case(row.keras.format(axes)): partial(_plain, row) for row in ROWS for axes in (1, 2, 3)},
    **dict.fromkeys(_CELLS, _recurrent),
    "bidirectional": _bidirectional,
    "normalization": _statistics,
    "rnn": _cells,
}
"""The function that makes the parameters of a layer, by the name of its class in paths: ``(arrays, layer) → arrays by
role``."""


__all__ = ["read_keras_weights"]


@check_kinds
def read_keras_weights(
    path: str | Path,
    *,
    into: Network | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
) -> Imported:
    """The network ``into`` with the weights of a ``.weights.h5`` file, as ``model.save_weights`` writes it.

    The file is checked as that in a ``.keras`` archive is. If Keras is installed, it reads the file into the model that
    the network is, as far as that has the layers of the file; the weights come back in the network's layouts, and both
    sides are compared. Otherwise the layers of
    each class in the file, which Keras numbers, are those of the network in their order: their shapes must fit, and a
    note says that nothing was compared.

    Args:
        path: the file.
        into: the network whose layers the weights are of; its weights are replaced, all of them or none.
        verify: whether both sides run on the same inputs, and are compared.
        atol: the absolute tolerance of that.
        rtol: the tolerance relative to the largest magnitude in an output.
        seed: the seed of these inputs.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is damaged, hostile, or of other layers.
        UsageError: there is no network to read into.
        VerificationError: both sides do not compute the same; the network is then as it was.
    """
    if into is None:
        raise UsageError(f"{path}: holds weights alone: into= is the network that they are of")
    arrays = read_weights(Path(path), path)
    if not installed():
        return _placed(into, arrays, path, NO_SIDE)
    with quiet():
        try:
            model = to_keras(into, verify=False)
        except UsageError:
            return _placed(into, arrays, path, "nothing was compared: Keras has no layers for all of this network")
        try:
            model.load_weights(path)
        except (ValueError, KeyError, OSError):  # The network may have come from other layers than it goes to.
            return _placed(into, arrays, path, "nothing was compared: Keras has other layers for this network")
        if len(Weights(arrays).left()) != len(model.weights):  # Keras leaves aside what it has no layer for.
            return _placed(into, arrays, path, "nothing was compared: Keras has other layers for this network")
        try:
            found = from_keras(model, verify=False, seed=seed, training="evaluation")
        except UnsupportedError:
            return _placed(into, arrays, path, "nothing was compared: Keras has other layers for this network")
    names, others = list(into.parameters), list(found.parameters)
    shapes = [into.parameters[name].shape for name in names]
    if shapes != [found.parameters[name].shape for name in others]:
        return _placed(into, arrays, path, "nothing was compared: Keras has no model of the network")
    before = {name: array.copy() for name, array in into.parameters.items()}
    into.load_weights({name: found.parameters[other] for name, other in zip(names, others, strict=True)})
    try:
        side, tolerance = partial(run_model, model, into), Tolerance(atol, rtol)
        proof = compare_sides(into, side, "Keras's model", tolerance=tolerance, seed=seed) if verify else Proof()
    except BaseException:
        into.load_weights(before)
        raise
    return Imported(into, proof, ())


def _placed(network: Network, arrays: NamedArrays, path: str | Path, note: str) -> Imported:
    """The network with the arrays at their places, as far as classes, order and shapes of layers tell."""
    try:
        found = placed(network, arrays)
    except RefusalError as error:
        raise FormatError(
            path, f"its weights are of other layers: {error}. A .keras file (model.save) has the layers themselves"
        ) from None
    network.load_weights({name: found.get(name, array) for name, array in network.parameters.items()})
    return Imported(network, Proof(), (f"{note}; the layers of each class are taken in the order of the network",))
