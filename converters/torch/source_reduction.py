"""Reductions, running sums and searches in PyTorch."""

from __future__ import annotations

from portable_nn.converters.torch.source_use import Use, row, torch_dtype
from portable_nn.operators import FLOATS


def reduced_axes(use: Use) -> tuple[int, ...]:
    """The axes that a reduction removes; none where it changes nothing."""
    rank = use.rank()
    if not use.has(1):
        return () if use.int("noop_with_empty_axes") else tuple(range(rank))
    found = use.numbers(1)
    if not found and not use.int("noop_with_empty_axes"):
        return tuple(range(rank))
    return tuple(axis % rank for axis in found)


def _keepdim(use: Use) -> str:
    """The option that leaves reduced axes with the size 1, behind others."""
    return ", keepdim=True" if use.int("keepdims") else ""


def _options(use: Use, axes: tuple[int, ...]) -> str:
    """The axes that a reduction removes, one or more, and whether it keeps them with the size 1."""
    return f"{axes[0] if len(axes) == 1 else axes}{_keepdim(use)}"


def _reduction(name: str, text: str, *, whole: bool = True) -> None:
    """Register the row of a reduction: its expression of ``x`` and ``options``; ``whole`` where it keeps integers."""

    def made(use: Use) -> str:
        x, axes, dtype = use.x(), reduced_axes(use), use.output().dtype
        if use.rank() == 0 or not axes:
            return use.call("reduced_one_by_one", repr(name.removeprefix("Reduce")), x)
        options = _options(use, axes)
        if dtype == "bool":
            return f"{text.format(x=f'{x}.to(torch.uint8)', options=options)}.to(torch.bool)"
        if name == "ReduceL2" and dtype in FLOATS:
            return f"torch.linalg.vector_norm({x}, 2, {options})"  # Its slope at 0 is 0.
        found = text.format(x=x, options=options)
        return found if dtype in FLOATS or whole else f"{found}.to({torch_dtype(dtype)})"

    row(name)(made)


_reduction("ReduceSum", "{x}.sum({options}, dtype={x}.dtype)")
_reduction("ReduceMax", "{x}.amax({options})")
_reduction("ReduceMin", "{x}.amin({options})")
_reduction("ReduceL1", "{x}.abs().sum({options}, dtype={x}.dtype)")
_reduction("ReduceL2", "{x}.square().sum({options}).sqrt()", whole=False)
_reduction("ReduceLogSum", "{x}.sum({options}).log()", whole=False)
_reduction("ReduceLogSumExp", "torch.logsumexp({x}, {options})", whole=False)
_reduction("ReduceSumSquare", "{x}.square().sum({options}, dtype={x}.dtype)")


@row("ReduceMean")
def _mean(use: Use) -> str:
    x, axes = use.x(), reduced_axes(use)
    if use.rank() == 0 or not axes:
        return x
    if use.output().dtype in FLOATS:
        return f"{x}.mean({_options(use, axes)})"
    count = " * ".join(f"{x}.shape[{axis}]" for axis in axes)
    return f'torch.div({x}.sum({_options(use, axes)}), {count}, rounding_mode="trunc").to({x}.dtype)'


@row("ReduceProd")
def _product(use: Use) -> str:
    made = use.x()
    for axis in sorted(reduced_axes(use), reverse=True):
        made += f".prod({axis}{_keepdim(use)})"
    return made if use.output().dtype in FLOATS else f"{made}.to({torch_dtype(use.output().dtype)})"


@row("ArgMax", "ArgMin")
def _arg(use: Use) -> str:
    axis, keep = use.attribute_axis(), _keepdim(use)
    function = use.operator.name.lower()
    if use.int("select_last_index"):
        return f"{use.x()}.shape[{axis}] - 1 - {use.x()}.flip({axis}).{function}({axis}{keep})"
    return f"{use.x()}.{function}({axis}{keep})"


@row("CumSum")
def _running_sum(use: Use) -> str:
    axis = use.axis(use.numbers(1, ("int32", "int64"))[0], use.rank())
    if not use.int("exclusive") and not use.int("reverse"):
        return f"{use.x()}.cumsum({axis}, dtype={use.x()}.dtype)"
    return use.call("running_sum", use.x(), axis, bool(use.int("exclusive")), bool(use.int("reverse")))


@row("TopK")
def _top(use: Use) -> list[str]:
    axis = use.attribute_axis()
    known = use.known(1)
    count = str(int(known[0])) if known else f"int({use.x(1)})"
    order = use.writer.statement(
        f"{use.node.name}_sorted",
        f"torch.sort({use.x()}, dim={axis}, descending={bool(use.int('largest'))}, stable=True)",
    )
    return [f"{order}.values.narrow({axis}, 0, {count})", f"{order}.indices.narrow({axis}, 0, {count})"]


@row("LpNormalization")
def _scaled(use: Use) -> str:
    return use.call("normalized", use.x(), use.int("p"), use.attribute_axis())
