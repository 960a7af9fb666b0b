"""Huge options in small models: closed forms against counting, and answers where counting would take hours."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction

import pytest

from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.sizes import (
    INPUT,
    Field,
    Operation,
    Window,
    combine,
    conv,
    convt,
    fixes,
    pool,
    receptive_field,
    through,
)
from portable_nn.sizes.coverage import Coverage, coverage, is_faulty, phases
from portable_nn.sizes.receptive import LONGEST_PERIOD, Fields
from portable_nn.sizes.scene import scene_of


def pairs(window: Window, positions: int) -> Iterator[tuple[int, int]]:
    """Each position of the kernel with each cell that a tap is on."""
    for position in range(positions):
        for tap in range(window.kernel):
            yield position, position * window.stride + tap * window.dilation - window.pad_begin


def drawn(rng: random.Random) -> Window:
    pads = [rng.choice([0, 1, 2, rng.randint(0, 40)]) for _ in range(2)]
    return Window(rng.randint(1, 9), rng.randint(1, 9), rng.choice([1, 1, 2, 3, 4, 6]), *pads)


def short(rng: random.Random) -> Window:
    return Window(rng.randint(1, 5), rng.randint(1, 4), rng.choice([1, 1, 2, 3]), rng.randint(0, 3))


def test_coverage_is_what_counting_says() -> None:
    rng = random.Random(5)
    faultless = 0
    for _ in range(1500):
        window, positions = drawn(rng), rng.choice([1, 2, rng.randint(1, 60)])
        line = window.stride * (positions - 1) + window.extent
        cells = line - sum(window.pads) + rng.choice([0, 0, rng.randint(-5, 3)])
        if cells < 1:
            continue
        counts, idle = [0] * cells, set(range(positions))
        for position, cell in pairs(window, positions):
            if 0 <= cell < cells:
                counts[cell] += 1
                idle.discard(position)
        assert is_faulty("conv", window, cells, positions) == (0 in counts), (window, positions, cells)
        faultless += 0 not in counts
        [found] = coverage_of(window, positions, cells)
        assert (list(found.counts), set(found.idle)) == (counts, idle)
        landed = [0] * window.stride
        for _, cell in pairs(window, 1):
            landed[cell % window.stride] += 1
        assert list(phases(window)) == landed
        assert is_faulty("convt", window, positions, cells) == (0 in counts or (positions > 1 and len({*landed}) > 1))
    assert faultless > 200


def coverage_of(window: Window, positions: int, cells: int) -> tuple[Coverage, ...]:
    """The coverage of a transposed convolution that makes ``cells`` of ``positions``."""
    added = cells - (window.stride * (positions - 1) + window.extent - sum(window.pads))
    end = window.pad_end - min(added, 0)
    explicit = Window(window.kernel, window.stride, window.dilation, window.pad_begin, end, max(added, 0))
    return coverage(Operation("convt", (explicit,)), positions)


@pytest.mark.long
def test_receptive_fields_are_what_counting_says() -> None:
    rng = random.Random(6)
    for _ in range(300):
        chain = [(rng.choice(["conv", "convt"]), short(rng)) for _ in range(rng.randint(1, 3))]
        fields: Fields = (INPUT,)
        seen = {cell: {cell} for cell in range(-400, 400)}
        for kind, window in chain:
            fields = through(fields, Operation(kind, (window,)), 10_000)
            reached: dict[int, set[int]] = {}
            for position, cell in pairs(window, 240):
                position, cell = position - 120, cell - 120 * window.stride
                source, target = (position, cell) if kind == "convt" else (cell, position)
                reached.setdefault(target, set()).update(seen.get(source, set()))
            seen = reached
        [field] = fields
        assert field is not None
        for cell in (-1, 0, 1, 2):  # Far from where the counting begins and ends.
            expected = seen.get(cell)
            assert field.interval(cell) == ((min(expected), max(expected)) if expected else None), (chain, cell)


def test_fields_of_kernels_of_a_billion_taps() -> None:
    billion = 10**9
    [field] = receptive_field([pool(billion, stride=3)], 2 * billion)
    assert field == Field(((0, billion - 1),), 3)
    [field] = receptive_field([convt(2, stride=2), pool(billion, stride=2)], 2 * billion)
    assert field == Field(((0, billion // 2 - 1),), 1)
    [field] = receptive_field([convt(20_000, stride=20_000)], 4)
    assert field is not None
    assert (field.size, field.jump, field.interval(79_999)) == (1, Fraction(1, 20_000), (3, 3))


def test_a_period_that_is_too_long_to_follow() -> None:
    expected = r"the receptive fields repeat after 40,000 cells only, and at most 32,768 are followed"
    with pytest.raises(ShapeError, match=expected):
        receptive_field([convt(200, stride=200)] * 2, 4)
    up, other = (receptive_field([conv(n, stride=n), convt(n, stride=n)], 10**6) for n in (255, 256))
    assert LONGEST_PERIOD < 255 * 256
    with pytest.raises(ShapeError, match="after 65,280 cells only"):
        combine([up, other])


@pytest.mark.long
def test_fixes_of_long_strides() -> None:
    [fix, *_] = fixes(conv(1, stride=20_000, axes=1), 1_000_000)
    assert fix.operation.windows[0].kernel >= 20_000
    [fix, *_] = fixes(convt(19_999, stride=20_000, axes=1), 1_000)
    assert fix.operation.windows[0].kernel == 20_000
    assert fixes(pool(10**6, stride=10**6), 10**9) == ()


def test_pictures_of_huge_options_are_refused() -> None:
    billion = 10**9
    for operation, longest in (
        (conv(2 * billion, padding=billion), 2 * billion + 8),
        (convt(billion, padding=billion // 2), 2 * billion + 6),
    ):
        with pytest.raises(UsageError, match=f"a side of {longest} cells is too long for a picture"):
            scene_of(operation, 8)


@pytest.mark.long
def test_coverage_where_kernel_and_pads_are_huge() -> None:
    billion = 10**9
    [found] = coverage(conv(billion, padding=billion // 2, axes=1), 8)
    # Of the nine positions, each but the first or the last leaves out the cells on one side of its middle.
    assert found.counts == tuple(
        sum(0 <= cell + billion // 2 - start < billion for start in range(9)) for cell in range(8)
    )
    assert not is_faulty("conv", Window(billion, 1, 1, billion // 2, billion // 2), 8, 9)
