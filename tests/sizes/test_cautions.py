"""What is said of an operation that a person should know, word for word; and nothing where all is well."""

from __future__ import annotations

from typing import Any

import pytest

from portable_nn.core.errors import ShapeError
from portable_nn.sizes import Operation, Window, cautions, conv, convt, pool

SAID: list[tuple[Operation, Any, list[tuple[str, str, str]]]] = [
    (conv(2, stride=2, axes=2), (5, 7),
     [("uncovered", "never read: row 4 (the last of 5) and column 6 (the last of 7)",
       "kernel 2 → 3: output 2x3 as now")]),
    (conv(1, stride=9, padding=3), 4,
     [("uncovered", "never read: all 4 cells", "kernel 1 → 7: output 1 instead of 2"),
      ("padding", "cells 0 and 1 of the output read nothing but padding",
       "make the padding smaller than the span of the kernel")]),
    (convt(2, stride=3), 3,
     [("bias-only", "no tap of the kernel lands on cells 2 and 5 (inside, 2 of 8) of the output: bias alone",
       "kernel 2 → 3: output 9 instead of 8"),
      ("uneven", "uneven overlap, which risks checkerboard artifacts: 1, 1, 0, 1, 1, 0, ... taps on the cells "
       "(kernel 2 is no multiple of stride 3)", "kernel 2 → 3: output 9 instead of 8")]),
    (convt(3, stride=2, padding=1, output_padding=1, axes=2), (14, 14),
     [("uneven", "uneven overlap, which risks checkerboard artifacts: 1, 2, 1, 2, ... taps on the rows and columns "
       "(kernel 3 is no multiple of stride 2)", "kernel 3 → 4, output_padding 1 → 0: output 28x28 as now")]),
    (convt((3, 4), stride=(2, 3)), (4, 4),
     [("uneven", "uneven overlap, which risks checkerboard artifacts: 2, 1, 2, 1, ... taps on the rows "
       "(kernel 3 is no multiple of stride 2); 2, 1, 1, 2, 1, 1, ... taps on the columns "
       "(kernel 4 is no multiple of stride 3)",
       "kernel 3 → 2 for rows, kernel 4 → 6 for columns, padding 0 → 1 for columns: output 8x13 instead of 9x13")]),
    (convt(7, stride=6, axes=2), (4, 4),
     [("uneven", "uneven overlap, which risks checkerboard artifacts: 1 to 2 taps on the rows and columns "
       "(kernel 7 is no multiple of stride 6)", "kernel 7 → 6: output 24x24 instead of 25x25")]),
    (convt(2, stride=2, padding=2), 5,
     [("padding", "padding crops all that cells 0 and 4 of the input contribute",
       "make the padding smaller than the span of the kernel")]),
    (conv((9, 3), padding=(4, 1)), (5, 5),
     [("span", "the kernel is larger than the input: it spans 9 rows of 5", "")]),
    (pool(3, stride=3, padding=1, ceil=True), 5,
     [("ceil", "ceil: PyTorch and onnxruntime drop a last window in the end padding and give 2, but OpenCV, OpenVINO "
       "and the shape inference of ONNX keep it and give 3",
       "use explicit pads: MaxPool(kernel_shape=[3], strides=[3], pads=[1, 1])")]),
    (pool(2, ceil=True, mode="average", count_include_pad=True, axes=2), (5, 6),
     [("ceil", "ceil with count_include_pad: runtimes disagree on the averages at the end", "")]),
    (conv(4, padding="same"), 8,
     [("asymmetric", '"same" padding is not symmetric: 1 before and 2 after the cells',
       "an odd kernel has the same padding on both sides")]),
    (conv(3, stride=2, padding="same", axes=2), (8, 10),
     [("auto_pad",
       "auto_pad SAME_UPPER: OpenCV silently pads 1 before the rows, not 0, 1 before the columns, not 0",
       "use explicit pads: Conv(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])"),
      ("asymmetric",
       '"same" padding is not symmetric: 0 before and 1 after the rows, 0 before and 1 after the columns',
       "give the padding as numbers")]),
    (conv(3, stride=2, auto_pad="SAME_LOWER"), 8,
     [("asymmetric", '"same" padding is not symmetric: 1 before and 0 after the cells',
       "give the padding as numbers")]),
    (conv(4, auto_pad="SAME_LOWER"), 8,
     [("auto_pad", "auto_pad SAME_LOWER: OpenCV silently pads 1 before the cells, not 2",
       "use explicit pads: Conv(kernel_shape=[4], strides=[1], pads=[2, 1])"),
      ("asymmetric", '"same" padding is not symmetric: 2 before and 1 after the cells',
       "an odd kernel has the same padding on both sides")]),
    (convt(4, stride=2, padding="same"), 8,
     [("auto_pad", "auto_pad SAME_UPPER: runtimes disagree on the sizes and values of a transposed convolution",
       "use explicit pads: ConvTranspose(kernel_shape=[4], strides=[2], pads=[1, 1])")]),
    (conv(3, dilation=2, padding="same"), 8,
     [("auto_pad", "auto_pad SAME_UPPER: with dilation, onnxruntime does not run it; OpenCV silently pads 1 before "
       "the cells, not 2",
       "use explicit pads: Conv(kernel_shape=[3], strides=[1], pads=[2, 2], dilations=[2])")]),
    (pool(3, stride=1, dilation=2, auto_pad="SAME_LOWER"), 8,
     [("auto_pad", "auto_pad SAME_LOWER: with dilation, onnxruntime pads for dilation 1; OpenCV silently pads 1 before "
       "the cells, not 2",
       "use explicit pads: MaxPool(kernel_shape=[3], strides=[1], pads=[2, 2], dilations=[2])")]),
    (convt(3, stride=2, dilation=2), 5,
     [("bias-only", "no tap of the kernel lands on cells 1, 3, 5, ... 11 (inside, 6 of 13) of the output: bias alone",
       "kernel 3 → 4, dilation 2 → 1: output 12 instead of 13"),
      ("uneven", "uneven overlap, which risks checkerboard artifacts: 3, 0, 3, 0, ... taps on the cells "
       "(stride 2 and dilation 2 are both multiples of 2)", "kernel 3 → 4, dilation 2 → 1: output 12 instead of 13")]),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "sizes", "said"), SAID)
def test_what_is_said(operation: Operation, sizes: Any, said: list[tuple[str, str, str]]) -> None:
    assert [tuple(caution) for caution in cautions(operation, sizes)] == said


@pytest.mark.parametrize(
    ("operation", "sizes"),
    [
        (conv(7, stride=2, padding=3), (224, 224)),
        (conv(3, padding="same"), (28, 28)),
        (conv(3, stride=2, padding="same"), 7),
        (conv(5, padding="valid"), 28),
        (pool(2), (28, 28)),
        (pool(3, stride=2, padding=1), (112, 112)),
        (pool(3, stride=2, ceil=True), 7),
        (pool(2, ceil=True, mode="average"), 5),
        (pool(7, mode="average"), (7, 7)),
        (convt(4, stride=2, padding=1), (7, 7)),
        (convt(2, stride=2, padding="valid"), (7, 7)),
        (convt(5), 1),
        (convt(5, stride=3), 1),
    ],
)
def test_nothing_is_said_where_all_is_well(operation: Operation, sizes: Any) -> None:
    assert cautions(operation, sizes) == ()


def test_a_window_in_the_padding_that_ceil_drops_though_it_fits() -> None:
    """Pads of more than half the kernel, which PyTorch has not: no pads that are written out mean the same."""
    operation = Operation("pool", (Window(1, 1, pad_end=1),), ceil=True)
    [caution] = [caution for caution in cautions(operation, 4) if caution.about == "ceil"]
    assert caution.hint == ""
    assert "give 4, but" in caution.message


def test_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"^kernel 5 spans 5 cells, but the input has only 4$"):
        cautions(conv(5), 4)


def test_output_padding_that_onnxruntime_refuses() -> None:
    """It is less than the dilation, which is PyTorch's rule, and not less than the stride, which is onnxruntime's."""
    [found] = [
        each for each in cautions(convt(3, stride=2, dilation=3, output_padding=2), 6) if each.about[:3] == "out"
    ]
    assert found == (
        "output_padding",
        "output_padding is not less than the stride (2 cells at stride 2): onnxruntime refuses it",
        "pad the output with a layer of its own, or use less",
    )
    assert all(each.about != "output_padding" for each in cautions(convt(3, stride=2, output_padding=1), 6))
