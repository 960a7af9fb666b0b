"""What each operator is in numpy: a row per operator, an expression and what it says to a beginner."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.converters.source.lowered import Use
from portable_nn.core.dims import is_at_least, spelled
from portable_nn.core.graph import Dim, Shape, Tensor
from portable_nn.operators import ONNX_DTYPES, InvalidNode, OperatorContext, Type
from portable_nn.operators.recurrent.functions import Function
from portable_nn.operators.recurrent.uses import recurrence
from portable_nn.operators.spatial.window import plain_windows

FORMS: Final = {
    "floor": "({0} // {1})",
    "ceil": "(-(-{0} // {1}))",
    "": "({0} // {1})",
    "min": "min({0}, {1})",
    "max": "max({0}, {1})",
}
"""How computed sizes are written in Python."""


class NotWritten(Exception):  # noqa: N818 - never leaves the package: it becomes a line of an error
    """What of a use cannot be written."""


class NumpyUse(OperatorContext):
    """A node, as its row sees it: its types and attributes, and the expressions of its inputs.

    Args:
        use: the node with its types.
        inputs: the expressions of the inputs; ``None`` for one that is left out.
        sizes: the variables of symbolic sizes, which are noted in ``used`` when they are read.
    """

    def __init__(
        self, use: OperatorContext, inputs: Sequence[str | None], sizes: Mapping[str, str], results: Sequence[Type]
    ) -> None:
        super().__init__(use.operator, use.types, use.attributes, use.output_count)
        self._inputs, self._sizes, self.results = inputs, sizes, results
        self.read = set[int]()

    def x(self, index: int = 0) -> str:
        """The expression of an input that is there."""
        found = self._inputs[index]
        assert found is not None
        self.read.add(index)
        return found

    def optional(self, index: int, absent: str = "None") -> str:
        """The expression of an input, or ``absent``."""
        return self.x(index) if self.has(index) else absent

    @property
    def all(self) -> list[str]:
        """The expressions of all inputs."""
        return [self.x(index) for index in range(len(self._inputs))]

    @property
    def rank(self) -> int:
        """How many axes the first input has."""
        return len(self.type().shape)

    def size(self, dim: Dim) -> str:
        """A size as an expression. Raises ``NotWritten`` for one that no input has."""
        try:
            return spelled(dim, self._sizes, FORMS)
        except KeyError as error:
            raise NotWritten(f"the size {error} follows from no input") from None

    def knows(self, index: int) -> bool:
        """Whether the elements of an integer input are numbers or sizes of the inputs."""
        constant = self.type(index).constant
        if constant is None or not all(isinstance(each, int | str) for each in constant):
            return False
        try:
            return all(bool(self.size(each)) for each in constant if isinstance(each, str)) or True
        except NotWritten:
            return False

    def whole(self, index: int) -> list[str]:
        """The elements of an integer input that are known."""
        return [self.size(each) for each in self.type(index).constant or () if isinstance(each, int | str)]

    def listed(self, index: int) -> str:
        """An integer input as an expression: its numbers where they are known."""
        return tuple_of(self.whole(index)) if self.knows(index) else self.x(index)

    def axes_of(self, index: int, rank: int | None = None) -> tuple[int, ...] | None:
        """The axes that an input gives; ``None`` where it is not there."""
        if not self.has(index):
            return None
        return tuple(self.axis(axis, rank or self.rank) for axis in self.numbers(index))


def in_quotes(value: str) -> str:
    """Python's text in quotes: double ones where that is as simple."""
    found = repr(value)
    return f'"{value}"' if found == f"'{value}'" and '"' not in value else found


def tuple_of(items: Sequence[object]) -> str:
    """Python's tuple of some expressions."""
    return f"({', '.join(map(str, items))}{',' if len(items) == 1 else ''})"


Write = str | Callable[[NumpyUse], str]


class Row(NamedTuple):
    """An operator in numpy.

    Attributes:
        write: the expression, or what makes it; ``{0}`` is the first input, and ``{alpha}`` an attribute.
        says: what it does, for a beginner.
    """

    write: Write
    says: str | Callable[[NumpyUse], str] = ""

    def expression(self, use: NumpyUse) -> str:
        """The expression of a use. Raises ``NotWritten`` or ``InvalidNode``."""
        if callable(self.write):
            return self.write(use)
        values = {name: use.attributes.get(name, known.default) for name, known in use.operator.attributes.items()}
        return self.write.format(*use.all, **values)

    def words(self, use: NumpyUse) -> str:
        """What it does."""
        return self.says(use) if callable(self.says) else self.says


def number(value: float) -> str:
    """A number as an operand."""
    text = "np.nan" if math.isnan(value) else f"{'-' if value < 0 else ''}np.inf" if math.isinf(value) else repr(value)
    return f"({text})" if text.startswith("-") else text


def array(values: Any, dtype: str) -> str:
    """An array, as numpy is told it."""

    def text(each: Any) -> str:
        return f"[{', '.join(map(text, each))}]" if isinstance(each, list) else number(each).strip("()")

    found = np.asarray(values, dtype)
    if found.size == 0:
        return f"np.zeros({tuple_of(found.shape)}, np.{dtype})"
    listed = found.astype(np.float64 if dtype == "float16" else dtype).tolist()
    if dtype == "float32":
        listed = _shortest(found)
    return f"np.array({text(listed)}, np.{'bool_' if dtype == 'bool' else dtype})"


def _shortest(found: Any) -> Any:
    """Nested lists of float32 as the shortest decimals that mean them."""
    return float(str(found)) if found.ndim == 0 else [_shortest(each) for each in found]


# -- linear


def _gemm(use: NumpyUse) -> str:
    a, b = (f"{use.x(i)}.T" if use.int(f"trans{'AB'[i]}") else use.x(i) for i in (0, 1))
    text = f"{a} @ {b}"
    if use.float("alpha") != 1:
        text = f"{use.float('alpha')} * ({text})"
    if use.has(2) and use.float("beta"):
        text += f" + {use.x(2)}" if use.float("beta") == 1 else f" + {use.float('beta')} * {use.x(2)}"
    return text


def _weighted(use: NumpyUse) -> str:
    results, given = use.results[0].shape[-1:], use.type().shape[0 if use.attributes.get("transA") else -1 :][:1]
    bias = ", plus a bias" if use.has(2) else ""
    return f"{results[0]} weighted sums of {given[0]} numbers{bias}" if results and given else "a sum of products"


def _einsum(use: NumpyUse) -> str:
    equation = use.string("equation")
    return f"np.einsum({in_quotes(equation)}, {', '.join(use.all)}).astype({use.x(0)}.dtype)"


# -- windows


def _window(use: NumpyUse, kernel: Sequence[int]) -> list[str]:
    """Strides, dilations and pads."""
    found = plain_windows(use, kernel)
    strides, dilations = [w.stride for w in found], [w.dilation for w in found]
    sizes, mode = f"{use.x()}.shape[2:]", use.choice("auto_pad", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
    if mode.startswith("SAME"):
        pads = f"same_pads({sizes}, {tuple_of(kernel)}, {strides}, {dilations}, {mode == 'SAME_UPPER'})"
    else:
        pads = str([w.pads for w in found])
    if use.attributes.get("ceil_mode"):
        pads = f"ceil_pads({sizes}, {tuple_of(kernel)}, {strides}, {dilations}, {pads})"
    return [tuple_of(strides), tuple_of(dilations), pads]


def _kernel(use: NumpyUse) -> list[int]:
    kernel = use.ints("kernel_shape") or use.type(1).shape[2:]
    return [each for each in kernel if isinstance(each, int)]


def _conv(use: NumpyUse) -> str:
    options = ", ".join(_window(use, _kernel(use)))
    groups = f", groups={use.int('group')}" if use.int("group") > 1 else ""
    return f"conv({use.x()}, {use.x(1)}, {use.optional(2)}, {options}{groups})"


def _conv_words(use: NumpyUse) -> str:
    return f"{use.results[0].shape[1]} kernels of {'x'.join(map(str, _kernel(use)))} slide over it"


def _conv_transpose(use: NumpyUse) -> str:
    if use.attributes.get("output_shape") is not None:
        raise NotWritten("output_shape is not written: pads are")
    if use.string("auto_pad") not in ("NOTSET", "VALID"):
        raise NotWritten(f"auto_pad {use.string('auto_pad')} is not written: pads are")
    kernel = _kernel(use)
    more = use.ints("output_padding") or (0,) * len(kernel)
    groups = f", groups={use.int('group')}" if use.int("group") > 1 else ""
    options = ", ".join(_window(use, kernel))
    return f"conv_transpose({use.x()}, {use.x(1)}, {use.optional(2)}, {options}, {tuple_of(more)}{groups})"


def _pool(name: str) -> Callable[[NumpyUse], str]:
    def write(use: NumpyUse) -> str:
        if use.output_count > 1:
            raise NotWritten("where the largest numbers stand is not written")
        kernel = _kernel(use)
        options = [tuple_of(kernel), *_window(use, kernel)]
        if name == "lp_pool":
            options.append(str(use.int("p")))
        if name == "average_pool":
            options.append(_counted(use, kernel, options[-1]))
        return f"{name}({', '.join([use.x(), *options])})"

    return write


def _counted(use: NumpyUse, kernel: Sequence[int], pads: str) -> str:
    """The padding that an average counts: none, or that of the node without what ceil_mode adds."""
    if not use.int("count_include_pad"):
        return str([(0, 0)] * len(kernel))
    if use.int("ceil_mode"):
        if use.string("auto_pad").startswith("SAME"):
            raise NotWritten("ceil_mode with auto_pad and count_include_pad")
        return str([w.pads for w in plain_windows(use, kernel)])
    return pads


def _pool_words(what: str) -> Callable[[NumpyUse], str]:
    return lambda use: f"{what} of each window of {'x'.join(map(str, _kernel(use)))}"


def _global_pool(write: str) -> Callable[[NumpyUse], str]:
    return lambda use: write.format(
        x=use.x(),
        axes=tuple_of(range(2, use.rank)),
        p=use.attributes.get("p", 2),
        inverse=f"(1 / {use.attributes.get('p', 2)})",
    )


# -- normalization


def _batch_norm(use: NumpyUse) -> str:
    if use.int("training_mode"):
        return f"batch_norm_of_batch({', '.join(use.all)}, {use.float('epsilon')!r}, {use.float('momentum')!r})"
    return f"batch_norm({', '.join(use.all)}, {use.float('epsilon')!r})"


def _layer_norm(use: NumpyUse) -> str:
    if use.output_count > 1:
        raise NotWritten("its mean and deviation are not written as outputs")
    axes = tuple_of(range(use.attribute_axis(), use.rank))
    bias = f" + {use.x(2)}" if use.has(2) else ""
    return f"standardized({use.x()}, {axes}, {use.float('epsilon')!r}) * {use.x(1)}{bias}"


def _rms_norm(use: NumpyUse) -> str:
    x, axes = use.x(), tuple_of(range(use.attribute_axis(), use.rank))
    mean = f"({x} * {x}).mean(axis={axes}, keepdims=True)"
    return f"{x} / np.sqrt({mean} + {use.float('epsilon')!r}) * {use.x(1)}"


def _lp_norm(use: NumpyUse) -> str:
    x, axis, p = use.x(), use.attribute_axis(), use.int("p")
    norm = f"np.abs({x}).sum(axis={axis}, keepdims=True)"
    if p == 2:
        norm = f"np.sqrt(({x} * {x}).sum(axis={axis}, keepdims=True))"
    return f"np.divide({x}, {norm}, out=np.zeros_like({x}), where={norm} != 0)"


def _dropout(use: NumpyUse) -> str:
    if use.has(2) and use.type(2).constant != (0,):
        raise NotWritten("it drops at random, as in training")
    if use.output_count > 1:
        return f"{use.x()}, np.ones({use.x()}.shape, np.bool_)"
    return use.x()


# -- arithmetic


def _folded(function: str) -> Callable[[NumpyUse], str]:
    def write(use: NumpyUse) -> str:
        text, *rest = use.all
        for each in rest:
            text = f"{function}({text}, {each})"
        return text

    return write


def _mean(use: NumpyUse) -> str:
    return f"({' + '.join(use.all)}) / {len(use.all)}"


def _division(use: NumpyUse) -> str:
    a, b = use.all
    return f"{a} / {b}" if use.type().dtype.startswith("float") else f"divided({a}, {b})"


def _pow(use: NumpyUse) -> str:
    base, exponent = use.type(0).dtype, use.type(1).dtype
    text = f"np.power({use.x(0)}, {use.x(1)})"
    return text if base == exponent else f"{text}.astype(np.{base})"


def _mod(use: NumpyUse) -> str:
    return f"np.{'fmod' if use.int('fmod') else 'mod'}({use.x(0)}, {use.x(1)})"


def _clip(use: NumpyUse) -> str:
    if not use.has(1) and not use.has(2):
        return use.x()
    text = use.x()
    if use.has(1):
        text = f"np.maximum({text}, {use.x(1)})"
    if use.has(2):
        text = f"np.minimum({text}, {use.x(2)})"
    return text


def _cast(use: NumpyUse) -> str:
    return f"{use.x()}.astype(np.{_numpy_type(ONNX_DTYPES[use.int('to')])})"


def _numpy_type(dtype: str) -> str:
    return "bool_" if dtype == "bool" else dtype


def _swish(use: NumpyUse) -> str:
    x = use.x()
    factor = "" if use.float("alpha") == 1 else f"{number(use.float('alpha'))} * "
    return f"{x} * sigmoid({factor}{x})"


def _shrink(use: NumpyUse) -> str:
    x, bias, edge = use.x(), use.float("bias"), use.float("lambd")
    return f"np.where({x} < -{edge}, {x} + {bias}, np.where({x} > {edge}, {x} - {bias}, 0)).astype({x}.dtype)"


def _gelu(use: NumpyUse) -> str:
    return f"gelu{'_tanh' if use.string('approximate') == 'tanh' else ''}({use.x()})"


def _prelu(use: NumpyUse) -> str:
    return f"leaky_relu({use.x()}, {use.x(1)})"


# -- reductions


def _reduced(write: str) -> Callable[[NumpyUse], str]:
    """``{how}`` is the axis and keepdims."""

    def make(use: NumpyUse) -> str:
        axes = use.axes_of(1)
        if not axes:
            axes = () if use.int("noop_with_empty_axes") else tuple(range(use.rank))
        how = f"axis={axes[0] if len(axes) == 1 else axes}"
        if use.int("keepdims"):
            how += ", keepdims=True"
        if use.type().dtype not in ("float32", "float64"):
            return f"np.asarray({write.format(x=use.x(), how=how)}).astype(np.{use.type().dtype})"
        return write.format(x=use.x(), how=how)

    return make


def _along_words(what: str) -> Callable[[NumpyUse], str]:
    def words(use: NumpyUse) -> str:
        axes = use.axes_of(1) or tuple(range(use.rank))
        return f"{what} along {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}"

    return words


def _place(name: str) -> Callable[[NumpyUse], str]:
    def make(use: NumpyUse) -> str:
        x, axis = use.x(), use.attribute_axis()
        keep = ", keepdims=True" if use.int("keepdims") else ""
        if use.int("select_last_index"):
            return f"{x}.shape[{axis}] - 1 - np.flip({x}, {axis}).{name}(axis={axis}{keep})"
        return f"{x}.{name}(axis={axis}{keep})"

    return make


def _top_k(use: NumpyUse) -> str:
    [k] = use.whole(1) if use.knows(1) else [f"int({use.x(1)}[0])"]
    return f"top_k({use.x()}, {k}, {use.attribute_axis()}, {bool(use.int('largest'))})"


# -- layout


def _reshape(use: NumpyUse) -> str:
    x, target = use.x(), use.results[0].shape
    names = [dim for dim in target if isinstance(dim, str)]
    if all(isinstance(dim, int) for dim in target):
        return f"{x}.reshape({', '.join(map(str, target))})" if target else f"{x}.reshape(())"
    if names == [use.type().shape[0] if use.rank else None] == [target[0]]:
        return f"{x}.reshape({', '.join([f'len({x})', *map(str, target[1:])])})"
    try:
        return f"{x}.reshape({', '.join(map(use.size, target))})"
    except NotWritten:
        return f"reshape({x}, {use.x(1)})"


def _flatten(use: NumpyUse) -> str:
    axis = use.int("axis") if use.int("axis") >= 0 else use.int("axis") + use.rank
    x = use.x()
    if axis == 1:
        return f"{x}.reshape(len({x}), {_count(use, use.type().shape[1:])})"
    return f"{x}.reshape({_count(use, use.type().shape[:axis])}, {_count(use, use.type().shape[axis:])})"


def _count(use: NumpyUse, dims: Shape) -> str:
    try:
        return (
            " * ".join(use.size(dim) if isinstance(dim, int) else f"({use.size(dim)})" for dim in _merged(dims)) or "1"
        )
    except NotWritten:
        return "-1"


def _merged(dims: Shape) -> Shape:
    """The sizes with all numbers multiplied."""
    numbers = math.prod(dim for dim in dims if isinstance(dim, int))
    names = tuple(dim for dim in dims if isinstance(dim, str))
    return names if names and numbers == 1 else (*names, numbers)


def _squeeze(use: NumpyUse) -> str:
    axes = use.axes_of(1)
    return f"{use.x()}.squeeze({'' if axes is None else axes[0] if len(axes) == 1 else axes})"


def _unsqueeze(use: NumpyUse) -> str:
    axes = use.axes_of(1, len(use.results[0].shape)) or ()
    if axes == (0,):
        return f"{use.x()}[np.newaxis]"
    return f"np.expand_dims({use.x()}, {axes[0] if len(axes) == 1 else axes})"


def _transpose(use: NumpyUse) -> str:
    perm = use.ints("perm")
    return f"{use.x()}.T" if perm is None else f"{use.x()}.transpose({', '.join(map(str, perm))})"


def _expand(use: NumpyUse) -> str:
    return f"expand({use.x()}, {use.listed(1)})"


def _shape(use: NumpyUse) -> str:
    start, end = use.int("start"), use.attributes.get("end")
    part = "" if not start and end is None else f"[{start or ''}:{'' if end is None else end}]"
    return f"np.array({use.x()}.shape{part}, np.int64)"


def _gather(use: NumpyUse) -> str:
    return f"take({use.x()}, {use.x(1)}, {use.attribute_axis()})"


def _slice(use: NumpyUse) -> str:
    rank = use.rank
    if not all(use.knows(index) for index in range(3, 5) if use.has(index)):
        raise NotWritten("axes and steps that are computed")
    axes = use.axes_of(3) or tuple(range(len(use.type(1).constant or range(use.type(1).shape[0]))))  # type: ignore[arg-type]
    steps = use.numbers(4) if use.has(4) else (1,) * len(axes)
    edges = [use.type(index).constant for index in (1, 2)]
    plain = all(edge is not None and all(isinstance(n, int) for n in edge) for edge in edges)
    if not plain or min(steps) < 0:
        return f"cut({use.x()}, {use.listed(1)}, {use.listed(2)}, {axes}, {tuple_of(steps)})"
    parts = [":"] * rank
    for place, axis in enumerate(axes):
        start, end = (int(edge[place]) for edge in edges if edge)
        size = use.type().shape[axis]
        if start < 0 and isinstance(
            size, int
        ):  # Python reads -7 of 5 as 0 too, but "cut" is the plainer way to say it.
            start = max(0, start + size)
        first, last = "" if start == 0 else str(start), "" if end > 2**30 else str(end)
        parts[axis] = f"{first}:{last}" + (f":{steps[place]}" if steps[place] != 1 else "")
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    return f"{use.x()}[{', '.join(parts)}]"


def _concat(use: NumpyUse) -> str:
    return f"np.concatenate([{', '.join(use.all)}], axis={use.axis(use.int('axis'), use.rank)})"


def first_of(write: Callable[[NumpyUse], str]) -> Callable[[NumpyUse], str]:
    """An expression of several results, of which a node may have the first alone, or the first ones."""

    def made(use: NumpyUse) -> str:
        text = write(use)
        if use.output_count == 1:
            return f"{text}[0]"
        return text if use.output_count == len(use.operator.outputs) else f"{text}[:{use.output_count}]"

    return made


def _split(use: NumpyUse) -> str:
    axis = use.attribute_axis()
    sizes = [result.shape[axis] for result in use.results]
    if len(sizes) == 1:
        return f"[{use.x()}]"
    if len(set(sizes)) == 1:
        return f"np.split({use.x()}, {len(sizes)}, axis={axis})"
    places = [use.size(_total(sizes[: place + 1])) for place in range(len(sizes) - 1)]
    return f"np.split({use.x()}, [{', '.join(places)}], axis={axis})"


def _total(dims: Sequence[Dim]) -> Dim:
    from portable_nn.core.dims import total

    return total(dims)


def _pad(use: NumpyUse) -> str:
    mode = {"constant": "constant", "reflect": "reflect", "edge": "edge", "wrap": "wrap"}[use.string("mode")]
    pads = use.listed(1)
    if use.has(3):
        axes, found = [use.axis(axis, use.rank) for axis in use.numbers(3)], use.numbers(1)
        every = [0] * (2 * use.rank)
        for place, axis in enumerate(axes):
            every[axis], every[use.rank + axis] = found[place], found[len(axes) + place]
        pads = tuple_of(every)
    value = f", {use.x(2)}" if use.has(2) and mode == "constant" else ""
    return f"padded({use.x()}, {pads}, {in_quotes(mode)}{value})"


def _tile(use: NumpyUse) -> str:
    return f"np.tile({use.x()}, {use.listed(1)})"


def _range(use: NumpyUse) -> str:
    dtype = _numpy_type(use.type().dtype)
    return f"np.arange({', '.join(use.whole(i)[0] if use.knows(i) else use.x(i) for i in range(3))}, dtype=np.{dtype})"


def _constant_of_shape(use: NumpyUse) -> str:
    value = use.attributes.get("value")
    fill, dtype = (value.data[0], value.dtype) if isinstance(value, Tensor) else (0.0, "float32")
    return f"np.full({use.listed(0)}, {number(fill)}, np.{_numpy_type(dtype)})"


def _one_hot(use: NumpyUse) -> str:
    values = use.x(2)
    axis = use.int("axis")
    [depth] = use.whole(1) if use.knows(1) else [f"int(np.ravel({use.x(1)})[0])"]
    return f"one_hot({use.x()}, {depth}, {values}[0], {values}[1], {axis})"


def _eye(use: NumpyUse) -> str:
    rows, columns = (f"{use.x()}.shape[{axis}]" for axis in (0, 1))
    return f"np.eye({rows}, {columns}, {use.int('k')}, np.{_numpy_type(use.results[0].dtype)})"


def _trilu(use: NumpyUse) -> str:
    k = "0" if not use.has(1) else use.whole(1)[0] if use.knows(1) else f"int({use.x(1)})"
    return f"np.tri{'u' if use.int('upper') else 'l'}({use.x()}, {k})"


def _space(use: NumpyUse) -> str:
    return f"depth_to_space({use.x()}, {use.int('blocksize')}, {in_quotes(use.string('mode'))})"


def _cumulative(use: NumpyUse) -> str:
    axis = use.whole(1)[0] if use.knows(1) else f"int({use.x(1)})"
    return f"cumulative_sum({use.x()}, {axis}, {bool(use.int('exclusive'))}, {bool(use.int('reverse'))})"


def _gather_elements(use: NumpyUse) -> str:
    return f"take_elements({use.x()}, {use.x(1)}, {use.attribute_axis()})"


def _put_elements(use: NumpyUse) -> str:
    return f"put_elements({', '.join(use.all)}, {use.attribute_axis()}, {in_quotes(use.string('reduction'))})"


def _put_nd(use: NumpyUse) -> str:
    return f"put_nd({', '.join(use.all)}, {in_quotes(use.string('reduction'))})"


def _reverse(use: NumpyUse) -> str:
    if {use.int("time_axis"), use.int("batch_axis")} != {0, 1}:
        raise NotWritten("other axes than 0 and 1")
    return f"reversed_sequences({use.x()}, {use.x(1)}, {use.int('time_axis')})"


def _shift(use: NumpyUse) -> str:
    return f"np.{use.string('direction').lower()}_shift({use.x()}, {use.x(1)})"


def _log_sum_exp(use: NumpyUse) -> str:
    axes = use.axes_of(1) or (() if use.int("noop_with_empty_axes") else tuple(range(use.rank)))
    return f"log_sum_exp({use.x()}, {tuple_of(axes)}, {bool(use.int('keepdims'))})"


_PLACES: Final[Mapping[str, str]] = {
    "half_pixel": "({cells} + 0.5) / {scale} - 0.5",
    "pytorch_half_pixel": "({cells} + 0.5) / {scale} - 0.5",
    "align_corners": "{cells} * (({size} - 1) / max({result} - 1, 1))",
    "asymmetric": "{cells} / {scale}",
}
"""Where the cells of the result of a Resize lie in the input."""

_ROUNDED: Final[Mapping[str, str]] = {
    "round_prefer_floor": "np.ceil({} - 0.500001)",
    "round_prefer_ceil": "np.floor({} + 0.500001)",
    "floor": "np.floor({})",
    "ceil": "np.ceil({})",
}


def _resize(use: NumpyUse) -> str:
    mode, where = use.string("mode"), use.string("coordinate_transformation_mode")
    if where not in _PLACES or use.int("antialias") or use.int("exclude_outside"):
        raise NotWritten("antialias, exclude_outside and some ways to place the cells are not written")
    if use.string("keep_aspect_ratio_policy") != "stretch":
        raise NotWritten("keep_aspect_ratio_policy is not written")
    text, axes = use.x(), use.ints("axes") or tuple(range(use.rank))
    scales = use.floats(2) if use.has(2) and use.type(2).shape != (0,) else None
    for place, axis in enumerate(axes):
        axis %= use.rank
        size, result = use.type().shape[axis], use.results[0].shape[axis]
        scale = None if scales is None else scales[place]
        if size == result and scale in (None, 1.0):
            continue
        text = _resized(use, text, axis, (size, result, scale), mode)
    return text


def _resized(use: NumpyUse, text: str, axis: int, side: tuple[Dim, Dim, float | None], mode: str) -> str:
    size, result, scale = side
    where = use.string("coordinate_transformation_mode")
    old, new = use.size(size), use.size(result)
    if where == "pytorch_half_pixel" and not is_at_least(result, 2):
        raise NotWritten("pytorch_half_pixel with a size that may be 1")
    factor = f"({new} / {old})" if scale is None else repr(scale)
    cells = f"np.arange({new}, dtype=np.float{32 if mode == 'nearest' else 64})"
    places = _PLACES[where].format(cells=cells, scale=factor, size=old, result=new)
    if mode == "nearest":
        return f"copied_along({text}, {axis}, {_ROUNDED[use.string('nearest_mode')].format(f'({places})')})"
    if mode == "cubic":
        return f"cubic_along({text}, {axis}, {places}, {number(use.float('cubic_coeff_a'))})"
    return f"interpolated_along({text}, {axis}, {places})"


# -- recurrence and attention

_CELL_FUNCTIONS: Final[Mapping[str, str]] = {
    "Sigmoid": "sigmoid",
    "Tanh": "np.tanh",
    "Relu": "relu",
    "Softsign": "softsign",
    "Softplus": "softplus",
    "Affine": "lambda x: {a} * x + {b}",
    "LeakyRelu": "lambda x: leaky_relu(x, {a})",
    "ThresholdedRelu": "lambda x: np.where(x > {a}, x, 0)",
    "ScaledTanh": "lambda x: {a} * np.tanh({b} * x)",
    "HardSigmoid": "lambda x: hard_sigmoid(x, {a}, {b})",
    "Elu": "lambda x: elu(x, {a})",
}
"""The activation functions of recurrent operators."""

_OWN: Final = {"rnn": ["np.tanh"], "gru": ["sigmoid", "np.tanh"], "lstm": ["sigmoid", "np.tanh", "np.tanh"]}
"""The functions that the helper of each takes by default."""


def _cell_function(function: Function, clip: float | None) -> str:
    text = _CELL_FUNCTIONS[function.name].format(a=number(function.alpha), b=number(function.beta))
    return text if clip is None else f"lambda x: ({text})(clipped(x, {clip!r}))"


def _cell_functions(functions: Sequence[Function], clip: float | None) -> list[str]:
    """The functions of one direction; the last one of an LSTM takes what it is given as it is."""
    return [_cell_function(each, clip if place < 2 else None) for place, each in enumerate(functions)]


def _recurrent(name: str) -> Callable[[NumpyUse], str]:
    def write(use: NumpyUse) -> str:
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
        return f"batch_first({text})" if found.batch_first else text

    return write


def _further(use: NumpyUse, name: str) -> list[str]:
    """What only an LSTM or a GRU has."""
    if name == "gru":
        return [] if use.int("linear_before_reset") else ["reset_after=False"]
    found = [f"P={use.x(7)}"] if name == "lstm" and use.has(7) else []
    return [*found, "coupled=True"] if name == "lstm" and use.int("input_forget") else found


def _steps_words(what: str) -> Callable[[NumpyUse], str]:
    def words(use: NumpyUse) -> str:
        found = recurrence(use)
        one = "from the last step to the first" if found.reversed[0] else "from the first step to the last"
        return f"{what} {one if found.directions == 1 else 'in both directions'}, {found.hidden} numbers of memory"

    return words


def _attention(use: NumpyUse) -> str:
    plain = not any(use.has(index) for index in (4, 5, 6)) and use.output_count == 1
    options = ("left_window_size", "right_window_size", "softcap", "softmax_precision", "qk_matmul_output_mode")
    if not plain or any(use.attributes.get(name) not in (None, -1, 0) for name in options if name in use.attributes):
        raise NotWritten("attention with a past, windows or a softcap")
    if use.has(3) and (use.int("is_causal") or use.type(3).shape[-1] != _keys(use)):
        raise NotWritten("a mask that is cut, or beside a causal one")
    flat = use.rank == 3
    q, k, v = use.all[:3]
    if flat:
        heads = (use.int("q_num_heads"), use.int("kv_num_heads"), use.int("kv_num_heads"))
        q, k, v = (f"by_heads({x}, {n})" for x, n in zip((q, k, v), heads, strict=True))
    features = use.type().shape[-1] if not flat else use.type().shape[-1] // use.int("q_num_heads")  # type: ignore[operator]
    scale = use.attributes.get("scale", 1 / math.sqrt(max(int(features), 1)))
    mask = use.optional(3)
    if use.int("is_causal"):
        mask = f"causal({use.x(0)}.shape[-2], {use.x(1)}.shape[-2])"
    text = f"attention({q}, {k}, {v}, {mask}, {scale!r})"
    return f"joined_heads({text})" if flat else text


def _keys(use: NumpyUse) -> Dim:
    return use.type(1).shape[-2]


def _constant(use: NumpyUse) -> str:
    value = constant_of(use)
    return array(np.reshape(value.data, value.shape).tolist(), value.dtype)


def constant_of(use: OperatorContext) -> Tensor:
    """The array of a Constant node."""
    [(name, value)] = use.attributes.items()
    if isinstance(value, Tensor):
        return value
    shape = (len(value),) if isinstance(value, tuple) else ()
    data = value if isinstance(value, tuple) else (value,)
    return Tensor(
        "float32" if "float" in name else "int64", shape, tuple(each for each in data if not isinstance(each, str))
    )


ROWS: Final[Mapping[str, Row]] = {
    "Constant": Row(_constant, "a constant"),
    # linear
    "Gemm": Row(_gemm, _weighted),
    "MatMul": Row("{0} @ {1}", _weighted),
    "Einsum": Row(_einsum, "sums of products"),
    "Conv": Row(_conv, _conv_words),
    "ConvTranspose": Row(_conv_transpose, "each number spreads over a window of the result"),
    "RNN": Row(first_of(_recurrent("rnn")), _steps_words("a recurrence")),
    "GRU": Row(first_of(_recurrent("gru")), _steps_words("a gated recurrence")),
    "LSTM": Row(first_of(_recurrent("lstm")), _steps_words("a recurrence with a memory")),
    "Attention": Row(_attention, "each position looks at others"),
    # activations
    "Relu": Row("relu({0})", "negative numbers become 0"),
    "Sigmoid": Row("sigmoid({0})", "each number between 0 and 1"),
    "Tanh": Row("np.tanh({0})", "each number between -1 and 1"),
    "Softplus": Row("softplus({0})", "each number above 0"),
    "LeakyRelu": Row("leaky_relu({0}, {alpha!r})", "negative numbers shrink"),
    "PRelu": Row(_prelu, "negative numbers are multiplied by what was learned"),
    "Elu": Row("elu({0}, {alpha!r})", "negative numbers level off"),
    "Selu": Row("{gamma!r} * elu({0}, {alpha!r})", "negative numbers level off"),
    "Celu": Row("elu({0} / {alpha!r}, 1.0) * {alpha!r}", "negative numbers level off"),
    "HardSigmoid": Row("hard_sigmoid({0}, {alpha!r}, {beta!r})", "each number from 0 to 1"),
    "HardSwish": Row("{0} * hard_sigmoid({0}, 1 / 6, 0.5)", "small numbers fade out"),
    "Swish": Row(_swish, "small numbers fade out"),
    "Mish": Row("{0} * np.tanh(softplus({0}))", "small numbers fade out"),
    "Softsign": Row("softsign({0})", "each number between -1 and 1"),
    "ThresholdedRelu": Row("np.where({0} > {alpha!r}, {0}, 0).astype({0}.dtype)", "small numbers become 0"),
    "Shrink": Row(_shrink, "numbers near 0 become 0"),
    "Clip": Row(_clip, "numbers are cut at both ends"),
    "Erf": Row("erf({0})", "the error function"),
    "Gelu": Row(_gelu, "small numbers fade out"),
    "Softmax": Row(lambda u: f"softmax({u.x()}, {u.attribute_axis()})", "probabilities: positive, and 1 in total"),
    "LogSoftmax": Row(lambda u: f"log_softmax({u.x()}, {u.attribute_axis()})", "logarithms of probabilities"),
    "Hardmax": Row(lambda u: f"hardmax({u.x()}, {u.attribute_axis()})", "1 for the largest number, 0 for the others"),
    # normalization
    "BatchNormalization": Row(_batch_norm, "each channel around 0, by what was learned"),
    "LayerNormalization": Row(_layer_norm, "each example around 0 with deviation 1, then scaled"),
    "RMSNormalization": Row(_rms_norm, "divided by the root of the mean square, then scaled"),
    "GroupNormalization": Row("group_norm({0}, {1}, {2}, {num_groups}, {epsilon!r})", "groups of channels around 0"),
    "InstanceNormalization": Row("instance_norm({0}, {1}, {2}, {epsilon!r})", "each channel of each example around 0"),
    "LRN": Row("local_response_norm({0}, {size}, {alpha!r}, {beta!r}, {bias!r})", "neighbouring channels compete"),
    "LpNormalization": Row(_lp_norm, "divided by its length"),
    "Dropout": Row(_dropout, "nothing: it drops numbers in training only"),
    # pools
    "MaxPool": Row(_pool("max_pool"), _pool_words("the largest number")),
    "AveragePool": Row(_pool("average_pool"), _pool_words("the mean")),
    "LpPool": Row(_pool("lp_pool"), _pool_words("the norm")),
    "GlobalAveragePool": Row(_global_pool("{x}.mean(axis={axes}, keepdims=True)"), "the mean of each channel"),
    "GlobalMaxPool": Row(_global_pool("{x}.max(axis={axes}, keepdims=True)"), "the largest number of each channel"),
    "GlobalLpPool": Row(
        _global_pool("(np.abs({x}) ** {p}).sum(axis={axes}, keepdims=True) ** {inverse}"), "the norm of each channel"
    ),
    # reductions
    "ReduceSum": Row(_reduced("{x}.sum({how})"), _along_words("the sum")),
    "ReduceMean": Row(_reduced("{x}.mean({how})"), _along_words("the mean")),
    "ReduceProd": Row(_reduced("{x}.prod({how})"), _along_words("the product")),
    "ReduceMax": Row(_reduced("{x}.max({how})"), _along_words("the largest")),
    "ReduceMin": Row(_reduced("{x}.min({how})"), _along_words("the smallest")),
    "ReduceSumSquare": Row(_reduced("({x} * {x}).sum({how})"), _along_words("the sum of squares")),
    "ReduceL1": Row(_reduced("np.abs({x}).sum({how})"), _along_words("the sum of magnitudes")),
    "ReduceL2": Row(_reduced("np.sqrt(({x} * {x}).sum({how}))"), _along_words("the length")),
    "ReduceLogSum": Row(_reduced("np.log({x}.sum({how}))"), _along_words("the logarithm of the sum")),
    "ReduceLogSumExp": Row(_log_sum_exp, _along_words("the logarithm of the sum of exp")),
    "ArgMax": Row(_place("argmax"), "where the largest number stands"),
    "ArgMin": Row(_place("argmin"), "where the smallest number stands"),
    "TopK": Row(first_of(_top_k), "the largest or smallest numbers, and where they stand"),
    # arithmetic
    "Neg": Row("-{0}", "the sign changes"),
    "Abs": Row("np.abs({0})", "without sign"),
    "Exp": Row("np.exp({0})", "e to this power"),
    "Log": Row("np.log({0})", "the natural logarithm"),
    "Sqrt": Row("np.sqrt({0})", "the square root"),
    "Reciprocal": Row("1 / {0}", "1 divided by it"),
    "Sign": Row("np.sign({0})", "-1, 0 or 1"),
    "Floor": Row("np.floor({0})", "rounded down"),
    "Ceil": Row("np.ceil({0})", "rounded up"),
    "Round": Row("np.round({0})", "rounded, halves to even numbers"),
    "Not": Row("~{0}", "true becomes false"),
    "IsNaN": Row("np.isnan({0})", "which are no numbers"),
    "Add": Row("{0} + {1}", "the sum"),
    "Sub": Row("{0} - {1}", "the difference"),
    "Mul": Row("{0} * {1}", "the product, number by number"),
    "Div": Row(_division, "the quotient"),
    "Pow": Row(_pow, "a power"),
    "Mod": Row(_mod, "the remainder"),
    "Sum": Row(lambda u: " + ".join(u.all), "the sum"),
    "Mean": Row(_mean, "the mean of all of them"),
    "Max": Row(_folded("np.maximum"), "the larger number"),
    "Min": Row(_folded("np.minimum"), "the smaller number"),
    "Equal": Row("{0} == {1}", "which are equal"),
    "Greater": Row("{0} > {1}", "which are larger"),
    "GreaterOrEqual": Row("{0} >= {1}", "which are larger or equal"),
    "Less": Row("{0} < {1}", "which are smaller"),
    "LessOrEqual": Row("{0} <= {1}", "which are smaller or equal"),
    "And": Row("{0} & {1}", "both"),
    "Or": Row("{0} | {1}", "one of them, or both"),
    "Xor": Row("{0} ^ {1}", "one of them, not both"),
    "Where": Row("np.where({0}, {1}, {2})", "one or the other"),
    "CumSum": Row(_cumulative, "the sum of everything before"),
    **{
        name: Row(f"np.{function}({{0}})", function)
        for name, function in (
            ("Sin", "sin"), ("Cos", "cos"), ("Tan", "tan"), ("Sinh", "sinh"), ("Cosh", "cosh"), ("Asin", "arcsin"),
            ("Acos", "arccos"), ("Atan", "arctan"), ("Asinh", "arcsinh"), ("Acosh", "arccosh"), ("Atanh", "arctanh"),
        )
    },
    # layout
    "Identity": Row("{0}", "as it is"),
    "Cast": Row(_cast, "the same numbers in another type"),
    "Reshape": Row(_reshape, "the same numbers in another shape"),
    "Flatten": Row(_flatten, "all numbers of an example in one row"),
    "Squeeze": Row(_squeeze, "without axes of size 1"),
    "Unsqueeze": Row(_unsqueeze, "with further axes of size 1"),
    "Transpose": Row(_transpose, "the axes in another order"),
    "Expand": Row(_expand, "repeated"),
    "Shape": Row(_shape, "its sizes"),
    "Size": Row("np.array({0}.size, np.int64)", "how many numbers it has"),
    "Concat": Row(_concat, "one after the other"),
    "Split": Row(_split, "in parts"),
    "Slice": Row(_slice, "a part"),
    "Gather": Row(_gather, "rows by their numbers"),
    "GatherElements": Row(_gather_elements, "elements by their numbers"),
    "ScatterElements": Row(_put_elements, "some elements are replaced"),
    "GatherND": Row("take_nd({0}, {1}, {batch_dims})", "parts by their numbers"),
    "ScatterND": Row(_put_nd, "some parts are replaced"),
    "ReverseSequence": Row(_reverse, "each sequence in reverse order"),
    "NonZero": Row("np.array(np.nonzero({0}), np.int64)", "where it is not 0"),
    "BitShift": Row(_shift, "bits move"),
    "Pad": Row(_pad, "with more cells around it"),
    "Tile": Row(_tile, "repeated"),
    "Range": Row(_range, "numbers that count up"),
    "ConstantOfShape": Row(_constant_of_shape, "one number everywhere"),
    "OneHot": Row(_one_hot, "one place of each row"),
    "EyeLike": Row(_eye, "1 on the diagonal"),
    "Trilu": Row(_trilu, "half of a matrix"),
    "DepthToSpace": Row(_space, "channels become blocks of cells"),
    "SpaceToDepth": Row("space_to_depth({0}, {blocksize})", "blocks of cells become channels"),
    "Resize": Row(_resize, "another size"),
    "Det": Row("np.linalg.det({0})", "the determinant"),
}  # fmt: skip
"""All operators that are written; of others, those that have a lowering are written as that."""


def bound(use: Use, inputs: Sequence[str | None], sizes: Mapping[str, str]) -> NumpyUse:
    """A node with the expressions of its inputs."""
    return NumpyUse(use.context, inputs, sizes, use.results)


def missing(use: NumpyUse) -> str | None:
    """What of a use is not written, or ``None``."""
    row = ROWS.get(use.operator.name) if not use.operator.domain else None
    if row is None:
        return "is not written in numpy"
    try:
        row.expression(use)
    except NotWritten as error:
        return str(error)
    except InvalidNode as error:
        return str(error)
    return None
