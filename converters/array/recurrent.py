"""Recurrences and attention in numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from portable_nn.converters.array import elementwise
from portable_nn.converters.array.use import ArrayUse, Row, number
from portable_nn.operators.recurrent.functions import Function
from portable_nn.operators.recurrent.uses import recurrence

_AFFINE: Final = {"Affine": "{alpha} * {0} + {beta}", "ScaledTanh": "{alpha} * np.tanh({beta} * {0})"}
"""The activation functions of recurrent operators that are no operators themselves."""


_OWN: Final = {"rnn": ["np.tanh"], "gru": ["sigmoid", "np.tanh"], "lstm": ["sigmoid", "np.tanh", "np.tanh"]}
"""The functions that the helper of each takes by default."""


def _cell_function(function: Function, clip: float | None) -> str:
    written = _AFFINE.get(function.name) or elementwise.ROWS[function.name].write
    assert isinstance(written, str)
    text = written.format("x", alpha=number(function.alpha), beta=number(function.beta))
    text = text.removesuffix("(x)") if text.endswith("(x)") else f"lambda x: {text}"
    return text if clip is None else f"lambda x: ({text})(clipped(x, {number(clip)}))"


def _cell_functions(functions: Sequence[Function], clip: float | None) -> list[str]:
    """The functions of one direction; the last one of an LSTM takes what it is given as it is."""
    return [_cell_function(each, clip if place < 2 else None) for place, each in enumerate(functions)]


def _recurrent(name: str, use: ArrayUse) -> str:
    found = recurrence(use)

    def turned(index: int) -> str:
        return f"{use.x(index)}.swapaxes(0, 1)" if found.batch_first else use.x(index)

    arguments = [turned(0), use.x(1), use.x(2), use.optional(3)]
    arguments += [f"{'hc'[i - 5]}={turned(i)}" for i in range(5, 5 + found.kind.states) if use.has(i)]
    if use.string("direction") != "forward":
        arguments.append(f'direction="{use.string("direction")}"')
    if use.has(4):
        arguments.append(f"lengths={use.x(4)}")
    functions = [_cell_functions(each, found.clip) for each in found.functions]
    if any(each != _OWN[name] for each in functions):
        lists = [f"[{', '.join(each)}]" for each in functions]
        arguments.append(f"functions=[{', '.join(lists)}]")
    arguments += _further(use, name)
    text = f"{name}({', '.join(arguments)})"
    return use.several(f"batch_first({text})" if found.batch_first else text)


def _further(use: ArrayUse, name: str) -> list[str]:
    """The arguments that only an LSTM or a GRU has."""
    if name == "gru":
        return [] if use.int("linear_before_reset") else ["reset_after=False"]
    found = [f"P={use.x(7)}"] if name == "lstm" and use.has(7) else []
    return [*found, "coupled=True"] if name == "lstm" and use.int("input_forget") else found


def _steps_words(what: str, use: ArrayUse) -> str:
    found = recurrence(use)
    one = "from the last step to the first" if found.reversed[0] else "from the first step to the last"
    return f"{what} {one if found.directions == 1 else 'in both directions'}, {found.hidden} numbers of memory"


def _attention(use: ArrayUse) -> str:
    plain = not any(use.has(index) for index in (4, 5, 6)) and use.output_count == 1
    options = ("left_window_size", "right_window_size", "softcap", "softmax_precision", "qk_matmul_output_mode")
    if not plain or any(use.attributes.get(name) not in (None, -1, 0) for name in options if name in use.attributes):
        use.refuse("attention with a past, windows or a softcap")
    if use.has(3) and (use.int("is_causal") or use.type(3).shape[-1] != use.type(1).shape[-2]):
        use.refuse("a mask that is cut, or beside a causal one")
    flat = use.rank == 3
    q, k, v = use.all[:3]
    if flat:
        heads = (use.int("q_num_heads"), use.int("kv_num_heads"), use.int("kv_num_heads"))
        q, k, v = (f"by_heads({x}, {n})" for x, n in zip((q, k, v), heads, strict=True))
    features = use.type().shape[-1] if not flat else use.type().shape[-1] // use.int("q_num_heads")  # type: ignore[operator]
    given = use.attributes.get("scale")
    scale = given if isinstance(given, float) else 1 / math.sqrt(max(int(features), 1))
    mask = use.optional(3)
    if use.int("is_causal"):
        mask = f"causal({use.x(0)}.shape[-2], {use.x(1)}.shape[-2])"
    text = f"attention({q}, {k}, {v}, {mask}, {number(scale)})"
    return f"joined_heads({text})" if flat else text


ROWS: Final[Mapping[str, Row]] = {
    "RNN": Row(partial(_recurrent, "rnn"), partial(_steps_words, "a recurrence")),
    "GRU": Row(partial(_recurrent, "gru"), partial(_steps_words, "a gated recurrence")),
    "LSTM": Row(partial(_recurrent, "lstm"), partial(_steps_words, "a recurrence with a memory")),
    "Attention": Row(_attention, "each position looks at others"),
}
