"""Products of bytes: MatMulInteger, ConvInteger, QLinearMatMul and QLinearConv.

Each number is taken less its zero point, and the products are summed in double precision, which is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np

from portable_nn.core.graph import Graph
from portable_nn.operators.base import (
    EVERYWHERE,
    Array,
    Attr,
    Attribute,
    GradientContext,
    KernelContext,
    Operator,
    OperatorContext,
    Order,
    Portability,
    Shape,
    Step,
    Symbol,
    Type,
    Types,
    cast,
    constant,
    emit,
    format_shape,
    integers,
    laid_in,
    lookup,
    register,
)
from portable_nn.operators.differentiation import gradients
from portable_nn.operators.quantised.scales import REAL, saturated
from portable_nn.operators.registry import Compiled
from portable_nn.operators.spatial.window import ATTRIBUTES

_BYTES: Final = ("int8", "uint8")


class _Factor(NamedTuple):
    """The inputs of one factor: its numbers, its zero point, its scale, and the axis along which these may differ.

    An axis counts from the end of a matrix (rows -2, columns -1); that of a kernel is 0, its filters.
    """

    place: int
    point: int
    scale: int | None
    axis: int | None


class _Product(NamedTuple):
    """A product: the operator of floats that it is, both factors, and the places of what makes bytes of the sums."""

    of: str
    factors: tuple[_Factor, _Factor]
    scale: int | None = None
    point: int | None = None
    bias: int | None = None

    @property
    def settings(self) -> tuple[int, ...]:
        """The places of scales and zero points."""
        each = [place for factor in self.factors for place in (factor.point, factor.scale)]
        return tuple(place for place in (*each, self.scale, self.point) if place is not None)

    @property
    def scales(self) -> Sequence[str]:
        """The element types of scales."""
        return REAL if self.of == "MatMul" else REAL[:1]

    @property
    def axis(self) -> int:
        """The axis of the result along which scales of the second factor differ."""
        return -1 if self.of == "MatMul" else 1


_MATMUL_INTEGER: Final = _Product("MatMul", (_Factor(0, 2, None, -2), _Factor(1, 3, None, -1)))
_CONV_INTEGER: Final = _Product("Conv", (_Factor(0, 2, None, None), _Factor(1, 3, None, 0)))
_QLINEAR_MATMUL: Final = _Product("MatMul", (_Factor(0, 2, 1, -2), _Factor(3, 5, 4, -1)), 6, 7)
_QLINEAR_CONV: Final = _Product("Conv", (_Factor(0, 2, 1, None), _Factor(3, 5, 4, 0)), 6, 7, 8)


def _along(rank: int, axis: int | None, size: int = 1) -> list[int]:
    """A shape of ``rank`` axes that are 1, but for one."""
    shape = [1] * rank
    if axis is not None and rank:
        shape[axis] = size
    return shape


def _infer(product: _Product, use: OperatorContext) -> Type:
    for factor in product.factors:
        x = use.type(factor.place)
        use.check_dtype(x.dtype, _BYTES)
        for place, dtypes in ((factor.point, (x.dtype,)), (factor.scale, product.scales)):
            if place is not None and use.has(place):
                _check_beside(use, place, dtypes, x.shape, factor.axis)
    if product.bias is not None and use.has(product.bias):
        use.expect(product.bias, Type("int32", use.type(product.factors[1].place).shape[:1]))
    both = [Type("float64", use.type(factor.place).shape) for factor in product.factors]
    found = lookup(product.of).infer(OperatorContext(lookup(product.of), both, use.attributes))
    assert isinstance(found, Type)
    if product.point is None or product.scale is None:
        return Type("int32", found.shape)
    _check_beside(use, product.point, _BYTES, (), None)
    _check_beside(use, product.scale, product.scales, (), None)
    return Type(use.type(product.point).dtype, found.shape)


def _check_beside(use: OperatorContext, place: int, dtypes: Sequence[str], shape: Shape, axis: int | None) -> None:
    """Check a scale or zero point: one number, or one for each place along ``axis``."""
    each = (shape[axis],) if axis is not None and len(shape) >= max(-axis, axis + 1) else (1,)
    found = use.type(place)
    if found.dtype not in dtypes or found.shape not in {(), (1,), each}:
        kinds = " or ".join(dtypes)
        use.fail(f"{use.operator.input_name(place)} must be {kinds}, () or {format_shape(each)}, not {found}")


class _InDoubles(KernelContext):
    """A use of the operator of floats, whose arrays are doubles in the memory of the node of bytes."""

    def __init__(
        self, n: KernelContext, of: str, x: Sequence[Array], steady: Sequence[bool], shape: tuple[int, ...]
    ) -> None:
        types = [Type("float64", each.shape) for each in x]
        attributes: Mapping[str, Attribute] = n.attributes
        super().__init__(lookup(of), types, attributes)
        self.x, self.rng, self._n, self._steady, self._shape = x, n.rng, n, steady, shape
        self.made = np.empty(0)

    def output_shape(self, index: int = 0) -> tuple[int, ...]:
        return self._shape

    def is_constant(self, index: int) -> bool:
        return self._steady[index]

    def is_read(self, index: int) -> bool:
        return True

    def out(self, index: int = 0, over: int | None = None, *, order: Order | None = None) -> Array:
        order = order or tuple(range(len(self._shape)))
        self.made = laid_in(order, self._n.scratch(tuple(self._shape[axis] for axis in order), np.float64))
        return self.made

    def view(self, array: Array, index: int = 0) -> None:
        self.made = array

    def scratch(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._n.scratch(shape, dtype)

    def own(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return self._n.own(shape, dtype)

    def derived(self, index: int, kind: str, shape: tuple[int, ...]) -> tuple[Array, bool]:
        return self._n.own(shape, np.float64), True

    def filled(self, shape: tuple[int, ...], dtype: Any, value: float) -> Array:
        return self._n.filled(shape, dtype, value)

    def compiled(self, body: Graph, types: Types, captured: Mapping[str, Array]) -> Compiled:
        return self._n.compiled(body, types, captured)


def _sums(n: KernelContext, product: _Product) -> tuple[list[Step], Array]:
    """The steps that compute the sums of products, and the array of these."""
    steps, given, steady = list[Step](), [], []
    for factor in product.factors:
        x = n.x[factor.place]
        fixed = n.is_constant(factor.place) and not (n.has(factor.point) and not n.is_constant(factor.point))
        number = n.own(x.shape, np.float64) if fixed else n.scratch(x.shape, np.float64)
        point = n.x[factor.point] if n.has(factor.point) else np.zeros((), x.dtype)
        point = point.reshape(_along(x.ndim, factor.axis, -1) if point.size > 1 else ())
        step = partial(np.subtract, x, point, out=number, dtype=np.float64)
        if fixed:
            step()
        else:
            steps.append(step)
        given.append(number)
        steady.append(fixed)
    use = _InDoubles(n, product.of, given, steady, n.output_shape())
    made = lookup(product.of).kernel(use)
    steps += [made] if callable(made) else made or []
    return steps, use.made


def _kernel(product: _Product, n: KernelContext) -> list[Step]:
    steps, sums = _sums(n, product)
    out = n.out()
    if product.scale is None or product.point is None:
        return [*steps, partial(np.copyto, out, sums, casting="unsafe")]
    if product.bias is not None and n.has(product.bias):
        steps.append(partial(np.add, sums, n.x[product.bias].reshape(_along(sums.ndim, 1, -1)), out=sums))
    work = n.scratch(sums.shape, np.float32)
    scales = [n.x[each] for each in (*(factor.scale for factor in product.factors), product.scale) if each]
    (first, second, last), point = scales, n.x[product.point]
    axes = (product.factors[0].axis, product.axis)

    def scaled() -> None:
        one, two = (
            each.reshape(_along(work.ndim, axis, -1) if each.size > 1 else ())
            for each, axis in zip((first, second), axes, strict=True)
        )
        np.multiply(sums.astype(np.float32), np.multiply(one, two, dtype=np.float32) / last.reshape(()), out=work)
        np.add(np.rint(work, out=work), point.reshape(()), out=work)

    return [*steps, scaled, *saturated(work, out)]


def _gradient(product: _Product, n: GradientContext) -> list[Symbol | None]:
    """Straight through the rounding, to the numbers of both factors; 0 where the result is at an end of its range."""
    flow = cast(n.dy, "float32")
    both = [emit("Identity", cast(_factor(each, [*n.x, *[None] * 9]), "float32")) for each in product.factors]
    if product.scale is not None:
        y, limits = cast(n.y[0], "int32"), np.iinfo(n.y[0].dtype)
        low, high = (emit("Equal", y, constant(each, "int32")) for each in (limits.min, limits.max))
        flow = emit("Where", emit("Or", low, high), constant(0.0, "float32"), flow * _scale(product, n.x, len(y.shape)))
    found: list[Symbol | None] = [None] * n.inputs
    to_both = gradients([emit(product.of, *both, **n.attributes)], [flow], both)
    for each, to_one in zip(product.factors, to_both, strict=True):
        found[each.place] = to_one
    return found


def _factor(factor: _Factor, inputs: Sequence[Symbol | None]) -> Symbol:
    """The numbers of a factor less their zero point, in double precision."""
    x, point = inputs[factor.place], inputs[factor.point]
    assert x is not None
    whole = cast(x, "float64")
    return whole if point is None else whole - cast(_laid(point, len(x.shape), factor.axis), "float64")


def _scale(product: _Product, inputs: Sequence[Symbol | None], rank: int) -> Symbol:
    """The factor of the sums of products."""
    first, second = product.factors
    axes = ((first.scale or 0, first.axis), (second.scale or 0, product.axis), (product.scale or 0, None))
    one, two, last = (cast(_laid(inputs[place], rank, axis), "float32") for place, axis in axes)
    return one * two / last


def _lowering(product: _Product, *inputs: Symbol | None, **attributes: Any) -> Symbol:
    given = [*inputs, *[None] * 9]
    sums = emit(product.of, *(_factor(each, given) for each in product.factors), **attributes)
    if product.scale is None or product.point is None:
        return cast(sums, "int32")
    rank = len(sums.shape)
    if product.bias is not None and given[product.bias] is not None:
        sums = sums + cast(_laid(given[product.bias], rank, 1), "float64")
    scaled = cast(sums, "float32") * _scale(product, given, rank)
    return emit("QuantizeLinear", scaled, constant(1.0, "float32"), inputs[product.point])


def _laid(value: Symbol | None, rank: int, axis: int | None) -> Symbol:
    """A scale, zero point or bias in a shape that broadcasts along ``axis`` of ``rank`` axes."""
    assert value is not None
    if value.shape == ():
        return value
    return emit("Reshape", value, integers(_along(rank, axis, -1) if value.shape != (1,) else [1] * rank))


def _conv_substitute(use: OperatorContext, opset: int) -> Callable[..., Symbol] | None:
    """onnxruntime 1.32 takes one zero point for all filters: what those of each filter change is subtracted."""
    return _conv_apart if use.has(3) and use.type(3).shape not in {(), (1,)} else None


def _conv_apart(x: Symbol, w: Symbol, x_point: Symbol | None, w_point: Symbol, **attributes: Any) -> Symbol:
    ones = emit("Expand", constant(1, w.dtype), integers([dim for dim in w.shape if isinstance(dim, int)]))
    plain, counted = (emit("ConvInteger", x, each, x_point, **attributes) for each in (w, ones))
    return plain - counted * cast(_laid(w_point, len(plain.shape), 1), "int32")


def _counted(product: _Product, use: OperatorContext, y: Shape) -> Shape:
    if product.of == "Conv":
        return (*y, *use.type(product.factors[1].place).shape[1:])
    return (*y, *use.type(product.factors[0].place).shape[-1:])


for _name, _product, _inputs in (
    ("MatMulInteger", _MATMUL_INTEGER, ("A", "B", "a_zero_point?", "b_zero_point?")),
    ("ConvInteger", _CONV_INTEGER, ("x", "w", "x_zero_point?", "w_zero_point?")),
    (
        "QLinearMatMul",
        _QLINEAR_MATMUL,
        ("a", "a_scale", "a_zero_point", "b", "b_scale", "b_zero_point", "y_scale", "y_zero_point"),
    ),
    (
        "QLinearConv",
        _QLINEAR_CONV,
        ("x", "x_scale", "x_zero_point", "w", "w_scale", "w_zero_point", "y_scale", "y_zero_point", "B?"),
    ),
):
    register(
        Operator(
            _name,
            _inputs,
            partial(_infer, _product),
            partial(_kernel, _product),
            partial(_gradient, _product),
            {**ATTRIBUTES, "group": Attr(int, 1)} if _product.of == "Conv" else {},
            outputs=("y",) if _inputs[0] != "A" else ("Y",),
            lowering=partial(_lowering, _product),
            portability=Portability(substitute=_conv_substitute) if _product is _CONV_INTEGER else EVERYWHERE,
            family="linear",
            batch_inputs="first" if _product.of == "Conv" else "none",
            window=("conv", "max") if _product is _CONV_INTEGER else None,
            settings=_product.settings,
            multiply_adds=partial(_counted, _product),
        )
    )
