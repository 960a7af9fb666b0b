"""A Keras configuration and its weights as a network: models in models, shared layers, several inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeGuard

from portable_nn.converters.keras.functional import Functional
from portable_nn.converters.keras.layers import LAYERS, OPERATIONS
from portable_nn.converters.keras.own import MODELS, foreign, is_operation, own_faults
from portable_nn.converters.keras.side import clean
from portable_nn.converters.keras.spec import Held, Spec, Weights, by_axes, described, snake_case
from portable_nn.converters.keras.structures import flat, named
from portable_nn.converters.layers.gates import KERAS
from portable_nn.core.errors import GraphError, PortableNNError, RefusalError
from portable_nn.core.text import some
from portable_nn.operators import Leaf, Symbol, cast, constant, emit, integers, sizes, unsqueezed

_CASTS: Final = frozenset({"Dense", "EinsumDense", "Rescaling", "Normalization"})
"""The layers that take whole numbers as floats."""

MAX_CALLS: Final = 10_000
"""The largest number of calls of layers: models in models, each called twice, would double them at each level."""

_STATEFUL: Final = frozenset({*KERAS, *by_axes("ConvLSTM{}"), "RNN", "Bidirectional"})
"""The layers that take first states beside their input."""

MASKED: Final = (
    "Keras masks {}, and its fit leaves masked steps out of the loss: here fit(sample_weight=…) does, (n, steps), true "
    "for the steps that count"
)
"""The remark on outputs that have a mask."""

_FLOATS: Final = ("float32", "float64")
_WRONG: Final = (PortableNNError, TypeError, ValueError, KeyError, IndexError, AttributeError, ArithmeticError)
"""The errors of values in a configuration that are of no use."""


class Taken(NamedTuple):
    """The network that a configuration was made into.

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
        self._wrong = set[str]()
        self._calls = 0
        self._config = config

    def build(self) -> Taken:
        """The network. Raises ``RefusalError``, with all faults."""
        if faults := list(own_faults(self._config)) or list(foreign(clean(self._config))):
            raise RefusalError(*faults)
        outputs: Any = None
        try:
            outputs = self._model(self._config, "", "", None, trainable=True)
        except RefusalError as refusal:
            self.faults += [f"the model: {fault}" for fault in refusal.faults]
        for spec in self._specs.values():
            self._finish(spec)
        if self.faults:
            raise RefusalError(*self.faults)
        held = list(named(outputs))
        if masked := [f"'{name}'" for name, each in held if each.mask is not None]:
            self.notes.append(MASKED.format(some(masked)))
        if left := self.weights.left():
            shown = ", ".join(repr(each) for each in left[:5])
            raise RefusalError(f"{len(left)} of its weights belong to no layer: {shown}")
        return Taken(self.inputs, [(name, each.plain) for name, each in held], self.notes, self.frozen)

    def _finish(self, spec: Spec) -> None:
        """Make the remarks on a layer that are left when all its calls are made."""
        self.frozen += spec.frozen
        if not spec.trainable:
            self.frozen.append(f"{spec.name}.")
        for option, value in spec.config.items():
            if option.endswith(("_regularizer", "_constraint")) and value is not None:
                spec.note(f"{option} is left out: it acts in training alone")
        if spec.name in self._wrong:  # What was not looked at after its first fault is none.
            return
        try:
            spec.check_options()
        except RefusalError as fault:
            self._note_fault(spec, fault)

    def _note_fault(self, spec: Spec, error: Exception) -> None:
        reason = str(error.faults[0].message) if isinstance(error, GraphError) and error.faults else str(error)
        if not isinstance(error, PortableNNError):
            reason = f"its options do not fit: {reason}"
        self._wrong.add(spec.name)
        text = f"'{spec.name}' ({spec.kind}): {reason}"
        if reason and text not in self.faults:
            self.faults.append(text)

    # -- models

    def _model(self, found: Mapping[str, Any], prefix: str, place: str, given: Any, *, trainable: bool) -> Any:
        """The outputs of a model for what it is called with; for the whole one, ``None``."""
        kind, config = found["class_name"], found["config"]
        trainable = trainable and config.get("trainable", True) is not False
        if kind == "Sequential":
            return self._sequential(found, prefix, place, given, trainable)
        return Functional(self, config, prefix, place, trainable).run(given)

    def _sequential(self, found: Mapping[str, Any], prefix: str, place: str, given: Any, trainable: bool) -> Any:
        config = found["config"]
        listed = [described(each) for each in config["layers"]]
        rest = [each for each in listed if each["class_name"] != "InputLayer"]
        if given is None:
            first = listed[0]["config"] if len(rest) < len(listed) else _first_shape(found, rest)
            value = self.input(dict(first))
        else:
            value = given
        places = self.places(rest, place)
        for each, inner in zip(rest, places, strict=True):
            value = _single(self.call(each, prefix, inner, [value], {}, trainable=trainable))
        last = rest[-1] if rest else None
        return value if given is not None or last is None else (str(last["config"].get("name") or "output"), value)

    def places(self, listed: Sequence[Mapping[str, Any]], place: str) -> list[str]:
        """The places of the weights of a model's layers: Keras counts the classes of its layers."""
        used: dict[str, int] = {}
        found = []
        for each in listed:
            kind = snake_case(
                {"GroupQueryAttention": "GroupedQueryAttention"}.get(name := str(each["class_name"]), name)
            )
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
            raise RefusalError(f"its input '{name}' is sparse, ragged or optional")
        if not isinstance(name, str) or not _is_shape(shape):
            raise RefusalError(f"its input {name!r:.60} has no shape of sizes, but {shape!r:.60}")
        dims = [size or self._open(name, axis, len(shape)) for axis, size in enumerate(shape)]
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
        """The result of a layer for its arguments.

        Args:
            found: its configuration.
            prefix: what its name begins with, in a model that is in another one.
            place: where its weights are.
            args: its arguments.
            kwargs: those by name.
            trainable: whether the model that it is in is trained.
        """
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise RefusalError(f"its layers are called more than {MAX_CALLS} times, those of models in models included")
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
            raise RefusalError from None

    def _made(self, spec: Spec, found: Mapping[str, Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
        holders = {"TimeDistributed": self._each_step, "SpectralNormalization": self._normalised}
        if spec.kind in holders:
            return holders[spec.kind](spec, _first_argument(args, kwargs))
        if is_operation(found):
            return _operated(spec, args, kwargs)
        if kwargs.pop("training", None) is True and spec.kind != "Resizing":  # Which says so by default.
            raise RefusalError("it is called with training=True")
        mask = kwargs.pop("mask", None)
        args, kwargs = _with_dtype(args, spec), _with_dtype(kwargs, spec)
        args = [_masked(each, mask if place == 0 else None) for place, each in enumerate(args)]
        options = {name: value for name, value in kwargs.items() if value is not None}
        args = [*filter(None, [options.pop("inputs", None)]), *args]
        if spec.kind not in _STATEFUL or mask is not None or (len(args) < 2 and not options):
            return LAYERS[spec.kind](spec, *args, **options)
        # Keras gives a layer the mask of its input where that is its only tensor, and passes it on in any case.
        before, args[0] = args[0].mask, args[0].without_mask()
        made = LAYERS[spec.kind](spec, *args, **options)
        for each in flat(made):
            each.mask = before if each.rank > 2 else None
        return made

    def _normalised(self, spec: Spec, x: Held) -> Any:
        """A layer whose weights Keras divides by their largest singular value, in training alone."""
        spec.get("power_iterations")
        for index in range(spec.weights.count(spec.place)):  # The weights again, and a vector for training.
            spec.weights.take(spec.place, index)
        spec.note("training does not divide the weights by their largest singular value, as Keras does")
        inner = described(spec["layer"], "its layer")
        return self.call(inner, f"{spec.name}.", f"{spec.place}/layer", [x], {}, trainable=spec.trainable)

    def _one_by_one(self, spec: Spec, inner: Mapping[str, Any], x: Symbol, steps: int) -> Held:
        """A layer that sees all examples of a step together, as a batch norm in training does: called for each step."""
        made = list[Symbol]()
        for step in range(steps):
            given = [Held(emit("Gather", x, constant(step, "int64"), axis=1))]
            found = self.call(inner, f"{spec.name}.", f"{spec.place}/layer", given, {}, trainable=spec.trainable)
            made.append(unsqueezed(_single(found).plain, 1))
        return Held(emit("Concat", *made, axis=1, name=spec.next_name()))

    def _each_step(self, spec: Spec, x: Held) -> Held:
        """A layer for each step: the steps become examples, and examples steps again."""
        inner = described(spec["layer"], "its layer")
        if x.rank < 3:
            raise RefusalError(f"it needs (batch, steps, …), and its input has {x.rank} axes")
        plain, steps = x.plain, x.plain.shape[1]
        if "BatchNormalization" in str(inner):
            if isinstance(steps, int) and x.mask is None:
                return self._one_by_one(spec, inner, plain, steps)
            spec.note("training normalises the steps of a batch together, and Keras each step by itself")
        inside = list(plain.shape[2:])
        numbers = [size for size in inside if isinstance(size, int)]
        if len(numbers) < len(inside):
            raise RefusalError("the sizes of a step are not known")
        flat = emit("Reshape", plain, integers([-1, *numbers]))
        made = _single(
            self.call(inner, f"{spec.name}.", f"{spec.place}/layer", [Held(flat)], {}, trainable=spec.trainable)
        )
        result = made.plain
        rest = [size for size in result.shape[1:] if isinstance(size, int)]
        if len(rest) < len(result.shape) - 1:
            raise RefusalError("the sizes of a step are not known behind its layer")
        first = sizes(plain, [0, 1])
        shape = emit("Concat", first, integers(rest), axis=0)
        return Held(emit("Reshape", result, shape, name=spec.next_name()), mask=x.mask)


def _is_shape(shape: object) -> TypeGuard[Sequence[int | None]]:
    """True for the sizes of up to six axes, of which any may be open."""
    return (
        isinstance(shape, list | tuple)
        and 1 <= len(shape) <= 6
        and all(size is None or (type(size) is int and 0 < size < 2**31) for size in shape)
    )


def _operated(spec: Spec, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The result of an operation, which takes no mask and gives none."""
    kwargs.pop("training", None)
    made = OPERATIONS[spec.kind](spec, *args, **kwargs)
    for each in flat(made):
        each.mask = None
    return made


def _masked(given: Any, mask: Any) -> Any:
    """An argument whose tensors have the masks that a call gives."""
    if isinstance(given, list) and isinstance(mask, list) and len(mask) <= len(given):
        return [*map(_masked, given, mask), *given[len(mask) :]]
    if mask is None or (isinstance(mask, list) and all(each is None for each in mask)):
        return given
    if not isinstance(given, Held) or not isinstance(mask, Held):
        raise RefusalError("its mask is none that is known here")
    found = given.without_mask()
    found.mask = cast(mask.plain, "bool")
    return found


def _single(made: Any) -> Held:
    """The tensor that a layer returns."""
    outputs = list(flat(made))
    if len(outputs) != 1 or not isinstance(outputs[0], Held):
        raise RefusalError("one of its layers has several outputs")
    return outputs[0]


def _first_argument(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    if args:
        return args[0]
    if "inputs" in kwargs:
        return kwargs["inputs"]
    raise RefusalError("it is called with nothing")


def _with_dtype(value: Any, spec: Spec) -> Any:
    """Tensors of floats in the type that a layer computes in."""
    dtype = dtype_of(spec.config.get("dtype", "float32"))
    if dtype not in _FLOATS:
        raise RefusalError(f"it computes in {dtype}; float32 and float64 are taken over")

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


def _first_shape(found: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The input of a Sequential that does not list it."""
    config = found["config"]
    built = found.get("build_config")
    shape = config.get("build_input_shape") or (built.get("input_shape") if isinstance(built, Mapping) else None)
    if shape is None and layers:
        shape = layers[0]["config"].get("batch_input_shape") or layers[0]["config"].get("batch_shape")
    if shape is None:
        raise RefusalError("its input has no shape: it was never built; call it once, or begin it with keras.Input")
    whole = layers and layers[0]["class_name"] == "Embedding"
    return {"batch_shape": shape, "name": "input", "dtype": "int32" if whole else "float32"}
