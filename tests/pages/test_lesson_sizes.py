"""The page of convolutions computes what ``sizes`` computes, on random options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pages.test_lesson_numbers import computed

from portable_nn import sizes
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.layers import AvgPool2d, Input
from portable_nn.lessons.size import window_data
from portable_nn.network import Sequential
from portable_nn.sizes import Operation
from portable_nn.sizes.coverage import cells_text
from portable_nn.sizes.operation import Window, torch_refusal, window_size
from portable_nn.sizes.scene import grids

COUNT = 600
MENDED = 150


def drawn(rng: np.random.Generator) -> tuple[Operation, tuple[int, ...], tuple[int, int]]:
    """A random operation, sizes of an input that it may not fit, and channels."""
    kind = ("conv", "convt", "pool")[rng.integers(3)]
    axes, groups = int(rng.integers(1, 3)), int(rng.integers(1, 4)) if kind != "pool" else 1

    def window() -> Window:
        kernel, stride, dilation = (int(rng.integers(1, most)) for most in (6, 5, 4))
        begin, end = (int(rng.integers(0, 4)) for _ in range(2))
        added = int(rng.integers(0, 4)) if kind == "convt" else 0
        return Window(kernel, stride, dilation, begin, begin if rng.random() < 0.6 else end, added)

    first = window()
    windows = tuple(first if rng.random() < 0.5 else window() for _ in range(axes))
    found = tuple(int(rng.integers(1, 12)) for _ in range(axes))
    if kind == "pool":
        ceil, mode = bool(rng.integers(2)), ("max", "average", "lp")[rng.integers(3)]
        counts = mode == "average" and bool(rng.integers(2))
        return Operation(kind, windows, ceil=ceil, mode=mode, count_include_pad=counts), found, (1, 1)
    return Operation(kind, windows, groups), found, (groups * int(rng.integers(1, 4)), groups * int(rng.integers(1, 4)))


def data_of(operation: Operation) -> dict[str, Any]:
    """An operation as the page has it."""
    return {
        "kind": operation.kind,
        "windows": [window_data(window, operation.ceil) for window in operation.windows],
        "groups": operation.groups,
        "mode": operation.mode,
        "countIncludePad": operation.count_include_pad,
    }


@pytest.mark.long
def test_sizes_steps_cells_coverage_and_spellings(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    cases = [drawn(rng) for _ in range(COUNT)]
    calls: list[list[Any]] = []
    for operation, inputs, channels in cases:
        data = data_of(operation)
        calls += [["sizes", "onnxText", data], ["sizes", "torchText", data, *channels, inputs]]
        for window, size in zip(data["windows"], inputs, strict=True):
            calls += [["sizes", name, data["kind"], window, size] for name in ("outputSize", "fault")]
    found = iter(computed(tmp_path, calls))
    fitting: list[tuple[Operation, int]] = []
    for operation, inputs, channels in cases:
        assert next(found) == sizes.onnx_text(operation)
        try:
            torch: str | None = sizes.torch_text(operation, *channels, inputs)
        except UsageError:
            torch = None
        except ShapeError:  # Nothing comes out: the page shows no module.
            torch = ""
        given = next(found)
        assert torch == "" or given == torch
        for window, size in zip(operation.windows, inputs, strict=True):
            try:
                output: int | None = window_size(operation, window, size)
            except ShapeError:
                output = None
            given, fault = next(found), next(found)
            refused = output is None or bool(torch_refusal(operation.kind, window))
            assert bool(fault) == refused, (operation, size, fault)
            assert given == output if output is not None else given < 1
            if not refused:
                fitting.append((Operation(operation.kind, (window,), ceil=operation.ceil), size))
    assert len(fitting) > COUNT / 2
    check_axes(tmp_path, fitting)


@pytest.mark.long
def test_what_mends_a_layer(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    asked: list[tuple[Operation, tuple[int, ...]]] = []
    while len(asked) < MENDED:
        operation, inputs, _ = drawn(rng)
        fits = all(
            outputs >= 1 and not torch_refusal(operation.kind, window)
            for window, outputs in zip(operation.windows, sizes_or_0(operation, inputs), strict=True)
        )
        if fits and sizes.fixes(operation, inputs):
            asked.append((operation, inputs))
    names = {1: ["cells"], 2: ["rows", "columns"]}
    calls = [["fixes", "fixes", one.kind, data_of(one)["windows"], inputs, names[len(inputs)]] for one, inputs in asked]
    for found, (operation, inputs) in zip(computed(tmp_path, calls), asked, strict=True):
        wanted = sizes.fixes(operation, inputs)
        assert [fix["text"] for fix in found] == [fix.text for fix in wanted], (operation, inputs)
        assert [fix["windows"] for fix in found] == [data_of(fix.operation)["windows"] for fix in wanted]


def sizes_or_0(operation: Operation, inputs: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return operation.output_size(inputs)
    except ShapeError:
        return (0,) * len(inputs)


def check_axes(folder: Path, cases: list[tuple[Operation, int]]) -> None:
    """What is computed along one axis."""
    names = ("explain", "coverage", "grid")
    calls = [["sizes", name, one.kind, *data_of(one)["windows"], size] for one, size in cases for name in names]
    found = iter(computed(folder, calls))
    for operation, size in cases:
        [lines], [covered], [cells] = (f(operation, size) for f in (sizes.explain, sizes.coverage, grids))
        assert next(found) == [line._asdict() for line in lines]
        assert next(found) == {"counts": [*covered.counts], "uneven": covered.uneven}
        wanted = {name: [*getattr(cells, name)] for name in ("kinds", "cut", "starts", "taps")}
        assert next(found) == wanted, (operation, size)
    asked = [(sizes.coverage(*case)[0], name) for case in cases for name in ("rows", "cells")]
    calls = [["sizes", "uncoveredText", {"counts": [*covered.counts]}, name] for covered, name in asked]
    assert computed(folder, calls) == [covered.words(name) for covered, name in asked]
    rng = np.random.default_rng(2)
    lists = [np.flatnonzero(rng.random(40) < share).tolist() for share in np.linspace(0.05, 0.95, 40)]
    lists = [cells for cells in lists if cells]
    calls = [["sizes", "cellsText", cells, "rows"] for cells in lists]
    assert computed(folder, calls) == [cells_text(cells, "rows") for cells in lists]


@pytest.mark.long
def test_the_divisor_of_an_average_is_what_this_package_divides_by(tmp_path: Path) -> None:
    """Ones under a window, summed and divided: the share of the divisor that is input."""
    rng = np.random.default_rng(1)
    cases = []
    for _ in range(30):
        kernel, counts, ceil = int(rng.integers(1, 5)), bool(rng.integers(2)), bool(rng.integers(2))
        options = {"stride": int(rng.integers(1, 4)), "padding": int(rng.integers(0, kernel // 2 + 1)), "ceil": ceil}
        size = tuple(int(each) for each in rng.integers(kernel, 10, 2))
        cases.append((sizes.pool(kernel, **options, mode="average", count_include_pad=counts, axes=2), size))
    calls, wanted = [], []
    for operation, (height, width) in cases:
        window = operation.windows[0]
        layer = AvgPool2d(
            window.kernel,
            stride=window.stride,
            padding=window.pad_begin,
            ceil_mode=operation.ceil,
            count_include_pad=operation.count_include_pad,
        )
        net = Sequential(Input(1, height, width), layer, seed=0)
        shares = net.predict(np.ones((1, 1, height, width), np.float32))[0, 0]
        data = data_of(operation)
        axes = [{**one, "size": size} for one, size in zip(data["windows"], (height, width), strict=True)]
        for at in np.ndindex(shares.shape):
            calls.append(["words", "divisorOf", {**data, "axes": axes, "channels": [1, 1]}, [*at]])
            inside = [
                sum(0 <= start * window.stride + tap - window.pad_begin < size for tap in range(window.kernel))
                for start, size in zip(at, (height, width), strict=True)
            ]
            wanted.append(np.prod(inside) / shares[at])
    np.testing.assert_allclose(computed(tmp_path, calls), wanted, rtol=1e-6)
