"""Products of matrices, and convolutions."""

from __future__ import annotations

import string
from typing import Any

from portable_nn.converters.jax.primitives.table import Call, Held, row
from portable_nn.operators import Symbol, cast, emit, integers, squeezed, unsqueezed


@row("dot_general")
def _dot(call: Call, a: Held, b: Held) -> Held:
    """MatMul where each side has one axis of its own, or the left one more and no batch; Einsum otherwise."""
    (left, right), (batch_a, batch_b) = call.params["dimension_numbers"]
    free_a = [axis for axis in range(len(a.shape)) if axis not in (*left, *batch_a)]
    free_b = [axis for axis in range(len(b.shape)) if axis not in (*right, *batch_b)]
    simple = len(left) == 1 and len(free_b) == 1 and (len(free_a) == 1 or (free_a and not batch_a))
    if simple:
        one = call.exact(a, (*batch_a, *free_a, *left))
        other = call.exact(b, (*batch_b, *right, *free_b))
        found = emit("MatMul", one, other)
    else:
        found = _einsum(call, a, b, free_a, free_b)
    return call.held(cast(found, call.dtype))


def _einsum(call: Call, a: Held, b: Held, free_a: list[int], free_b: list[int]) -> Symbol:
    (left, right), (batch_a, batch_b) = call.params["dimension_numbers"]
    letters = iter(string.ascii_lowercase)
    of_a = {axis: next(letters) for axis in range(len(a.shape))}
    of_b = {axis: next(letters) for axis in free_b}
    of_b |= {there: of_a[here] for here, there in zip((*left, *batch_a), (*right, *batch_b), strict=True)}
    inputs = ["".join(of[axis] for axis in range(len(of))) for of in (of_a, of_b)]
    output = "".join([*(of_a[axis] for axis in (*batch_a, *free_a)), *(of_b[axis] for axis in free_b)])
    return emit("Einsum", call.exact(a), call.exact(b), equation=f"{','.join(inputs)}->{output}")


@row("conv_general_dilated")
def _convolution(call: Call, x: Held, weight: Held) -> Held:
    params, numbers = call.params, call.params["dimension_numbers"]
    if params["batch_group_count"] != 1:
        call.refuse("with groups of the batch")
    options: dict[str, Any] = {"dilations": [int(each) for each in params["rhs_dilation"]]}
    image, group = call.exact(x, tuple(numbers.lhs_spec)), int(params["feature_group_count"])
    if any(each != 1 for each in params["lhs_dilation"]):
        found = _transposed(call, image, weight, options)
    else:
        pads = [[int(each) for each in side] for side in zip(*params["padding"], strict=True)] or [[], []]
        image = _cut(image, pads)
        options |= {
            "pads": [max(0, each) for side in pads for each in side],
            "strides": [int(each) for each in params["window_strides"]],
            "group": group,
        }
        kernel = call.exact(weight, tuple(numbers.rhs_spec))
        found = emit("Conv", *_with_cells(image, kernel), **_of_cells(options))
        found = found if len(image.shape) > 2 else squeezed(found, 2)
    return call.held(cast(found, call.dtype), tuple(numbers.out_spec))


def _with_cells(image: Symbol, kernel: Symbol) -> tuple[Symbol, Symbol]:
    """With one axis of one cell where a convolution has none."""
    if len(image.shape) > 2:
        return image, kernel
    return unsqueezed(image, 2), unsqueezed(kernel, 2)


def _of_cells(options: dict[str, Any]) -> dict[str, Any]:
    return options if options["strides"] else {"group": options["group"]}


def _cut(image: Symbol, pads: list[list[int]]) -> Symbol:
    """Without the cells that negative pads take away."""
    negative = [[min(0, each) for each in side] for side in pads]
    if not any(map(any, negative)):
        return image
    return emit("Pad", image, integers([0, 0, *negative[0], 0, 0, *negative[1]]))


def _transposed(call: Call, image: Symbol, weight: Held, options: dict[str, Any]) -> Symbol:
    """A convolution of cells that are spread apart is a transposed one, with its taps in reverse order."""
    params, spec = call.params, call.params["dimension_numbers"].rhs_spec
    strides, dilations = [int(each) for each in params["lhs_dilation"]], options["dilations"]
    taps = list(range(2, len(spec)))
    last = [-1] * len(taps)
    kernel = _grouped(call, weight, int(params["feature_group_count"]))
    kernel = emit("Slice", kernel, integers(last), integers([-(2**31)] * len(taps)), integers(taps), integers(last))
    sizes = [weight.shape[axis] for axis in spec[2:]]
    reach = [(int(size) - 1) * d for size, d in zip(sizes, dilations, strict=True)]
    begins = [r - int(low) for r, (low, _) in zip(reach, params["padding"], strict=True)]
    ends = [r - int(high) for r, (_, high) in zip(reach, params["padding"], strict=True)]
    more = [max(0, -end) for end in ends]
    fits = all(m < max(s, d) for m, s, d in zip(more, strides, dilations, strict=True))
    found = emit(
        "ConvTranspose",
        image,
        kernel,
        strides=strides,
        pads=[*(max(0, begin) for begin in begins), *(max(0, end) for end in ends)],
        output_padding=more if fits else [0] * len(more),
        group=int(params["feature_group_count"]),
        **options,
    )
    around = [*(max(0, -begin) for begin in begins), *([0] * len(more) if fits else more)]
    if any(around):  # Windows that reach none of the cells.
        half = len(begins)
        found = emit("Pad", found, integers([0, 0, *around[:half], 0, 0, *around[half:]]))
    steps = [int(each) for each in params["window_strides"]]
    if any(step != 1 for step in steps):
        ones = [0] * len(steps), [2**31 - 1] * len(steps)
        found = emit("Slice", found, *map(integers, ones), integers(taps), integers(steps))
    return found


def _grouped(call: Call, weight: Held, groups: int) -> Symbol:
    """The kernel of a transposed convolution, of (inputs, outputs of a group, …)."""
    spec = call.params["dimension_numbers"].rhs_spec
    if groups == 1:
        return call.exact(weight, (spec[1], spec[0], *spec[2:]))
    outputs, inputs, *cells = (int(weight.shape[axis]) for axis in spec)
    parts = integers([groups, outputs // groups, inputs, *cells])
    apart = emit("Reshape", call.exact(weight, tuple(spec)), parts)
    turned = emit("Transpose", apart, perm=[0, 2, 1, *range(3, len(spec) + 1)])
    return emit("Reshape", turned, integers([groups * inputs, outputs // groups, *cells]))
