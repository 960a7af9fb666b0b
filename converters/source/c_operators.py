"""What each operator is in C: a row per operator, and what writes its lines."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.source.c_kernels import KERNELS, in_type, name_of
from portable_nn.converters.source.lowered import Use
from portable_nn.converters.source.numpy_operators import NotWritten
from portable_nn.core.dims import product, spelled, total
from portable_nn.core.graph import Dim, Shape
from portable_nn.operators import InvalidNode, OperatorContext
from portable_nn.operators.recurrent.uses import recurrence
from portable_nn.operators.spatial.window import plain_windows, reaching, windows

FORMS: Final = {
    "floor": "({0} / {1})",
    "ceil": "(({0} + {1} - 1) / {1})",
    "": "({0} / {1})",
    "min": "({0} < {1} ? {0} : {1})",
    "max": "({0} > {1} ? {0} : {1})",
}
"""How computed sizes are written in C, where none is negative."""

C_TYPES: Final[Mapping[str, str]] = {
    "float32": "float", "float64": "double", "bool": "unsigned char",
    "int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t",
    "uint8": "uint8_t", "uint16": "uint16_t", "uint32": "uint32_t", "uint64": "uint64_t",
}  # fmt: skip
"""The type of C for each element type; there is none for half precision."""

FLOATS: Final = ("float32", "float64")


class CUse(OperatorContext):
    """A node, as its row sees it: the variables of its inputs and outputs, and the lines that it writes.

    Args:
        use: the node.
        inputs: the variable of each input, ``"0"`` for one that is left out.
        outputs: the variable of each output; ``""`` for one that is not needed.
        sizes: the variables of symbolic sizes.
        constants: which inputs are the same in every run, with their elements.
    """

    def __init__(
        self,
        use: Use,
        inputs: Sequence[str],
        outputs: Sequence[str],
        sizes: Mapping[str, str],
        constants: Mapping[int, Any],
    ) -> None:
        context = use.context
        super().__init__(context.operator, context.types, context.attributes, context.output_count)
        self.x, self.y, self.sizes, self.constants, self.results = inputs, outputs, sizes, constants, use.results
        self.lines = list[str]()
        self.kernels = set[tuple[str, str]]()
        self.scratch: tuple[str, Dim] | None = None
        self.aliases = False

    def size(self, dim: Dim) -> str:
        """A size as an expression. Raises ``NotWritten`` for one that no input has."""
        try:
            return spelled(dim, self.sizes, FORMS)
        except KeyError as error:
            raise NotWritten(f"the size {error} follows from no input") from None

    def count(self, dims: Sequence[Dim]) -> str:
        """The product of sizes."""
        found = product(dims)
        text = self.size(found)
        return text if isinstance(found, int) or text.isidentifier() else f"({text})"

    def call(self, kernel: str, *arguments: object, dtype: str = "") -> None:
        """Call a function of ``KERNELS``."""
        dtype = dtype or self.float_type()
        self.kernels.add((kernel, dtype))
        self.lines.append(f"{name_of(kernel, dtype)}({', '.join(map(str, arguments))});")

    def code(self, text: str, dtype: str = "") -> str:
        """An expression that is written for ``float``, for the type of the node; notes the functions that it calls."""
        dtype = dtype or self.type().dtype
        if dtype in FLOATS:
            self.kernels |= {(name, dtype) for name in KERNELS if re.search(rf"\b{name}\(", text)}
        return in_type(text, dtype)

    def float_type(self) -> str:
        """The float type of the node."""
        found = self.type().dtype
        if found not in FLOATS:
            raise NotWritten(f"for {found} it is not written")
        return found

    def scratch_of(self, count: Dim) -> str:
        """Work memory of so many numbers of the node's type."""
        self.scratch = ("scratch", count)
        return "scratch"

    def over(self, shape: Shape, write: Callable[[Sequence[str]], str]) -> None:
        """Nested loops over all elements of ``shape``; ``write`` makes the statement from the index variables."""
        names = [f"i{axis}" for axis in range(len(shape))]
        self.lines += loops([(name, self.size(dim)) for name, dim in zip(names, shape, strict=True)], write(names))

    def place(self, shape: Shape, indices: Sequence[str]) -> str:
        """The place of an element in an array of ``shape``, which broadcasts against the axes of ``indices``."""
        terms = list[str]()
        for axis, dim in enumerate(shape):
            index = indices[len(indices) - len(shape) + axis]
            stride = product(shape[axis + 1 :])
            if dim != 1 and index != "0":
                terms.append(index if stride == 1 else f"{bracketed(index)} * {bracketed(self.size(stride))}")
        return " + ".join(terms) or "0"


def bracketed(text: str) -> str:
    """An operand of a product."""
    return text if text.isalnum() or text.isidentifier() else f"({text})"


def loops(ranges: Sequence[tuple[str, str]], *statements: str) -> list[str]:
    """Nested loops from 0 around statements, without those that run once."""
    kept = [each for each in ranges if each[1] != "1"]
    body = [_without({name for name, end in ranges if end == "1"}, line) for line in statements]
    if not kept:
        return body if len(body) == 1 else ["{", *(f"    {line}" for line in body), "}"]
    lines = [
        f"{'    ' * depth}for (int {name} = 0; {name} < {_plain(end)}; ++{name})"
        for depth, (name, end) in enumerate(kept)
    ]
    margin, is_block = "    " * len(kept), len(body) > 1
    closing = [f"{margin[4:]}}}"] if is_block else []
    return [*lines[:-1], lines[-1] + " {" * is_block, *(f"{margin}{line}" for line in body), *closing]


def _plain(text: str) -> str:
    """An expression without brackets around it."""
    inside = text[1:-1]
    return inside if text.startswith("(") and text.endswith(")") and not set(inside) & set("()") else text


def _without(indices: Collection[str], line: str) -> str:
    """A line in which index variables that are always 0 are left out."""
    if not indices:
        return line
    line = re.sub(rf"\b({'|'.join(indices)})\b", "0", line)
    line = re.sub(r"(?<=\[)0 \* (\([^()]*\)|\w+) \+ ", "", line)
    return re.sub(r" \+ 0 \* (\([^()]*\)|\w+)(?=[ \]])", "", line)


Write = Callable[[CUse], None]


class Row(NamedTuple):
    """An operator in C: what writes its lines, and what it does."""

    write: Write
    says: str = ""
    all_outputs: bool = False
    """Whether it writes all outputs, also those that nothing reads."""


_SUFFIXES: Final = {"int64": "LL", "uint32": "u", "uint64": "ULL"}


def literal(value: float, dtype: str) -> str:
    """A number exactly, as C99 reads it."""
    if dtype not in FLOATS:
        number = int(value)
        if number == -(2**63):
            return "INT64_MIN"
        return f"{number}{_SUFFIXES.get(dtype, '') if abs(number) > 2**31 - 1 else ''}"
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "-INFINITY" if value < 0 else "INFINITY"
    text = repr(float(value)) if dtype == "float64" else str(np.float32(value))
    text = text if any(sign in text for sign in ".e") else f"{text}.0"
    return f"{text}f" if dtype == "float32" else text


# -- element by element


def _elements(template: str) -> Write:
    """A row of one expression: ``{0}`` is the first operand, ``{alpha}`` an attribute."""

    def write(use: CUse) -> None:
        dtype = use.type().dtype
        if re.search(r"\w\(", template):
            use.float_type()
        options = {
            name: bracketed_number(literal(value, "float32" if dtype not in FLOATS else dtype))
            for name, known in use.operator.attributes.items()
            if isinstance(value := use.attributes.get(name, known.default), float)
        }
        _elementwise(use, lambda operands: use.code(template, dtype).format(*operands, **options))

    return write


def _elementwise(use: CUse, expression: Callable[[Sequence[str]], str]) -> None:
    """Loops over all elements of the output."""
    out, shapes = use.results[0].shape, [t.shape for t in use.types if t is not None]

    def operands(indices: Sequence[str], *, flat: bool) -> list[str]:
        found = list[str]()
        for place, type in enumerate(use.types):
            assert type is not None
            index = use.place(type.shape, indices) if not flat else indices[0] if type.shape == out else "0"
            if place in use.constants and product(type.shape) == 1:
                found.append(bracketed_number(literal(float(np.ravel(use.constants[place])[0]), type.dtype)))
            else:
                found.append(f"{use.x[place]}[{index}]")
        return found

    if all(shape == out or product(shape) == 1 for shape in shapes):
        use.lines += loops([("i", use.count(out))], f"{use.y[0]}[i] = {expression(operands(['i'], flat=True))};")
    else:
        use.over(out, lambda i: f"{use.y[0]}[{use.place(out, i)}] = {expression(operands(i, flat=False))};")


def bracketed_number(text: str) -> str:
    """A negative number in brackets."""
    return f"({text})" if text.startswith("-") else text


def _folded(function: str) -> Write:
    """An operator of any number of inputs; ``{0}`` and ``{1}`` are what there is so far and the next."""

    def write(use: CUse) -> None:
        def expression(operands: Sequence[str]) -> str:
            text, *rest = operands
            for each in rest:
                text = use.code(function).format(text, each)
            return text

        _elementwise(use, expression)

    return write


def _mean(use: CUse) -> None:
    use.float_type()
    _elementwise(use, lambda each: f"({' + '.join(each)}) / {literal(len(each), use.type().dtype)}")


def _extreme(name: str, sign: str) -> Write:
    def write(use: CUse) -> None:
        floats = use.type().dtype in FLOATS
        _folded(f"{name}({{0}}, {{1}})" if floats else f"({{0}} {sign} {{1}} ? {{0}} : {{1}})")(use)

    return write


def _clip(use: CUse) -> None:
    def expression(each: Sequence[str]) -> str:
        operands, text = iter(each[1:]), each[0]
        if use.has(1):
            text = use.code("larger({0}, {1})").format(text, next(operands))
        return use.code("smaller({0}, {1})").format(text, next(operands)) if use.has(2) else text

    use.float_type()
    use.types = [each for each in use.types if each is not None]
    names = [name for name in use.x if name != "0"]
    kept = {
        new: use.constants[old]
        for new, old in enumerate(i for i, n in enumerate(use.x) if n != "0")
        if old in use.constants
    }
    lacking = [use.has(1) and use.x[1] != "0", len(use.x) > 2 and use.x[2] != "0"]
    use.x, use.constants = names, kept
    use.has = lambda index: lacking[index - 1]  # type: ignore[method-assign]
    _elementwise(use, expression)


def _pow(use: CUse) -> None:
    use.float_type()
    exponent = use.constants.get(1)
    if exponent is not None and exponent.size == 1 and float(exponent.reshape(-1)[0]) == 2:
        _elementwise(use, lambda each: f"{each[0]} * {each[0]}")
    elif use.type(1).dtype != use.type().dtype:
        raise NotWritten("a power of another type")
    else:
        _elementwise(use, lambda each: use.code("powf({0}, {1})").format(*each))


def _division(use: CUse) -> None:
    use.float_type()
    _elementwise(use, lambda each: f"{each[0]} / {each[1]}")


def _cast(use: CUse) -> None:
    source, target = use.type().dtype, use.results[0].dtype
    if source in FLOATS and target not in (*FLOATS, "bool"):
        raise NotWritten(f"a cast from {source} to {target}")
    suffix = "{0} != 0" if target == "bool" else f"({C_TYPES[target]}){{0}}"
    _elementwise(use, lambda each: suffix.format(each[0]))


def _gelu(use: CUse) -> None:
    _elements("gelu_tanh({0})" if use.string("approximate") == "tanh" else "gelu({0})")(use)


def _swish(use: CUse) -> None:
    _elements("{0} * sigmoid({0})" if use.float("alpha") == 1 else "{0} * sigmoid({alpha} * {0})")(use)


# -- products


def _gemm(use: CUse) -> None:
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


def _matmul(use: CUse) -> None:
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


# -- windows


def _plane(use: CUse, shape: Shape) -> tuple[Dim, Dim]:
    """Height and width; the height of a sequence is 1."""
    sizes = shape[2:]
    if len(sizes) > 2:
        raise NotWritten(f"a window along {len(sizes)} axes")
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _two(values: Sequence[int], filler: int) -> list[int]:
    return [filler, *values] if len(values) == 1 else list(values)


def _each_example(use: CUse, kernel: str, pointers: Sequence[tuple[str, str]], numbers: Sequence[object]) -> None:
    """Call a function for each example: pointers, each with the size of an example or ``""``, and further numbers."""
    dtype, batch = use.float_type(), use.count(use.type().shape[:1])
    use.kernels.add((kernel, dtype))
    found = [name if not step or batch == "1" else f"{name} + (size_t)n * {step}" for name, step in pointers]
    call = f"{name_of(kernel, dtype)}({', '.join([*found, *map(str, numbers)])});"
    use.lines += loops([("n", batch)], call)


def _windows_of(use: CUse, kernel: Sequence[int]) -> list[Any]:
    sizes = use.type().shape[2:]
    mode = use.string("auto_pad")
    if mode.startswith("SAME") and not all(isinstance(size, int) for size in sizes):
        raise NotWritten("auto_pad with an open size: pads in numbers are written")
    found = windows(use, kernel, sizes)
    if use.attributes.get("ceil_mode"):
        if not all(isinstance(size, int) for size in sizes):
            raise NotWritten("ceil_mode with an open size")
        found = [reaching(w, size) for w, size in zip(found, sizes, strict=True) if isinstance(size, int)]
    return found


def _window_numbers(found: Sequence[Any]) -> list[int]:
    """Kernel, strides, pads before and dilations, for two axes."""
    return [
        *_two([w.kernel for w in found], 1),
        *_two([w.stride for w in found], 1),
        *_two([w.pad_begin for w in found], 0),
        *_two([w.dilation for w in found], 1),
    ]


def _kernel(use: CUse) -> list[int]:
    kernel = use.ints("kernel_shape") or use.type(1).shape[2:]
    return [each for each in kernel if isinstance(each, int)]


def _conv(kernel: str) -> Write:
    def write(use: CUse) -> None:
        x, y = use.type().shape, use.results[0].shape
        if kernel == "conv_transpose2d":
            if use.attributes.get("output_shape") is not None or use.string("auto_pad") not in ("NOTSET", "VALID"):
                raise NotWritten("output_shape and auto_pad are not written: pads are")
            found = plain_windows(use, _kernel(use))
        else:
            found = _windows_of(use, _kernel(use))
        numbers = [use.count([x[1]]), *map(use.size, _plane(use, x)), use.count([y[1]]), *map(use.size, _plane(use, y))]
        bias = use.x[2] if use.has(2) else "0"
        pointers = [(use.x[0], use.count(x[1:])), (use.x[1], ""), (bias, ""), (use.y[0], use.count(y[1:]))]
        _each_example(use, kernel, pointers, [*numbers, *_window_numbers(found), use.int("group")])

    return write


def _pool(kernel: str) -> Write:
    def write(use: CUse) -> None:
        if use.output_count > 1:
            raise NotWritten("where the largest numbers stand is not written")
        x, y = use.type().shape, use.results[0].shape
        found = _windows_of(use, _kernel(use))
        numbers: list[object] = [use.count([x[1]]), *map(use.size, _plane(use, x)), *map(use.size, _plane(use, y))]
        numbers += _window_numbers(found)
        if kernel == "average_pool2d":
            own = plain_windows(use, _kernel(use)) if use.attributes.get("ceil_mode") else found
            counted = [(w.pads if use.int("count_include_pad") else (0, 0)) for w in own]
            numbers += [each for pair in ([(0, 0), *counted] if len(counted) == 1 else counted) for each in pair]
        pointers = [(use.x[0], use.count(x[1:])), (use.y[0], use.count(y[1:]))]
        _each_example(use, kernel, pointers, numbers)

    return write


# -- normalization


def _along(kernel: str) -> Write:
    """A function of (outer, size, inner)."""

    def write(use: CUse) -> None:
        shape, axis = use.type().shape, use.attribute_axis()
        sizes = map(use.count, (shape[:axis], [shape[axis]], shape[axis + 1 :]))
        use.call(kernel, use.x[0], use.y[0], *sizes)

    return write


def _batch_norm(use: CUse) -> None:
    if use.int("training_mode"):
        raise NotWritten("it normalises by the batch, as in training")
    shape = use.type().shape
    sizes = map(use.count, (shape[:1], shape[1:2], shape[2:]))
    use.call("batch_norm", *use.x, use.y[0], *sizes, literal(use.float("epsilon"), use.float_type()))


def _layer_norm(kernel: str) -> Write:
    def write(use: CUse) -> None:
        if use.output_count > 1:
            raise NotWritten("its mean and deviation are not written as outputs")
        shape, axis = use.type().shape, use.attribute_axis()
        epsilon = literal(use.float("epsilon"), use.float_type())
        use.call(kernel, use.x[0], use.y[0], use.count(shape[:axis]), use.count(shape[axis:]), epsilon)
        _scale(use, use.has(2))

    return write


def _scale(use: CUse, biased: bool) -> None:
    """Multiply the output by the second input, and add the third."""
    shape, y = use.type().shape, use.y[0]
    weight, bias = use.type(1).shape, use.type(2).shape if biased else ()

    def statement(i: Sequence[str]) -> str:
        place = use.place(shape, i)
        more = f" + {use.x[2]}[{use.place(bias, i)}]" if biased else ""
        return f"{y}[{place}] = {y}[{place}] * {use.x[1]}[{use.place(weight, i)}]{more};"

    use.over(shape, statement)


def _group_norm(use: CUse) -> None:
    shape = use.type().shape
    instance = "num_groups" not in use.operator.attributes
    rows = shape[:2] if instance else (shape[0], use.int("num_groups"))
    size = product(shape[2:] if instance else [*shape[2:], _number(shape[1]) // use.int("num_groups")])
    epsilon = literal(use.float("epsilon"), use.float_type())
    use.call("standardize", use.x[0], use.y[0], use.count(rows), use.count([size]), epsilon)
    use.call("scale_channels", use.y[0], use.x[1], use.x[2], *map(use.count, (shape[:1], shape[1:2], shape[2:])))


def _response_norm(use: CUse) -> None:
    shape, dtype = use.type().shape, use.float_type()
    numbers = [literal(use.float(name), dtype) for name in ("alpha", "beta", "bias")]
    sizes = map(use.count, (shape[:1], shape[1:2], shape[2:]))
    use.call("response_norm", use.x[0], use.y[0], *sizes, use.int("size"), *numbers)


# -- reductions


def _reduced(start: str, step: str, end: str = "{0}") -> Write:
    """``{0}`` is the sum so far and ``{1}`` an element; at the end ``{1}`` is the number of elements."""

    def write(use: CUse) -> None:
        axes = _axes(use)
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


def _axes(use: CUse) -> tuple[int, ...]:
    rank = len(use.type().shape)
    if "axes" not in "".join(use.operator.inputs):  # A global pool.
        return tuple(range(2, rank))
    given = use.numbers(1) if use.has(1) else ()
    if not given:
        return () if use.int("noop_with_empty_axes") else tuple(range(rank))
    return use.axes(given, rank)


def _arg(sign: str) -> Write:
    def write(use: CUse) -> None:
        if use.int("select_last_index"):
            raise NotWritten("select_last_index")
        shape, axis = use.type().shape, use.attribute_axis()
        sizes = map(use.count, (shape[:axis], [shape[axis]], shape[axis + 1 :]))
        use.call("argmax", use.x[0], use.y[0], *sizes, in_type(sign, use.float_type()))

    return write


# -- elements that move


def _same(use: CUse) -> None:
    """The same memory under another name."""
    use.aliases = True


def _dropout(use: CUse) -> None:
    if use.has(2) and use.type(2).constant != (0,):
        raise NotWritten("it drops at random, as in training")
    if use.output_count > 1:
        raise NotWritten("its mask is not written as an output")
    use.aliases = True


def _transpose(use: CUse) -> None:
    shape, out = use.type().shape, use.results[0].shape
    perm = use.ints("perm") or tuple(reversed(range(len(shape))))

    def statement(i: Sequence[str]) -> str:
        source = [i[perm.index(axis)] for axis in range(len(shape))]
        return f"{use.y[0]}[{use.place(out, i)}] = {use.x[0]}[{use.place(shape, source)}];"

    use.over(out, statement)


def _expand(use: CUse) -> None:
    shape, out = use.type().shape, use.results[0].shape
    use.over(out, lambda i: f"{use.y[0]}[{use.place(out, i)}] = {use.x[0]}[{use.place(shape, i)}];")


def _concat(use: CUse) -> None:
    out = use.results[0].shape
    axis, before = use.axis(use.int("axis"), len(out)), list[Dim]()
    for name, type in zip(use.x, use.types, strict=True):
        assert type is not None
        shape, start = type.shape, use.size(total(before))

        def statement(i: Sequence[str], name: str = name, shape: Shape = shape, start: str = start) -> str:
            moved = [f"({start} + {each})" if place == axis and start != "0" else each for place, each in enumerate(i)]
            return f"{use.y[0]}[{_placed(use, out, moved)}] = {name}[{use.place(shape, i)}];"

        use.over(shape, statement)
        before.append(shape[axis])


def _placed(use: CUse, shape: Shape, indices: Sequence[str]) -> str:
    """As ``place``, where an index of an axis of size 1 counts as well."""
    terms = [
        index
        if product(shape[axis + 1 :]) == 1
        else f"{bracketed(index)} * {bracketed(use.size(product(shape[axis + 1 :])))}"
        for axis, index in enumerate(indices)
        if index != "0"
    ]
    return " + ".join(terms) or "0"


def _split(use: CUse) -> None:
    shape, axis, before = use.type().shape, use.attribute_axis(), list[Dim]()
    for name, result in zip(use.y, use.results, strict=True):
        start = use.size(total(before))
        before.append(result.shape[axis])
        if not name:
            continue

        def statement(i: Sequence[str], name: str = name, out: Shape = result.shape, start: str = start) -> str:
            moved = [f"({start} + {each})" if place == axis and start != "0" else each for place, each in enumerate(i)]
            return f"{name}[{use.place(out, i)}] = {use.x[0]}[{_placed(use, shape, moved)}];"

        use.over(result.shape, statement)


def _slice(use: CUse) -> None:
    shape, out = use.type().shape, use.results[0].shape
    starts = use.numbers(1)
    axes = [use.axis(axis, len(shape)) for axis in use.numbers(3)] if use.has(3) else range(len(starts))
    steps = use.numbers(4) if use.has(4) else (1,) * len(starts)
    begin, by = dict[int, str](), dict[int, int]()
    for axis, start, step in zip(axes, starts, steps, strict=True):
        size = shape[axis]
        if isinstance(size, int):
            start = max(0, min(start + size if start < 0 else start, size - (step < 0)))
        elif start < 0 or step < 0:
            raise NotWritten("a part counted from the end of an open size")
        begin[axis], by[axis] = str(start), step

    def statement(i: Sequence[str]) -> str:
        moved = [each if axis not in begin else _affine(begin[axis], by[axis], each) for axis, each in enumerate(i)]
        return f"{use.y[0]}[{use.place(out, i)}] = {use.x[0]}[{_placed(use, shape, moved)}];"

    use.over(out, statement)


def _affine(start: str, step: int, index: str) -> str:
    scaled = index if step == 1 else f"{index} * {step}" if step > 0 else f"{index} * ({step})"
    return scaled if start == "0" else f"({start} + {scaled})"


def _pad(use: CUse) -> None:
    if use.string("mode") != "constant":
        raise NotWritten(f"the mode {use.string('mode')}")
    shape, out, dtype = use.type().shape, use.results[0].shape, use.type().dtype
    rank, given = len(shape), use.numbers(1)
    axes = [use.axis(axis, rank) for axis in use.numbers(3)] if use.has(3) else list(range(rank))
    before = dict(zip(axes, given, strict=False))
    if min(given, default=0) < 0:
        raise NotWritten("a padding that takes cells away")
    value = f"{use.x[2]}[0]" if use.has(2) else literal(0, dtype)
    use.lines += loops([("i", use.count(out))], f"{use.y[0]}[i] = {value};")

    def statement(i: Sequence[str]) -> str:
        moved = [_affine(str(before.get(axis, 0)), 1, each) for axis, each in enumerate(i)]
        return f"{use.y[0]}[{_placed(use, out, moved)}] = {use.x[0]}[{use.place(shape, i)}];"

    use.over(shape, statement)


def _gather(use: CUse) -> None:
    shape, indices, axis = use.type().shape, use.type(1).shape, use.attribute_axis()
    size, name = use.count([shape[axis]]), use.x[1]
    inner, outer, count = use.count(shape[axis + 1 :]), use.count(shape[:axis]), use.count(indices)
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


def _one_hot(use: CUse) -> None:
    indices, out = use.type().shape, use.results[0].shape
    axis, dtype = use.axis(use.int("axis"), len(out)), use.type().dtype
    if dtype in FLOATS:
        raise NotWritten(f"indices of {dtype}")
    depth, values = use.size(out[axis]), use.x[2]

    def statement(i: Sequence[str]) -> str:
        index = f"{use.x[0]}[{use.place(indices, [*i[:axis], *i[axis + 1 :]])}]"
        found = f"{index} == {i[axis]} || {index} + {depth} == {i[axis]}"
        return f"{use.y[0]}[{use.place(out, i)}] = {found} ? {values}[1] : {values}[0];"

    use.over(out, statement)


# -- recurrence


def _recurrent(name: str) -> Write:
    def write(use: CUse) -> None:
        found = recurrence(use)
        use.float_type()
        defaults = {"rnn": ("Tanh",), "gru": ("Sigmoid", "Tanh"), "lstm": ("Sigmoid", "Tanh", "Tanh")}[name]
        if found.clip is not None or any(tuple(f.name for f in each) != defaults for each in found.functions):
            raise NotWritten("other activation functions, or a clip of their arguments")
        if name == "lstm" and (use.has(7) or use.int("input_forget")):
            raise NotWritten("peepholes and coupled gates")
        gates, units, directions = found.kind.gates, found.hidden, found.directions
        scratch = use.scratch_of(2 * gates * units)
        batch, steps, inputs = use.count([found.batch]), use.count([found.steps]), use.count([found.features])
        first = found.batch_first
        x_strides = [inputs, f"{steps} * {inputs}"] if first else [f"{batch} * {inputs}", inputs]
        wide = directions * units
        y_strides = [str(wide), f"{steps} * {wide}"] if first else [f"{batch} * {wide}", str(units)]
        h_batch = wide if first else units
        for way in range(directions):
            y_offset = f" + {way} * {units}" if first else f" + {way} * {batch} * {units}"
            h_offset = f" + {way * units}" if first else f" + {way} * {batch} * {units}"
            at_y, at_h = ("", "") if way == 0 else (y_offset, h_offset)
            states = [f"{use.x[i]}{at_h}" if use.has(i) else "0" for i in range(5, 5 + found.kind.states)]
            weights = [
                use.x[i] if way == 0 else f"{use.x[i]} + {way * rows}"
                for i, rows in ((1, gates * units * _number(found.features)), (2, gates * units * units))
            ]
            bias = "0" if not use.has(3) else use.x[3] if way == 0 else f"{use.x[3]} + {way * 2 * gates * units}"
            results = [f"{use.y[1 + state]}{at_h}" for state in range(found.kind.states)]
            lengths = use.x[4] if use.has(4) else "0"
            use.call(
                name, use.x[0], *weights, bias, *states, f"{use.y[0]}{at_y}", *results, scratch, lengths, steps, batch,
                inputs, units, *x_strides, *y_strides, h_batch, int(found.reversed[way]),
                *([use.int("linear_before_reset")] if name == "gru" else []),
            )  # fmt: skip

    return write


def _number(dim: Dim) -> int:
    if not isinstance(dim, int):
        raise NotWritten("an open number of features")
    return dim


ROWS: Final[Mapping[str, Row]] = {
    "Gemm": Row(_gemm, "weighted sums"),
    "MatMul": Row(_matmul, "weighted sums"),
    "Conv": Row(_conv("conv2d"), "kernels slide over it"),
    "ConvTranspose": Row(_conv("conv_transpose2d"), "each number spreads over a window"),
    "RNN": Row(_recurrent("rnn"), "a recurrence", all_outputs=True),
    "GRU": Row(_recurrent("gru"), "a gated recurrence", all_outputs=True),
    "LSTM": Row(_recurrent("lstm"), "a recurrence with a memory", all_outputs=True),
    "Relu": Row(_elements("{0} < 0 ? 0 : {0}"), "negative numbers become 0"),
    "Sigmoid": Row(_elements("sigmoid({0})"), "each number between 0 and 1"),
    "Tanh": Row(_elements("tanhf({0})"), "each number between -1 and 1"),
    "Softplus": Row(_elements("softplus({0})"), "each number above 0"),
    "LeakyRelu": Row(_elements("{0} < 0 ? {alpha} * {0} : {0}"), "negative numbers shrink"),
    "PRelu": Row(_elements("{0} < 0 ? {1} * {0} : {0}"), "negative numbers are multiplied by what was learned"),
    "Elu": Row(_elements("elu({0}, {alpha})"), "negative numbers level off"),
    "Selu": Row(_elements("{gamma} * elu({0}, {alpha})"), "negative numbers level off"),
    "Celu": Row(_elements("{alpha} * elu({0} / {alpha}, 1)"), "negative numbers level off"),
    "HardSigmoid": Row(_elements("hard_sigmoid({0}, {alpha}, {beta})"), "each number from 0 to 1"),
    "HardSwish": Row(_elements("{0} * hard_sigmoid({0}, 1.0f / 6.0f, 0.5f)"), "small numbers fade out"),
    "Swish": Row(_swish, "small numbers fade out"),
    "Mish": Row(_elements("{0} * tanhf(softplus({0}))"), "small numbers fade out"),
    "Softsign": Row(_elements("{0} / (1 + fabsf({0}))"), "each number between -1 and 1"),
    "ThresholdedRelu": Row(_elements("{0} > {alpha} ? {0} : 0"), "small numbers become 0"),
    "Shrink": Row(
        _elements("{0} < -{lambd} ? {0} + {bias} : {0} > {lambd} ? {0} - {bias} : 0"), "numbers near 0 become 0"
    ),
    "Clip": Row(_clip, "numbers are cut at both ends"),
    "Erf": Row(_elements("erff({0})"), "the error function"),
    "Gelu": Row(_gelu, "small numbers fade out"),
    "Softmax": Row(_along("softmax"), "probabilities: positive, and 1 in total"),
    "LogSoftmax": Row(_along("log_softmax"), "logarithms of probabilities"),
    "BatchNormalization": Row(_batch_norm, "each channel around 0, by what was learned"),
    "LayerNormalization": Row(_layer_norm("standardize"), "each example around 0, then scaled"),
    "RMSNormalization": Row(_layer_norm("root_mean_square"), "divided by the root of the mean square, then scaled"),
    "GroupNormalization": Row(_group_norm, "groups of channels around 0, then scaled"),
    "InstanceNormalization": Row(_group_norm, "each channel of each example around 0, then scaled"),
    "LRN": Row(_response_norm, "neighbouring channels compete"),
    "Dropout": Row(_dropout, "nothing: it drops numbers in training only"),
    "MaxPool": Row(_pool("max_pool2d"), "the largest number of each window"),
    "AveragePool": Row(_pool("average_pool2d"), "the mean of each window"),
    "GlobalAveragePool": Row(_reduced("0", "{0} + {1}", "{0} / {1}"), "the mean of each channel"),
    "GlobalMaxPool": Row(_reduced("-INFINITY", "larger({0}, {1})"), "the largest number of each channel"),
    "ReduceSum": Row(_reduced("0", "{0} + {1}"), "the sum along some axes"),
    "ReduceMean": Row(_reduced("0", "{0} + {1}", "{0} / {1}"), "the mean along some axes"),
    "ReduceProd": Row(_reduced("1", "{0} * {1}"), "the product along some axes"),
    "ReduceMax": Row(_reduced("-INFINITY", "larger({0}, {1})"), "the largest along some axes"),
    "ReduceMin": Row(_reduced("INFINITY", "smaller({0}, {1})"), "the smallest along some axes"),
    "ReduceSumSquare": Row(_reduced("0", "{0} + {1} * {1}"), "the sum of squares along some axes"),
    "ReduceL1": Row(_reduced("0", "{0} + fabsf({1})"), "the sum of magnitudes along some axes"),
    "ReduceL2": Row(_reduced("0", "{0} + {1} * {1}", "sqrtf({0})"), "the length along some axes"),
    "ArgMax": Row(_arg("1.0f"), "where the largest number stands"),
    "ArgMin": Row(_arg("-1.0f"), "where the smallest number stands"),
    "Neg": Row(_elements("-{0}"), "the sign changes"),
    "Abs": Row(_elements("fabsf({0})"), "without sign"),
    "Exp": Row(_elements("expf({0})"), "e to this power"),
    "Log": Row(_elements("logf({0})"), "the natural logarithm"),
    "Sqrt": Row(_elements("sqrtf({0})"), "the square root"),
    "Reciprocal": Row(_elements("1 / {0}"), "1 divided by it"),
    "Floor": Row(_elements("floorf({0})"), "rounded down"),
    "Ceil": Row(_elements("ceilf({0})"), "rounded up"),
    "Round": Row(_elements("rintf({0})"), "rounded, halves to even numbers"),
    "Sin": Row(_elements("sinf({0})"), "the sine"),
    "Cos": Row(_elements("cosf({0})"), "the cosine"),
    "Tan": Row(_elements("tanf({0})"), "the tangent"),
    "Atan": Row(_elements("atanf({0})"), "the arc tangent"),
    "Not": Row(_elements("!{0}"), "true becomes false"),
    "IsNaN": Row(_elements("{0} != {0}"), "which are no numbers"),
    "Add": Row(_elements("{0} + {1}"), "the sum"),
    "Sub": Row(_elements("{0} - {1}"), "the difference"),
    "Mul": Row(_elements("{0} * {1}"), "the product, number by number"),
    "Div": Row(_division, "the quotient"),
    "Pow": Row(_pow, "a power"),
    "Sum": Row(_folded("{0} + {1}"), "the sum"),
    "Mean": Row(_mean, "the mean of all of them"),
    "Max": Row(_extreme("larger", ">"), "the larger number"),
    "Min": Row(_extreme("smaller", "<"), "the smaller number"),
    "Equal": Row(_elements("{0} == {1}"), "which are equal"),
    "Greater": Row(_elements("{0} > {1}"), "which are larger"),
    "GreaterOrEqual": Row(_elements("{0} >= {1}"), "which are larger or equal"),
    "Less": Row(_elements("{0} < {1}"), "which are smaller"),
    "LessOrEqual": Row(_elements("{0} <= {1}"), "which are smaller or equal"),
    "And": Row(_elements("{0} && {1}"), "both"),
    "Or": Row(_elements("{0} || {1}"), "one of them, or both"),
    "Where": Row(_elements("{0} ? {1} : {2}"), "one or the other"),
    "Identity": Row(_same, "as it is"),
    "Reshape": Row(_same, "the same numbers in another shape"),
    "Flatten": Row(_same, "all numbers of an example in one row"),
    "Squeeze": Row(_same, "without axes of size 1"),
    "Unsqueeze": Row(_same, "with further axes of size 1"),
    "Cast": Row(_cast, "the same numbers in another type"),
    "Transpose": Row(_transpose, "the axes in another order"),
    "Expand": Row(_expand, "repeated"),
    "Concat": Row(_concat, "one after the other"),
    "Split": Row(_split, "in parts"),
    "Slice": Row(_slice, "a part"),
    "Pad": Row(_pad, "with more cells around it"),
    "Gather": Row(_gather, "rows by their numbers"),
    "OneHot": Row(_one_hot, "one place of each row"),
}
"""All operators that are written; of others, those that have a lowering are written as that."""


def missing(use: CUse) -> str | None:
    """What of a use is not written, or ``None``."""
    row = ROWS.get(use.operator.name) if not use.operator.domain else None
    if row is None:
        return "is not written in C"
    if strange := [t.dtype for t in (*use.types, *use.results) if t is not None and t.dtype not in C_TYPES]:
        return f"{strange[0]} is no type of C"
    try:
        row.write(use)
    except (NotWritten, InvalidNode) as error:
        return str(error)
    return None
