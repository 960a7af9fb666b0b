"""How the options of an operation are given, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from portable_nn.core.errors import UsageError
from portable_nn.sizes import Operation, Window, check_channels, conv, convt, input_sizes, pool, size_text
from portable_nn.sizes.operation import joined


@pytest.mark.parametrize(
    ("operation", "windows"),
    [
        (conv(3), [Window(3)]),
        (conv(3, axes=2), [Window(3), Window(3)]),
        (conv((3, 5), stride=2), [Window(3, 2), Window(5, 2)]),
        (conv(3, stride=(1, 2)), [Window(3, 1), Window(3, 2)]),
        (conv(3, dilation=[2, 1]), [Window(3, dilation=2), Window(3)]),
        (conv(3, padding=1), [Window(3, pad_begin=1, pad_end=1)]),
        (conv(3, padding=(1, 0)), [Window(3, pad_begin=1, pad_end=1), Window(3)]),
        (conv(3, padding=((0, 1), 2)), [Window(3, pad_end=1), Window(3, pad_begin=2, pad_end=2)]),
        (conv(3, padding="valid"), [Window(3)]),
        (convt(3, stride=2, output_padding=1), [Window(3, 2, output_padding=1)]),
        (pool((2, 3)), [Window(2, 2), Window(3, 3)]),
        (pool(3, stride=2, padding=1), [Window(3, 2, pad_begin=1, pad_end=1)]),
    ],
)
def test_options_become_windows(operation: Operation, windows: list[Window]) -> None:
    assert operation.windows == tuple(windows)


def test_equal_operations_are_one_key() -> None:
    assert {conv((3, 3), stride=2), conv(3, stride=(2, 2)), conv(3, stride=2, axes=2)} == {conv(3, stride=2).over(2)}


def test_one_axis_holds_for_all_axes_of_an_input() -> None:
    assert conv(5, stride=2, padding=2).output_size((28, 32, 7)) == (14, 16, 4)


@pytest.mark.parametrize(
    ("operation", "size", "windows"),
    [
        (conv(3, stride=2, padding="same"), 8, Window(3, 2, pad_end=1)),
        (conv(3, stride=2, auto_pad="SAME_LOWER"), 8, Window(3, 2, pad_begin=1)),
        (conv(4, padding="same"), 8, Window(4, pad_begin=1, pad_end=2)),
        (conv(3, auto_pad="VALID"), 8, Window(3)),
        (pool(3, stride=2, padding="same"), 7, Window(3, 2, pad_begin=1, pad_end=1)),
        (convt(3, stride=2, padding="same"), 4, Window(3, 2, pad_end=1)),
        (convt(2, stride=3, padding="same"), 4, Window(2, 3, output_padding=1)),
        (conv(3, padding=1), 4, Window(3, pad_begin=1, pad_end=1)),
    ],
)
def test_auto_pad_becomes_pads(operation: Operation, size: int, windows: Window) -> None:
    assert operation.resolved(size) == Operation(operation.kind, (windows,))


@pytest.mark.parametrize(("size", "stride"), list(product(range(1, 30), range(1, 5))))
def test_size_that_same_padding_gives(size: int, stride: int) -> None:
    """Keras's and ONNX's definition."""
    for kernel in range(1, 6):
        for auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            assert conv(kernel, stride=stride, auto_pad=auto_pad).output_size(size) == (-(-size // stride),)
            assert convt(kernel, stride=stride, auto_pad=auto_pad).output_size(size) == (size * stride,)


def given(value: Any) -> Any:
    """What no type checker would let through."""
    return value


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: conv(given(2.0)), "kernel must be an integer, not 2.0"),
    (lambda: conv(True), "kernel must be an integer, not True"),
    (lambda: conv(given("3")), "kernel must be an integer, not '3'"),
    (lambda: conv(3, padding=((1, given(0.5)),)), "padding must be an integer, not 0.5"),
    (lambda: conv((3, 3), stride=(1, 2, 1)), "stride must be one number or 2, one for each axis, not 3: (1, 2, 1)"),
    (lambda: conv(3, axes=2, stride=[1]), "stride must be one number or 2, one for each axis, not 1: [1]"),
    (lambda: conv(3, axes=0), "axes must be at least 1, not 0"),
    (lambda: conv(3, padding=((1, 2, 3),)),
     "padding must be a number or a pair (begin, end) for each axis, not (1, 2, 3)"),
    (lambda: conv(3, padding="full"), "padding must be a number, numbers, pairs, 'same' or 'valid', not 'full'"),
    (lambda: conv(3, padding="same", auto_pad="VALID"), "padding 'same' means auto_pad SAME_UPPER, not VALID"),
    (lambda: conv(3, padding=1, auto_pad="SAME_LOWER"),
     "padding must not be given together with auto_pad SAME_LOWER, which decides it"),
    (lambda: conv(3, auto_pad=given("SAME")),
     "auto_pad must be one of NOTSET, SAME_UPPER, SAME_LOWER, VALID, not 'SAME'"),
    (lambda: conv(3, groups=0), "groups must be at least 1, not 0"),
    (lambda: pool(3, mode=given("sum")), "mode must be one of max, average, lp, not 'sum'"),
    (lambda: Operation(given("sum"), (Window(3),)), "kind must be one of conv, convt, pool, not 'sum'"),
    (lambda: Operation("conv", ()), "an operation needs at least one spatial axis"),
    (lambda: Operation("conv", (Window(3, output_padding=1),)), "output_padding is an option of convt, not of conv"),
    (lambda: Operation("conv", (Window(3),), ceil=True), "ceil is an option of pool, not of conv"),
    (lambda: Operation("convt", (Window(3),), mode="average"), "mode is an option of pool, not of convt"),
    (lambda: Operation("conv", (Window(3),), count_include_pad=True),
     "count_include_pad is an option of pool, not of conv"),
    (lambda: Operation("pool", (Window(3),), groups=2), "groups is an option of conv and convt, not of pool"),
    (lambda: conv((3, 3)).over(3), "the options are for 2 axes, but the input has 3"),
    (lambda: conv(3).output_size((4, 0)), "input size must be at least 1, not 0"),
    (lambda: input_sizes(given("12")), "input size must be an integer, not '1'"),
    (lambda: check_channels(pool(2), 3, 4), "a pool keeps its channels: out_channels must be 3, not 4"),
    (lambda: check_channels(conv(2), 0, 4), "in_channels must be at least 1, not 0"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_options_that_make_no_sense(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build()
    assert str(caught.value) == message


def test_channels_that_fit_the_groups() -> None:
    check_channels(conv(3, groups=4), 8, 4)
    check_channels(pool(3), 8, 8)


def test_words() -> None:
    assert size_text((28, 32)) == "28x32"
    assert [joined(words) for words in ([], ["a"], ["a", 2], "abc")] == ["", "a", "a and 2", "a, b and c"]


def test_importing_needs_no_numpy() -> None:
    code = "import portable_nn.sizes, sys; print([name for name in ('numpy', 'matplotlib') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
