"""Keras's recurrent layers as the standard's RNN, GRU and LSTM: directions, masks, states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from portable_nn import layers
from portable_nn.converters.keras.held import Held
from portable_nn.converters.keras.layers.cells import KINDS, Cell, CellKind, Recurrent, read_cell
from portable_nn.converters.keras.layers.channels import known, ones
from portable_nn.converters.keras.spec import Spec
from portable_nn.core.errors import RefusalError
from portable_nn.layers.layer import OperatorLayer
from portable_nn.operators import Symbol, cast, constant, emit, emit_all, integers
from portable_nn.operators.symbols import zeros_like


class Options(NamedTuple):
    """The options with which a layer uses its cell."""

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
    """The results of a direction: all states (batch, steps, units), and the last ones, (batch, units) each."""

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
        raise RefusalError(f"it takes {count} initial states")
    return [each.plain for each in found]


def _dropped(spec: Spec, options: Spec, x: Held) -> Symbol:
    """The input, of which training drops whole features for all steps."""
    rate = options.number("dropout")
    if not rate:
        return x.plain
    name = f"{options.name}.dropout"
    return emit(
        "Mul",
        x.plain,
        spec.once(lambda: layers.Dropout(rate, name=name), name)(ones(x.plain, [None, 1, None])),
    )


def recurrent(kind: CellKind) -> Callable[..., Any]:
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
        raise RefusalError(f"it needs (batch, steps, features), and its input has {x.rank} axes")
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
        spec.refuse("its cell is not described")
    kind = str(cell.get("class_name"))
    stacked = kind == "StackedRNNCells"
    cells = cell["config"].get("cells") if stacked else [cell]
    if not isinstance(cells, list) or not all(isinstance(each, Mapping) for each in cells):
        spec.refuse("its cells are not described")
    names = [str(each.get("class_name")) for each in cells]
    if unknown := [name for name in names if name not in _CELLS]:
        spec.refuse(f"its cell {unknown[0]} is none that is known here")
    if initial_state is not None and stacked:
        spec.refuse("initial states of several cells have no counterpart here")
    value, mask, states = x, x.mask, list[Symbol]()
    ran: Ran | None = None
    for place, (each, name) in enumerate(zip(cells, names, strict=True)):
        before = names[:place].count(name)
        where = f"cell/cells/{_snake(name)}{f'_{before}' if before else ''}" if stacked else "cell"
        inner = spec.inside(dict(each.get("config") or {}), name, f"{spec.name}.cell_{place + 1}", where)
        known_kind, inputs = KINDS[_CELLS[name]], _steps(value)

        def make(inner: Spec = inner, known_kind: CellKind = known_kind, inputs: int = inputs) -> Recurrent:
            return Recurrent(inner.name, [read_cell(inner, known_kind, inputs)])

        layer = spec.once(make, f"layer {place}")
        source = _dropped(spec, inner, value)
        inner.check_options()
        backwards = options.backwards and place == 0
        ran = run(layer, source, mask, options._replace(backwards=backwards), _given(initial_state, known_kind.states))
        mask = _reversed(mask) if backwards and mask is not None else mask
        states += ran.final
        value = Held(ran.sequence)
    if ran is None:
        spec.refuse("it has no cells")
    if stacked and options.state:
        spec.refuse("the states of several cells have no counterpart here")
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
            spec.refuse(f"its layer {found!r:.60} is no LSTM, GRU or SimpleRNN")
        name = f"{spec.name}.{place}"
        inner = spec.inside(dict(found.get("config") or {}), str(found["class_name"]), name, place)
        kind = KINDS[inner.kind]
        cell = inner.inside(inner.config, inner.kind, name, "cell")
        inputs = _steps(x)

        def make(cell: Spec = cell, kind: CellKind = kind, inputs: int = inputs) -> Cell:
            return read_cell(cell, kind, inputs)

        options.append(read_options(inner))
        cells.append(spec.once(make, f"cell {place}"))
        specs.append((inner, cell))
    sequences = options[0].sequences
    if [each.backwards for each in options] != [False, True] or options[1].sequences != sequences:
        spec.refuse("its layers do not read the steps in both directions in the same way")
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
"""The function that makes each layer: ``(layer, tensor, …) → tensor or tensors``."""
