"""The check that a configuration holds nothing but Keras's own layers: all else is code, and is refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from portable_nn.converters.keras.layers import LAYERS, OPERATIONS, activations
from portable_nn.converters.keras.spec import described
from portable_nn.converters.keras.structures import parts
from portable_nn.core.errors import RefusalError

MODELS: Final = ("Functional", "Model", "Sequential")

HOLDERS: Final = ("TimeDistributed", "SpectralNormalization")
"""The layers that hold another one, whatever it is."""

_HOMES: Final = re.compile(r"keras(\.layers|\.models|(\.src)?\.(layers|models|engine)(\.\w+)*)?")
_OPERATIONS: Final = re.compile(r"keras(\.src)?\.ops(\.\w+)*")


def own_faults(value: object, path: str = "") -> Iterator[str]:
    """The faults of a model, and of all that is in it: layers that are none of Keras's own, or have no counterpart."""
    try:
        found = described(value, f"'{path or 'the model'}'")
    except RefusalError as error:
        yield str(error)
        return
    kind, config = found["class_name"], found["config"]
    name = found.get("name") or config.get("name") or path
    where = f"'{name}' ({kind})" if isinstance(name, str) else f"({kind})"
    if fault := _kind_fault(found, kind):
        yield f"{where} {fault}"
        return
    inner: list[Any] = []
    if kind in MODELS:
        inner = config.get("layers") if isinstance(config.get("layers"), list) else []
        if not inner:
            yield f"{where} lists no layers: a model that is a class of its own cannot be read from its configuration"
    elif kind in HOLDERS:
        inner = [config.get("layer")]
    for each in inner:
        yield from own_faults(each, f"{name}")


def _kind_fault(found: Mapping[str, Any], kind: str) -> str | None:
    module, registered = found.get("module"), found.get("registered_name")
    if module is None and registered is None:  # As older versions write their own.
        module = "keras"
    if not isinstance(module, str):
        return f"is an object of its own ({registered!r:.60}): code is not taken over"
    if kind == "Lambda":
        return "holds code, which is not taken over: write it as layers"
    if _OPERATIONS.fullmatch(module):
        return None if kind in OPERATIONS else "is an operation that has no counterpart here"
    if not _HOMES.fullmatch(module) or registered not in (None, kind):
        return f"is an object of its own ({registered or module!r}): code is not taken over"
    if kind in LAYERS or kind in MODELS or kind in ("InputLayer", *HOLDERS):
        return None
    return "has no counterpart here"


_VALUES: Final = frozenset({"__keras_tensor__", "__slice__", "__ellipsis__", "__tuple__", "__numpy__", "__tensor__"})
"""The classes that a configuration may hold besides objects of Keras: descriptions of values."""

_POLICIES: Final = frozenset({"DTypePolicy", "FloatDTypePolicy"})
_PARTS: Final = frozenset({"InputLayer", *HOLDERS, "StackedRNNCells", "LSTMCell", "GRUCell", "SimpleRNNCell"})


def foreign(value: Any) -> Iterator[str]:
    """The objects anywhere in a configuration, also in options that nobody reads, that are none of Keras's own.

    Keras imports the module of each of them when it builds a model of the configuration.
    """
    if isinstance(value, Mapping) and ("class_name" in value or "module" in value) and not _is_own(value):
        name = value.get("registered_name") or value.get("module")
        yield f"({value.get('class_name')!r:.60}) is an object of its own ({name!r:.60}): code is not taken over"
        return
    for each in parts(value):
        yield from foreign(each)


def _is_own(found: Mapping[str, Any]) -> bool:
    kind, module, registered = found.get("class_name"), found.get("module"), found.get("registered_name")
    if not isinstance(kind, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        return False
    if kind in _VALUES:
        return "module" not in found
    if kind == "function":
        config = found.get("config")
        is_known = isinstance(config, str) and config in activations.NAMES
        return is_known and module in (None, "builtins", "keras.activations") and registered in (None, kind, config)
    if registered not in (None, kind):
        return False
    if is_operation(found):
        return kind in OPERATIONS
    known = (*LAYERS, *MODELS, *_PARTS, *_POLICIES)
    return (module is None or _HOMES.fullmatch(module) is not None) and kind in known


def is_operation(found: Mapping[str, Any]) -> bool:
    """True if an object is an operation of ``keras.ops``, and no layer."""
    module = found.get("module")
    return isinstance(module, str) and _OPERATIONS.fullmatch(module) is not None
