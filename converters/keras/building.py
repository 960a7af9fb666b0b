"""A Keras configuration and its weights as a network: models in models, shared layers, several inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from portable_nn.converters.keras import activations, feedforward, merging, recurrent
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.side import clean
from portable_nn.converters.keras.spec import LayerError, Spec, Weights
from portable_nn.core.errors import GraphError, PortableNNError
from portable_nn.core.graph import Dim
from portable_nn.operators import Leaf, Symbol, cast, emit, integers
from portable_nn.operators.symbols import sizes

LAYERS: Final[Mapping[str, Callable[..., Any]]] = {
    **feedforward.LAYERS,
    **activations.LAYERS,
    **recurrent.LAYERS,
    **merging.LAYERS,
}
"""What makes each layer of Keras, by the name of its class."""

MODELS: Final = ("Functional", "Model", "Sequential")

_HOMES: Final = re.compile(r"keras(\.layers|\.models|(\.src)?\.(layers|models|engine)(\.\w+)*)?")
_OPERATIONS: Final = re.compile(r"keras(\.src)?\.ops(\.\w+)*")
_CASTS: Final = frozenset({"Dense", "EinsumDense", "Rescaling", "Normalization"})
"""The layers that take whole numbers as floats."""

_FLOATS: Final = ("float32", "float64")
_WRONG: Final = (
    LayerError,
    PortableNNError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
)
"""The errors of values in a configuration that are of no use."""


class Taken(NamedTuple):
    """What a configuration was made into.

    Attributes:
        inputs: the inputs by the names of their layers.
        outputs: the outputs by name.
        notes: remarks on what could not be kept.
        frozen: the beginnings of the names of parameters that training must not change, and whole names.
    """

    inputs: dict[str, Leaf]
    outputs: list[tuple[str, Symbol]]
    notes: list[str]
    frozen: list[str]


class FaultsError(Exception):
    """All that keeps a configuration from being taken over."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = list(faults)


def described(value: object, what: str = "it") -> Mapping[str, Any]:
    """The configuration of an object. Raises ``LayerError`` where it is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("class_name"), str):
        raise LayerError(f"{what} is not described")
    if not isinstance(value.get("config"), Mapping):
        raise LayerError(f"{what} ({value['class_name']}) has no options")
    return value


def own_faults(value: object, path: str = "") -> Iterator[str]:
    """What is none of Keras's own layers, or has no counterpart, in a model and all that is in it."""
    try:
        found = described(value, f"'{path or 'the model'}'")
    except LayerError as error:
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
    elif kind == "TimeDistributed":
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
        return None if kind in merging.OPERATIONS else "is an operation that has no counterpart here"
    if not _HOMES.fullmatch(module) or registered not in (None, kind):
        return f"is an object of its own ({registered or module!r}): code is not taken over"
    if kind in LAYERS or kind in MODELS or kind in ("InputLayer", "TimeDistributed"):
        return None
    return "has no counterpart here"


_VALUES: Final = frozenset({"__keras_tensor__", "__slice__", "__tuple__", "__numpy__", "__tensor__"})
"""What a configuration may hold besides objects of Keras: descriptions of values."""

_POLICIES: Final = frozenset({"DTypePolicy", "FloatDTypePolicy"})
_PARTS: Final = frozenset({"InputLayer", "TimeDistributed", "StackedRNNCells", "LSTMCell", "GRUCell", "SimpleRNNCell"})


def foreign(value: Any) -> Iterator[str]:
    """The objects anywhere in a configuration, also in options that nobody reads, that are none of Keras's own.

    Keras imports the module of each of them when it builds a model of the configuration.
    """
    if isinstance(value, list):
        for each in value:
            yield from foreign(each)
    if not isinstance(value, Mapping):
        return
    if ("class_name" in value or "module" in value) and not _is_own(value):
        name = value.get("registered_name") or value.get("module")
        yield f"({value.get('class_name')!r:.60}) is an object of its own ({name!r:.60}): code is not taken over"
        return
    for each in value.values():
        yield from foreign(each)


def _is_own(found: Mapping[str, Any]) -> bool:
    kind, module, registered = found.get("class_name"), found.get("module"), found.get("registered_name")
    if not isinstance(kind, str) or not isinstance(module, str | None) or not isinstance(registered, str | None):
        return False
    if kind in _VALUES:
        return "module" not in found
    if kind == "function":
        known = isinstance(found.get("config"), str) and found["config"] in activations.NAMES
        return (
            known and module in (None, "builtins", "keras.activations") and registered in (None, kind, found["config"])
        )
    if module is not None and _OPERATIONS.fullmatch(module):
        return kind in merging.OPERATIONS and registered in (None, kind)
    if module is not None and not _HOMES.fullmatch(module):
        return False
    return registered in (None, kind) and (kind in LAYERS or kind in MODELS or kind in _PARTS or kind in _POLICIES)


class _FailedError(Exception):
    """A layer whose inputs could not be made: the fault has been noted there."""


class Builder:
    """Builds a model.

    Args:
        config: the configuration of the model.
        weights: its weights.
        separate: whether sizes that are left open are different ones in each input.
    """

    def __init__(self, config: Mapping[str, Any], weights: Weights, *, separate: bool) -> None:
        self.weights, self.separate = weights, separate
        self.notes: list[str] = []
        self.faults: list[str] = []
        self.frozen: list[str] = []
        self.inputs: dict[str, Leaf] = {}
        self._specs: dict[str, Spec] = {}
        self._config = config

    def build(self) -> Taken:
        """The network. Raises ``FaultsError``, with all faults."""
        if faults := list(own_faults(self._config)) or list(foreign(clean(self._config))):
            raise FaultsError(faults)
        outputs: Any = None
        try:
            outputs = self._model(self._config, "", "", None, trainable=True)
        except LayerError as fault:
            self.faults.append(f"the model: {fault}")
        except _FailedError:
            pass
        for spec in self._specs.values():
            self._finish(spec)
        if self.faults:
            raise FaultsError(self.faults)
        named = list(_named(outputs))
        if left := self.weights.left():
            shown = ", ".join(repr(each) for each in left[:5])
            raise FaultsError([f"{len(left)} of its weights belong to no layer: {shown}"])
        return Taken(self.inputs, named, self.notes, self.frozen)

    def _finish(self, spec: Spec) -> None:
        """What is left to be said about a layer when all its calls are made."""
        self.frozen += spec.frozen
        if not spec.trainable:
            self.frozen.append(f"{spec.name}.")
        for option, value in spec.config.items():
            if option.endswith(("_regularizer", "_constraint")) and value is not None:
                spec.note(f"{option} is left out: it acts in training alone")
        try:
            spec.check_options()
        except LayerError as fault:
            self._note_fault(spec, fault)

    def _note_fault(self, spec: Spec, error: Exception) -> None:
        reason = str(error.faults[0].message) if isinstance(error, GraphError) and error.faults else str(error)
        if not isinstance(error, LayerError | PortableNNError):
            reason = f"its options do not fit: {reason}"
        text = f"'{spec.name}' ({spec.kind}): {reason}"
        if text not in self.faults:
            self.faults.append(text)

    # -- models

    def _model(self, found: Mapping[str, Any], prefix: str, place: str, given: Any, *, trainable: bool) -> Any:
        """The outputs of a model for what it is called with; for the whole one, ``None``."""
        kind, config = found["class_name"], found["config"]
        trainable = trainable and config.get("trainable", True) is not False
        if kind == "Sequential":
            return self._sequential(found, prefix, place, given, trainable)
        return _Functional(self, config, prefix, place, trainable).run(given)

    def _sequential(self, found: Mapping[str, Any], prefix: str, place: str, given: Any, trainable: bool) -> Any:
        config = found["config"]
        listed = [described(each) for each in config["layers"]]
        rest = [each for each in listed if each["class_name"] != "InputLayer"]
        if given is None:
            first = listed[0]["config"] if len(rest) < len(listed) else _first_shape(found, rest)
            value: Any = self.input(dict(first))
        else:
            value = given
        places = self.places(rest, place)
        for each, inner in zip(rest, places, strict=True):
            value = _single(self.call(each, prefix, inner, [value], {}, trainable=trainable))
        last = rest[-1] if rest else None
        return value if given is not None or last is None else (str(last["config"].get("name") or "output"), value)

    def places(self, listed: Sequence[Mapping[str, Any]], place: str) -> list[str]:
        """Where the weights of the layers of a model are: Keras counts the classes of its layers."""
        used: dict[str, int] = {}
        found = []
        for each in listed:
            kind = snake_case(str(each["class_name"]))
            number = used.get(kind, -1) + 1
            used[kind] = number
            found.append(f"{place}/layers/{kind}{f'_{number}' if number else ''}".removeprefix("/"))
        return found

    def input(self, config: Mapping[str, Any]) -> Held:
        """An input of the whole model."""
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        dtype = dtype_of(config.get("dtype", "float32"))
        name = config.get("name") or "input"
        if config.get("sparse") or config.get("ragged") or config.get("optional"):
            raise LayerError(f"its input '{name}' is sparse, ragged or optional")
        if (
            not isinstance(name, str)
            or not isinstance(shape, list | tuple)
            or not 1 <= len(shape) <= 6
            or any(size is not None and (type(size) is not int or not 0 < size < 2**31) for size in shape)
        ):
            raise LayerError(f"its input {name!r:.60} has no shape of sizes, but {shape!r:.60}")
        dims: list[Dim] = [size or self._open(name, axis, len(shape)) for axis, size in enumerate(shape)]
        if name not in self.inputs:
            self.inputs[name] = Leaf(name, dtype, tuple(dims))
        return Held(self.inputs[name])

    def _open(self, name: str, axis: int, rank: int) -> str:
        """The name of a size that is left open."""
        if axis == 0:
            return "batch"
        words = {4: ("height", "width", "channels"), 5: ("depth", "height", "width", "channels")}
        found = words.get(rank, ("steps", "features"))
        word = found[axis - 1] if axis <= len(found) else f"axis_{axis}"
        return f"{name}_{word}" if self.separate else word

    # -- layers

    def call(
        self,
        found: Mapping[str, Any],
        prefix: str,
        place: str,
        args: list[Any],
        kwargs: Mapping[str, Any],
        *,
        trainable: bool,
    ) -> Any:
        """What a layer makes of its arguments.

        Args:
            found: its configuration.
            prefix: what its name begins with, in a model that is in another one.
            place: where its weights are.
            args: its arguments.
            kwargs: those by name.
            trainable: whether the model that it is in is trained.
        """
        kind, config = found["class_name"], found["config"]
        own = found.get("name") or config.get("name") or snake_case(kind)
        name = f"{prefix}{own}"
        if kind in MODELS:
            return self._model(found, f"{name}.", place, _first_argument(args, kwargs), trainable=trainable)
        spec = self._specs.get(name)
        if spec is None:
            trained = trainable and config.get("trainable", True) is not False
            spec = Spec(kind, config, name, place, self.weights, self.notes, trainable=trained)
            self._specs[name] = spec
        try:
            return self._made(spec, found, args, dict(kwargs))
        except _WRONG as error:
            self._note_fault(spec, error)
            raise _FailedError from None

    def _made(self, spec: Spec, found: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        if spec.kind == "TimeDistributed":
            return self._each_step(spec, _first_argument(args, kwargs))
        module = found.get("module")
        if isinstance(module, str) and _OPERATIONS.fullmatch(module):
            kwargs.pop("training", None)
            return merging.OPERATIONS[spec.kind](spec, *args, **kwargs)
        if kwargs.pop("training", None) is True:
            raise LayerError("it is called with training=True")
        mask = kwargs.pop("mask", None)
        args, kwargs = _with_dtype(args, spec), _with_dtype(kwargs, spec)
        if isinstance(mask, Held) and args and isinstance(args[0], Held):
            args[0] = args[0].without_mask()
            args[0].mask = cast(mask.plain, "bool")
        elif mask is not None and not (isinstance(mask, list) and all(each is None for each in mask)):
            raise LayerError("its mask is none that is known here")
        named = {name: value for name, value in kwargs.items() if value is not None}
        if "inputs" in named:
            args = [named.pop("inputs"), *args]
        return LAYERS[spec.kind](spec, *args, **named)

    def _each_step(self, spec: Spec, x: Held) -> Held:
        """A layer for each step: the steps become examples, and examples steps again."""
        inner = described(spec["layer"], "its layer")
        if x.rank < 3:
            raise LayerError(f"it needs (batch, steps, …), and its input has {x.rank} axes")
        plain = x.plain
        inside = list(plain.shape[2:])
        numbers = [size for size in inside if isinstance(size, int)]
        if len(numbers) < len(inside):
            raise LayerError("the sizes of a step are not known")
        flat = emit("Reshape", plain, integers([-1, *numbers]))
        made = _single(
            self.call(inner, f"{spec.name}.", f"{spec.place}/layer", [Held(flat)], {}, trainable=spec.trainable)
        )
        result = made.plain
        rest = [size for size in result.shape[1:] if isinstance(size, int)]
        if len(rest) < len(result.shape) - 1:
            raise LayerError("the sizes of a step are not known behind its layer")
        first = sizes(plain, [0, 1])
        shape = emit("Concat", first, integers(rest), axis=0)
        return Held(emit("Reshape", result, shape, name=spec.next_name()), mask=x.mask)


def _single(made: Any) -> Held:
    """The tensor that a layer returns."""
    outputs = list(_flat(made))
    if len(outputs) != 1 or not isinstance(outputs[0], Held):
        raise LayerError("one of its layers has several outputs")
    found: Held = outputs[0]
    return found


def _first_argument(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if args:
        return args[0]
    if "inputs" in kwargs:
        return kwargs["inputs"]
    raise LayerError("it is called with nothing")


def _with_dtype(value: Any, spec: Spec) -> Any:
    """Tensors of floats in the type that a layer computes in."""
    dtype = dtype_of(spec.config.get("dtype", "float32"))
    if dtype not in _FLOATS:
        raise LayerError(f"it computes in {dtype}; float32 and float64 are taken over")

    def with_it(each: Any) -> Any:
        if isinstance(each, Held):
            is_float = each.dtype in (*_FLOATS, "float16", "bfloat16")
            takes = is_float or spec.kind in _CASTS
            return each if each.dtype == dtype or not takes else each.each(lambda x: cast(x, dtype))
        if isinstance(each, list):
            return [with_it(inner) for inner in each]
        if isinstance(each, dict):
            return {key: with_it(inner) for key, inner in each.items()}
        return each

    return with_it(value)


def dtype_of(value: Any) -> str:
    """The element type that a policy computes in."""
    if isinstance(value, Mapping):
        inner = value.get("config")
        value = inner.get("name") if isinstance(inner, Mapping) else None
    return value if isinstance(value, str) else "float32" if value is None else repr(value)[:60]


def snake_case(name: str) -> str:
    """The name of a class in small letters, as Keras writes it in paths."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _first_shape(found: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The input of a Sequential that does not list it."""
    config = found["config"]
    built = found.get("build_config")
    shape = config.get("build_input_shape") or (built.get("input_shape") if isinstance(built, Mapping) else None)
    if shape is None and layers:
        shape = layers[0]["config"].get("batch_input_shape") or layers[0]["config"].get("batch_shape")
    if shape is None:
        raise LayerError("its input has no shape: it was never built; call it once, or begin it with keras.Input")
    whole = layers and layers[0]["class_name"] == "Embedding"
    return {"batch_shape": shape, "name": "input", "dtype": "int32" if whole else "float32"}


class _Functional:
    """A functional model: its layers, and the calls that have been made of each."""

    def __init__(self, builder: Builder, config: Mapping[str, Any], prefix: str, place: str, trainable: bool) -> None:
        self.builder, self.prefix, self.trainable = builder, prefix, trainable
        self.config = config
        listed = [described(each) for each in config["layers"]]
        self.layers: dict[str, Mapping[str, Any]] = {}
        for each in listed:
            name = each.get("name") or each["config"].get("name")
            if not isinstance(name, str) or name in self.layers:
                raise LayerError(f"the name {name!r:.60} of one of its layers is none, or stands twice")
            self.layers[name] = each
        own = [each for each in listed if not _is_operation(each)]
        self.places = dict(
            zip((str(e.get("name") or e["config"].get("name")) for e in own), builder.places(own, place), strict=True)
        )
        self.made: dict[str, list[Any]] = {name: [] for name in self.layers}

    def run(self, given: Any) -> Any:
        """The outputs, in the structure that the configuration gives them."""
        self._take_inputs(given)
        waiting = {name: list(_calls(each)) for name, each in self.layers.items()}
        while any(waiting.values()):
            moved = False
            for name, calls in waiting.items():
                while calls and self._is_ready(calls[0]):
                    self.made[name].append(self._one(name, calls.pop(0)))
                    moved = True
            if not moved:
                names = ", ".join(repr(name) for name, calls in waiting.items() if calls)
                raise LayerError(f"its layers {names} wait for each other, or for layers that are not there")
        return _map(self.config.get("output_layers"), lambda ref: self._output(ref))

    def _take_inputs(self, given: Any) -> None:
        places = self.config.get("input_layers")
        refs = list(_refs(places))
        if given is None:
            for name, each in self.layers.items():
                if each["class_name"] == "InputLayer":
                    config = {**each["config"], "name": name}
                    self.made[name].append(self.builder.input(config))
            order = [str(ref[0]) for ref in refs]
            inputs = self.builder.inputs
            ordered = {name: inputs[name] for name in order if name in inputs}
            self.builder.inputs = ordered | {name: leaf for name, leaf in inputs.items() if name not in ordered}
            return
        if isinstance(given, Mapping):
            if not isinstance(places, Mapping) or given.keys() != places.keys():
                raise LayerError("it is called with other names than its inputs have")
            values = [given[key] for key in places]
        else:
            values = list(_flat(given))
        if len(values) != len(refs):
            raise LayerError(f"it is called with {len(values)} tensors, and has {len(refs)} inputs")
        for ref, value in zip(refs, values, strict=True):
            if str(ref[0]) not in self.made:
                raise LayerError(f"its input {ref[0]!r:.60} is not among its layers")
            self.made[str(ref[0])].append(value)

    def _is_ready(self, call: tuple[Any, Any]) -> bool:
        refs = list(_tensors(call))
        for name, _, _ in refs:
            if name not in self.made:
                raise LayerError(f"the layer {name!r:.60} is not among its layers")
        return all(len(self.made[name]) > index for name, index, _ in refs)

    def _one(self, name: str, call: tuple[Any, Any]) -> Any:
        try:
            args, kwargs = (_revived(part, self._tensor) for part in call)
            found = {**self.layers[name], "name": name}
            place = self.places.get(name, "")
            return self.builder.call(found, self.prefix, place, list(args), dict(kwargs), trainable=self.trainable)
        except _FailedError:
            return _FailedError

    def _tensor(self, name: str, index: int, output: int) -> Any:
        made = self.made[name][index]
        if made is _FailedError:
            raise _FailedError
        outputs = list(_flat(made))
        if output >= len(outputs):
            raise LayerError(f"'{name}' has no output {output}")
        return outputs[output]

    def _output(self, ref: Sequence[Any]) -> tuple[str, Any]:
        name, index, output = str(ref[0]), int(ref[1]), int(ref[2])
        if name not in self.made:
            raise LayerError(f"its output {name!r:.60} is not among its layers")
        if self.layers[name]["class_name"] in ("Functional", "Model"):  # Keras counts these from 1 here.
            index -= 1
        if not 0 <= index < len(self.made[name]):
            raise LayerError(f"its output {name!r:.60} is never made")
        return f"{self.prefix}{name}", self._tensor(name, index, output)


def _is_operation(found: Mapping[str, Any]) -> bool:
    module = found.get("module")
    return isinstance(module, str) and _OPERATIONS.fullmatch(module) is not None


def _calls(found: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The arguments of each call of a layer."""
    nodes = found.get("inbound_nodes") or []
    if not isinstance(nodes, list):
        raise LayerError("its calls are not a list")
    for node in nodes:
        if isinstance(node, Mapping):
            args, kwargs = node.get("args", []), node.get("kwargs", {})
            if not isinstance(args, list) or not isinstance(kwargs, Mapping):
                raise LayerError("a call has no list of arguments")
            yield args, kwargs
        elif isinstance(node, list) and all(isinstance(each, list) and len(each) in (3, 4) for each in node):
            refs = [{"class_name": "__keras_tensor__", "config": {"keras_history": each[:3]}} for each in node]
            options = node[0][3] if node and len(node[0]) == 4 and isinstance(node[0][3], Mapping) else {}
            yield [refs[0] if len(refs) == 1 else refs], options
        else:
            raise LayerError("a call is not described")


def _history(value: Mapping[str, Any]) -> tuple[str, int, int]:
    config = value.get("config")
    found = config.get("keras_history") if isinstance(config, Mapping) else None
    if (
        not isinstance(found, list)
        or len(found) != 3
        or not isinstance(found[0], str)
        or any(type(each) is not int or each < 0 for each in found[1:])
    ):
        raise LayerError("a tensor does not say which layer makes it")
    return found[0], found[1], found[2]


def _tensors(value: Any) -> Iterator[tuple[str, int, int]]:
    """The tensors in the arguments of a call."""
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        yield _history(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _tensors(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)


def _revived(value: Any, tensor: Callable[[str, int, int], Any]) -> Any:
    """Arguments with tensors in place of their descriptions."""
    if isinstance(value, list):
        return [_revived(each, tensor) for each in value]
    if not isinstance(value, Mapping):
        return value
    kind = value.get("class_name")
    if kind == "__keras_tensor__":
        return tensor(*_history(value))
    if kind == "__tuple__" and isinstance(value.get("items"), list):
        return [_revived(each, tensor) for each in value["items"]]
    config = value.get("config")
    if kind == "__slice__" and isinstance(config, Mapping):
        return slice(config.get("start"), config.get("stop"), config.get("step"))
    if kind is not None:
        raise LayerError(f"one of its arguments is a {kind!r:.60}, which has no counterpart here")
    return {key: _revived(each, tensor) for key, each in value.items()}


def _is_ref(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(type(each) is int for each in value[1:])
    )


def _refs(value: Any) -> Iterator[Sequence[Any]]:
    """The places (layer, call, output) in a structure."""
    if _is_ref(value):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _refs(each)
    elif isinstance(value, list):
        for each in value:
            yield from _refs(each)
    else:
        raise LayerError("its inputs or outputs are not described")


def _map(value: Any, make: Callable[[Sequence[Any]], Any]) -> Any:
    """A structure of places with what ``make`` makes of each: (name, tensor)."""
    if _is_ref(value):
        return make(value)
    if isinstance(value, Mapping):
        return {key: _map(each, make) for key, each in value.items()}
    if isinstance(value, list) and value:
        return [_map(each, make) for each in value]
    raise LayerError("its outputs are not described")


def _flat(value: Any) -> Iterator[Any]:
    """The tensors in what a layer returns; those of a model come with names."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
        yield value[1]
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat(value[key])
    elif isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _named(value: Any, key: str = "") -> Iterator[tuple[str, Symbol]]:
    """The outputs of the whole model with their names: keys of dicts, or else names of layers."""
    if isinstance(value, tuple):
        yield key or value[0], value[1].plain
    elif isinstance(value, Mapping):
        for name in sorted(value):
            yield from _named(value[name], f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from _named(each, f"{key}.{place}" if key else "")
    else:
        yield key or value.plain.origin.name or "output", value.plain
