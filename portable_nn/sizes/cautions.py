"""Known problems of an operation on an input: uncovered cells, uneven overlap, options that runtimes disagree on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import gcd
from typing import NamedTuple

from portable_nn.sizes.coverage import Coverage, axis_name, cells_text, coverage
from portable_nn.sizes.fixes import fixes
from portable_nn.sizes.notation import onnx_text
from portable_nn.sizes.operation import Operation, PerAxis, Window, input_sizes, joined, size_text


class Caution(NamedTuple):
    """One problem.

    Attributes:
        about: its kind, for programs: ``uncovered``, ``bias-only``, ``uneven``, ``padding``, ``span``, ``ceil``,
            ``output_padding``, ``auto_pad`` or ``asymmetric``.
        message: the problem in one sentence.
        hint: what to do about it; may be empty.
    """

    about: str
    message: str
    hint: str


class Case(NamedTuple):
    """An operation on an input: as it was given, and with explicit pads."""

    given: Operation
    operation: Operation
    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    coverages: tuple[Coverage, ...]

    @property
    def axes(self) -> list[tuple[str, Window, int, Coverage]]:
        """For each axis: the name of its cells, its window, its input size and its coverage."""
        names = [axis_name(axis, len(self.sizes)) for axis in range(len(self.sizes))]
        return list(zip(names, self.operation.windows, self.sizes, self.coverages, strict=True))

    @property
    def fix(self) -> str:
        """The best change of options against uncovered cells and uneven overlap; empty if there is none."""
        return next((fix.text for fix in fixes(self.given, self.sizes, limit=1)), "")


def cautions(operation: Operation, sizes: PerAxis) -> tuple[Caution, ...]:
    """All cautions on ``operation`` for an input of ``sizes``. Raises ``ShapeError`` if the output would be empty.

    >>> from portable_nn.sizes import cautions, conv
    >>> [caution.about for caution in cautions(conv(3, stride=2), 8)]
    ['uncovered']
    """
    found = input_sizes(sizes)
    outputs = operation.output_size(found)
    case = Case(operation, operation.resolved(found), found, outputs, coverage(operation, found))
    return tuple(caution for rule in RULES for caution in rule(case))


def _uncovered(case: Case) -> Iterator[Caution]:
    uncovered = joined(filter(None, (found.words(name) for name, _, _, found in case.axes)))
    if uncovered and case.operation.kind == "convt":
        message = f"no tap of the kernel lands on {uncovered} of the output: bias alone"
        yield Caution("bias-only", message, case.fix)
    elif uncovered:
        yield Caution("uncovered", f"never read: {uncovered}", case.fix)


def _uneven(case: Case) -> Iterator[Caution]:
    where: dict[tuple[str, str], list[str]] = {}
    for name, window, _, found in case.axes:
        if found.uneven:
            where.setdefault((_phases(found.phases), _reason(window)), []).append(name)
    if where:
        parts = (f"{taps} taps on the {joined(names)} ({reason})" for (taps, reason), names in where.items())
        yield Caution("uneven", f"uneven overlap, which risks checkerboard artifacts: {'; '.join(parts)}", case.fix)


def _phases(phases: tuple[int, ...]) -> str:
    """``2, 1, 2, 1, ...``, the repeating pattern; of a long one the minimum and the maximum."""
    return f"{min(phases)} to {max(phases)}" if len(phases) > 4 else f"{', '.join(map(str, phases * 2))}, ..."


def _reason(window: Window) -> str:
    common = gcd(window.stride, window.dilation)
    if common > 1:
        return f"stride {window.stride} and dilation {window.dilation} are both multiples of {common}"
    return f"kernel {window.kernel} is no multiple of stride {window.stride}"


def _ceil(case: Case) -> Iterator[Caution]:
    if not case.operation.ceil:
        return
    windows, kept = [], []
    for (_, window, size, _), output in zip(case.axes, case.outputs, strict=True):
        padded = size + sum(window.pads)
        kept.append(-((window.extent - padded) // window.stride) + 1)
        reach = (output - 1) * window.stride + window.extent
        windows.append(replace(window, pad_end=window.pad_end + max(0, reach - padded)))
    explicit = replace(case.operation, windows=tuple(windows), ceil=False)
    averaged = case.operation.count_include_pad and explicit.windows != case.operation.windows
    # An average counts explicit pads, but not the cells beyond them that ceil mode reaches.
    same = not averaged and explicit.output_size(case.sizes) == case.outputs
    hint = f"use explicit pads: {onnx_text(explicit)}" if same else ""
    if tuple(kept) != case.outputs:
        message = (
            f"ceil: PyTorch and onnxruntime drop a last window in the end padding and give {size_text(case.outputs)}, "
            f"but OpenCV, OpenVINO and the shape inference of ONNX keep it and give {size_text(kept)}"
        )
        yield Caution("ceil", message, hint)
    elif averaged:
        yield Caution("ceil", "ceil with count_include_pad: runtimes disagree on the averages at the end", hint)


def _auto_pad(case: Case) -> Iterator[Caution]:
    given, operation = case.given.auto_pad, case.operation
    if not given.startswith("SAME"):
        return
    if operation.kind == "convt":
        troubles = ["runtimes disagree on the sizes and values of a transposed convolution"]
    else:
        does = "pads for dilation 1" if operation.kind == "pool" else "does not run it"
        dilated = any(window.dilation > 1 for window in operation.windows)
        troubles = [f"with dilation, onnxruntime {does}"] if dilated else []
        # OpenCV ignores the mode, the input size and the dilation (seen with 5.0).
        begins = [(name, window.pad_begin, (window.kernel - 1) // 2) for name, window, *_ in case.axes]
        other = [f"{found} before the {name}, not {pad}" for name, pad, found in begins if found != pad]
        troubles += [f"OpenCV silently pads {', '.join(other)}"] if other else []
    if troubles:
        yield Caution(
            "auto_pad", f"auto_pad {given}: {'; '.join(troubles)}", f"use explicit pads: {onnx_text(operation)}"
        )


def _asymmetric(case: Case) -> Iterator[Caution]:
    uneven = [(name, window.pads) for name, window, *_ in case.axes if window.pad_begin != window.pad_end]
    if uneven and case.given.auto_pad.startswith("SAME"):
        parts = ", ".join(f"{begin} before and {end} after the {name}" for name, (begin, end) in uneven)
        strided = any(window.stride > 1 for window in case.operation.windows)
        hint = "give the padding as numbers" if strided else "an odd kernel has the same padding on both sides"
        yield Caution("asymmetric", f'"same" padding is not symmetric: {parts}', hint)


def _span(case: Case) -> Iterator[Caution]:
    wide = [f"{window.extent} {name} of {size}" for name, window, size, _ in case.axes if window.extent > size]
    if wide and case.operation.kind != "convt":
        yield Caution("span", f"the kernel is larger than the input: it spans {joined(wide)}", "")


def _padding(case: Case) -> Iterator[Caution]:
    idle = joined(cells_text(found.idle, name) for name, _, _, found in case.axes if found.idle)
    message = f"{idle} of the output read nothing but padding"
    if not case.operation.counts_padding:
        message = f"{idle} of the output have nothing to read: their windows hold padding alone, which is not counted"
    if case.operation.kind == "convt":
        message = f"padding crops all that {idle} of the input contribute"
    if idle:
        yield Caution("padding", message, "make the padding smaller than the span of the kernel")


def _output_padding(case: Case) -> Iterator[Caution]:
    found = [(name, w) for name, w, _, _ in case.axes if w.output_padding >= w.stride and w.output_padding]
    if found:
        parts = joined(f"{w.output_padding} {name} at stride {w.stride}" for name, w in found)
        refuse = "onnxruntime refuses it"
        if any(w.output_padding >= max(w.stride, w.dilation) for _, w in found):
            refuse = "PyTorch and onnxruntime refuse it"
        message = f"output_padding is not less than the stride ({parts}): {refuse}"
        yield Caution("output_padding", message, "pad the output with a layer of its own, or use less")


RULES: Sequence[Callable[[Case], Iterator[Caution]]] = (
    _uncovered,
    _uneven,
    _padding,
    _output_padding,
    _span,
    _ceil,
    _auto_pad,
    _asymmetric,
)
"""Every caution, the most serious first."""
