"""The formula backwards: everything that PyTorch confirms within the bounds, nothing else, and the best first."""

from __future__ import annotations

from collections import defaultdict
from itertools import product
from typing import Any

import pytest

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.sizes import Bounds, Operation, Window, conv, convt, coverage, pool, solve

windows = pytest.importorskip("torch_windows")

SMALL = Bounds(kernel=range(1, 5), stride=range(1, 4), padding=range(3), dilation=range(1, 3), output_padding=range(3))


def brute_force(kind: str, size: int, ceil: bool = False) -> dict[int, set[Window]]:
    """What PyTorch makes of every configuration within the bounds: the windows by output size."""
    found: dict[int, set[Window]] = defaultdict(set)
    added = SMALL.output_padding if kind == "convt" else [0]
    for kernel, stride, padding, dilation, more in product(
        SMALL.kernel, SMALL.stride, SMALL.padding, SMALL.dilation, added
    ):
        options: dict[str, Any] = {"kernel": [kernel], "stride": stride, "padding": padding, "dilation": dilation}
        options |= {"output_padding": more} if kind == "convt" else {"ceil": ceil} if kind == "pool" else {}
        try:
            [output] = windows.sizes_of(windows.run(kind, windows.zeros((size,)), options))
        except RuntimeError:
            continue
        found[output].add(Window(kernel, stride, dilation, padding, padding, more))
    return found


@pytest.mark.parametrize("size", [1, 2, 5, 8, 11])
@pytest.mark.parametrize(("kind", "ceil"), [("conv", False), ("convt", False), ("pool", False), ("pool", True)])
def test_all_that_brute_force_finds(kind: Any, ceil: bool, size: int) -> None:
    by_output = brute_force(kind, size, ceil)
    for output in range(1, max(by_output) + 3):
        if output not in by_output:
            with pytest.raises(ShapeError):
                solve(kind, size, output, bounds=SMALL, ceil=ceil)
            continue
        found = solve(kind, size, output, bounds=SMALL, ceil=ceil, limit=None)
        assert len(found) == len(by_output[output])
        assert {operation.windows[0] for operation in found} == by_output[output]
        assert all(operation.ceil == ceil for operation in found)


def test_every_combination_over_two_axes() -> None:
    rows, columns = brute_force("conv", 5)[3], brute_force("conv", 6)[3]
    found = solve("conv", (5, 6), 3, bounds=SMALL, limit=None)
    assert len(found) == len(rows) * len(columns)
    assert {operation.windows for operation in found} == set(product(rows, columns))
    # Of those that leave nothing out, the same options on both axes come first.
    whole = [
        operation
        for operation in found
        if not any(axis.uncovered for axis in coverage(operation, (5, 6)))
        and all(max(window.pads) < window.extent for window in operation.windows)
    ]
    assert list(found[: len(whole)]) == whole
    alike = [len(set(operation.windows)) == 1 for operation in whole]
    assert any(alike)
    assert alike == sorted(alike, reverse=True)


@pytest.mark.parametrize(
    ("kind", "sizes", "outputs", "best"),
    [
        ("conv", 28, 28, [conv(3, padding=1), conv(1), conv(5, padding=2)]),
        ("conv", 28, 14, [conv(3, stride=2, padding=1), conv(2, stride=2), conv(5, stride=2, padding=2)]),
        ("conv", 28, 24, [conv(5)]),
        ("conv", 27, 13, [conv(3, stride=2)]),
        ("conv", 224, 14, [conv(16, stride=16)]),
        ("conv", 7, 1, [conv(7)]),
        ("conv", (28, 28), (14, 14), [conv(3, stride=2, padding=1, axes=2)]),
        ("conv", (224, 160), (112, 80), [conv(3, stride=2, padding=1, axes=2)]),
        ("conv", (28, 28), (28, 14), [conv(3, stride=(1, 2), padding=1, axes=2)]),
        ("pool", 28, 14, [pool(2), pool(3, stride=2, padding=1)]),
        ("pool", 7, 1, [pool(7)]),
        ("pool", 512, 1, [pool(512)]),
        ("pool", (56, 56, 56), 28, [pool(2, axes=3)]),
        ("convt", 14, 28, [convt(2, stride=2), convt(4, stride=2, padding=1)]),
        ("convt", 1, 4, [convt(4)]),
        ("convt", 14, 56, [convt(4, stride=4)]),
        ("convt", 2, 512, [convt(256, stride=256), convt(512, stride=256, padding=128)]),
    ],
)
def test_what_people_would_choose(kind: Any, sizes: Any, outputs: Any, best: list[Operation]) -> None:
    """Layers of ResNet, LeNet, ViT, U-Net and DCGAN, from the sizes around them alone."""
    assert list(solve(kind, sizes, outputs, limit=len(best))) == best


def test_a_list_has_no_two_that_do_the_same_and_no_mixtures_of_equal_axes() -> None:
    """From one cell, every stride of a transposed convolution gives the same."""
    found = solve("convt", (1, 1), (64, 64), limit=10)
    assert len({(each.windows[0].kernel, each.windows[0].pads, each.windows[0].dilation) for each in found}) == len(
        found
    )
    assert [each.windows[0].stride for each in found] == [1] * len(found)
    found = solve("convt", (7, 7), (64, 64), limit=10)
    assert (len(found), {len(set(each.windows)) for each in found}) == (10, {1})
    assert all(each.output_size((7, 7)) == (64, 64) for each in found)


@pytest.mark.parametrize("kind", ["conv", "pool", "convt"])
def test_what_leaves_cells_out_comes_last(kind: Any) -> None:
    size, output = (14, 28) if kind == "convt" else (28, 14)
    found = solve(kind, size, output, limit=None)
    axes = [coverage(operation, size)[0] for operation in found]
    bad = [bool(axis.uncovered or axis.uneven or axis.idle) for axis in axes]
    assert bad == sorted(bad)
    assert set(bad) == {False, True}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"kernel": 5}, [conv(5, stride=2, padding=2), conv(5, stride=2, padding=4, dilation=2)]),
        ({"kernel": 5, "dilation": 1}, [conv(5, stride=2, padding=2)]),
        ({"kernel": 4, "padding": ((1, 2),), "dilation": 1}, [conv(4, stride=2, padding=((1, 2),))]),
        ({"kernel": 15, "stride": 1, "padding": 0, "dilation": 1}, [conv(15)]),
    ],
)
def test_options_that_are_given_are_kept(options: dict[str, Any], found: list[Operation]) -> None:
    assert list(solve("conv", 28, 14, limit=None, **options)) == found


def test_options_that_are_given_for_each_axis() -> None:
    [found] = solve("convt", (14, 14), (28, 29), limit=1, kernel=(4, 5), stride=2, padding=1, dilation=1)
    assert found == convt((4, 5), stride=2, padding=1)
    [same] = solve("convt", 14, 29, limit=None, kernel=4, stride=2, padding=1, output_padding=1, dilation=1)
    assert same == convt(4, stride=2, padding=1, output_padding=1)


def test_padding_that_differs_is_found_where_it_is_wanted() -> None:
    assert conv(2, padding=((0, 1),)) in solve("conv", 6, 6, limit=None, bounds=Bounds(asymmetric=True))
    with pytest.raises(ShapeError):
        solve("conv", 6, 6, kernel=2, stride=1, dilation=1)


NOTHING: list[tuple[Any, Any, Any, dict[str, Any], str]] = [
    ("conv", 28, 14, {"kernel": 5, "padding": 0},
     "no conv with kernel 5, stride 1 to 8, padding 0 and dilation 1 to 2 turns 28 into 14; "
     "the nearest that they reach are 12 and 20"),
    ("conv", 28, 100, {},
     "no conv with kernel 1 to 11, stride 1 to 8, padding 0 to 5 and dilation 1 to 2 turns 28 into 100; "
     "the nearest that they reach is 38 (only padding makes the output of a conv or pool larger than its input: "
     "use convt to enlarge)"),
    ("conv", 28, 20, {"stride": 2},
     "no conv with kernel 1 to 11, stride 2, padding 0 to 5 and dilation 1 to 2 turns 28 into 20; "
     "the nearest that they reach is 19"),
    ("convt", 28, 14, {"kernel": 3, "dilation": 1},
     "no convt with kernel 3, stride 1 to 8, padding 0 to 5, dilation 1 and output_padding 0 to 7 turns 28 into 14; "
     "the nearest that they reach is 20 (only padding makes the output of a convt smaller than its input: "
     "use conv or pool to shrink)"),
    ("conv", 3, 2, {"kernel": 9, "padding": ((1, 0),)},
     "no conv with kernel 9, stride 1 to 8, padding (1, 0) and dilation 1 to 2 turns 3 into 2, or into anything else: "
     "the kernel spans more than the padded input"),
    ("pool", (64, 64), (4, 40), {"stride": 16, "kernel": 3, "padding": 0, "dilation": 1},
     "no pool with kernel 3, stride 16, padding 0 and dilation 1 turns 64 into 40; the nearest that they reach is 4"),
    ("pool", (9, 8), (7, 7), {"stride": 3, "kernel": 3, "padding": 0, "dilation": 1},
     "2 faults\n"
     "  no pool with kernel 3, stride 3, padding 0 and dilation 1 turns 9 into 7; the nearest that they reach is 3\n"
     "  no pool with kernel 3, stride 3, padding 0 and dilation 1 turns 8 into 7; the nearest that they reach is 2"),
    ("conv", 64, 40, {"bounds": Bounds(kernel=(1, 2, 3, 7), stride=(2, 4), padding=(0,), dilation=(1,))},
     "no conv with kernel 1 to 3 and 7, stride 2 and 4, padding 0 and dilation 1 turns 64 into 40; "
     "the nearest that they reach is 32"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "sizes", "outputs", "options", "message"), NOTHING)
def test_nothing_fits(kind: Any, sizes: Any, outputs: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError) as caught:
        solve(kind, sizes, outputs, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": (14, 14)}, "the wanted output 14x14 needs as many axes as the input 28"),
        ({"padding": "same"}, "padding must be numbers to solve with, not 'same'"),
        ({"output_padding": 1}, "output_padding is an option of convt, not of conv"),
        ({"kernel": 0}, "kernel must be at least 1, not 0"),
        ({"stride": (1, 2)}, "stride must be one number or 1, one for each axis, not 2: (1, 2)"),
        ({"ceil": True}, "ceil is an option of pool, not of conv"),
        ({"kind": "conv2d"}, "kind must be one of conv, convt, pool, not 'conv2d'"),
        ({"outputs": 0}, "output size must be at least 1, not 0"),
    ],
)
def test_questions_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        solve(**{"kind": "conv", "sizes": 28, "outputs": 14, **options})
    assert str(caught.value) == message
