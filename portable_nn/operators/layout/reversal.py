"""ReverseSequence: the first elements of each sequence in a batch in reverse, as many as its length."""

from __future__ import annotations

import numpy as np

from portable_nn.operators.base import (
    ANY,
    Attr,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Type,
    emit,
    format_shape,
    register,
)


def _axes(use: OperatorContext) -> tuple[int, int]:
    """The axis of the batch, and that of time."""
    axes = use.int("batch_axis"), use.int("time_axis")
    if sorted(axes) != [0, 1]:
        use.fail(f"batch_axis and time_axis must be 0 and 1 or 1 and 0, not {axes[0]} and {axes[1]}")
    return axes


def _reverse_type(use: OperatorContext) -> Type:
    (dtype, shape, _), (batch, _) = use.type(), _axes(use)
    use.check_dtype(dtype, ANY)
    if len(shape) < 2:
        use.fail(f"input must have a batch axis and a time axis, not {format_shape(shape)}")
    use.expect(1, Type("int64", (shape[batch],)))
    return use.like(shape)


def _reverse(n: KernelContext) -> Step:
    x, out, lengths = n.x[0], n.out(), n.x[1]
    source, target = (np.moveaxis(array, _axes(n), (0, 1)) for array in (x, out))
    longest = source.shape[1]

    def run() -> None:
        np.copyto(out, x)
        for before, after, length in zip(source, target, lengths.tolist(), strict=True):
            if not 0 <= length <= longest:
                n.fail(f"a sequence of length {length} does not fit the time axis, which has {longest} elements")
            if length > 1:
                after[:length] = before[length - 1 :: -1]

    return run


register(
    Operator(
        "ReverseSequence",
        ("input", "sequence_lens"),
        _reverse_type,
        _reverse,
        lambda n: [emit("ReverseSequence", n.dy, n.x[1], **n.attributes), None],
        {"batch_axis": Attr(int, 1), "time_axis": Attr(int, 0)},
        outputs=("Y",),
        rearranges=True,
    )
)
