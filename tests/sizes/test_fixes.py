"""What is proposed where cells are left out or overlap is uneven, each found to be true by running it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from portable_nn.sizes import Operation, Window, conv, convt, fixes, pool

windows = pytest.importorskip("torch_windows")

FIXES = [
    (conv(2, stride=2), 5,
     ["kernel 2 → 3: output 2 as now", "padding 0 → 1: output 3 instead of 2", "kernel 2 → 5: output 1 instead of 2"]),
    (pool(3, stride=2), 224,
     ["kernel 3 → 4: output 111 as now", "kernel 3 → 2: output 112 instead of 111",
      "padding 0 → 1: output 112 instead of 111"]),
    (conv(2, stride=2, axes=2), (5, 6), ["kernel 2 → 3 for rows: output 2x3 as now"]),
    (conv(2, stride=2, axes=2), (5, 7), ["kernel 2 → 3: output 2x3 as now"]),
    (conv((2, 3), stride=2), (5, 6), ["kernel 2 → 3 for rows, kernel 3 → 4 for columns: output 2x2 as now"]),
    (conv(2, stride=2, padding=((1, 0),)), 6,
     ["padding (1, 0) → (0, 0): output 3 as now", "kernel 2 → 3: output 3 as now"]),
    (conv(2, stride=2), 6 + 1,
     ["kernel 2 → 3: output 3 as now", "padding 0 → 1: output 4 instead of 3"]),
    (conv(3, stride=5, padding="same"), 224,
     ["kernel 3 → 5: output 45 as now", "kernel 3 → 6: output 45 as now", "kernel 3 → 7: output 45 as now"]),
    (conv(2, stride=2, padding="valid"), 5, ["kernel 2 → 3: output 2 as now", "padding 0 → 1: output 3 instead of 2"]),
    (convt(3, stride=2, padding=1, output_padding=1), 14,
     ["kernel 3 → 4, output_padding 1 → 0: output 28 as now", "kernel 3 → 2: output 27 instead of 28",
      "kernel 3 → 4: output 29 instead of 28"]),
    (convt(2, stride=2, output_padding=1), 3,
     ["kernel 2 → 4, padding 0 → 1: output 7 as now", "output_padding 1 → 0: output 6 instead of 7"]),
    (conv(3, padding=1), 28, []),
    (convt(2, stride=2), 14, []),
    (convt(4, stride=2, padding=1, axes=2), (14, 14), []),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "sizes", "texts"), FIXES)
def test_texts(operation: Operation, sizes: int | tuple[int, ...], texts: list[str]) -> None:
    found = [fix.text for fix in fixes(operation, sizes)]
    assert found[: len(texts)] == texts
    assert bool(found) == bool(texts)


def test_no_more_than_are_asked_for() -> None:
    for limit in range(5):
        assert len(fixes(conv(2, stride=2, axes=2), (5, 7), limit)) == limit
    assert len(fixes(conv(2, stride=2), 5)) == 3


def test_all_that_is_changed_is_said() -> None:
    [fix] = fixes(convt(3, stride=2, padding=1, output_padding=1, axes=2), (7, 7), limit=1)
    assert fix.changes == ("kernel 3 → 4", "output_padding 1 → 0")
    assert fix.operation == convt(4, stride=2, padding=1, axes=2)
    assert fix.output_size == (14, 14)


def faulty(operation: Operation, size: int) -> bool:
    """By running it: a cell that nothing touches, or counts that differ far from the edges."""
    [window], [output] = operation.resolved(size).windows, operation.output_size(size)
    counts, _ = windows.touched(operation, window, size, output)
    far = replace(window, pad_begin=0, pad_end=0, output_padding=0)
    long = windows.touched(operation, far, 30, far.stride * 29 + far.extent)[0] if operation.kind == "convt" else [1]
    middle = long[len(long) // 2 :][: window.stride]
    return 0 in counts or (size > 1 and len(set(middle)) > 1)


def changed(one: Window, other: Window) -> int:
    options = ("kernel", "stride", "dilation", "output_padding", "pads")
    return sum(getattr(one, option) != getattr(other, option) for option in options)


@pytest.mark.long
def test_fixes_hold() -> None:
    rng, seen = random.Random(2), 0
    while seen < 150:
        kind: Any = rng.choice(["conv", "convt", "pool"])
        kernel, stride = rng.randint(1, 4), rng.randint(1, 4)
        padding = rng.randint(0, kernel // 2)
        window = Window(kernel, stride, rng.choice([1, 1, 2]), padding, padding)
        operation, size = Operation(kind, (window,)), rng.randint(6, 13)
        try:
            output = operation.output_size(size)
        except ValueError:
            continue
        found = fixes(operation, size)
        if not faulty(operation, size):
            assert not found
            continue
        seen += 1
        assert len(found) <= 3
        for fix in found:
            assert not faulty(fix.operation, size), fix
            assert fix.output_size == fix.operation.output_size(size)
            assert 1 <= changed(window, fix.operation.windows[0]) <= 2
            assert len(fix.changes) == changed(window, fix.operation.windows[0])
        worse = [(fix.operation.windows[0].stride != stride, fix.output_size != output) for fix in found]
        assert worse == sorted(worse)
        # One step of one option that is enough, and keeps the size, is never passed over.
        near = [
            replace(window, **{option: value})
            for option in ("kernel", "dilation")
            for value in (getattr(window, option) - 1, getattr(window, option) + 1)
            if value > 0
        ]
        for other in near:
            candidate = Operation(kind, (other,))
            fits = max(other.pads) < other.extent and (kind != "pool" or max(other.pads) <= other.kernel // 2)
            try:
                enough = fits and candidate.output_size(size) == output and not faulty(candidate, size)
            except ValueError:
                continue
            if enough:
                assert found[0].output_size == output
                assert changed(window, found[0].operation.windows[0]) == 1
