"""Operators that change or return a shape and leave the elements as they are."""

from __future__ import annotations

import contextlib
from functools import partial

import numpy as np

from portable_nn.core.dims import agreed, broadcast, difference, fraction, names_in, product, quotient, total
from portable_nn.operators.base import (
    INTERNAL,
    Attr,
    Dim,
    FieldContext,
    Fields,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    emit,
    expanded,
    fit,
    format_shape,
    integers,
    memory_order,
    register,
    same,
    sizes,
)


def _as_shape(n: KernelContext) -> Step | None:
    """The input's memory under the output's shape: a view where possible; an innermost batch stays innermost."""
    x, shape = n.x[0], n.output_shape()
    with contextlib.suppress(ValueError):
        return n.view(x.reshape(shape, copy=False))
    innermost = x.shape[0] == shape[0] and memory_order(x)[-1] == 0
    out = n.out(order=(*range(1, len(shape)), 0) if innermost else None)
    return partial(np.copyto, out.reshape(x.shape, copy=False), x)


def _reshaped_like_input(n: GradientContext) -> list[Symbol | None]:
    """The gradient in the shape of the input."""
    shape = n.x[0].shape
    unknown = [axis for axis, dim in enumerate(shape) if not isinstance(dim, int)]
    if len(unknown) > 1:
        return [emit("Reshape", n.dy, sizes(n.x[0])), None][: n.inputs]
    target = integers(-1 if axis in unknown else dim for axis, dim in enumerate(shape))  # type: ignore[misc]
    return [emit("Reshape", n.dy, target), None][: n.inputs]


def _left(size: Dim, rest: Dim) -> Dim | None:
    """The size that -1 stands for beside others of the product ``rest``; ``None`` where there is none."""
    found = quotient(size, rest)
    if found is None and rest != 0 and names_in([rest, size]):  # A plan finds whether the numbers divide.
        return fraction(size, rest)
    return found


def _reshape_type(use: OperatorContext) -> Type:
    shape, wanted = use.type().shape, list(use.constant(1))
    for axis, dim in enumerate(wanted):
        if dim == 0 and not use.int("allowzero"):
            if axis >= len(shape):
                use.fail(f"shape {format_shape(tuple(wanted))} copies axis {axis}, which the input does not have")
            wanted[axis] = shape[axis]
    if wanted.count(-1) > 1 or any(isinstance(dim, int) and dim < -1 for dim in wanted):
        use.fail(f"shape {format_shape(tuple(wanted))} may have one size of -1, and none below it")
    size, rest = product(shape), product(dim for dim in wanted if dim != -1)
    found = _left(size, rest) if -1 in wanted else agreed(rest, size)
    if found is None:
        use.fail(f"an input of shape {format_shape(shape)} cannot take the shape {format_shape(use.constant(1))}")
    return use.like(found if dim == -1 else dim for dim in wanted)


def _flatten_type(use: OperatorContext) -> Type:
    shape = use.type().shape
    axis = use.int("axis")
    if not -len(shape) <= axis <= len(shape):
        use.fail(f"axis {axis} is outside an input of {len(shape)} dimensions")
    axis = axis + len(shape) if axis < 0 else axis
    return use.like([product(shape[:axis]), product(shape[axis:])])


def _permutation(use: OperatorContext) -> tuple[int, ...]:
    rank = len(use.type().shape)
    perm = use.ints("perm")
    if perm is None:
        return tuple(reversed(range(rank)))
    if sorted(perm) != list(range(rank)):
        use.fail(f"perm {perm} is no permutation of the {rank} axes of {format_shape(use.type().shape)}")
    return perm


def _transpose_gradient(n: GradientContext) -> Symbol:
    perm = _permutation(n)
    return emit("Transpose", n.dy, perm=[perm.index(axis) for axis in range(len(perm))])


def _squeezed_axes(use: OperatorContext) -> tuple[int, ...]:
    shape = use.type().shape
    if not use.has(1):
        return tuple(axis for axis, dim in enumerate(shape) if dim == 1)
    axes = use.axes(use.numbers(1), len(shape))
    for axis in axes:
        if agreed(shape[axis], 1) is None:
            use.fail(f"axis {axis} of {format_shape(shape)} is not of size 1")
    return axes


def _squeeze_type(use: OperatorContext) -> Type:
    axes = _squeezed_axes(use)
    shape = tuple(dim for axis, dim in enumerate(use.type().shape) if axis not in axes)
    return Type(use.type().dtype, shape)


def _unsqueeze_type(use: OperatorContext) -> Type:
    axes = use.numbers(1)
    rank = len(use.type().shape) + len(axes)
    places, rest = use.axes(axes, rank), iter(use.type().shape)
    shape = tuple(1 if axis in places else next(rest) for axis in range(rank))
    return Type(use.type().dtype, shape)


def _expand_type(use: OperatorContext) -> Type:
    target = use.constant(1)
    if min((dim for dim in target if isinstance(dim, int)), default=0) < 0:
        use.fail(f"shape must hold sizes of 0 or more, not {format_shape(target)}")
    shape = broadcast(use.type().shape, target)
    if shape is None:
        use.fail(f"{format_shape(use.type().shape)} does not broadcast to {format_shape(target)}")
    return use.like(shape)


def _unsized_expand(use: OperatorContext) -> Type:
    """All sizes are data-dependent but those of axes that cannot be stretched."""
    rank, shape = use.length_of(1), use.type().shape
    found = use.opened(max(rank, len(shape)) if isinstance(rank, int) else rank).shape
    kept = [
        dim if isinstance(dim, int) and dim != 1 else size
        for dim, size in zip(shape, found[-len(shape) :], strict=True)
    ]
    return use.like([*found[: len(found) - len(shape)], *kept])


def _shape_type(use: OperatorContext) -> Type:
    constant_value = use.type().shape[_range(use)]
    return Type("int64", (len(constant_value),), constant_value)


def _range(use: OperatorContext) -> slice:
    return slice(use.int("start"), use.int("end") if "end" in use.attributes else None)


def _transpose_fields(use: FieldContext) -> Fields:
    order = use.get("perm", range(len(use.input))[::-1])
    return tuple(use.first[axis] for axis in order)


def _reshape_fields(use: FieldContext) -> Fields | None:
    """Axes at both ends that keep their size keep their fields; those between must see everything."""
    before, after = use.input, use.output
    shared = min(len(before), len(after)) - 1
    tail = next((n for n in range(shared) if before[-1 - n] != after[-1 - n]), shared)
    middle = use.first[1 : len(before) - tail]
    if before[:1] != after[:1] or not tail or any(field is not None for field in middle):
        return None
    return (use.first[0], *(None,) * (len(after) - 1 - tail), *use.first[len(before) - tail :])


register(
    Operator(
        "Identity",
        ("input",),
        lambda use: use.type(),
        lambda n: n.view(n.x[0]),
        lambda n: n.dy,
        elementwise=True,
        passes=(0,),
        rearranges=True,
        constant=same,
        polynomial=True,
    )
)
register(
    Operator(
        "StopGradient",
        ("input",),
        lambda use: use.type(),
        lambda n: n.view(n.x[0]),
        lambda n: [None],
        domain=INTERNAL,
        lowering=lambda x: emit("Identity", x),
        stored=4,
        elementwise=True,
        passes=(0,),
        rearranges=True,
        constant=same,
    )
)
register(
    Operator(
        "Reshape",
        ("data", "shape"),
        _reshape_type,
        _as_shape,
        _reshaped_like_input,
        {"allowzero": Attr(int, 0)},
        outputs=("reshaped",),
        passes=(0,),
        rearranges=True,
        receptive=_reshape_fields,
        batch_inputs="all",
        unsized=lambda use: use.opened(use.length_of(1)),
        samples={1: Interval(0, 0)},
        constant=same,
        polynomial=True,
    )
)
register(
    Operator(
        "Flatten",
        ("input",),
        _flatten_type,
        _as_shape,
        _reshaped_like_input,
        {"axis": Attr(int, 1)},
        passes=(0,),
        rearranges=True,
        batch_inputs="all",
    )
)
register(
    Operator(
        "Squeeze",
        ("data", "axes?"),
        _squeeze_type,
        _as_shape,
        _reshaped_like_input,
        outputs=("squeezed",),
        unsized=lambda use: use.opened(difference(len(use.type().shape), use.length_of(1))),
        passes=(0,),
        rearranges=True,
        constant=same,
        polynomial=True,
    )
)
register(
    Operator(
        "Unsqueeze",
        ("data", "axes"),
        _unsqueeze_type,
        _as_shape,
        _reshaped_like_input,
        outputs=("expanded",),
        unsized=lambda use: use.opened(total([len(use.type().shape), use.length_of(1)])),
        passes=(0,),
        rearranges=True,
        constant=same,
        polynomial=True,
    )
)
register(
    Operator(
        "Transpose",
        ("data",),
        lambda use: use.like(use.type().shape[axis] for axis in _permutation(use)),
        lambda n: n.view(n.x[0].transpose(_permutation(n))),
        _transpose_gradient,
        {"perm": Attr(tuple)},
        outputs=("transposed",),
        passes=(0,),
        rearranges=True,
        receptive=_transpose_fields,
        polynomial=True,
    )
)
register(
    Operator(
        "Expand",
        ("input", "shape"),
        _expand_type,
        lambda n: n.view(np.broadcast_to(n.x[0], n.output_shape())),
        lambda n: [fit(n.dy, n.x[0]), None],
        passes=(0,),
        constant=expanded,
        unsized=_unsized_expand,
        samples={1: Interval(1, 1)},
        polynomial=True,
    )
)
register(
    Operator(
        "Shape",
        ("data",),
        _shape_type,
        lambda n: n.view(np.array(n.x[0].shape[_range(n)], np.int64)),
        None,
        {"start": Attr(int, 0), "end": Attr(int)},
        outputs=("shape",),
        of_shape=True,
    )
)
register(
    Operator(
        "Size",
        ("data",),
        lambda use: Type("int64", (), (product(use.type().shape),)),
        lambda n: n.view(np.array(n.x[0].size, np.int64)),
        None,
        outputs=("size",),
        of_shape=True,
    )
)
