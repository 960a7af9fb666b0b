"""Keras's recurrent layers as the standard's RNN, GRU and LSTM: directions, masks, states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from portable_nn import layers
from portable_nn.converters.keras.layers.cells import Cell, RecurrentLayer, read_cell
from portable_nn.converters.keras.spec import LAYERS, Held, Spec, config_of, described, known, ones, snake_case
from portable_nn.converters.layers.gates import KERAS
from portable_nn.core.errors import RefusalError
from portable_nn.layers.layer import OperatorLayer
from portable_nn.operators import Symbol, cast, constant, emit, emit_all, integers, squeezed, unsqueezed, zeros_like


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


def _reversed(x: Symbol) -> Symbol:
    ends = [[-1], [-(2**31)], [1], [-1]]
    return emit("Slice", x, *(integers(each) for each in ends))


def run(layer: RecurrentLayer, x: Symbol, mask: Symbol | None, options: Options, states: Sequence[Held] = ()) -> Ran:
    """One direction over (batch, steps, in), as Keras runs it: what is masked leaves the state as it is."""
    if options.backwards:
        x, mask = _reversed(x), None if mask is None else _reversed(mask)
    given = [unsqueezed(state.plain, 0) for state in states]
    if mask is None:
        y, *final = layer.run(emit("Transpose", x, perm=[1, 0, 2]), None, given)
        sequence = emit("Transpose", squeezed(y, 1), perm=[1, 0, 2])
        return Ran(sequence, tuple(squeezed(each, 0) for each in final))
    return _run_masked(layer, x, mask, options, [state.plain for state in states])


def _run_masked(layer: RecurrentLayer, x: Symbol, mask: Symbol, options: Options, states: Sequence[Symbol]) -> Ran:
    """The steps that count are brought to the front, run, and their states brought back to their places."""
    counts = cast(mask, "int64")
    rank = emit("CumSum", counts, constant(1, "int64")) - 1
    place = emit("CumSum", emit("Expand", constant(1, "int64"), emit("Shape", counts)), constant(1, "int64")) - 1
    total = emit("ReduceSum", counts, integers([1]), keepdims=1)
    target = emit("Where", mask, rank, total + (place - rank) - 1)
    order = emit("ScatterElements", zeros_like(counts), target, place, axis=1)
    lengths = cast(emit("Max", squeezed(total, 1), constant(1, "int64")), "int32")
    given = [unsqueezed(state, 0) for state in states]
    y, *last = layer.run(emit("Transpose", _at(x, order), perm=[1, 0, 2]), lengths, given)
    packed = emit("Transpose", squeezed(y, 1), perm=[1, 0, 2])
    sequence = _at(packed, emit("Max", rank, constant(0, "int64")))
    zero = constant(0, "int64")
    there = mask if options.zeros else emit("GreaterOrEqual", rank, zero)
    sequence = emit("Where", unsqueezed(there, 2), sequence, constant(0, x.dtype))
    any_step = emit("Greater", total, zero)
    before = list(states) or [constant(0, x.dtype)] * len(last)
    final = (emit("Where", any_step, squeezed(each, 0), old) for each, old in zip(last, before, strict=True))
    return Ran(sequence, tuple(final))


def _at(x: Symbol, order: Symbol) -> Symbol:
    """x (batch, steps, features) with the steps in another order, (batch, steps)."""
    index = emit("Expand", unsqueezed(order, 2), emit("Shape", x))
    return emit("GatherElements", x, index, axis=1)


def states_of(states: object, count: int) -> list[Held]:
    """The states that a call gives; none for zeros."""
    found = [states] if isinstance(states, Held) else [] if states is None else states
    if not isinstance(found, list | tuple) or not all(isinstance(each, Held) for each in found):
        raise RefusalError(f"it takes {count} initial states")
    if len(found) not in (0, count) or (states is not None and not found):
        raise RefusalError(f"it takes {count} initial states")
    return list(found)


def _dropped(spec: Spec, options: Spec, x: Held) -> Symbol:
    """The input, of which training drops whole features for all steps."""
    rate = options.number("dropout")
    if not rate:
        return x.plain
    name = f"{options.name}.dropout"
    return emit(
        "Mul", x.plain, spec.once(lambda: layers.Dropout(rate, name=name), name)(ones(x.plain, [None, 1, None]))
    )


def _layer(spec: Spec, inner: Spec, x: Held, name: str) -> RecurrentLayer:
    """The node of a cell, which reads (batch, steps, features)."""
    if x.rank != 3:
        spec.refuse(f"it needs (batch, steps, features), and its input has {x.rank} axes")
    kind, inputs = KERAS[inner.kind.removesuffix("Cell")], known(x.shape[2], "the features")
    return spec.once(lambda: RecurrentLayer(name, [read_cell(inner, kind, inputs)]), f"layer {name}")


@LAYERS.row(*KERAS)
def recurrent(spec: Spec, x: Held, *states: Any, initial_state: Any = None) -> Any:
    """LSTM, GRU, SimpleRNN."""
    options, cell = read_options(spec), spec.inside(spec.config, spec.kind, spec.name, "cell")
    layer = _layer(spec, cell, x, f"{spec.name}.cell")
    given = states_of(initial_state if initial_state is not None else list(states) or None, layer.cells[0].kind.states)
    source = _dropped(spec, cell, x)
    spec.adopt(cell)
    return _results(spec, run(layer, source, x.mask, options, given), options, x.mask)


def _named(spec: Spec, x: Symbol, mask: Symbol | None) -> Held:
    return Held(spec.once(lambda: OperatorLayer("Identity", "identity", spec.name), "out")(x), mask=mask)


def _results(spec: Spec, ran: Ran, options: Options, mask: Symbol | None) -> Any:
    sequences = options.sequences
    result = _named(spec, ran.sequence if sequences else ran.final[0], mask if sequences else None)
    return [result, *map(Held, ran.final)] if options.state else result


def _cells(spec: Spec) -> list[Spec]:
    """The cells of RNN, one or several on top of each other, which files number by class."""
    cell = described(spec["cell"], "its cell")
    stacked = cell["class_name"] == "StackedRNNCells"
    listed = cell["config"].get("cells") if stacked else [cell]
    found, used = list[Spec](), Counter[str]()
    for number, each in enumerate(listed if isinstance(listed, list) else [listed], 1):
        kind, config = (described(each, "its cell")[key] for key in ("class_name", "config"))
        if kind.removesuffix("Cell") not in KERAS or not kind.endswith("Cell"):
            spec.refuse(f"its cell {kind} is none that is known here")
        place = f"cell/cells/{snake_case(kind)}{f'_{used[kind]}' if used[kind] else ''}" if stacked else "cell"
        found.append(spec.inside(config, kind, f"{spec.name}.cell_{number}", place))
        used[kind] += 1
    if not found:
        spec.refuse("it has no cells")
    return found


@LAYERS.row("RNN")
def rnn(spec: Spec, x: Held, initial_state: Any = None) -> Any:
    """RNN of one cell, or of several on top of each other."""
    options, cells = read_options(spec), _cells(spec)
    if len(cells) > 1 and (initial_state is not None or options.state):
        spec.refuse("the states of several cells have no counterpart here")
    value, mask, backwards = x, x.mask, options.backwards
    for cell in cells:
        layer = _layer(spec, cell, value, cell.name)
        source, given = _dropped(spec, cell, value), states_of(initial_state, layer.cells[0].kind.states)
        cell.check_options()
        ran = run(layer, source, mask, options._replace(backwards=backwards), given)
        mask = _reversed(mask) if backwards and mask is not None else mask
        value, backwards = Held(ran.sequence), False
    return _results(spec, ran, options, x.mask)


_MERGES: Final[Mapping[str, Callable[[Symbol, Symbol], Symbol]]] = {
    "concat": lambda one, other: emit("Concat", one, other, axis=-1),
    "sum": lambda one, other: one + other,
    "ave": lambda one, other: (one + other) * 0.5,
    "mul": lambda one, other: one * other,
}


@LAYERS.row("Bidirectional")
def bidirectional(spec: Spec, x: Held, initial_state: Any = None) -> Any:
    """Two layers, of which one reads the steps from the last to the first."""
    merge = spec.choice("merge_mode", (*_MERGES, None), "concat")
    inner = [
        _direction(spec, spec["layer"], "forward_layer"),
        _direction(spec, spec.get("backward_layer") or _turned(spec["layer"]), "backward_layer"),
    ]
    options = [read_options(each) for each in inner]
    sequences = options[0].sequences
    if [each.backwards for each in options] != [False, True] or options[1].sequences != sequences:
        spec.refuse("its layers do not read the steps in both directions in the same way")
    layers = [_layer(spec, each, x, each.name) for each in inner]
    cells = [layer.cells[0] for layer in layers]
    given, count = states_of(initial_state, 2 * cells[0].kind.states), cells[0].kind.states
    together = _are_one(inner, cells, x.mask)
    if together and merge == "concat" and not given and not options[0].state:
        made = _concatenated(spec, cells, x.plain, sequences=sequences)
    elif together:
        made = _merged(spec, merge, options[0], _run_both(spec, cells, x.plain, given), x.mask)
    else:
        one, other = (
            run(layer, _dropped(spec, cell, x), x.mask, option._replace(zeros=sequences), states)
            for layer, cell, option, states in zip(layers, inner, options, (given[:count], given[count:]), strict=True)
        )
        both = (one, other._replace(sequence=_reversed(other.sequence)))
        made = _merged(spec, merge, options[0], both, x.mask)
    for each in inner:
        each.check_options()
    return made


def _are_one(inner: Sequence[Spec], cells: Sequence[Cell], mask: Symbol | None) -> bool:
    """True if two directions can be one node, which nothing is dropped or masked before."""
    rates = [each.number("dropout") for each in inner]
    return mask is None and not any(rates) and cells[0].goes_with(cells[1])


def _direction(spec: Spec, layer: Any, place: str) -> Spec:
    """One of the two layers."""
    if not isinstance(layer, Mapping) or layer.get("class_name") not in KERAS:
        spec.refuse(f"its layer {layer!r:.60} is no LSTM, GRU or SimpleRNN")
    name = f"{spec.name}.{place}"
    return spec.inside(dict(config_of(layer)), str(layer["class_name"]), name, f"{place}/cell")


def _merged(spec: Spec, merge: str | None, options: Options, both: tuple[Ran, Ran], mask: Symbol | None) -> Any:
    """The results of both directions, and their states if they are wanted."""
    states = [Held(each) for ran in both for each in ran.final] if options.state else []
    results = [ran.sequence if options.sequences else ran.final[0] for ran in both]
    mask = mask if options.sequences else None
    if merge is None:
        return [*(Held(each, mask=mask) for each in results), *states]
    found = _named(spec, _MERGES[merge](*results), mask)
    return [found, *states] if states else found


def _turned(layer: Any) -> Any:
    """The configuration of the second layer, where an older version does not write it."""
    if not isinstance(layer, Mapping) or not isinstance(layer.get("config"), Mapping):
        return layer
    return {**layer, "config": {**layer["config"], "go_backwards": not layer["config"].get("go_backwards", False)}}


def _run_both(spec: Spec, cells: Sequence[Cell], x: Symbol, states: Sequence[Held]) -> tuple[Ran, Ran]:
    """Both directions as one node; the states of the second one are in the order of the steps."""
    layer = spec.once(lambda: RecurrentLayer(f"{spec.name}.cells", cells), "both")
    count = cells[0].kind.states
    given = [
        emit("Concat", *(unsqueezed(states[at + half].plain, 0) for half in (0, count)), axis=0)
        for at in range(count if states else 0)
    ]
    y, *last = layer.run(emit("Transpose", x, perm=[1, 0, 2]), None, given)
    steps = emit_all("Split", emit("Transpose", y, perm=[1, 2, 0, 3]), outputs=2, axis=0, num_outputs=2)
    ends = [emit_all("Split", each, outputs=2, axis=0, num_outputs=2) for each in last]

    def flat(value: Symbol) -> Symbol:
        return squeezed(value, 0)

    return tuple(Ran(flat(steps[at]), tuple(flat(each[at]) for each in ends)) for at in (0, 1))  # type: ignore[return-value]


def _concatenated(spec: Spec, cells: Sequence[Cell], x: Symbol, *, sequences: bool) -> Held:
    """Both directions as one node, with their features next to each other, as this package's own layers have them."""
    layer = spec.once(lambda: RecurrentLayer(f"{spec.name}.cells", cells), "both")
    y, *last = layer.run(emit("Transpose", x, perm=[1, 0, 2]), None, ())
    features = 2 * cells[0].units
    if not sequences:
        rows = emit("Transpose", last[0], perm=[1, 0, 2])
        return Held(emit("Reshape", rows, integers([0, features]), name=spec.next_name()))
    joined = emit("Reshape", emit("Transpose", y, perm=[0, 2, 1, 3]), integers([0, 0, features]))
    return Held(emit("Transpose", joined, perm=[1, 0, 2], name=spec.next_name()))
