"""What an operation touches, against running it on one-hot inputs."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest

from portable_nn.sizes import Coverage, Operation, Window, axis_name, conv, convt, coverage, pool
from portable_nn.sizes.coverage import cells_text, is_faulty

windows = pytest.importorskip("torch_windows")


def drawn(rng: random.Random) -> tuple[Operation, int]:
    """One axis of anything, also with pads that PyTorch has not."""
    kind: Any = rng.choice(["conv", "convt", "pool"])
    kernel, stride, dilation = rng.randint(1, 5), rng.randint(1, 5), rng.choice([1, 1, 2, 3])
    pads = (rng.randint(0, 6), rng.randint(0, 6))
    added = rng.randint(0, 3) if kind == "convt" else 0
    ceil = kind == "pool" and rng.random() < 0.5
    return Operation(kind, (Window(kernel, stride, dilation, *pads, added),), ceil=ceil), rng.randint(1, 14)


def fitting(count: int) -> list[tuple[Operation, int, int]]:
    """That many operations with a size of their input and of their output."""
    rng, found = random.Random(1), list[tuple[Operation, int, int]]()
    while len(found) < count:
        operation, size = drawn(rng)
        try:
            found.append((operation, size, operation.output_size(size)[0]))
        except ValueError:
            continue
    return found


@pytest.mark.long
def test_counts_and_idle_positions() -> None:
    for operation, size, output in fitting(2000):
        counts, idle = windows.touched(operation, operation.windows[0], size, output)
        [found] = coverage(operation, size)
        assert list(found.counts) == counts, (operation, size)
        assert list(found.idle) == idle, (operation, size)
        assert list(found.uncovered) == [cell for cell, count in enumerate(counts) if not count]
        assert len(found.uncovered) == found.leading + len(found.holes) + found.trailing
        assert not any(counts[: found.leading])
        assert not any(counts[len(counts) - found.trailing :])
        assert is_faulty(operation.kind, operation.windows[0], size, output) == (0 in counts or found.uneven)


@pytest.mark.parametrize("kind", ["conv", "convt"])
def test_phases_are_the_counts_away_from_the_edges(kind: Any) -> None:
    for operation, _, _ in fitting(300):
        same = Operation(kind, tuple(Window(w.kernel, w.stride, w.dilation, *w.pads) for w in operation.windows))
        [found] = coverage(same, 60)
        stride = len(found.phases)
        middle = len(found.counts) // 2 // stride * stride
        assert found.counts[middle : middle + stride] == found.phases
        assert found.uneven == (kind == "convt" and len(set(found.phases)) > 1)


@pytest.mark.parametrize("kernel", range(1, 9))
@pytest.mark.parametrize("stride", range(1, 6))
def test_overlap_is_even_where_the_stride_divides_the_kernel(kernel: int, stride: int) -> None:
    assert coverage(convt(kernel, stride=stride), 9)[0].uneven == (kernel % stride != 0)


@pytest.mark.parametrize(("stride", "dilation"), [(2, 2), (4, 2), (3, 6)])
def test_stripes_of_bias_where_stride_and_dilation_have_a_common_divisor(stride: int, dilation: int) -> None:
    [found] = coverage(convt(stride, stride=stride, dilation=dilation), 9)
    assert found.uneven
    assert found.holes


def test_images_that_cannot_overlap_are_not_uneven() -> None:
    assert not coverage(convt(3, stride=2), 1)[0].uneven


WORDS = [
    (conv(3, padding=1), 6, ""),
    (conv(2, stride=2), 5, "column 4 (the last of 5)"),
    (conv(2, stride=4), 8, "columns 2 and 3 (inside, 2 of 8), columns 6 and 7 (the last 2 of 8)"),
    (conv(3, stride=2, dilation=2), 7, "columns 1, 3 and 5 (inside, 3 of 7)"),
    (conv(1, stride=2), 11, "columns 1, 3, 5, ... 9 (inside, 5 of 11)"),
    (conv(2, stride=9), 11, "columns 2 to 8 (inside, 7 of 11)"),
    (conv(2, stride=5, padding="same"), 11, "columns 2 to 4 and 7 to 9 (inside, 6 of 11)"),
    (conv(2, stride=5), 27, "columns 2 to 4, 7 to 9, 12 to 14, ... 22 to 24 (inside, 15 of 27)"),
    (conv(2, stride=4), 22, "columns 2, 3, 6, 7, 10, 11, ... 18, 19 (inside, 10 of 22)"),
    (conv(2, stride=4), 14, "columns 2, 3, 6, 7, 10 and 11 (inside, 6 of 14)"),
    (pool(2, stride=4, padding=1), 9, "columns 1, 2, 5 and 6 (inside, 4 of 9)"),
    (conv(1, stride=4, padding=3), 4, "column 0 (the first of 4), columns 2 and 3 (the last 2 of 4)"),
    (conv(1, stride=9, padding=3), 4, "all 4 columns"),
    (convt(2, stride=2, output_padding=1), 3, "column 6 (the last of 7)"),
    (convt(1, stride=3, padding=((0, 0),)), 2, "columns 1 and 2 (inside, 2 of 4)"),
]


@pytest.mark.parametrize(("operation", "size", "words"), WORDS)
def test_uncovered_cells_in_words(operation: Operation, size: int, words: str) -> None:
    assert coverage(operation, size)[0].words("columns") == words


@pytest.mark.parametrize("count", range(1, 9))
def test_every_set_of_cells_can_be_read_out_of_its_words(count: int) -> None:
    """What the words say, word by word, are these cells, however they lie; where they are cut short, a progression."""
    for cells in combinations(range(10), count):
        words = cells_text(cells, "cells").split(" ", 1)[1].replace(" and ", ", ")
        read: list[int] = []
        for part in words.split(", "):
            first, _, last = part.removeprefix("... ").partition(" to ")
            if part.startswith("..."):
                step = read[1] - read[0]
                read += range(read[-1] + step, int(first), step)
            read += range(int(first), int(last or first) + 1)
        assert tuple(read) == cells, words


def test_many_cells_that_do_not_go_on_regularly_are_not_cut_short_as_if_they_did() -> None:
    cells = [0, 2, 3, 5, 9, 11, 14, 20, 23, 24, 25, 40]
    assert cells_text(cells, "cells") == "cells 0, 2, 3, 5, 9, 11, 14 and 5 more up to 40"


def test_cells_that_nothing_reads_at_the_begin() -> None:
    found = Coverage(counts=(0, 0, 1, 0, 1, 0), phases=(1,), idle=(), uneven=False)
    assert found.words() == "cells 0 and 1 (the first 2 of 6), cell 3 (inside, 1 of 6), cell 5 (the last of 6)"
    assert (found.leading, found.holes, found.trailing) == (2, (3,), 1)


def test_what_cells_are_called() -> None:
    named = [[axis_name(axis, axes) for axis in range(axes)] for axes in (1, 2, 3, 4)]
    assert named[:3] == [["cells"], ["rows", "columns"], ["slices", "rows", "columns"]]
    assert named[3] == ["cells of axis 0", "cells of axis 1", "cells of axis 2", "cells of axis 3"]
    assert coverage(conv(2, stride=2), (2, 2, 2, 3))[3].words(named[3][3]) == "cell 2 of axis 3 (the last of 3)"
