"""Output sizes are PyTorch's, and what PyTorch refuses is refused, with the option at fault named."""

from __future__ import annotations

import random
from typing import Any

import pytest

from portable_nn.core.errors import PortableNNError, ShapeError, UsageError
from portable_nn.sizes import check_channels, conv, convt, pool

torch = pytest.importorskip("torch")
windows = pytest.importorskip("torch_windows")

BUILDERS: dict[str, Any] = {"conv": conv, "convt": convt, "pool": pool}
LONGEST = {1: 20, 2: 9, 3: 6}


def drawn(rng: random.Random) -> tuple[str, tuple[int, ...], dict[str, Any]]:
    """Options that each make sense; most of them fit."""
    axes, kind = rng.randint(1, 3), rng.choice(list(BUILDERS))
    average = kind == "pool" and rng.random() < 0.3

    def each(least: int, most: int) -> list[int]:
        return [rng.randint(least, most) for _ in range(axes)]

    sizes = tuple(rng.randint(1, LONGEST[axes]) for _ in range(axes))
    options: dict[str, Any] = {"kernel": each(1, 5), "stride": each(1, 4), "padding": each(0, 3)}
    if not average:
        options["dilation"] = each(1, 3)
    if kind == "convt":
        options["output_padding"] = each(0, 2)
    if kind == "pool":
        options |= {"ceil": rng.random() < 0.5, "padding": [min(2, kernel // 2) for kernel in options["kernel"]]}
        options |= {"mode": "average"} if average else {}
    if average and axes == 3:  # avg_pool3d, alone among them, wants an input that holds the kernel without its pads
        sizes = tuple(map(max, sizes, options["kernel"]))
    return kind, sizes, options


@pytest.mark.long
def test_20000_configurations() -> None:
    rng, valid = random.Random(0), 0
    while valid < 20_000:
        kind, sizes, options = drawn(rng)
        try:
            theirs = windows.sizes_of(windows.run(kind, windows.zeros(sizes), options))
        except RuntimeError:
            theirs = None
        try:
            ours = BUILDERS[kind](**options).output_size(sizes)
        except PortableNNError:
            ours = None
        if theirs is not None and 0 in theirs:  # an empty output, which conv_transpose3d alone does not refuse
            theirs = None
        assert ours == theirs, (kind, sizes, options)
        valid += ours is not None


@pytest.mark.parametrize(
    ("kind", "option", "value", "message"),
    [
        ("conv", "stride", 0, "stride must be at least 1, not 0"),
        ("conv", "stride", -1, "stride must be at least 1, not -1"),
        ("convt", "stride", 0, "stride must be at least 1, not 0"),
        ("pool", "stride", 0, "stride must be at least 1, not 0"),
        ("conv", "kernel", 0, "kernel must be at least 1, not 0"),
        ("convt", "kernel", 0, "kernel must be at least 1, not 0"),
        ("pool", "kernel", 0, "kernel must be at least 1, not 0"),
        ("pool", "kernel", -2, "kernel must be at least 1, not -2"),
        ("conv", "dilation", 0, "dilation must be at least 1, not 0"),
        ("convt", "dilation", -1, "dilation must be at least 1, not -1"),
        ("pool", "dilation", 0, "dilation must be at least 1, not 0"),
        ("conv", "padding", -1, "padding must be at least 0, not -1"),
        ("convt", "padding", -2, "padding must be at least 0, not -2"),
        ("pool", "padding", -1, "padding must be at least 0, not -1"),
        ("convt", "output_padding", -1, "output_padding must be at least 0, not -1"),
        (
            "convt",
            "output_padding",
            2,
            "output_padding must be smaller than stride 2 or dilation 1, not 2 (PyTorch's rule)",
        ),
        ("pool", "padding", 2, "padding of a pool must be at most half its kernel 3, not 2 (PyTorch's rule)"),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_option_that_pytorch_refuses(kind: str, option: str, value: int, message: str, axis: int) -> None:
    options = {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1]}
    options |= {"output_padding": [0, 0]} if kind == "convt" else {}
    options[option][axis] = value
    with pytest.raises(RuntimeError):
        windows.run(kind, windows.zeros((9, 9)), options)
    with pytest.raises(UsageError) as caught:
        BUILDERS[kind](**options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kind", "size", "options", "message"),
    [
        ("conv", 7, {"kernel": 5, "dilation": 2}, "kernel 5 with dilation 2 spans 9 cells, but the input has only 7"),
        (
            "conv",
            5,
            {"kernel": 9, "padding": 1},
            "kernel 9 spans 9 cells, but the padded input has only 7 (1 + 5 + 1)",
        ),
        ("pool", 3, {"kernel": 4, "stride": 1}, "kernel 4 spans 4 cells, but the input has only 3"),
        (
            "pool",
            3,
            {"kernel": 8, "stride": 3, "ceil": True},
            "kernel 8 spans 8 cells, but the input has only 3, even by one stride of 3",
        ),
        (
            "convt",
            2,
            {"kernel": 3, "padding": 2},
            "padding takes 2 + 2 cells from an output of only 4: at most 3 can go",
        ),
    ],
)
def test_output_without_a_cell(kind: str, size: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeError):
        windows.run(kind, windows.zeros((size,)), {**options, "kernel": [options["kernel"]]})
    with pytest.raises(ShapeError) as caught:
        BUILDERS[kind](**options).output_size(size)
    assert str(caught.value) == message


def test_every_axis_that_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError) as caught:
        conv(5, padding=((0, 0), (1, 0), (0, 0)), axes=3).output_size((4, 3, 9))
    assert str(caught.value) == (
        "2 faults\n"
        "  axis 0: kernel 5 spans 5 cells, but the input has only 4\n"
        "  axis 1: kernel 5 spans 5 cells, but the padded input has only 4 (1 + 3 + 0)"
    )


@pytest.mark.parametrize(
    ("channels", "groups", "message"),
    [
        ((6, 4), 4, "groups must divide in_channels: 6 channels make no 4 equal groups"),
        ((6, 4), 3, "groups must divide out_channels: 4 channels make no 3 equal groups"),
    ],
)
def test_groups_that_do_not_divide_the_channels(channels: tuple[int, int], groups: int, message: str) -> None:
    with pytest.raises(ValueError, match="divisible by groups"):
        torch.nn.Conv2d(*channels, 3, groups=groups)
    with pytest.raises(UsageError) as caught:
        check_channels(conv(3, groups=groups), *channels)
    assert str(caught.value) == message
