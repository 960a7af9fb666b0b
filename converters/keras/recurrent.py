"""Keras's recurrent layers as the standard's RNN, GRU and LSTM: orders of gates, directions, masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn import layers
from portable_nn.converters.keras.activations import function_name
from portable_nn.converters.keras.feedforward import known
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.spec import LayerError, Spec
from portable_nn.format.tensors import Array
from portable_nn.layers.layer import Layer, OperatorLayer
from portable_nn.operators import Symbol, cast, constant, emit, emit_all, integers
from portable_nn.operators.recurrent.functions import Function, explicit
from portable_nn.operators.symbols import sizes, zeros_like


class Kind(NamedTuple):
    """A recurrent operator.

    Attributes:
        operator: its name in the standard.
        gates: the place in Keras's weights of each gate, in the standard's order.
        states: how many states there are.
    """

    operator: str
    gates: tuple[int, ...]
    states: int


KINDS: Final[Mapping[str, Kind]] = {
    "SimpleRNN": Kind("RNN", (0,), 1),
    "GRU": Kind("GRU", (0, 1, 2), 1),
    "LSTM": Kind("LSTM", (0, 3, 1, 2), 2),
}
"""Keras has the gates of an LSTM in the order i, f, c, o, the standard in the order i, o, f, c; both have z, r, h for a
GRU."""

FUNCTIONS: Final[Mapping[str, tuple[str, float, float]]] = {
    "tanh": ("Tanh", 0, 0),
    "sigmoid": ("Sigmoid", 0, 0),
    "relu": ("Relu", 0, 0),
    "softsign": ("Softsign", 0, 0),
    "softplus": ("Softplus", 0, 0),
    "elu": ("Elu", 1, 0),
    "leaky_relu": ("LeakyRelu", 0.2, 0),
    "hard_sigmoid": ("HardSigmoid", 1 / 6, 0.5),
    "linear": ("Affine", 1, 0),
}
"""The activations that the standard has for recurrent operators, and their numbers."""

_DEFAULT: Final = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}


class Cell(NamedTuple):
    """One direction of a recurrent layer: the weights of the standard, and its options."""

    kind: Kind
    units: int
    functions: tuple[str, ...]
    reset_after: bool
    weight: Array
    recurrent: Array
    bias: Array | None

    def goes_with(self, other: Cell) -> bool:
        """Whether both can be the directions of one node."""
        return self[:4] == other[:4] and self.weight.shape == other.weight.shape and _has(self) == _has(other)


def _has(cell: Cell) -> bool:
    return cell.bias is not None


def read_cell(spec: Spec, kind: Kind, inputs: int) -> Cell:
    """The cell whose options and weights a layer has."""
    units, bias = spec.whole("units"), spec.flag("use_bias", True)
    outer = function_name(spec.get("activation", "tanh"))
    inner = function_name(spec.get("recurrent_activation", "sigmoid")) if kind.operator != "RNN" else ""
    functions = {"RNN": (outer,), "GRU": (inner, outer), "LSTM": (inner, outer, outer)}[kind.operator]
    if other := [each for each in functions if each not in FUNCTIONS]:
        raise LayerError(f"its activation {other[0]} is none that a recurrent operator can have")
    for unused in ("unit_forget_bias", "implementation", "seed"):
        spec.get(unused)
    after = kind.operator == "GRU" and spec.flag("reset_after", True)
    if spec.number("recurrent_dropout"):
        spec.note("recurrent_dropout is left out: it acts in training alone, and has no counterpart here")
    rows = len(kind.gates) * units
    weight, recurrent = spec.weight(inputs, rows, index=0), spec.weight(units, rows, index=1)
    shift = None
    if bias:
        shift = spec.weight(2, rows, index=2) if after else spec.weight(rows, index=2).reshape(1, rows)
        shift = np.concatenate([_ordered(each, kind, units) for each in shift])
    turned = [_ordered(each.T, kind, units) for each in (weight, recurrent)]
    return Cell(kind, units, functions, after, turned[0], turned[1], shift)


def _ordered(rows: Array, kind: Kind, units: int) -> Array:
    """Rows of all gates in the standard's order."""
    return np.concatenate([rows[place * units : (place + 1) * units] for place in kind.gates])


class Recurrent(Layer):
    """A node RNN, GRU or LSTM of one direction or two.

    Args:
        name: the name of the layer.
        cells: one for each direction.
    """

    def __init__(self, name: str, cells: Sequence[Cell]) -> None:
        super().__init__(name)
        self.cells = cells

    def __call__(self, x: Symbol) -> Symbol:
        """(steps, batch, in) → (steps, directions, batch, units)."""
        return self.run(x, None, ())[0]

    def run(self, x: Symbol, lengths: Symbol | None, states: Sequence[Symbol]) -> tuple[Symbol, ...]:
        """The states of all steps, (steps, directions, batch, units), and the last ones, (directions, batch, units)."""
        cell, both = self.cells[0], len(self.cells) > 1

        def stacked(role: str, arrays: Sequence[Array]) -> Symbol:
            value = np.stack(arrays)
            return self.parameter(f"{role}_l0", value.shape, x.dtype, value)

        w, r = (
            stacked("weight", [each.weight for each in self.cells]),
            stacked("recurrent", [each.recurrent for each in self.cells]),
        )
        b = stacked("bias", [each.bias for each in self.cells if each.bias is not None]) if _has(cell) else None
        if b is not None and not cell.reset_after:  # Keras adds one number where the standard adds two.
            b = emit("Concat", b, emit("Expand", constant(0, x.dtype), integers(_sizes_of(b))), axis=1)
        attributes: dict[str, Any] = {"hidden_size": cell.units}
        if both:
            attributes["direction"] = "bidirectional"
        if cell.reset_after:
            attributes["linear_before_reset"] = 1
        if cell.functions != _DEFAULT[cell.kind.operator]:
            found = [Function(*FUNCTIONS[name]) for name in cell.functions] * len(self.cells)
            attributes |= {"activations": [each.name for each in found], **explicit(found)}
        self._uses += 1
        name = self.name if self._uses == 1 else f"{self.name}_{self._uses}"
        made = emit_all(
            cell.kind.operator, x, w, r, b, lengths, *states, outputs=cell.kind.states + 1, name=name, **attributes
        )
        for leaf in self._parameters.values():
            leaf.owner = leaf.owner or made[0]
        return made


def _sizes_of(x: Symbol) -> list[int]:
    return [size for size in x.shape if isinstance(size, int)]


class Options(NamedTuple):
    """How a layer uses its cell."""

    sequences: bool
    state: bool
    backwards: bool
    zeros: bool


def read_options(spec: Spec) -> Options:
    """The options of a recurrent layer that are not its cell's."""
    spec.only("stateful", False)
    for unused in ("unroll", "time_major", "use_cudnn"):
        spec.get(unused)
    flags = ("return_sequences", "return_state", "go_backwards", "zero_output_for_mask")
    return Options(*(spec.flag(flag) for flag in flags))


class Ran(NamedTuple):
    """What a direction gives: all states (batch, steps, units), and the last ones, (batch, units) each."""

    sequence: Symbol
    final: tuple[Symbol, ...]


def _reversed(x: Symbol, axis: int = 1) -> Symbol:
    ends = [[-1], [-(2**31)], [axis], [-1]]
    return emit("Slice", x, *(integers(each) for each in ends))


def run(layer: Recurrent, x: Symbol, mask: Symbol | None, options: Options, states: Sequence[Symbol] = ()) -> Ran:
    """One direction over (batch, steps, in), as Keras runs it: what is masked leaves the state as it is."""
    if options.backwards:
        x, mask = _reversed(x), None if mask is None else _reversed(mask)
    given = [emit("Unsqueeze", state, integers([0])) for state in states]
    if mask is None:
        y, *final = layer.run(emit("Transpose", x, perm=[1, 0, 2]), None, given)
        sequence = emit("Transpose", emit("Squeeze", y, integers([1])), perm=[1, 0, 2])
        return Ran(sequence, tuple(emit("Squeeze", each, integers([0])) for each in final))
    return _run_masked(layer, x, mask, options, states)


def _run_masked(layer: Recurrent, x: Symbol, mask: Symbol, options: Options, states: Sequence[Symbol]) -> Ran:
    """The steps that count are brought to the front, run, and their states brought back to their places."""
    counts = cast(mask, "int64")
    rank = emit("CumSum", counts, constant(1, "int64")) - 1
    place = emit("CumSum", emit("Expand", constant(1, "int64"), emit("Shape", counts)), constant(1, "int64")) - 1
    total = emit("ReduceSum", counts, integers([1]), keepdims=1)
    target = emit("Where", mask, rank, total + (place - rank) - 1)
    order = emit("ScatterElements", zeros_like(counts), target, place, axis=1)
    lengths = cast(emit("Max", emit("Squeeze", total, integers([1])), constant(1, "int64")), "int32")
    given = [emit("Unsqueeze", state, integers([0])) for state in states]
    y, *last = layer.run(emit("Transpose", _at(x, order), perm=[1, 0, 2]), lengths, given)
    packed = emit("Transpose", emit("Squeeze", y, integers([1])), perm=[1, 0, 2])
    sequence = _at(packed, emit("Max", rank, constant(0, "int64")))
    zero = constant(0, "int64")
    there = mask if options.zeros else emit("GreaterOrEqual", rank, zero)
    sequence = emit("Where", emit("Unsqueeze", there, integers([2])), sequence, constant(0, x.dtype))
    any_step = emit("Greater", total, zero)
    before = list(states) or [constant(0, x.dtype)] * len(last)
    final = (
        emit("Where", any_step, emit("Squeeze", each, integers([0])), old)
        for each, old in zip(last, before, strict=True)
    )
    return Ran(sequence, tuple(final))


def _at(x: Symbol, order: Symbol) -> Symbol:
    """x (batch, steps, features) with the steps in another order, (batch, steps)."""
    index = emit("Expand", emit("Unsqueeze", order, integers([2])), emit("Shape", x))
    return emit("GatherElements", x, index, axis=1)


def _given(states: object, count: int) -> list[Symbol]:
    """The states that a call gives."""
    found = [states] if isinstance(states, Held) else states
    if found is None:
        return []
    if not isinstance(found, list | tuple) or not all(isinstance(each, Held) for each in found) or len(found) != count:
        raise LayerError(f"it takes {count} initial states")
    return [each.plain for each in found]


def _dropped(spec: Spec, options: Spec, x: Held) -> Symbol:
    """The input, of which training drops whole features for all steps."""
    rate = options.number("dropout")
    if not rate:
        return x.plain
    shape = emit("Concat", sizes(x.plain, [0]), integers([1]), sizes(x.plain, [2]), axis=0)
    ones = emit("Expand", constant(1, x.dtype), shape)
    name = f"{spec.name}.dropout"
    return emit("Mul", x.plain, spec.once(lambda: layers.Dropout(rate, name=name), f"{name} {options.name}")(ones))


def recurrent(kind: Kind) -> Callable[..., Any]:
    """LSTM, GRU, SimpleRNN."""

    def build(spec: Spec, x: Held, *states: Any, initial_state: Any = None) -> Any:
        options = read_options(spec)
        cell = spec.inside(spec.config, spec.kind, spec.name, "cell")
        inputs = _steps(x)

        def make() -> Recurrent:
            return Recurrent(f"{spec.name}.cell", [read_cell(cell, kind, inputs)])

        layer = spec.once(make)
        given = _given(initial_state if initial_state is not None else (list(states) or None), kind.states)
        source = _dropped(spec, cell, x)
        spec.adopt(cell)
        return _results(spec, run(layer, source, x.mask, options, given), options, x.mask)

    return build


def _steps(x: Held) -> int:
    if x.rank != 3:
        raise LayerError(f"it needs (batch, steps, features), and its input has {x.rank} axes")
    return known(x.shape[2], "the features")


def _named(spec: Spec, x: Symbol, key: str = "") -> Held:
    return Held(spec.once(lambda: OperatorLayer("Identity", "identity", f"{spec.name}{key}"), f"out{key}")(x))


def _results(spec: Spec, ran: Ran, options: Options, mask: Symbol | None) -> Any:
    last = ran.final[0]
    result = _named(spec, ran.sequence if options.sequences else last)
    if options.sequences:
        result.mask = mask
    if not options.state:
        return result
    return [result, *(Held(each) for each in ran.final)]


_CELLS: Final = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}


def rnn(spec: Spec, x: Held, initial_state: Any = None) -> Any:
    """RNN of one cell, or of several on top of each other."""
    options = read_options(spec)
    cell = spec["cell"]
    if not isinstance(cell, Mapping) or not isinstance(cell.get("config"), Mapping):
        raise LayerError("its cell is not described")
    kind = str(cell.get("class_name"))
    stacked = kind == "StackedRNNCells"
    cells = cell["config"].get("cells") if stacked else [cell]
    if not isinstance(cells, list) or not all(isinstance(each, Mapping) for each in cells):
        raise LayerError("its cells are not described")
    names = [str(each.get("class_name")) for each in cells]
    if unknown := [name for name in names if name not in _CELLS]:
        raise LayerError(f"its cell {unknown[0]} is none that is known here")
    if initial_state is not None and stacked:
        raise LayerError("initial states of several cells have no counterpart here")
    value, states = x, list[Symbol]()
    ran: Ran | None = None
    for place, (each, name) in enumerate(zip(cells, names, strict=True)):
        before = names[:place].count(name)
        where = f"cell/cells/{_snake(name)}{f'_{before}' if before else ''}" if stacked else "cell"
        inner = spec.inside(dict(each.get("config") or {}), name, f"{spec.name}.cell_{place + 1}", where)
        known_kind, inputs = KINDS[_CELLS[name]], _steps(value)
        if stacked and value.mask is not None:
            raise LayerError("masked steps of several cells have no counterpart here")

        def make(inner: Spec = inner, known_kind: Kind = known_kind, inputs: int = inputs) -> Recurrent:
            return Recurrent(inner.name, [read_cell(inner, known_kind, inputs)])

        layer = spec.once(make, f"layer {place}")
        source = _dropped(spec, inner, value)
        inner.check_options()
        backwards = options.backwards and place == 0
        ran = run(
            layer, source, x.mask, options._replace(backwards=backwards), _given(initial_state, known_kind.states)
        )
        states += ran.final
        value = Held(ran.sequence)
    if ran is None:
        raise LayerError("it has no cells")
    if stacked and options.state:
        raise LayerError("the states of several cells have no counterpart here")
    return _results(spec, ran, options, x.mask)


def _snake(name: str) -> str:
    return {"LSTMCell": "lstm_cell", "GRUCell": "gru_cell", "SimpleRNNCell": "simple_rnn_cell"}[name]


_MERGES: Final[Mapping[str, Callable[[Symbol, Symbol], Symbol]]] = {
    "concat": lambda one, other: emit("Concat", one, other, axis=-1),
    "sum": lambda one, other: one + other,
    "ave": lambda one, other: (one + other) * 0.5,
    "mul": lambda one, other: one * other,
}


def bidirectional(spec: Spec, x: Held, initial_state: Any = None) -> Any:
    """Two layers, of which one reads the steps from the last to the first."""
    merge = spec.choice("merge_mode", (*_MERGES, None), "concat")
    specs, cells, options = [], [], []
    for option, place in (("layer", "forward_layer"), ("backward_layer", "backward_layer")):
        found = spec[option] if option == "layer" else spec.get(option) or _turned(spec["layer"])
        if not isinstance(found, Mapping) or found.get("class_name") not in KINDS:
            raise LayerError(f"its layer {found!r:.60} is no LSTM, GRU or SimpleRNN")
        name = f"{spec.name}.{place}"
        inner = spec.inside(dict(found.get("config") or {}), str(found["class_name"]), name, place)
        kind = KINDS[inner.kind]
        cell = inner.inside(inner.config, inner.kind, name, "cell")
        inputs = _steps(x)

        def make(cell: Spec = cell, kind: Kind = kind, inputs: int = inputs) -> Cell:
            return read_cell(cell, kind, inputs)

        options.append(read_options(inner))
        cells.append(spec.once(make, f"cell {place}"))
        specs.append((inner, cell))
    sequences = options[0].sequences
    if [each.backwards for each in options] != [False, True] or options[1].sequences != sequences:
        raise LayerError("its layers do not read the steps in both directions in the same way")
    count = cells[0].kind.states
    given = _given(initial_state, 2 * count)
    rates = [cell.number("dropout") for _, cell in specs]
    together = cells[0].goes_with(cells[1]) and x.mask is None and not any(rates)
    if together and merge == "concat" and not given and not options[0].state:
        for inner, cell in specs:
            inner.adopt(cell)
            inner.check_options()
        return _concatenated(spec, cells, x.plain, sequences=sequences)
    if together:
        one, other = _run_both(spec, cells, x.plain, given)
    else:

        def alone(place: int) -> Recurrent:
            return spec.once(lambda: Recurrent(specs[place][1].name, [cells[place]]), f"layer {place}")

        single = [alone(0), alone(1)]
        zeros = [each._replace(zeros=sequences) for each in options]
        parts = (given[:count], given[count:])
        sources = [_dropped(spec, cell, x) for _, cell in specs]
        one, other = (run(single[at], sources[at], x.mask, zeros[at], parts[at]) for at in (0, 1))
        other = other._replace(sequence=_reversed(other.sequence))
    for inner, cell in specs:
        inner.adopt(cell)
        inner.check_options()
    results = [each.sequence if sequences else each.final[0] for each in (one, other)]
    mask = x.mask if sequences else None
    states = [Held(each) for each in (*one.final, *other.final)] if options[0].state else []
    if merge is None:
        found = [Held(each, mask=mask) for each in results]
    else:
        found = [_named(spec, _MERGES[merge](*results))]
        found[0].mask = mask
    return [*found, *states] if states or merge is None else found[0]


def _turned(layer: Any) -> Any:
    """The configuration of the second layer, where an older version does not write it."""
    if not isinstance(layer, Mapping) or not isinstance(layer.get("config"), Mapping):
        return layer
    return {**layer, "config": {**layer["config"], "go_backwards": not layer["config"].get("go_backwards", False)}}


def _run_both(spec: Spec, cells: Sequence[Cell], x: Symbol, states: Sequence[Symbol]) -> tuple[Ran, Ran]:
    """Both directions as one node; the states of the second one are in the order of the steps."""
    layer = spec.once(lambda: Recurrent(f"{spec.name}.cells", cells), "both")
    count = cells[0].kind.states
    given = [
        emit("Concat", *(emit("Unsqueeze", states[at + half], integers([0])) for half in (0, count)), axis=0)
        for at in range(count if states else 0)
    ]
    y, *last = layer.run(emit("Transpose", x, perm=[1, 0, 2]), None, given)
    steps = emit_all("Split", emit("Transpose", y, perm=[1, 2, 0, 3]), outputs=2, axis=0, num_outputs=2)
    ends = [emit_all("Split", each, outputs=2, axis=0, num_outputs=2) for each in last]

    def flat(value: Symbol) -> Symbol:
        return emit("Squeeze", value, integers([0]))

    return tuple(Ran(flat(steps[at]), tuple(flat(each[at]) for each in ends)) for at in (0, 1))  # type: ignore[return-value]


def _concatenated(spec: Spec, cells: Sequence[Cell], x: Symbol, *, sequences: bool) -> Held:
    """Both directions as one node, with their features next to each other, as this package's own layers have them."""
    layer = spec.once(lambda: Recurrent(f"{spec.name}.cells", cells), "both")
    y, *last = layer.run(emit("Transpose", x, perm=[1, 0, 2]), None, ())
    features = 2 * cells[0].units
    if not sequences:
        rows = emit("Transpose", last[0], perm=[1, 0, 2])
        return Held(emit("Reshape", rows, integers([0, features]), name=spec.next_name()))
    joined = emit("Reshape", emit("Transpose", y, perm=[0, 2, 1, 3]), integers([0, 0, features]))
    return Held(emit("Transpose", joined, perm=[1, 0, 2], name=spec.next_name()))


LAYERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: recurrent(kind) for name, kind in KINDS.items()},
    "RNN": rnn,
    "Bidirectional": bidirectional,
}
"""What makes each layer: ``(layer, tensor, …) → tensor or tensors``."""
