"""Keras's layers of several tensors, attention, and the operations that arithmetic on tensors makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Final

from portable_nn.converters.keras.activations import applied
from portable_nn.converters.keras.feedforward import known
from portable_nn.converters.keras.held import Held, aligned
from portable_nn.converters.keras.spec import LayerError, Spec
from portable_nn.format.tensors import Array
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, cast, constant, emit, integers


def _tensors(spec: Spec, given: Sequence[Any]) -> list[Held]:
    """The tensors of a call: one by one, or in a list."""
    found = given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given
    if not found or not all(isinstance(each, Held) for each in found):
        raise LayerError("it takes tensors")
    return list(found)


def _same_rank(values: Sequence[Held]) -> list[Held]:
    ranks = {each.rank for each in values}
    if len(ranks) > 1:
        raise LayerError(f"its inputs have {' and '.join(map(str, sorted(ranks)))} axes")
    return list(values)


def _either(masks: Sequence[Symbol | None]) -> Symbol | None:
    found = [each for each in masks if each is not None]
    if len(found) < len(masks) or not found:
        return None
    return reduce(lambda one, other: one if one is other else emit("Or", one, other), found)


def merge(operator: str) -> Callable[..., Held]:
    """Add, Multiply, …: tensors of one rank, element by element."""

    def build(spec: Spec, *given: Any) -> Held:
        values = _same_rank(_tensors(spec, given))
        symbols, moved = aligned(values)
        if operator in ("Add", "Mul") and len(symbols) > 2:
            symbols = [reduce(lambda one, other: emit(operator, one, other), symbols[:-1]), symbols[-1]]
        if operator == "Sub" and len(symbols) != 2:
            raise LayerError("it takes two tensors")
        name = spec.next_name()
        made = emit(operator, *symbols, name=name)
        mask = _either([each.mask for each in values])
        return Held(moved=made, mask=mask) if moved else Held(made, mask=mask)

    return build


def concatenate(spec: Spec, *given: Any) -> Held:
    """Tensors one behind the other along an axis."""
    values = _same_rank(_tensors(spec, given))
    rank = values[0].rank
    axis = spec.get("axis", -1)
    if type(axis) is not int or not -rank <= axis < rank:
        raise LayerError(f"its option axis must be one of {rank} axes, not {axis!r:.60}")
    if any(each.mask is not None for each in values):
        spec.note("the mask of its inputs is dropped")
    symbols, moved = aligned(values)
    axis %= rank
    if moved:
        axis = 1 if axis == rank - 1 else axis + 1 if axis else 0
    made = emit("Concat", *symbols, axis=axis, name=spec.next_name())
    return Held(moved=made) if moved else Held(made)


def dot(spec: Spec, *given: Any) -> Held:
    """Sums of products along one axis of each of two tensors."""
    spec.only("normalize", False)
    values = _tensors(spec, given)
    axes = spec["axes"]
    pair = [axes, axes] if type(axes) is int else axes
    if len(values) != 2 or not isinstance(pair, list) or len(pair) != 2 or any(type(a) is not int for a in pair):
        raise LayerError("it takes two tensors and one axis of each")
    one, other = values
    left = [chr(ord("a") + at) for at in range(one.rank)]
    right = ["a", *(chr(ord("n") + at) for at in range(1, other.rank))]
    first, second = pair[0] % one.rank, pair[1] % other.rank
    if not first or not second:
        raise LayerError("its axis is that of the batch")
    right[second] = left[first]
    kept = [c for at, c in enumerate(left) if at != first] + [c for at, c in enumerate(right) if at not in (0, second)]
    equation = f"{''.join(left)},{''.join(right)}->{''.join(kept)}"
    name = spec.next_name()
    if len(kept) > 1:
        return Held(emit("Einsum", one.plain, other.plain, equation=equation, name=name))
    made = emit("Einsum", one.plain, other.plain, equation=equation)
    return Held(emit("Unsqueeze", made, integers([1]), name=name))


# -- attention


class _Attention(Layer):
    """Attention of several heads: linear layers for queries, keys and values, and one behind."""

    def __init__(self, name: str, parts: Mapping[str, tuple[Array, Array | None]], heads: int) -> None:
        super().__init__(name)
        self.parts, self.heads = parts, heads

    def __call__(self, x: Symbol) -> Symbol:
        """Of a sequence with itself."""
        return self.attend(x, x, x, None, causal=False)

    def attend(self, query: Symbol, key: Symbol, value: Symbol, mask: Symbol | None, *, causal: bool) -> Symbol:
        """(batch, queries, …), (batch, keys, …) twice → (batch, queries, …)."""
        q, k, v = (self._linear(role, x) for role, x in (("query", query), ("key", key), ("value", value)))
        options = {"q_num_heads": self.heads, "kv_num_heads": self.heads, "is_causal": int(causal)}
        return self._linear("output", emit("Attention", q, k, v, mask, **options), last=True)

    def _linear(self, role: str, x: Symbol, *, last: bool = False) -> Symbol:
        kernel, shift = self.parts[role]
        weight = self.parameter(f"{role}.weight", kernel.shape, x.dtype, kernel)
        turned, make = emit("Transpose", weight, perm=[1, 0]), self.emit if last else emit
        if shift is None:
            return make("MatMul", x, turned)
        bias = self.parameter(f"{role}.bias", shift.shape, x.dtype, shift)
        return make("Add", emit("MatMul", x, turned), bias)


def attention(
    spec: Spec,
    query: Held,
    value: Held,
    key: Any = None,
    *,
    attention_mask: Any = None,
    use_causal_mask: Any = False,
    return_attention_scores: Any = False,
    query_mask: Any = None,
    value_mask: Any = None,
    key_mask: Any = None,
) -> Held:
    """MultiHeadAttention over the steps of (batch, steps, features)."""
    keys = value if key is None else key
    if return_attention_scores or any(mask is not None for mask in (query_mask, value_mask, key_mask)):
        raise LayerError("return_attention_scores and masks that are given by name have no counterpart here")
    if any(each.rank != 3 for each in (query, value, keys)):
        raise LayerError("it takes (batch, steps, features)")
    spec.only("attention_axes", None, [1])
    for option in ("use_gate", "sliding_window"):
        spec.only(option, None, False)
    spec.get("seed")
    spec.get("flash_attention")
    if spec.number("dropout"):
        spec.note("dropout of attention is left out: it acts in training alone, and has no counterpart here")
    heads, size = spec.whole("num_heads"), spec.whole("key_dim")
    deep = size if spec.get("value_dim") is None else spec.whole("value_dim")
    bias = spec.flag("use_bias", True)
    given = spec.get("output_shape")
    given = given[0] if isinstance(given, list) and len(given) == 1 else given
    features = known(query.shape[2], "the features") if given is None else given
    if type(features) is not int:
        raise LayerError("its output has several axes")

    def part(role: str, inputs: int, depth: int) -> tuple[Array, Array | None]:
        inner = spec.inside({}, "EinsumDense", f"{spec.name}.{role}", f"{role}_dense", f"_{role}_dense")
        if role == "output":
            kernel = inner.weight(heads, depth, inputs, index=0).reshape(heads * depth, inputs)
            return kernel.T, inner.weight(inputs, index=1) if bias else None
        kernel = inner.weight(inputs, heads, depth, index=0).reshape(inputs, heads * depth)
        return kernel.T, inner.weight(heads, depth, index=1).reshape(-1) if bias else None

    def make() -> _Attention:
        sizes = [known(each.shape[2], "the features") for each in (query, keys, value)]
        parts = {
            "query": part("query", sizes[0], size),
            "key": part("key", sizes[1], size),
            "value": part("value", sizes[2], deep),
            "output": part("output", features, deep),
        }
        return _Attention(spec.name, parts, heads)

    mask = _seen(query.mask, value.mask, None if key is None else keys.mask, attention_mask)
    layer = spec.once(make)
    made = layer.attend(query.plain, keys.plain, value.plain, mask, causal=bool(use_causal_mask))
    return Held(made, mask=query.mask)


def _seen(query: Symbol | None, value: Symbol | None, key: Symbol | None, given: Any) -> Symbol | None:
    """Which keys each query sees, (batch, 1, queries, keys)."""
    masks = [emit("Unsqueeze", query, integers([1, 3]))] if query is not None else []
    masks += [emit("Unsqueeze", each, integers([1, 2])) for each in (value, key) if each is not None]
    if given is not None:
        if not isinstance(given, Held) or given.rank != 3:
            raise LayerError("its mask is not (batch, queries, keys)")
        masks.append(emit("Unsqueeze", cast(given.plain, "bool"), integers([1])))
    return reduce(lambda one, other: emit("And", one, other), masks) if masks else None


LAYERS: Final[Mapping[str, Callable[..., Held]]] = {
    "Add": merge("Add"),
    "Subtract": merge("Sub"),
    "Multiply": merge("Mul"),
    "Average": merge("Mean"),
    "Maximum": merge("Max"),
    "Minimum": merge("Min"),
    "Concatenate": concatenate,
    "Dot": dot,
    "MultiHeadAttention": attention,
}
"""What makes each layer: ``(layer, tensor, …) → tensor``."""


# -- operations


def binary(operator: str) -> Callable[..., Held]:
    """Arithmetic on two tensors, or on a tensor and a number."""

    def build(spec: Spec, one: Any, other: Any) -> Held:
        values = [each for each in (one, other) if isinstance(each, Held)]
        if not values or any(not isinstance(e, Held) and type(e) not in (int, float) for e in (one, other)):
            raise LayerError("it takes tensors and numbers")
        if len({each.rank for each in values}) > 1:
            symbols, moved = [each.plain for each in values], False
        else:
            symbols, moved = aligned(values)
        rest = iter(symbols)
        dtype = values[0].dtype
        operands = [next(rest) if isinstance(e, Held) else constant(e, dtype) for e in (one, other)]
        made = emit(operator, *operands, name=spec.next_name())
        mask = values[0].mask if len(values) == 1 else _either([each.mask for each in values])
        return Held(moved=made, mask=mask) if moved else Held(made, mask=mask)

    return build


def unary(operator: str) -> Callable[..., Held]:
    """A function of each element."""
    return lambda spec, x: x.each(lambda symbol: emit(operator, symbol, name=spec.next_name()))


def function(name: str) -> Callable[..., Held]:
    """An activation."""
    return lambda spec, x: applied(spec, name, x, spec.next_name())


def get_item(spec: Spec, x: Held, key: Any) -> Held:
    """x[…]: slices and single places."""
    keys = key if isinstance(key, list | tuple) else [key]
    if len(keys) > x.rank:
        raise LayerError("it takes more axes than there are")
    starts, ends, axes = list[int](), list[int](), list[int]()
    steps, gone = list[int](), list[int]()
    for axis, each in enumerate(keys):
        if type(each) is int:
            starts, ends = [*starts, each], [*ends, each + 1 if each != -1 else 2**31]
            axes, steps, gone = [*axes, axis], [*steps, 1], [*gone, axis]
        elif isinstance(each, slice):
            if each == slice(None):
                continue
            if any(part is not None and type(part) is not int for part in (each.start, each.stop, each.step)):
                raise LayerError("its slices are not of whole numbers")
            step = 1 if each.step is None else each.step
            first, last = (0, 2**31) if step > 0 else (2**31, -(2**31))
            starts.append(first if each.start is None else each.start)
            ends.append(last if each.stop is None else each.stop)
            axes, steps = [*axes, axis], [*steps, step]
        else:
            raise LayerError(f"its place {each!r:.60} is no number or slice")
    value = x.plain
    if axes:
        value = emit("Slice", value, *(integers(each) for each in (starts, ends, axes, steps)))
    if gone:
        value = emit("Squeeze", value, integers(gone))
    return Held(emit("Identity", value, name=spec.next_name()))


def reduction(operator: str) -> Callable[..., Held]:
    """Mean, Sum, Max, Min over axes."""

    def build(spec: Spec, x: Held, *rest: Any, **options: Any) -> Held:
        axis = spec.get("axis")
        if rest or options:
            raise LayerError("it takes one tensor")
        axes = [axis] if type(axis) is int else axis
        if axes is not None and not (isinstance(axes, list) and all(type(each) is int for each in axes)):
            raise LayerError(f"its option axis must be axes, not {axis!r:.60}")
        places = list(range(x.rank)) if axes is None else [each % x.rank for each in axes]
        keep = int(spec.flag("keepdims"))
        return Held(emit(operator, x.plain, integers(places), keepdims=keep, name=spec.next_name()))

    return build


OPERATIONS: Final[Mapping[str, Callable[..., Held]]] = {
    "Add": binary("Add"),
    "Subtract": binary("Sub"),
    "Multiply": binary("Mul"),
    "Divide": binary("Div"),
    "TrueDivide": binary("Div"),
    "Power": binary("Pow"),
    "Maximum": binary("Max"),
    "Minimum": binary("Min"),
    "Matmul": binary("MatMul"),
    "Negative": unary("Neg"),
    "Absolute": unary("Abs"),
    "Abs": unary("Abs"),
    "Exp": unary("Exp"),
    "Log": unary("Log"),
    "Sqrt": unary("Sqrt"),
    "Sin": unary("Sin"),
    "Cos": unary("Cos"),
    "Square": lambda spec, x: x.each(lambda symbol: emit("Mul", symbol, symbol, name=spec.next_name())),
    "Relu": function("relu"),
    "Relu6": function("relu6"),
    "Sigmoid": function("sigmoid"),
    "Tanh": function("tanh"),
    "Silu": function("silu"),
    "Softplus": function("softplus"),
    "GetItem": get_item,
    "Mean": reduction("ReduceMean"),
    "Sum": reduction("ReduceSum"),
    "Max": reduction("ReduceMax"),
    "Min": reduction("ReduceMin"),
}
"""What makes each operation of ``keras.ops``, by the name of its class: ``(operation, argument, …) → tensor``."""
