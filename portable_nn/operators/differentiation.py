"""The backward pass as a graph: reverse-mode differentiation of symbols into more symbols."""

from __future__ import annotations

from collections.abc import Sequence

from portable_nn.core.errors import Fault, GraphError
from portable_nn.operators.registry import InvalidNode
from portable_nn.operators.symbols import GradientContext, Origin, Symbol, emit
from portable_nn.operators.tracing import reachable


def gradients(outputs: Sequence[Symbol], seeds: Sequence[Symbol], wrt: Sequence[Symbol]) -> list[Symbol | None]:
    """The vector-Jacobian products Σ seedᵀ · ∂output/∂wrt, one for each of ``wrt``.

    Each result has the shape of its ``wrt``; ``None`` where no output depends on it. The results are symbols like all
    others, so they can be differentiated again. Raises ``GraphError`` at a node that has no gradient rule for its
    use here.
    """
    origins = reachable(outputs)
    active = set(wrt)
    for origin in origins:
        if active.intersection(origin.inputs):
            active.update(origin.outputs)
    flowing: dict[Symbol, Symbol] = {}
    for output, seed in zip(outputs, seeds, strict=True):
        _add(flowing, output, seed)
    for origin in reversed(origins):
        if origin.operator is None or origin.operator.gradient is None:
            continue
        back = [flowing.get(output) for output in origin.outputs]
        if any(back) and active.intersection(origin.inputs):
            for value, gradient in zip(origin.inputs, _backward(origin, back), strict=True):
                if value in active and value is not None and gradient is not None:
                    _add(flowing, value, gradient)
    return [flowing.get(value) for value in wrt]


def _add(flowing: dict[Symbol, Symbol], value: Symbol, gradient: Symbol) -> None:
    flowing[value] = flowing[value] + gradient if value in flowing else gradient


def _backward(origin: Origin, back: Sequence[Symbol | None]) -> Sequence[Symbol | None]:
    assert origin.operator is not None
    assert origin.operator.gradient is not None
    use = GradientContext(origin.operator, origin.attributes, origin.inputs, origin.outputs, back)
    try:
        if origin.operator.gradient == "lowering":
            return _through_lowering(origin, back)
        found = origin.operator.gradient(use)
    except InvalidNode as invalid:
        raise GraphError([Fault(origin.label, str(invalid))]) from None
    result = [found] if isinstance(found, Symbol) else list(found)
    # A rule may leave out trailing inputs without a gradient, or name optional ones that are absent.
    return (result + [None] * len(origin.inputs))[: len(origin.inputs)]


def _through_lowering(origin: Origin, back: Sequence[Symbol | None]) -> Sequence[Symbol | None]:
    """The gradients of the inputs through the lowering of the node."""
    assert origin.operator is not None
    assert origin.operator.lowering is not None
    # Copies, which cost nothing, so that the gradient stops at the inputs of this node.
    inputs = [emit("Identity", value) if value is not None else None for value in origin.inputs]
    found = origin.operator.lowering(*inputs, **origin.attributes)
    outputs = [found] if isinstance(found, Symbol) else found
    reached = {output: flow for output, flow in zip(outputs, back, strict=False) if flow is not None}
    given = [value for value in inputs if value is not None]
    flows = dict(zip(given, gradients([*reached], [*reached.values()], given), strict=True))
    return [flows[value] if value is not None else None for value in inputs]
