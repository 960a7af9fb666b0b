"""Layers of flax that become one node: while a module is traced, they are primitives of their own.

Dropout does nothing in inference and would be lost, and a recurrent layer is a scan, which is written out and needs a
number of steps that is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flax import linen
from jax import ensure_compile_time_eval, random
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching

from portable_nn.converters.jax.primitives.table import Call, Held, row
from portable_nn.converters.layers.gates import OPERATORS, Recurrent
from portable_nn.operators import Symbol, constant, emit, emit_all, integers, squeezed, unsqueezed

DROPOUT: Final = Primitive("flax_dropout")
DROPOUT.def_abstract_eval(lambda x, *, rate: x)
batching.primitive_batchers[DROPOUT] = lambda args, axes, *, rate: (DROPOUT.bind(*args, rate=rate), axes[0])

RECURRENCE: Final = Primitive("flax_recurrence")
RECURRENCE.multiple_results = True


def _cells() -> dict[type[Any], Recurrent]:
    """The recurrent operators by the cells of flax that they are."""
    return {getattr(linen, name): row for row in OPERATORS.values() for name in row.flax_classes}


def marked(next_function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], context: Any) -> Any:
    """An interceptor of flax.linen: binds these primitives in the place of the layers that they are."""
    module = context.module
    if context.method_name != "__call__":
        return next_function(*args, **kwargs)
    if isinstance(module, linen.Dropout):
        found = next_function(*args, **kwargs)
        passes = bool(args) and found is args[0] and 0 < module.rate < 1 and not module.broadcast_dims
        return DROPOUT.bind(found, rate=float(module.rate)) if passes else found
    if isinstance(module, linen.RNN) and (cell := _plain_cell(module, args, kwargs)):
        return _bound(module, cell, args[0], *_of_linen(module, cell), kwargs)
    return next_function(*args, **kwargs)


def nnx_marked(module: Any) -> Any:
    """A copy of a module of nnx whose Dropout and recurrent layers are these primitives."""
    from flax import nnx

    class Dropout(nnx.Dropout):  # type: ignore[misc]  # flax has no types for it
        def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            drops = 0 < self.rate < 1 and not self.broadcast_dims
            return DROPOUT.bind(inputs, rate=float(self.rate)) if drops else inputs

    class RNN(nnx.RNN):  # type: ignore[misc]
        def __call__(self, inputs: Any, **kwargs: Any) -> Any:
            plain = _is_plain(self, [inputs], kwargs) and getattr(self.cell, "carry_init", None) is None
            cell = _cells().get(getattr(linen, type(self.cell).__name__, object)) if plain else None
            if cell is None:
                return super().__call__(inputs, **kwargs)
            kernels, biases = zip(*(each for side in "ih" for each in _gates(self.cell, cell, side)), strict=True)
            return _bound(self, cell, inputs, kernels, [each for each in biases if each is not None], kwargs)

    copy, marked = nnx.clone(module), {nnx.Dropout: Dropout, nnx.RNN: RNN}
    for _, each in nnx.iter_modules(copy):
        each.__class__ = marked.get(type(each), type(each))
    return copy


def _gates(inner: Any, cell: Recurrent, side: str) -> list[tuple[Any, Any]]:
    """The kernel of each gate of a cell of nnx, for the input or the state, and the bias if there is one."""
    layer, size = getattr(inner, f"dense_{side}", None), inner.hidden_features
    if layer is None:
        layers = [getattr(inner, f"{side}{gate}", None) or getattr(inner, f"{side}{gate}_") for gate in cell.gates]
        return [(each.kernel[...], None if each.bias is None else each.bias[...]) for each in layers]
    spans = [slice(place * size, (place + 1) * size) for place in cell.places(cell.flax)]
    bias = None if layer.bias is None else layer.bias[...]
    return [(layer.kernel[...][:, span], None if bias is None else bias[span]) for span in spans]


def equinox_marked(module: Any) -> Any:
    """A copy of a module of equinox whose Dropout is this primitive."""
    import equinox
    import jax

    class Marked(equinox.Module):  # type: ignore[misc]  # equinox is not followed
        rate: float = equinox.field(static=True)

        def __call__(self, x: Any, **options: Any) -> Any:
            return DROPOUT.bind(x, rate=self.rate)

    def is_dropout(each: Any) -> bool:
        return type(each) is equinox.nn.Dropout and 0 < each.p < 1

    return jax.tree.map(lambda each: Marked(float(each.p)) if is_dropout(each) else each, module, is_leaf=is_dropout)


def _option(module: Any, kwargs: Mapping[str, Any], name: str) -> Any:
    given = kwargs.get(name)
    return getattr(module, name) if given is None else given


def _is_plain(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """True if a layer runs a cell with the usual functions from its own first state on over whole sequences."""
    usual = {"gate_fn": linen.sigmoid, "activation_fn": linen.tanh, "residual": False}
    if any(getattr(module.cell, name, value) is not value for name, value in usual.items()):
        return False
    given = any(kwargs.get(name) is not None for name in ("initial_carry", "seq_lengths"))
    return not given and len(args) == 1 and args[0].ndim == 3 and not _option(module, kwargs, "time_major")


def _plain_cell(module: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Recurrent | None:
    """The cell of a layer of linen that is the operator: with the usual functions, from zeros on."""
    inner, found = module.cell, _cells().get(type(module.cell))
    if found is None or not _is_plain(module, args, kwargs):
        return None
    with ensure_compile_time_eval():
        carry = inner.initialize_carry(random.key(0), (1, args[0].shape[-1]))
        zeros = all(not each.any() for each in (carry if isinstance(carry, tuple) else (carry,)))
    return found if zeros else None


def _of_linen(module: Any, cell: Recurrent) -> tuple[list[Any], list[Any]]:
    """The kernels of the gates, those of the input first, and the biases that there are."""
    params = module.cell.variables["params"]
    dense = [params[f"{side}{gate.strip()}"] for side in "ih" for gate in cell.gates]
    return [each["kernel"] for each in dense], [each["bias"] for each in dense if "bias" in each]


def _bound(
    module: Any, cell: Recurrent, x: Any, kernels: Sequence[Any], biases: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    reverse = bool(_option(module, kwargs, "reverse"))
    flips = reverse and not _option(module, kwargs, "keep_order")
    *states, y = RECURRENCE.bind(x, *kernels, *biases, operator=cell.operator, reverse=reverse, flips=flips)
    carry = tuple(states) if len(states) > 1 else states[0]
    return (carry, y) if _option(module, kwargs, "return_carry") else y


def _types(x: Any, *weights: Any, operator: str, reverse: bool, flips: bool) -> list[Any]:
    batch, steps, _ = x.shape
    hidden = weights[len(OPERATORS[operator].gates)].shape[0]
    state = ShapedArray((batch, hidden), x.dtype)
    return [state] * OPERATORS[operator].states + [ShapedArray((batch, steps, hidden), x.dtype)]


RECURRENCE.def_abstract_eval(_types)


@row("flax_dropout")
def _dropout(call: Call, x: Held) -> Held:
    return call.held(emit("Dropout", x.symbol, constant(call.params["rate"], "float32")), x.axes)


@row("flax_recurrence")
def _recurrence(call: Call, x: Held, *weights: Held) -> list[Held]:
    cell = OPERATORS[call.params["operator"]]
    count = len(cell.gates)
    parts = [emit("Concat", *(call.exact(each, (1, 0)) for each in side), axis=0) for side in
             (weights[:count], weights[count : 2 * count])]  # fmt: skip
    hidden = int(weights[count].shape[0])
    bias = _bias(call, cell, hidden, [call.exact(each) for each in weights[2 * count :]])
    inputs = [unsqueezed(each, 0) for each in (*parts, bias)]
    options: dict[str, Any] = {"hidden_size": hidden, "layout": 1}
    options |= {"linear_before_reset": 1} if cell.operator == "GRU" else {}
    options["direction"] = "reverse" if call.params["reverse"] else "forward"
    y, *states = emit_all(cell.operator, call.exact(x), *inputs, outputs=cell.states + 1, **options)
    y = squeezed(y, 2)
    if call.params["flips"]:
        back = integers([-1])
        y = emit("Slice", y, back, integers([-(2**31)]), integers([1]), back)
    ends = [squeezed(each, 1) for each in reversed(states)]
    return [call.held(each, index=place) for place, each in enumerate([*ends, y])]


def _bias(call: Call, cell: Recurrent, hidden: int, biases: Sequence[Symbol]) -> Symbol:
    """Those of the input, then those of the state; where flax has none, zeros."""

    def zeros(count: int) -> Symbol:
        return emit("Expand", constant(0, call.dtype), integers([count * hidden]))

    count = len(cell.gates)
    if cell.operator == "LSTM":
        return emit("Concat", zeros(count), *biases, axis=0)
    missing = 2 * count - len(biases)
    return emit("Concat", *biases[:count], zeros(missing), *biases[count:], axis=0)
