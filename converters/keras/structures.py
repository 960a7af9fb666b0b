"""The structures of arguments and outputs in a configuration: tensors by the layers that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from portable_nn.converters.keras.spec import Held
from portable_nn.core.errors import RefusalError
from portable_nn.operators import constant


def calls(found: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The arguments of each call of a layer."""
    nodes = found.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise RefusalError("its calls are not a list")
    for node in nodes:
        args, kwargs = (node.get("args", []), node.get("kwargs", {})) if isinstance(node, Mapping) else _older(node)
        if not isinstance(args, list) or not isinstance(kwargs, Mapping):
            raise RefusalError("a call has no list of arguments")
        yield args, kwargs


def _older(node: Any) -> tuple[Any, Any]:
    """The arguments of a call as older versions of Keras write them."""
    if not isinstance(node, list) or not all(isinstance(each, list) and len(each) in (3, 4) for each in node):
        raise RefusalError("a call is not described")
    given = [{"class_name": "__keras_tensor__", "config": {"keras_history": each[:3]}} for each in node]
    options = node[0][3] if node and len(node[0]) == 4 and isinstance(node[0][3], Mapping) else {}
    return [given[0] if len(given) == 1 else given], options


def _history(value: Mapping[str, Any]) -> tuple[str, int, int]:
    config = value.get("config")
    found = config.get("keras_history") if isinstance(config, Mapping) else None
    if (
        not isinstance(found, list)
        or len(found) != 3
        or not isinstance(found[0], str)
        or any(type(each) is not int or each < 0 for each in found[1:])
    ):
        raise RefusalError("a tensor does not say which layer makes it")
    return found[0], found[1], found[2]


def parts(value: Any) -> Iterable[Any]:
    """The values that are in a list or a dict; none of what is neither."""
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list | tuple) else ()


def tensors(value: Any) -> Iterator[tuple[str, int, int]]:
    """The tensors in the arguments of a call."""
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        yield _history(value)
    else:
        for each in parts(value):
            yield from tensors(each)


def revived(value: Any, tensor: Callable[[str, int, int], Any]) -> Any:
    """Arguments with tensors in place of their descriptions."""
    if isinstance(value, list):
        return [revived(each, tensor) for each in value]
    if not isinstance(value, Mapping):
        return value
    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        return tensor(*_history(value))
    if kind == "__tuple__" and isinstance(value.get("items"), list):
        return [revived(each, tensor) for each in value["items"]]
    config = value.get("config")
    if kind == "__slice__" and isinstance(config, Mapping):
        return slice(config.get("start"), config.get("stop"), config.get("step"))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind in ("__tensor__", "__numpy__") and isinstance(config, Mapping):
        return _numbers(config)
    if kind is not None:
        raise RefusalError(f"one of its arguments is a {kind!r:.60}, which has no counterpart here")
    return {key: revived(each, tensor) for key, each in value.items()}


def _numbers(config: Mapping[str, Any]) -> Held:
    """An array among the arguments, such as the embedding of the places of steps."""
    value, dtype = config.get("value"), config.get("dtype", "float32")
    if dtype not in ("float32", "float64", "int32", "int64", "bool"):
        raise RefusalError(f"one of its arguments is an array of {dtype!r:.60}")
    found = np.asarray(value)
    if found.dtype.kind not in "fiub":
        raise RefusalError("one of its arguments is an array, but not of numbers")
    return Held(constant(found.astype(dtype), dtype))


def _is_ref(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(type(each) is int for each in value[1:])
    )


def refs(value: Any) -> Iterator[Sequence[Any]]:
    """The places (layer, call, output) in a structure."""
    if _is_ref(value):
        yield value
    elif isinstance(value, Mapping | list):
        for each in parts(value):
            yield from refs(each)
    else:
        raise RefusalError("its inputs or outputs are not described")


def mapped(value: Any, make: Callable[[Sequence[Any]], Any]) -> Any:
    """A structure of places with what ``make`` makes of each: (name, tensor)."""
    if _is_ref(value):
        return make(value)
    if isinstance(value, Mapping):
        return {key: mapped(each, make) for key, each in value.items()}
    if isinstance(value, list) and value:
        return [mapped(each, make) for each in value]
    raise RefusalError("its outputs are not described")


def flat(value: Any) -> Iterator[Any]:
    """The tensors in what a layer returns; those of a model come with names."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        yield value[1]
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from flat(value[key])
    elif isinstance(value, list):
        for each in value:
            yield from flat(each)
    else:
        yield value


def named(value: Any, key: str = "") -> Iterator[tuple[str, Held]]:
    """The outputs of the whole model with their names: keys of dicts, or else names of layers."""
    if isinstance(value, tuple):
        yield key or value[0], value[1]
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from named(value[name], f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from named(each, f"{key}.{place}" if key else "")
    else:
        yield key or value.plain.origin.name or "output", value
