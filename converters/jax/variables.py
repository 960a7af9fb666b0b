"""The parameters of a network as the trees of flax, and back: names, collections and the axes of kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.errors import ShapeError, listed
from portable_nn.core.graph import Graph, Node, Parameter, format_shape
from portable_nn.network import Network
from portable_nn.operators import Array, lookup

Variables: TypeAlias = Mapping[str, Any]
"""Collections by name, ``params`` and as far as there are such ``batch_stats`` and ``constants``: trees of arrays."""

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "weight": frozenset({"kernel", "scale", "embedding"}),
    "bias": frozenset({"bias"}),
    "running_mean": frozenset({"mean"}),
    "running_var": frozenset({"var"}),
}
"""The names that flax has for ends of names, by what reads the parameter; any other end stays as it is."""


class Place(NamedTuple):
    """The place of a parameter among the variables.

    Attributes:
        value: the parameter.
        path: the collection, and the keys in it.
        axes: the order of its axes there.
        flipped: the axes there that are in reverse order.
    """

    value: Parameter
    path: tuple[str, ...]
    axes: tuple[int, ...]
    flipped: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape there."""
        return tuple(int(self.value.shape[axis]) for axis in self.axes)

    def __str__(self) -> str:
        return "/".join(self.path)

    def there(self, array: Any) -> Any:
        """An array of the network as it is among the variables; of numpy or JAX."""
        return self._flip(array.transpose(self.axes))

    def here(self, array: Any) -> Any:
        """An array among the variables as it is in the network."""
        return self._flip(array).transpose(tuple(self.axes.index(axis) for axis in range(len(self.axes))))

    def _flip(self, array: Any) -> Any:
        part = tuple(slice(None, None, -1 if axis in self.flipped else None) for axis in range(array.ndim))
        return array[part] if self.flipped else array


def places_of(graph: Graph) -> tuple[Place, ...]:
    """The place of each parameter.

    Names are split at their dots. Those of PyTorch, such as ``weight``, become those of flax by the first node that
    reads the parameter, and the axes of kernels are those of flax. Two that would be in one place, or one inside the
    other, keep their whole names.
    """
    readers, states = dict[str, tuple[Node, int]](), set[str]()
    for node in graph.nodes:
        moving = set(lookup(node.operator, node.domain).state.values())
        for index, name in enumerate(node.inputs):
            readers.setdefault(name, (node, index))
            if index in moving:
                states.add(name)
    found = list[Place]()
    for value in graph.parameters:
        collection = "params" if value.trainable else "batch_stats" if value.name in states else "constants"
        *lead, end = value.name.split(".")
        axes: tuple[int, ...] = tuple(range(len(value.shape)))
        flipped: tuple[int, ...] = ()
        if value.name in readers:
            node, index = readers[value.name]
            role, axes, flipped = _seen(node, index, len(axes))
            if lead and role in ROLES.get(end, ()):
                end = role
        path = (collection, *lead, end) if all(lead) and end else (collection, value.name)
        found.append(Place(value, path, axes, flipped))
    return tuple(_apart(found))


def _seen(node: Node, index: int, rank: int) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """The name in flax of a parameter that a node reads, the order of its axes there, and those that are in reverse."""
    operator, axes, flipped = lookup(node.operator, node.domain), tuple(range(rank)), tuple[int, ...]()
    if operator.family == "normalization":
        return ["", "scale", "bias", "mean", "var"][index], axes, flipped
    window = (operator.window or ("",))[0]
    if window not in ("conv", "convt") and node.operator not in ("Gemm", "MatMul"):
        return "embedding" if (node.operator, index) == ("Gather", 0) else "", axes, flipped
    if index == 1 and window:
        axes, flipped = (*axes[2:], *((1, 0) if window == "conv" else (0, 1))), axes[: rank - 2]
    elif index == 1 and node.attributes.get("transB"):
        axes = (1, 0)
    return ["", "kernel", "bias"][index], axes, flipped if window == "convt" and index == 1 else ()


def _apart(places: list[Place]) -> Iterator[Place]:
    taken = Counter(place.path for place in places)
    for place in places:
        clashes = taken[place.path] > 1 or any(place.path[:length] in taken for length in range(2, len(place.path)))
        yield place._replace(path=(place.path[0], place.value.name)) if clashes else place


def tree_of(places: tuple[Place, ...], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of arrays by the names of their parameters."""
    found: dict[str, Any] = {"params": {}}
    for place in places:
        inner = found
        for key in place.path[:-1]:
            inner = inner.setdefault(key, {})
        inner[place.path[-1]] = place.there(arrays[place.value.name])
    return found


def arrays_of(places: tuple[Place, ...], variables: Variables) -> dict[str, Any]:
    """The arrays by the names of the parameters, as they are in the network.

    Raises ``ShapeError`` that lists all that is missing, unknown, or of another shape.
    """
    leaves = dict(_leaves(variables))
    collections = sorted({place.path[0] for place in places})
    if leaves and not any(path[0] in collections for path in leaves):
        tree = ", ".join(f"'{name}': …" for name in collections)
        raise ShapeError(f"the variables must be the whole tree, {{{tree}}}, not what is in one of its collections")
    faults, found = list[str](), dict[str, Any]()
    for place in places:
        array = leaves.pop(place.path, None)
        if array is None:
            faults.append(f"{place} {format_shape(place.shape)} is missing")
        elif array.shape != place.shape:
            faults.append(_misshapen(place, array.shape))
        else:
            found[place.value.name] = place.here(array)
    faults.extend(f"{'/'.join(path)} is no parameter of the network" for path in leaves)
    if faults:
        raise ShapeError(listed(faults, "the variables do not fit the network"))
    return found


def _misshapen(place: Place, given: tuple[int, ...]) -> str:
    hint = ": it is transposed" if given == place.shape[::-1] else ""
    if len(given) > 1 and given == place.value.shape:
        hint = ": its axes are in the order of the network, not in that of flax"
    return f"{place} must have shape {format_shape(place.shape)}, not {format_shape(given)}{hint}"


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        for key, inner in tree.items():
            yield from _leaves(inner, (*path, str(key)))
    else:
        yield path, tree if hasattr(tree, "shape") else np.asarray(tree)


def update(network: Network, variables: Variables) -> None:
    """Write ``variables``, as training in JAX has left them, into the parameters of ``network``.

    Args:
        network: the network that ``to_jax`` was called with, or one with the same graph.
        variables: the tree that ``to_jax`` gave, with other values: ``variables["params"]`` after updates of optax, and
            ``batch_stats`` of the last call in training.

    Raises ``ShapeError`` that lists all that is missing, unknown, of another shape or type, or not finite; the network
    is as it was then.
    """
    places = places_of(network.graph)
    faults, new = list[str](), dict[str, Array]()
    for name, array in arrays_of(places, variables).items():
        dtype, found = network.parameters[name].dtype, np.asarray(array)
        if (dtype.kind == "f" and found.dtype.kind in "iub") or not np.can_cast(found.dtype, dtype, "same_kind"):
            faults.append(f"{name} must be {dtype}, not {found.dtype}")
        elif not np.isfinite(found).all():
            faults.append(f"{name} is not finite: the training diverged")
        new[name] = found
    if faults:
        raise ShapeError(listed(faults, "the variables do not fit the network"))
    for name, found in new.items():
        network.parameters[name][...] = found
