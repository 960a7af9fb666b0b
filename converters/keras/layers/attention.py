"""Attention of several heads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any, Final

import numpy as np

from portable_nn.converters.keras.spec import LAYERS, Held, Spec, known
from portable_nn.converters.layers.weights import ROWS
from portable_nn.core.errors import RefusalError
from portable_nn.core.tensors import Array
from portable_nn.layers.layer import Layer
from portable_nn.operators import Symbol, cast, constant, emit, integers, unsqueezed

HIDDEN: Final = -2.37e38
"""The score of what is hidden: beside it all other scores are nothing."""


class _Attention(Layer):
    """Attention of several heads: linear layers for queries, keys and values, and one behind.

    A query that sees nothing, such as padding, takes the mean of all values, as Keras adds the mask to the scores; with
    ``zeros`` it takes zeros, as Keras's own softmax of its masked scores gives, which it computes beside dropout.
    """

    def __init__(
        self, name: str, parts: Mapping[str, tuple[Array, Array | None]], heads: tuple[int, int], *, zeros: bool = False
    ) -> None:
        super().__init__(name)
        self.parts, self.heads, self.zeros = parts, heads, zeros

    def __call__(self, x: Symbol) -> Symbol:
        """Of a sequence with itself."""
        return self.attend(x, x, x, None, causal=False)

    def attend(self, query: Symbol, key: Symbol, value: Symbol, mask: Symbol | None, *, causal: bool) -> Symbol:
        """(batch, queries, …), (batch, keys, …) twice → (batch, queries, …)."""
        q, k, v = (self._linear(role, x) for role, x in (("query", query), ("key", key), ("value", value)))
        if mask is not None and not self.zeros:
            if causal:
                mask, causal = emit("And", mask, _before(query, key)), False
            mask = emit("Where", mask, constant(0, query.dtype), constant(HIDDEN, query.dtype))
        options = {"q_num_heads": self.heads[0], "kv_num_heads": self.heads[1], "is_causal": int(causal)}
        return self._linear("output", emit("Attention", q, k, v, mask, **options), last=True)

    def _linear(self, role: str, x: Symbol, *, last: bool = False) -> Symbol:
        kernel, shift = self.parts[role]
        weight = self.parameter(f"{role}.weight", kernel.shape, x.dtype, kernel)
        turned, make = emit("Transpose", weight, perm=[1, 0]), self.emit if last else emit
        if shift is None:
            return make("MatMul", x, turned)
        bias = self.parameter(f"{role}.bias", shift.shape, x.dtype, shift)
        return make("Add", emit("MatMul", x, turned), bias)


def _before(query: Symbol, key: Symbol) -> Symbol:
    """True where keys do not come after queries, (queries, keys)."""
    queries, keys = query.shape[1], key.shape[1]
    if isinstance(queries, int) and isinstance(keys, int):
        return constant(np.tri(queries, keys, dtype=bool), "bool")
    sizes = emit("Concat", *(emit("Shape", each, start=1, end=2) for each in (query, key)), axis=0)
    return emit("Trilu", emit("Expand", constant(True, "bool"), sizes), upper=0)


def _heads(spec: Spec) -> tuple[int, int, int, int]:
    """The numbers of heads of queries and of keys, and the sizes of queries and of values."""
    if spec.kind == "GroupQueryAttention":
        size = spec.whole("head_dim")
        return spec.whole("num_query_heads"), spec.whole("num_key_value_heads"), size, size
    heads, size = spec.whole("num_heads"), spec.whole("key_dim")
    return heads, heads, size, size if spec.get("value_dim") is None else spec.whole("value_dim")


def _features(spec: Spec, query: Held) -> int:
    """The features of the output, by default those of the queries."""
    given = spec.get("output_shape")
    features = given[0] if isinstance(given, list) and len(given) == 1 else given
    features = known(query.shape[2], "the features") if features is None else features
    if type(features) is not int:
        spec.refuse("its output has several axes")
    return features


@LAYERS.row("MultiHeadAttention", "GroupQueryAttention")
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
    """MultiHeadAttention, or GroupQueryAttention, whose queries share keys, over (batch, steps, features)."""
    keys = value if key is None else key
    if return_attention_scores or any(mask is not None for mask in (query_mask, value_mask, key_mask)):
        spec.refuse("return_attention_scores and masks that are given by name have no counterpart here")
    if any(each.rank != 3 for each in (query, value, keys)):
        spec.refuse("it takes (batch, steps, features)")
    spec.only("attention_axes", None, [1])
    for option in ("use_gate", "sliding_window"):
        spec.only(option, None, False)
    spec.get("seed")
    spec.get("flash_attention")
    dropout = spec.number("dropout")
    if dropout:
        spec.differs("dropout of attention ")
    heads, shared, size, deep = _heads(spec)
    row, bias = next(row for row in ROWS if row.keras == "MultiHeadAttention"), spec.flag("use_bias", True)
    features = _features(spec, query)

    def part(role: str, *shape: int) -> tuple[Array, Array | None]:
        """The weight and the bias of a linear layer, whose axes of heads are those of its kernel."""
        place = row.place(f"{role}.weight")
        inner = spec.inside({}, "EinsumDense", f"{spec.name}.{role}", place, f"_{place}")
        kernel = row.weights[f"{role}.weight"](inner.weight(*shape, index=0))
        sizes = shape[2:] if role == "output" else shape[1:]
        return kernel, row.weights[f"{role}.bias"](inner.weight(*sizes, index=1)) if bias else None

    def make() -> _Attention:
        sizes = [known(each.shape[2], "the features") for each in (query, keys, value)]
        parts = {
            "query": part("query", sizes[0], heads, size),
            "key": part("key", sizes[1], shared, size),
            "value": part("value", sizes[2], shared, deep),
            "output": part("output", heads, deep, features),
        }
        return _Attention(spec.name, parts, (heads, shared), zeros=dropout > 0)

    mask = _seen(query.mask, value.mask, None if key is None else keys.mask, attention_mask)
    layer = spec.once(make)
    made = layer.attend(query.plain, keys.plain, value.plain, mask, causal=bool(use_causal_mask))
    return Held(made, mask=query.mask)


def _seen(query: Symbol | None, value: Symbol | None, key: Symbol | None, given: Any) -> Symbol | None:
    """True for the keys that each query sees, (batch, 1, queries, keys)."""
    masks = [unsqueezed(query, 1, 3)] if query is not None else []
    masks += [unsqueezed(each, 1, 2) for each in (value, key) if each is not None]
    if given is not None:
        if not isinstance(given, Held) or given.rank != 3:
            raise RefusalError("its mask is not (batch, queries, keys)")
        masks.append(unsqueezed(cast(given.plain, "bool"), 1))
    return reduce(lambda one, other: emit("And", one, other), masks) if masks else None


class _Score(Layer):
    """The score of each key for each query, (batch, queries, keys), with the weights of Keras's layer."""

    def __init__(self, name: str, scale: Array | None, concat: Array | None, *, additive: bool) -> None:
        super().__init__(name)
        self.scale, self.concat, self.additive = scale, concat, additive

    def __call__(self, x: Symbol) -> Symbol:
        """Of a sequence with itself."""
        return self.score(x, x)

    def score(self, query: Symbol, key: Symbol) -> Symbol:
        """(batch, queries, features), (batch, keys, features) → (batch, queries, keys)."""
        scale, concat = self._weight("scale", self.scale, query), self._weight("concat", self.concat, query)
        if concat is None and not self.additive:
            product = emit("MatMul", query, emit("Transpose", key, perm=[0, 2, 1]))
            return product if scale is None else product * scale
        both = unsqueezed(query, 2) + unsqueezed(key, 1)
        inner, outer = (None, scale) if self.additive else (scale, None)
        bent = emit("Tanh", both if inner is None else both * inner)
        total = emit("ReduceSum", bent if outer is None else bent * outer, integers([3]), keepdims=0)
        return total if concat is None else total * concat

    def _weight(self, role: str, value: Array | None, x: Symbol) -> Symbol | None:
        return None if value is None else self.parameter(role, value.shape, x.dtype, value)


@LAYERS.row(Attention=False, AdditiveAttention=True)
def simple_attention(
    additive: bool, spec: Spec, given: Any, *, use_causal_mask: Any = False, return_attention_scores: Any = False
) -> Held:
    """Attention and AdditiveAttention: one head, without linear layers, of [query, value] or [query, value, key]."""
    if not isinstance(given, list) or len(given) not in (2, 3) or any(each.rank != 3 for each in given):
        spec.refuse("it takes two or three tensors (batch, steps, features)")
    if return_attention_scores:
        spec.refuse("return_attention_scores has no counterpart here")
    if spec.number("dropout"):
        spec.differs("dropout of attention ")
    spec.get("seed")
    query, value, key = given[0], given[1], given[-1]
    scaled = spec.flag("use_scale", additive)
    mode = "dot" if additive else spec.choice("score_mode", ("dot", "concat"), "dot")
    features = known(query.shape[2], "the features")

    def make() -> _Score:
        scale = spec.weight(*([features] if additive else [])) if scaled else None
        return _Score(spec.name, scale, spec.weight() if mode == "concat" else None, additive=additive)

    scores = spec.once(make).score(query.plain, key.plain)
    seen = None if value.mask is None else unsqueezed(value.mask, 1)
    if use_causal_mask:
        before = emit("Trilu", emit("Expand", constant(True, "bool"), emit("Shape", scores)), upper=0)
        seen = before if seen is None else emit("And", seen, before)
    if seen is not None:
        scores = emit("Where", seen, scores, scores - 1e9)
    made = emit("MatMul", emit("Softmax", scores, axis=-1), value.plain)
    if query.mask is not None:
        made = emit("Where", unsqueezed(query.mask, 2), made, constant(0, made.dtype))
    return Held(emit("Identity", made, name=spec.next_name()), mask=query.mask)
