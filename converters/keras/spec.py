"""A layer as a Keras configuration describes it, its options checked one by one; and the tensors it is called with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import numpy as np

from portable_nn.converters.rows import Rows
from portable_nn.core.errors import RefusalError, refuse
from portable_nn.core.graph import Dim, Shape, format_shape
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.text import quantity, some
from portable_nn.operators import Symbol, constant, emit, integers, sizes


class Held:
    """A tensor that lies in one order of axes, and is brought into the other one when a layer asks for that.

    So a chain of convolutions, which ONNX has with the channels first, transposes once at its beginning and once at its
    end.

    Args:
        plain: the symbol in the order of Keras's tensor.
        moved: the symbol with the last axis moved to place 1; give one of the two.
        mask: which steps count, bool (batch, steps), where Keras's tensor has a mask.
    """

    def __init__(self, plain: Symbol | None = None, moved: Symbol | None = None, mask: Symbol | None = None) -> None:
        self._plain, self._moved, self.mask = plain, moved, mask
        lying = plain if plain is not None else moved
        assert lying is not None
        self.rank, self.dtype = len(lying.shape), lying.dtype
        if self.rank < 3:
            self._plain = self._moved = lying

    @property
    def plain(self) -> Symbol:
        """The symbol in Keras's order."""
        if self._plain is None:
            assert self._moved is not None
            self._plain = emit("Transpose", self._moved, perm=to_last(self.rank))
        return self._plain

    @property
    def moved(self) -> Symbol:
        """The symbol with the channels behind the batch."""
        if self._moved is None:
            assert self._plain is not None
            self._moved = emit("Transpose", self._plain, perm=to_first(self.rank))
        return self._moved

    @property
    def shape(self) -> Shape:
        """The sizes in Keras's order."""
        if self._plain is not None:
            return self._plain.shape
        assert self._moved is not None
        return tuple(self._moved.shape[axis] for axis in to_last(self.rank))

    @property
    def lies_moved(self) -> bool:
        """True if the tensor is held with the channels behind the batch, and not in Keras's order as well."""
        return self._plain is None

    def each(self, function: Callable[[Symbol], Symbol]) -> Held:
        """The tensor of what a function makes of each element; it keeps the mask."""
        return self.like(function(self.moved if self.lies_moved else self.plain))

    def like(self, symbol: Symbol) -> Held:
        """``symbol``, which lies as this tensor does, with the same mask."""
        return Held(moved=symbol, mask=self.mask) if self.lies_moved else Held(symbol, mask=self.mask)

    def without_mask(self) -> Held:
        """The same without a mask."""
        return Held(self._plain, None if self._plain is not None else self._moved)

    def swapped(self, axes: Sequence[int]) -> Held | None:
        """The tensor with its axes permuted, where that is but another view of the same symbol."""
        if list(axes) == to_last(self.rank) and self.rank > 2:  # Channels first become Keras's order.
            return Held(moved=self.plain)
        if list(axes) == to_first(self.rank) and self.rank > 2:
            return Held(self.moved)
        return None


def to_last(rank: int) -> list[int]:
    """The permutation that moves axis 1 to the end."""
    return [0, *range(2, rank), 1]


def to_first(rank: int) -> list[int]:
    """The permutation that moves the last axis to place 1."""
    return [0, rank - 1, *range(1, rank - 1)]


def aligned(values: Sequence[Held]) -> tuple[list[Symbol], bool]:
    """The symbols of tensors of one rank in one order, and whether that is with the channels behind the batch."""
    moved = any(each.lies_moved for each in values)
    return [each.moved if moved else each.plain for each in values], moved


LAYERS: Final = Rows()
"""The function that makes each layer, by the name of its class: ``(layer, tensor, …) → tensor or tensors``."""

OPERATIONS: Final = Rows()
"""The function that makes each operation of ``keras.ops``, by the name of its class: ``(operation, argument, …) →
tensor``."""

Made = TypeVar("Made")

MISSING: Final = object()


class Weights:
    """The arrays of a model by their paths, and which of them have been taken."""

    def __init__(self, arrays: NamedArrays) -> None:
        self.arrays, self.taken = dict(arrays), set[str]()
        names = [name.split("/") for name in self.arrays]
        self.places = {"/".join(parts[: parts.index("vars")]) for parts in names if "vars" in parts}

    def count(self, place: str) -> int:
        """The number of arrays at a place."""
        return sum(name.startswith(f"{place}/vars/") for name in self.arrays)

    def take(self, place: str, index: int, shape: Sequence[Dim] = ()) -> Array:
        """An array of a layer, which should have a shape. Raises ``RefusalError`` where it is missing."""
        name = f"{place}/vars/{index}".removeprefix("/")
        if name not in self.arrays:
            raise RefusalError(f"its weight '{name}' is missing")
        self.taken.add(name)
        return self.arrays[name]

    def left(self) -> list[str]:
        """The arrays that no layer has taken, without those of training: optimizers, metrics, seeds."""
        other = ("optimizer/", "_optimizer/", "metrics/", "_metrics/", "compile_metrics/", "_loss_tracker/")
        return [
            name
            for name in self.arrays
            if name not in self.taken and not name.startswith(other) and "seed_generator/" not in name
        ]


class Numbered(Weights):
    """Arrays of any shapes, whose elements are numbered one after the other: so they tell where a layer puts each."""

    FIRST: Final = 2.0**40
    """The first of the numbers, which no weight is as large as."""

    def __init__(self) -> None:
        super().__init__({})
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.size = 0

    def take(self, place: str, index: int, shape: Sequence[Dim] = ()) -> Array:
        """The numbers of an array, in that shape."""
        name, sizes = f"{place}/vars/{index}", tuple(int(each) for each in shape)
        if name not in self.shapes:
            self.shapes[name], begin = sizes, self.size
            self.size += math.prod(sizes)
            self.arrays[name] = np.arange(begin, self.size, dtype=np.float64).reshape(sizes) + self.FIRST
        return self.arrays[name]


MAX_NUMBERS: Final = 2**24
"""The number of elements that a layer may have which are not in its file, such as scales of 1."""

_COMMON: Final = frozenset(
    {"name", "trainable", "dtype", "batch_input_shape", "batch_shape", "activity_regularizer", "autocast",
     "quantization_config", "gptq_unpacked_column_size", "synchronized"}
)  # fmt: skip
"""Options of every layer that say nothing about what it computes, or are looked at elsewhere."""

ALONE: Final = "is left out: it acts in training alone, and has no counterpart here"
"""The end of remarks on layers that train otherwise here."""

_TRAINING: Final = ("_initializer", "_regularizer", "_constraint")
"""The ends of the options that say how weights begin and what is added to a loss."""


class Spec:
    """A layer.

    Args:
        kind: the name of its class.
        config: its options.
        name: its name, behind the names of the models that it is in.
        place: where its weights are.
        weights: those of the whole model.
        notes: where remarks are added.
        trainable: whether training changes its weights.
    """

    def __init__(
        self,
        kind: str,
        config: Mapping[str, Any],
        name: str,
        place: str,
        weights: Weights,
        notes: list[str],
        *,
        trainable: bool = True,
    ) -> None:
        self.kind, self.config, self.name, self.place = kind, config, name, place
        self.weights, self.notes, self.trainable = weights, notes, trainable
        self.frozen: list[str] = []
        self._used: set[str] = set()
        self._made: dict[str, Any] = {}
        self._next = self._calls = 0

    # -- options

    def __getitem__(self, option: str) -> Any:
        if option not in self.config:
            self.refuse(f"its option '{option}' is missing")
        return self.get(option)

    def get(self, option: str, default: Any = None) -> Any:
        """An option, or what it is where an older version of Keras does not write it."""
        self._used.add(option)
        return self.config.get(option, default)

    def whole(self, option: str, default: Any = MISSING, *, least: int = 1) -> int:
        """An option that is a whole number."""
        value = self[option] if default is MISSING else self.get(option, default)
        if type(value) is not int or not least <= value < 2**31:
            self.refuse(f"its option {option} must be a whole number from {least}, not {_short(value)}")
        return value

    def number(self, option: str, default: float = 0.0) -> float:
        """An option that is a number."""
        value = numbers_in(self.get(option, default))
        if type(value) not in (int, float) or not abs(value) < float("inf"):
            self.refuse(f"its option {option} must be a number, not {_short(value)}")
        return float(value)

    def flag(self, option: str, default: bool = False) -> bool:
        """An option that is true or false."""
        value = self.get(option, default)
        if value is None:
            return default
        if type(value) is not bool:
            self.refuse(f"its option {option} must be true or false, not {_short(value)}")
        return value

    def choice(self, option: str, values: Sequence[Any], default: Any = MISSING) -> Any:
        """An option with a few values."""
        value = self[option] if default is MISSING else self.get(option, default)
        if not any(type(value) is type(each) and value == each for each in values):
            self.refuse(f"its option {option} must be one of {', '.join(map(repr, values))}, not {_short(value)}")
        return value

    def wholes(self, option: str, count: int, default: Any = MISSING, *, least: int = 1) -> tuple[int, ...]:
        """An option that is ``count`` whole numbers, or one for all."""
        value = self[option] if default is MISSING else self.get(option, default)
        several = [value] * count if type(value) is int else value
        if (
            not isinstance(several, list | tuple)
            or len(several) != count
            or any(type(each) is not int or not least <= each < 2**31 for each in several)
        ):
            self.refuse(
                f"its option {option} must be {quantity(count, 'whole number')} from {least}, not {_short(value)}"
            )
        return tuple(several)

    def listed(self, option: str, found: Any, *, may_be_open: bool = False) -> list[Any]:
        """Whole numbers in an option, or one; those that ``may_be_open`` may be ``None``."""
        several, allowed = [found] if type(found) is int else found, (int, type(None) if may_be_open else int)
        if not isinstance(several, list | tuple) or any(type(each) not in allowed for each in several):
            self.refuse(f"its option {option} must be whole numbers, not {found!r:.60}")
        return list(several)

    def axes(self, option: str, given: Any, rank: int) -> list[int]:
        """Axes of ``rank`` in an option, counted from the first one."""
        found = self.listed(option, given)
        if any(not -rank <= axis < rank for axis in found):
            self.refuse(f"its option {option} must be axes of {rank}, not {found!r:.60}")
        return [axis % rank for axis in found]

    def only(self, option: str, *allowed: Any) -> None:
        """Refuse an option with any other value than these."""
        value = self.get(option, allowed[0])
        if not any(type(value) is type(each) and value == each for each in allowed):
            self.refuse(f"its option {option}={_short(value)} has no counterpart here")

    def check_options(self) -> None:
        """Refuse options that nobody has looked at; ``None``, false and empty ones count as not used."""
        unknown = [
            option
            for option, value in self.config.items()
            if option not in self._used and option not in _COMMON and not option.endswith(_TRAINING) and value
        ]
        if unknown:
            self.refuse(f"its {some([f'{o}={_short(self.config[o])}' for o in unknown])} is not known here")

    # -- weights

    def weight(self, *shape: Dim, index: int | None = None) -> Array:
        """The next weight of the layer, or the one at ``index``, which must have that shape.

        The same at every call of the layer.
        """
        place = self._next if index is None else index
        if index is None:
            self._next += 1
        found = self.weights.take(self.place, place, shape)
        if found.dtype.name not in ("float32", "float64"):
            self.refuse(f"its weight {place} is {found.dtype}; float32 and float64 are taken over")
        if found.shape != shape:
            turned = found.shape == shape[::-1]
            hint = ": it is transposed" if turned else ""
            self.refuse(f"its weight {place} is {format_shape(found.shape)}, not {format_shape(shape)}{hint}")
        if not np.isfinite(found).all():
            self.refuse(f"its weight {place} has values that are NaN or infinite")
        return found

    def linear(self, layout: Callable[[Array], Array], shape: Sequence[Dim], outputs: int) -> dict[str, Any]:
        """The options of a layer for its weight, in the layout that it has here, and its bias, if it has one."""
        bias, weight = self.flag("use_bias", True), layout(self.weight(*shape))
        return {"bias": bias, "weight_initial": weight, "bias_initial": self.weight(outputs) if bias else 0}

    def bounded(self, *shape: int) -> tuple[int, ...]:
        """A shape of numbers that no weight in the file stands for. Raises ``RefusalError`` where they are too many."""
        if math.prod(shape) > MAX_NUMBERS:
            self.refuse(f"its shape {format_shape(shape)} has more than {MAX_NUMBERS} entries, which no weight has")
        return shape

    def once(self, make: Callable[[], Made], key: str = "") -> Made:
        """The result of ``make`` at the first call of the layer: later calls use the same weights."""
        if key not in self._made:
            self._made[key] = make()
        made: Made = self._made[key]
        return made

    def inside(self, config: Mapping[str, Any], kind: str, name: str, *places: str) -> Spec:
        """A layer in this one, whose weights are at the first of ``places`` where there are any."""
        key = f"inside {name}"
        if key not in self._made:
            options = [f"{self.place}/{place}".removeprefix("/") for place in places]
            found = next((place for place in options if self._has(place)), options[0])
            self._made[key] = Spec(kind, config, name, found, self.weights, self.notes)
        inner: Spec = self._made[key]
        return inner

    def _has(self, place: str) -> bool:
        return any(each == place or each.startswith(f"{place}/") for each in self.weights.places)

    def adopt(self, other: Spec) -> None:
        """Count the options that another description of the same layer has looked at."""
        self._used |= other._used

    def next_name(self) -> str:
        """The name of the layer's node: at the first call its own, then numbered."""
        self._calls += 1
        return self.name if self._calls == 1 else f"{self.name}_{self._calls}"

    def freeze(self, *names: str) -> None:
        """Parameters that training must not change."""
        self.frozen += names

    refuse = staticmethod(refuse)

    def note(self, text: str) -> None:
        """Add a remark on what could not be kept."""
        said = f"'{self.name}' ({self.kind}): {text}"
        if said not in self.notes:
            self.notes.append(said)

    def differs(self, what: str) -> None:
        """Note what acts in training alone and has no counterpart."""
        self.note(f"{what}{ALONE}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def config_of(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options of what Keras has described; none where the file has something else in their place."""
    found = value.get("config")
    return found if isinstance(found, Mapping) else {}


def numbers_in(value: Any) -> Any:
    """A number or numbers, where Keras may have written an object that holds them."""
    while isinstance(value, Mapping) and value.get("class_name") in ("__numpy__", "__tensor__"):
        value = config_of(value).get("value")
    return value


def described(value: object, what: str = "it") -> Mapping[str, Any]:
    """The configuration of an object. Raises ``RefusalError`` where it is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("class_name"), str):
        raise RefusalError(f"{what} is not described")
    if not isinstance(value.get("config"), Mapping):
        raise RefusalError(f"{what} ({value['class_name']}) has no options")
    return value


def snake_case(name: str) -> str:
    """The name of a class in small letters, as Keras writes it in paths."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def known(size: Dim, what: str) -> int:
    """A size that must be a number."""
    if not isinstance(size, int):
        raise RefusalError(f"{what} of its input are not known")
    return size


def channels_first(spec: Spec) -> bool:
    """True if the layer has the channels first."""
    return bool(spec.choice("data_format", ("channels_last", "channels_first", None), None) == "channels_first")


def by_channels(spec: Spec, x: Held, rank: int) -> tuple[Symbol, bool]:
    """The symbol with the channels behind the batch, and whether Keras's tensor has them there."""
    if x.rank != rank:
        spec.refuse(f"it needs {rank} axes, and its input has {x.rank}")
    first = channels_first(spec)
    return (x.plain if first else x.moved), first


def back(symbol: Symbol, first: bool, mask: Symbol | None = None) -> Held:
    """The result of a layer with the channels behind the batch, as Keras's tensor; ``first``: it has them there too."""
    return Held(symbol, mask=mask) if first else Held(moved=symbol, mask=mask)


def by_axes(*names: str, most: int = 3) -> dict[str, int]:
    """The names of layers, with a place for their end such as 2D, and the number of axes besides batch and channels."""
    return {name.format(f"{axes}D"): axes for name in names for axes in range(1, most + 1)}


def ones(x: Symbol, shape: Sequence[int | None]) -> Symbol:
    """Ones of a shape, which has the sizes of ``x`` where it has ``None``."""
    parts = [sizes(x, [axis]) if size is None else integers([size]) for axis, size in enumerate(shape)]
    return emit("Expand", constant(1, x.dtype), emit("Concat", *parts, axis=0))
