"""Products of matrices in C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from portable_nn.converters.source.c_kernels import name_of
from portable_nn.converters.source.c_operators.use import CUse, bracketed_number, literal, loops
from portable_nn.core.dims import product
from portable_nn.core.graph import Dim, Shape


def gemm(use: CUse) -> None:
    """A product of two matrices, and a bias."""
    dtype = use.float_type()
    a, b = use.type(0).shape, use.type(1).shape
    rows, depth = a if not use.int("transA") else a[::-1]
    columns = b[0] if use.int("transB") else b[1]
    plain = use.int("transB") and not use.int("transA") and use.float("alpha") == use.float("beta") == 1
    if plain and (not use.has(2) or use.type(2).shape == (columns,)):
        bias = use.x[2] if use.has(2) else "0"
        use.call("dense", use.x[0], use.x[1], bias, use.y[0], *map(use.count, ([rows], [depth], [columns])))
        return
    one = (use.count([a[1]]), "1") if not use.int("transA") else ("1", use.count([a[1]]))
    other = ("1", use.count([b[1]])) if use.int("transB") else (use.count([b[1]]), "1")
    use.call("product", use.x[0], *one, use.x[1], *other, use.y[0], *map(use.count, ([rows], [depth], [columns])))
    out = use.results[0].shape
    alpha = f"{literal(use.float('alpha'), dtype)} * " if use.float("alpha") != 1 else ""
    beta = f"{bracketed_number(literal(use.float('beta'), dtype))} * " if use.float("beta") != 1 else ""
    if use.has(2) and use.float("beta"):
        shape = use.type(2).shape
        use.over(
            out,
            lambda i: (
                f"{use.y[0]}[{use.place(out, i)}] = {alpha}{use.y[0]}[{use.place(out, i)}]"
                f" + {beta}{use.x[2]}[{use.place(shape, i)}];"
            ),
        )
    elif alpha:
        use.over(out, lambda i: f"{use.y[0]}[{use.place(out, i)}] *= {alpha.removesuffix(' * ')};")


_NONE: Final[Shape] = ()


def matmul(use: CUse) -> None:
    """Products of matrices, also of many."""
    a, b = (use.type(0).shape, use.type(1).shape)
    a, b = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    rows, depth, columns = a[-2], a[-1], b[-1]
    kernel, dtype = "product", use.float_type()
    if product(b[:-2]) == 1:  # One matrix for all rows.
        rows, lead = product([*a[:-2], rows]), _NONE
    else:
        lead = use.results[0].shape[: max(len(a), len(b)) - 2]
    use.kernels.add((kernel, dtype))
    names = [f"i{axis}" for axis in range(len(lead))]

    def offset(shape: Shape, last: Sequence[Dim]) -> str:
        place = use.place((*shape[:-2], 1), [*names, "0"]) if lead else "0"
        step = use.count(last)
        inner = use.place(shape[:-2], names) if lead else "0"
        return "" if inner == "0" or place == "0" else f" + (size_t)({inner}) * {step}"

    one = f"{use.x[0]}{offset(a, [a[-2], depth])}"
    other = f"{use.x[1]}{offset(b, [depth, columns])}"
    y = f"{use.y[0]}{offset((*lead, a[-2], columns), [a[-2], columns])}"
    call = (
        f"{name_of(kernel, dtype)}({one}, {use.count([depth])}, 1, {other}, {use.count([columns])}, 1, {y}, "
        f"{', '.join(map(use.count, ([rows], [depth], [columns])))});"
    )
    use.lines += loops([(name, use.size(dim)) for name, dim in zip(names, lead, strict=True)], call)
