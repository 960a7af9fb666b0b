"""The operations of ``keras.ops``, which arithmetic on tensors makes too; pools, of windows and of all cells."""

from __future__ import annotations

from itertools import pairwise
from string import ascii_letters
from typing import Any, Final

from portable_nn import layers
from portable_nn.converters.keras.layers.merging import either
from portable_nn.converters.keras.layers.moving import all_places, one_axis, places
from portable_nn.converters.keras.spec import (
    LAYERS,
    OPERATIONS,
    Held,
    Spec,
    aligned,
    back,
    by_axes,
    by_channels,
    channels_first,
    known,
)
from portable_nn.operators import cast, constant, emit, emit_all, integers, sizes, squeezed, unsqueezed


@LAYERS.row(**by_axes("MaxPooling{}", "AveragePooling{}"))
def pool(axes: int, spec: Spec, x: Held) -> Held:
    """MaxPooling and AveragePooling: means do not count the cells of the padding."""
    symbol, first = by_channels(spec, x, axes + 2)
    kernel = spec.wholes("pool_size", axes)
    stride = kernel if spec.get("strides") is None else spec.wholes("strides", axes)
    given = {"stride": stride, "padding": spec.choice("padding", ("valid", "same"), "valid"), "name": spec.name}
    kind, more = ("Avg", {"count_include_pad": False}) if "Average" in spec.kind else ("Max", {})
    return back(spec.once(lambda: getattr(layers, f"{kind}Pool{axes}d")(kernel, **given, **more))(symbol), first)


@LAYERS.row(**by_axes("GlobalMaxPooling{}", "GlobalAveragePooling{}"))
def global_pool(axes: int, spec: Spec, x: Held) -> Held:
    """GlobalAveragePooling and GlobalMaxPooling."""
    symbol, first = by_channels(spec, x, axes + 2)
    average = "Average" in spec.kind
    if x.mask is not None and average:
        return _masked_mean(spec, x)
    make = layers.GlobalAvgPool if average else layers.GlobalMaxPool
    if spec.flag("keepdims"):
        return back(spec.once(lambda: make(name=spec.name))(symbol), first)
    made = spec.once(lambda: make(name=f"{spec.name}.pool"))(symbol)
    return Held(spec.once(lambda: layers.Flatten(name=spec.name), "flat")(made))


def _masked_mean(spec: Spec, x: Held) -> Held:
    """The mean of the steps that count."""
    assert x.mask is not None
    if spec.flag("keepdims") or channels_first(spec):
        spec.refuse("a mean of masked steps is offered with the channels last, and without keepdims")
    counted = unsqueezed(cast(x.mask, x.dtype), 2)
    total = emit("ReduceSum", x.plain * counted, integers([1]), keepdims=0)
    return Held(emit("Div", total, emit("ReduceSum", counted, integers([1]), keepdims=0), name=spec.next_name()))


@OPERATIONS.row(
    Add="Add", Divide="Div", Equal="Equal", Greater="Greater", GreaterEqual="GreaterOrEqual", Less="Less",
    LessEqual="LessOrEqual", LogicalAnd="And", LogicalOr="Or", LogicalXor="Xor", Matmul="MatMul", Maximum="Max",
    Minimum="Min", Mod="Mod", Multiply="Mul", Power="Pow", Subtract="Sub", TrueDivide="Div",
)  # fmt: skip
def binary(operator: str, spec: Spec, one: Any, other: Any) -> Held:
    """Arithmetic on two tensors, or on a tensor and a number."""
    values = [each for each in (one, other) if isinstance(each, Held)]
    if not values or not {type(one), type(other)} <= {Held, int, float}:
        spec.refuse("it takes tensors and numbers")
    plain = operator == "MatMul" or len({each.rank for each in values}) > 1
    symbols, moved = ([each.plain for each in values], False) if plain else aligned(values)
    rest = iter(symbols)
    operands = [next(rest) if isinstance(e, Held) else constant(e, symbols[0].dtype) for e in (one, other)]
    made = emit(operator, *operands, name=spec.next_name())
    mask = values[0].mask if len(values) == 1 else either([each.mask for each in values])
    return back(made, not moved, mask)


def _bounds(spec: Spec, key: slice) -> tuple[int, int, int]:
    """The beginning, the end and the step of a slice."""
    if any(part is not None and type(part) is not int for part in (key.start, key.stop, key.step)):
        spec.refuse("its slices are not of whole numbers")
    step = 1 if key.step is None else key.step
    first, last = (0, 2**31) if step > 0 else (2**31, -(2**31))
    return first if key.start is None else key.start, last if key.stop is None else key.stop, step


def _spread(spec: Spec, rank: int, key: Any) -> list[Any]:
    """The places along all axes, and None for new ones: an ellipsis stands for all that are not named."""
    given = list(key) if isinstance(key, list | tuple) else [key]
    missing = rank - sum(each is not None and each is not Ellipsis for each in given)
    if missing < 0 or given.count(Ellipsis) > 1:
        spec.refuse("it takes more axes than there are")
    at = given.index(Ellipsis) if Ellipsis in given else len(given)
    return [*given[:at], *[slice(None)] * missing, *given[at + 1 :]]


@OPERATIONS.row("GetItem")
def get_item(spec: Spec, x: Held, key: Any) -> Held:
    """x[…]: slices, single places and new axes."""
    whole, cut, picked, gone = _spread(spec, x.rank, key), dict[int, slice](), dict[int, int](), list[int]()
    for axis, each in enumerate(each for each in whole if each is not None):
        if type(each) is int and isinstance(x.shape[axis], int):
            cut[axis] = slice(each, each + 1 or None)
            gone.append(axis - len(picked))
        elif type(each) is int:
            picked[axis] = each
        elif not isinstance(each, slice):
            spec.refuse(f"its place {each!r:.60} is no number or slice")
        elif each != slice(None):
            cut[axis] = each
    value = x.plain
    if cut:
        starts, ends, steps = zip(*(_bounds(spec, each) for each in cut.values()), strict=True)
        value = emit("Slice", value, *map(integers, (starts, ends, cut, steps)))
    for axis, place in reversed(picked.items()):
        value = emit("Gather", value, constant(place, "int64"), axis=axis)
    value = emit("Squeeze", value, integers(gone)) if gone else value
    new = [place for place, each in enumerate(each for each in whole if type(each) is not int) if each is None]
    return Held(emit("Identity", emit("Unsqueeze", value, integers(new)) if new else value, name=spec.next_name()))


@OPERATIONS.row(
    Amax="ReduceMax", Amin="ReduceMin", Logsumexp="ReduceLogSumExp", Max="ReduceMax", Mean="ReduceMean",
    Min="ReduceMin", Prod="ReduceProd", Sum="ReduceSum",
)  # fmt: skip
def reduction(operator: str, spec: Spec, x: Held, *rest: Any, **options: Any) -> Held:
    """Mean, Sum, Max, Min over axes."""
    if rest or options:
        spec.refuse("it takes one tensor")
    axes, keep = integers(all_places(spec, x.rank)), int(spec.flag("keepdims"))
    return Held(emit(operator, x.plain, axes, keepdims=keep, name=spec.next_name()))


@OPERATIONS.row("ExpandDims")
def expand_dims(spec: Spec, x: Held) -> Held:
    """A new axis of size 1, or several."""
    given = spec.get("axis")
    axes = places(spec, "axis", x.rank + (len(given) if isinstance(given, list) else 1))
    return Held(emit("Unsqueeze", x.plain, integers(axes), name=spec.next_name()))


@OPERATIONS.row("Squeeze")
def squeeze(spec: Spec, x: Held) -> Held:
    """Without axes of size 1."""
    return Held(emit("Squeeze", x.plain, integers(places(spec, "axis", x.rank)), name=spec.next_name()))


@OPERATIONS.row("Flip")
def flip(spec: Spec, x: Held) -> Held:
    """An axis from its end to its beginning."""
    ends = [[-1], [-(2**31)], [one_axis(spec, x.rank)], [-1]]
    return Held(emit("Slice", x.plain, *(integers(each) for each in ends), name=spec.next_name()))


@OPERATIONS.row("NotEqual")
def not_equal(spec: Spec, one: Any, other: Any) -> Held:
    """True where two tensors differ, or a tensor and a number: so masks of steps begin."""
    made = binary("Equal", spec, one, other)
    return made.each(lambda symbol: emit("Not", symbol))


@OPERATIONS.row("Any")
def any_of(spec: Spec, x: Held) -> Held:
    """True where any entry along axes is true."""
    axes, keep = places(spec, "axis", x.rank), int(spec.flag("keepdims"))
    most = emit("ReduceMax", cast(x.plain, "int32"), integers(axes), keepdims=keep)
    return Held(emit("Cast", most, to=9, name=spec.next_name()))


@OPERATIONS.row(Concatenate=False, Stack=True)
def joined(new: bool, spec: Spec, tensors: Any) -> Held:
    """Tensors one behind the other along an axis, which may be a new one."""
    if not isinstance(tensors, list) or not tensors or not all(isinstance(each, Held) for each in tensors):
        spec.refuse("it takes a list of tensors")
    axis = one_axis(spec, tensors[0].rank + new)
    parts = [unsqueezed(each.plain, axis) if new else each.plain for each in tensors]
    return Held(emit("Concat", *parts, axis=axis, name=spec.next_name()))


@OPERATIONS.row("Pad")
def pad(spec: Spec, x: Held, constant_values: Any = None) -> Held:
    """Cells of one number around, of zeros by default."""
    spec.only("mode", "constant")
    constant_values = 0 if constant_values is None else constant_values
    widths = spec["pad_width"]
    if (
        not isinstance(widths, list)
        or len(widths) != x.rank
        or any(not isinstance(pair, list) or [type(each) for each in pair] != [int, int] for pair in widths)
        or type(constant_values) not in (int, float, bool)
    ):
        spec.refuse(f"its option pad_width must be pairs of whole numbers for {x.rank} axes, not {widths!r:.60}")
    spec.bounded(*(max(each, 1) for pair in widths for each in pair))
    ends = [pair[0] for pair in widths] + [pair[1] for pair in widths]
    number = constant(constant_values, x.dtype)
    return Held(emit("Pad", x.plain, integers(ends), number, name=spec.next_name()))


@OPERATIONS.row("Cumsum")
def cumsum(spec: Spec, x: Held) -> Held:
    """Sums of all entries so far along an axis; of ones they are places, whose bounds ``Range`` says."""
    origin = x.plain.origin
    first = origin.inputs[0] if origin.operator is not None and origin.operator.name == "Expand" else None
    if x.rank == 1 and first is not None and first.type.constant == (1,) and x.dtype in ("int32", "int64"):
        end = squeezed(sizes(x.plain, [0]), 0) + constant(1, "int64")
        return Held(cast(emit("Range", constant(1, "int64"), end, constant(1, "int64")), x.dtype))
    return Held(emit("CumSum", x.plain, constant(one_axis(spec, x.rank), "int64"), name=spec.next_name()))


@OPERATIONS.row(ZerosLike=0, OnesLike=1)
def all_like(number: int, spec: Spec, x: Held, dtype: Any = None) -> Held:
    """One number, in the shape of a tensor."""
    dtype = dtype or spec.get("dtype") or x.dtype
    return Held(emit("Expand", constant(number, str(dtype)), emit("Shape", x.plain), name=spec.next_name()))


MAX_PARTS: Final = 10_000


@OPERATIONS.row("Split")
def split(spec: Spec, x: Held) -> list[Held]:
    """Parts along an axis: a number of equal ones, or from place to place."""
    axis, given = one_axis(spec, x.rank), spec["indices_or_sections"]
    size = known(x.shape[axis], "the sizes")
    if type(given) is int and 0 < given <= MAX_PARTS and not size % given:
        lengths = [size // given] * given
    else:
        ends = [0, *given, size] if isinstance(given, list) and all(type(each) is int for each in given) else []
        if not ends or ends != sorted(ends):
            spec.refuse(f"its parts {given!r:.60} are none of {size} entries")
        lengths = [end - begin for begin, end in pairwise(ends)]
    return [Held(each) for each in emit_all("Split", x.plain, integers(lengths), outputs=len(lengths), axis=axis)]


@OPERATIONS.row("Repeat")
def repeat(spec: Spec, x: Held) -> Held:
    """Each entry along an axis several times."""
    times, axis = spec.whole("repeats"), one_axis(spec, x.rank)
    size = known(x.shape[axis], "the sizes")
    spec.bounded(size, times)
    index = constant([at for at in range(size) for _ in range(times)], "int64")
    return Held(emit("Gather", x.plain, index, axis=axis, name=spec.next_name()))


@OPERATIONS.row("MaxPool", "AveragePool")
def pool_operation(spec: Spec, x: Held) -> Held:
    """MaxPool and AveragePool, over as many axes as there are between batch and channels."""
    return pool(x.rank - 2, spec, x)


@OPERATIONS.row("Cast")
def to_dtype(spec: Spec, x: Held) -> Held:
    """The same in another type."""
    dtype = spec.choice("dtype", ("float32", "float64", "int32", "int64", "bool"))
    return x.each(lambda symbol: cast(symbol, dtype))


@OPERATIONS.row("ConvertToTensor")
def to_tensor(spec: Spec, x: Held) -> Held:
    """The tensor itself, or in another type."""
    spec.only("sparse", None, False)
    spec.only("ragged", None, False)
    return x.each(lambda symbol: symbol) if spec.get("dtype") is None else to_dtype(spec, x)


@OPERATIONS.row("Where")
def where(spec: Spec, condition: Held, one: Any, other: Any) -> Held:
    """The one where a condition holds, and the other elsewhere."""
    dtype = next((each.dtype for each in (one, other) if isinstance(each, Held)), "float32")
    parts = [each.plain if isinstance(each, Held) else constant(each, dtype) for each in (one, other)]
    return Held(emit("Where", condition.plain, *parts, name=spec.next_name()))


@OPERATIONS.row("Einsum")
def einsum(spec: Spec, *given: Any) -> Held:
    """Sums of products in Einstein's notation."""
    equation = spec["subscripts"]
    if not isinstance(equation, str) or len(equation) > 200 or not all(isinstance(each, Held) for each in given):
        spec.refuse("it takes an equation and tensors")
    return Held(emit("Einsum", *(each.plain for each in given), equation=equation, name=spec.next_name()))


@OPERATIONS.row("Tensordot")
def tensordot(spec: Spec, one: Held, other: Held) -> Held:
    """Sums of products along axes of two tensors."""
    axes = spec["axes"]
    pair = [[*range(-axes, 0)], [*range(axes)]] if type(axes) is int and axes <= one.rank else axes
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        spec.refuse(f"its option axes must be the axes of two tensors, not {axes!r:.60}")
    left, right = (spec.axes("axes", each, held.rank) for each, held in zip(pair, (one, other), strict=True))
    if len({*left}) != len(left) or len({*right}) != len(left) or len(right) != len(left):
        spec.refuse(f"its option axes must pair axes of two tensors, not {axes!r:.60}")
    names, others = ascii_letters[: one.rank], list(ascii_letters[one.rank : one.rank + other.rank])
    for first, second in zip(left, right, strict=True):
        others[second] = names[first]
    kept = [*(name for name in names if name not in others), *(name for name in others if name not in names)]
    equation = f"{names},{''.join(others)}->{''.join(kept)}"
    return Held(emit("Einsum", one.plain, other.plain, equation=equation, name=spec.next_name()))


@OPERATIONS.row("DotProductAttention")
def attend(
    spec: Spec, query: Held, key: Held, value: Held, bias: Any = None, mask: Any = None, scale: Any = None
) -> Held:
    """Attention of (batch, steps, heads, features)."""
    spec.get("flash_attention")
    spec.only("attn_logits_soft_cap", None)
    if bias is not None and mask is not None:
        spec.refuse("it takes a mask or a bias")
    seen = bias if mask is None else mask
    options: dict[str, Any] = {"is_causal": int(spec.flag("is_causal"))}
    if scale is not None:
        options["scale"] = float(scale)
    heads = [emit("Transpose", each.plain, perm=[0, 2, 1, 3]) for each in (query, key, value)]
    made = emit("Attention", *heads, None if seen is None else seen.plain, **options)
    return Held(emit("Transpose", made, perm=[0, 2, 1, 3], name=spec.next_name()))
