"""Reductions in C."""

from __future__ import annotations

from portable_nn.converters.source.c_kernels import in_type
from portable_nn.converters.source.c_operators.use import C_TYPES, CUse, Write, loops
from portable_nn.operators.reduction.reduce import reduced_axes


def reduced(start: str, step: str, end: str = "{0}") -> Write:
    """``{0}`` is the sum so far and ``{1}`` an element; at the end ``{1}`` is the number of elements."""

    def write(use: CUse) -> None:
        is_pool = use.operator.name.startswith("Global")
        axes = range(2, use.array.rank) if is_pool else reduced_axes(use)
        shape, dtype, y = use.type().shape, use.float_type(), use.y[0]
        kept = tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
        inner = [(f"j{axis}", use.size(shape[axis])) for axis in axes]
        names = [f"i{axis}" for axis in range(len(shape))]
        place = use.place(kept, names)
        source = use.place(shape, [f"j{axis}" if axis in axes else f"i{axis}" for axis in range(len(shape))])
        number = f"({C_TYPES[dtype]}){use.count([shape[axis] for axis in axes])}"
        body = [
            f"{C_TYPES[dtype]} sum = {use.code(start)};",
            *loops(inner, f"sum = {use.code(step).format('sum', f'{use.x[0]}[{source}]')};"),
            f"{y}[{place}] = {use.code(end).format('sum', number)};",
        ]
        outer = [(name, use.size(dim)) for name, dim in zip(names, kept, strict=True)]
        use.lines += loops(outer, *body)

    return write


def arg(sign: str, use: CUse) -> None:
    """The place of the largest number, or of the smallest by its sign."""
    if use.int("select_last_index"):
        use.refuse("select_last_index")
    use.call("argmax", use.x[0], use.y[0], *use.around(use.attribute_axis()), in_type(sign, use.float_type()))


def cumulative(use: CUse) -> None:
    """The sum of everything before."""
    if use.type(1).constant is None:
        use.refuse("an axis that is computed")
    axis = use.axis(use.numbers(1)[0], use.array.rank)
    use.call("cumulative", use.x[0], use.y[0], *use.around(axis), use.int("exclusive"), use.int("reverse"))


def top_k(use: CUse) -> None:
    """The largest or smallest numbers, and where they stand."""
    axis, out = use.attribute_axis(), use.results[0].shape
    sign = in_type("1.0f" if use.int("largest") else "-1.0f", use.float_type())
    use.call("top_k", use.x[0], use.y[0], use.y[1], *use.around(axis), use.count([out[axis]]), sign)
