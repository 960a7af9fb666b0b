"""The operators that move elements, in C."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Final

from portable_nn.converters.source.c_operators.use import FLOATS, CUse, bracketed, literal, loops
from portable_nn.core.dims import total
from portable_nn.core.graph import Dim, Shape
from portable_nn.operators.layout.movement import cuts_of
from portable_nn.operators.layout.padding import known_pads


def same(use: CUse) -> None:
    """The same memory under another name."""
    use.aliases = True


def dropout(use: CUse) -> None:
    """The same memory: outside training nothing is dropped."""
    if use.has(2) and use.type(2).constant != (0,):
        use.refuse("it drops at random, as in training")
    if use.output_count > 1:
        use.refuse("its mask is not written as an output")
    use.aliases = True


def transpose(use: CUse) -> None:
    """The axes in another order."""
    shape, out = use.type().shape, use.results[0].shape
    perm = use.ints("perm") or tuple(reversed(range(len(shape))))

    def statement(i: Sequence[str]) -> str:
        source = [i[perm.index(axis)] for axis in range(len(shape))]
        return f"{use.y[0]}[{use.place(out, i)}] = {use.x[0]}[{use.place(shape, source)}];"

    use.over(out, statement)


def expand(use: CUse) -> None:
    """Elements that are repeated."""
    shape, out = use.type().shape, use.results[0].shape
    use.over(out, lambda i: f"{use.y[0]}[{use.place(out, i)}] = {use.x[0]}[{use.place(shape, i)}];")


def concat(use: CUse) -> None:
    """One input behind the other."""
    out = use.results[0].shape
    axis, before = use.axis(use.int("axis"), len(out)), list[Dim]()
    for name, type in zip(use.x, use.types, strict=True):
        assert type is not None
        shape, start = type.shape, use.size(total(before))

        def statement(i: Sequence[str], name: str = name, shape: Shape = shape, start: str = start) -> str:
            moved = [_affine(start, 1, each) if place == axis else each for place, each in enumerate(i)]
            return f"{use.y[0]}[{_placed(use, out, moved)}] = {name}[{use.place(shape, i)}];"

        use.over(shape, statement)
        before.append(shape[axis])


def _placed(use: CUse, shape: Shape, indices: Sequence[str]) -> str:
    return use.place(shape, indices, broadcasts=False)


def split(use: CUse) -> None:
    """A loop for each part."""
    shape, axis, before = use.type().shape, use.attribute_axis(), list[Dim]()
    for name, result in zip(use.y, use.results, strict=True):
        start = use.size(total(before))
        before.append(result.shape[axis])
        if not name:
            continue

        def statement(i: Sequence[str], name: str = name, out: Shape = result.shape, start: str = start) -> str:
            moved = [_affine(start, 1, each) if place == axis else each for place, each in enumerate(i)]
            return f"{name}[{use.place(out, i)}] = {use.x[0]}[{_placed(use, shape, moved)}];"

        use.over(result.shape, statement)


def slice(use: CUse) -> None:
    """A part of each axis."""
    shape, out = use.type().shape, use.results[0].shape
    begin, by = dict[int, str](), dict[int, int]()
    for (axis, _, _, step), start in zip(cuts_of(use), use.numbers(1), strict=True):
        size = shape[axis]
        if isinstance(size, int):
            start = max(0, min(start + size if start < 0 else start, size - (step < 0)))
        elif start < 0 or step < 0:
            use.refuse("a part counted from the end of an open size")
        begin[axis], by[axis] = str(start), step

    def statement(i: Sequence[str]) -> str:
        moved = [each if axis not in begin else _affine(begin[axis], by[axis], each) for axis, each in enumerate(i)]
        return f"{use.y[0]}[{use.place(out, i)}] = {use.x[0]}[{_placed(use, shape, moved)}];"

    use.over(out, statement)


def _affine(start: str, step: int, index: str) -> str:
    scaled = index if step == 1 else f"{index} * {step}" if step > 0 else f"{index} * ({step})"
    return scaled if start == "0" else f"({start} + {scaled})"


_BEYOND: Final = {"constant": None, "reflect": "reflected", "edge": "clamped", "wrap": "wrapped"}
"""The function of C that finds the cell of the input for a cell of the padding, by mode."""


def pad(use: CUse) -> None:
    """The border, then the inside."""
    shape, out, dtype = use.type().shape, use.results[0].shape, use.type().dtype
    before = [pads[0] for pads in known_pads(use)]
    if min(chain(*known_pads(use)), default=0) < 0:
        use.refuse("a padding that takes cells away")
    if (source := _BEYOND[use.string("mode")]) is not None:
        use.kernels.add((source, "float32"))

        def beyond(i: Sequence[str]) -> str:
            moved = [
                f"{source}({each} - {before[axis]}, {use.size(size)})" if out[axis] != size else each
                for axis, (each, size) in enumerate(zip(i, shape, strict=True))
            ]
            return f"{use.y[0]}[{use.place(out, i)}] = {use.x[0]}[{_placed(use, shape, moved)}];"

        use.over(out, beyond)
        return
    value = f"{use.x[2]}[0]" if use.has(2) else literal(0, dtype)
    use.lines += loops([("i", use.count(out))], f"{use.y[0]}[i] = {value};")

    def statement(i: Sequence[str]) -> str:
        moved = [_affine(str(before[axis]), 1, each) for axis, each in enumerate(i)]
        return f"{use.y[0]}[{_placed(use, out, moved)}] = {use.x[0]}[{use.place(shape, i)}];"

    use.over(shape, statement)


def gather(use: CUse) -> None:
    """Rows by their numbers."""
    name, count = use.x[1], use.count(use.type(1).shape)
    outer, size, inner = use.around(use.attribute_axis())
    use.lines += loops(
        [("k", count)],
        f"const int64_t row = {name}[k] < 0 ? {name}[k] + {size} : {name}[k];",
        f"if (row < 0 || row >= {size})",
        "    return 2; /* There is no such row. */",
        *loops([("o", outer), ("i", inner)], _gathered(use, count, size, inner)),
    )


def _gathered(use: CUse, count: str, size: str, inner: str) -> str:
    return (
        f"{use.y[0]}[(o * {count} + k) * {inner} + i] = {use.x[0]}[((size_t)o * {size} + (size_t)row) * {inner} + i];"
    )


def put_steps(use: CUse) -> None:
    """A copy in which some steps are replaced."""
    (cache, update), axis, y = (use.type(place).shape for place in (0, 1)), use.attribute_axis(), use.y[0]
    size, start, is_circular = bracketed(use.size(cache[axis])), f"{use.x[-1]}[i0]", use.string("mode") == "circular"
    use.lines += loops([("i", use.count(cache))], f"{y}[i] = {use.x[0]}[i];")
    if use.has(2) and not is_circular:
        check = f"if ({start} < 0 || {start} > {size} - {bracketed(use.size(update[axis]))})"
        use.lines += loops([("i0", use.size(cache[0]))], check, "    return 2; /* There is no such place. */")

    moved = f"(({start} % {size} + {size} + {{0}}) % {size})" if is_circular else f"({start} + {{0}})"

    def statement(i: Sequence[str]) -> str:
        places = [moved.format(each) if place == axis and use.has(2) else each for place, each in enumerate(i)]
        return f"{y}[{_placed(use, cache, places)}] = {use.x[1]}[{use.place(update, i)}];"

    use.over(update, statement)


def one_hot(use: CUse) -> None:
    """One place of each row."""
    indices, out = use.type().shape, use.results[0].shape
    axis, dtype = use.axis(use.int("axis"), len(out)), use.type().dtype
    if dtype in FLOATS:
        use.refuse(f"indices of {dtype}")
    depth, values = use.size(out[axis]), use.x[2]

    def statement(i: Sequence[str]) -> str:
        index = f"{use.x[0]}[{use.place(indices, [*i[:axis], *i[axis + 1 :]])}]"
        found = f"{index} == {i[axis]} || {index} + {depth} == {i[axis]}"
        return f"{use.y[0]}[{use.place(out, i)}] = {found} ? {values}[1] : {values}[0];"

    use.over(out, statement)


def blocks(use: CUse) -> None:
    """The channels of one image are blocks of cells in the other, which is wide."""
    block, shapes = use.int("blocksize"), [use.type().shape, use.results[0].shape]
    is_result = use.operator.name == "DepthToSpace"
    deep, wide = shapes if is_result else shapes[::-1]
    channels, by_columns = use.count([wide[1]]), is_result and use.string("mode") == "CRD"

    def statement(i: Sequence[str]) -> str:
        n, c, h, w = i
        cell = f"{h} % {block} * {block} + {w} % {block}"
        channel = f"{c} * {block * block} + {cell}" if by_columns else f"({cell}) * {channels} + {c}"
        places = [
            _placed(use, deep, [n, f"({channel})", f"({h} / {block})", f"({w} / {block})"]),
            _placed(use, wide, i),
        ]
        source, target = places if is_result else places[::-1]
        return f"{use.y[0]}[{target}] = {use.x[0]}[{source}];"

    use.over(wide, statement)
