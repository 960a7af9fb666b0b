"""Operators of opset 27 that keep a state from one part of a sequence to the next, in other operators.

Sources: the standard; for the rules of ``LinearAttention`` Yang et al., "Gated delta networks" (ICLR 2025).
"""

from __future__ import annotations

from portable_nn.core.graph import format_shape
from portable_nn.operators import InvalidNode, Symbol, cast, constant, emit, emit_all, integers, sizes


def causal_convolution(
    x: Symbol, weight: Symbol, bias: Symbol | None = None, past: Symbol | None = None, *, activation: str = "none"
) -> tuple[Symbol, Symbol]:
    """``CausalConvWithState``: a convolution of each channel (batch, channels, length), and the last inputs it saw."""
    channels = x.shape[1] if len(x.shape) == 3 else None
    taps = weight.shape[2] if len(weight.shape) == 3 else None
    if not isinstance(channels, int) or not isinstance(taps, int):
        raise InvalidNode(
            f"input and weight must be (batch, channels, length) and (channels, 1, k), not {format_shape(x.shape)} and "
            f"{format_shape(weight.shape)}"
        )
    if activation not in ("none", "silu", "swish"):
        raise InvalidNode(f"activation must be none, silu or swish, not '{activation}'")
    if past is None:
        shape = emit("Concat", sizes(x, [0]), integers([channels, taps - 1]), axis=0)
        past = emit("Expand", constant(0, x.dtype), shape)
    whole = emit("Concat", past, x, axis=2)
    y = emit("Conv", whole, weight, bias, group=channels)
    last = emit("Slice", whole, integers([1 - taps]), integers([2**63 - 1]), integers([2])) if taps > 1 else past
    return (y if activation == "none" else emit("Swish", y)), last


def linear_attention(
    query: Symbol,
    key: Symbol,
    value: Symbol,
    past: Symbol | None = None,
    decay: Symbol | None = None,
    beta: Symbol | None = None,
    *,
    q_num_heads: int,
    kv_num_heads: int,
    update_rule: str = "gated_delta",
    scale: float = 0.0,
    chunk_size: int = 64,
) -> tuple[Symbol, Symbol]:
    """``LinearAttention``, step by step: its number of steps must be known. ``chunk_size`` changes no number."""
    steps = query.shape[1] if len(query.shape) == 3 else None
    if not isinstance(steps, int) or steps < 1:
        raise InvalidNode(
            f"it is written out for a known number of steps, and query is {format_shape(query.shape)}: --dim sets it"
        )
    _check(update_rule, q_num_heads, kv_num_heads, decay=decay, beta=beta)
    dtype, state_dtype = query.dtype, (past or query).dtype
    q = _by_step(query, q_num_heads, steps)
    k, v = _by_step(key, kv_num_heads, steps), _by_step(value, kv_num_heads, steps)
    d_k, d_v = int(k[0].shape[-1]), int(v[0].shape[-1])
    g = _by_step(decay, kv_num_heads, steps) if decay else None
    b = _by_step(beta, kv_num_heads if beta.shape[-1] == kv_num_heads else 1, steps) if beta else None
    shape = emit("Concat", sizes(query, [0]), integers([kv_num_heads, d_k, d_v]), axis=0)
    state = emit("Expand", constant(0, "float32"), shape) if past is None else cast(past, "float32")
    group, factor = q_num_heads // kv_num_heads, scale or d_k**-0.5
    found = []
    for t in range(steps):
        row, new = (emit("Unsqueeze", each[t], integers([2])) for each in (k, v))  # (batch, heads, 1, size)
        if g:
            state = state * emit("Exp", emit("Unsqueeze", g[t], integers([3])))
        if b:
            new = emit("Unsqueeze", b[t], integers([3])) * (new - row @ state)
        state = state + emit("Transpose", row, perm=[0, 1, 3, 2]) @ new
        asked = emit("Reshape", q[t], integers([0, kv_num_heads, group, d_k]))
        found.append(emit("Reshape", asked @ state, integers([0, 1, q_num_heads * d_v])) * factor)
    y = found[0] if steps == 1 else emit("Concat", *found, axis=1)
    return cast(y, dtype), cast(state, state_dtype)


def _check(rule: str, q_num_heads: int, kv_num_heads: int, **given: Symbol | None) -> None:
    """Raise ``InvalidNode`` for heads that do not fit, an unknown rule, or one with other inputs than it needs."""
    if q_num_heads < 1 or kv_num_heads < 1 or q_num_heads % kv_num_heads:
        raise InvalidNode(f"q_num_heads must be a multiple of kv_num_heads, not {q_num_heads} and {kv_num_heads}")
    rules = ("linear", "gated", "delta", "gated_delta")
    if rule not in rules:
        raise InvalidNode(f"update_rule must be one of {', '.join(rules)}, not '{rule}'")
    for name, word in (("decay", "gated"), ("beta", "delta")):
        if (given[name] is not None) != (word in rule):
            raise InvalidNode(f"update_rule '{rule}' {'needs' if word in rule else 'has no'} {name}")


def _by_step(x: Symbol, heads: int, steps: int) -> list[Symbol]:
    """(batch, steps, heads · size) as (batch, heads, size) in single precision, for each step."""
    width = x.shape[-1]
    if len(x.shape) != 3 or not isinstance(width, int) or width % heads:
        raise InvalidNode(f"an input must be (batch, steps, features) that {heads} heads divide, not {x.type}")
    parts = [x] if steps == 1 else [*emit_all("Split", x, outputs=steps, axis=1, num_outputs=steps)]
    return [emit("Reshape", cast(part, "float32"), integers([0, heads, width // heads])) for part in parts]
