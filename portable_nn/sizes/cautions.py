"""What to know of an operation before it is used: cells left out, uneven overlap, runtimes that disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import gcd
from typing import NamedTuple

from portable_nn.sizes.coverage import Coverage, axis_name, cells_text, coverage
from portable_nn.sizes.fixes import fixes
from portable_nn.sizes.operation import Operation, PerAxis, Window, input_sizes, joined, size_text
from portable_nn.sizes.spelling import onnx_text


class Caution(NamedTuple):
    """One thing to know: a fixed word for what it is about, the sentence, and what to do (may be empty)."""

    about: str
    message: str
    hint: str


class Facts(NamedTuple):
    """What the cautions are drawn from."""

    given: Operation
    operation: Operation
    sizes: tuple[int, ...]
    outputs: tuple[int, ...]
    coverages: tuple[Coverage, ...]

    @property
    def axes(self) -> list[tuple[str, Window, int, Coverage]]:
        """For each axis: what its cells are called, its window, its input size and its coverage."""
        names = [axis_name(axis, len(self.sizes)) for axis in range(len(self.sizes))]
        return list(zip(names, self.operation.windows, self.sizes, self.coverages, strict=True))

    @property
    def uncovered(self) -> str:
        """The cells that are left out, in words."""
        return joined(filter(None, (found.words(name) for name, _, _, found in self.axes)))

    @property
    def fix(self) -> str:
        """The best way to leave no cell out, in words; nothing where there is none."""
        return next((fix.text for fix in fixes(self.given, self.sizes, limit=1)), "")


def cautions(operation: Operation, sizes: PerAxis) -> tuple[Caution, ...]:
    """All that there is to know of ``operation`` on an input of ``sizes``; raises ``ShapeError`` if it does not fit."""
    found = input_sizes(sizes)
    outputs = operation.output_size(found)
    facts = Facts(operation, operation.resolved(found), found, outputs, coverage(operation, found))
    return tuple(filter(None, (caution(facts) for caution in CAUTIONS)))


def _uncovered(facts: Facts) -> Caution | None:
    if facts.operation.kind == "convt" or not facts.uncovered:
        return None
    return Caution("uncovered", f"never read: {facts.uncovered}", facts.fix)


def _bias_only(facts: Facts) -> Caution | None:
    if facts.operation.kind != "convt" or not facts.uncovered:
        return None
    return Caution("bias-only", f"no tap of the kernel lands on {facts.uncovered} of the output: bias alone", facts.fix)


def _uneven(facts: Facts) -> Caution | None:
    where: dict[tuple[str, str], list[str]] = {}
    for name, window, _, found in facts.axes:
        if found.uneven:
            where.setdefault((_phases(found.phases), _reason(window)), []).append(name)
    if not where:
        return None
    parts = (f"{taps} taps on the {joined(names)} ({reason})" for (taps, reason), names in where.items())
    return Caution("uneven", f"uneven overlap, which risks a checkerboard pattern: {'; '.join(parts)}", facts.fix)


def _phases(phases: tuple[int, ...]) -> str:
    """``2, 1, 2, 1, ...``, the pattern written out; of a long one, the least and the most."""
    if len(phases) > 4:
        return f"{min(phases)} to {max(phases)}"
    return f"{', '.join(map(str, phases * 2))}, ..."


def _reason(window: Window) -> str:
    common = gcd(window.stride, window.dilation)
    if common > 1:
        return f"stride {window.stride} and dilation {window.dilation} are both multiples of {common}"
    return f"kernel {window.kernel} is no multiple of stride {window.stride}"


def _ceil(facts: Facts) -> Caution | None:
    if not facts.operation.ceil:
        return None
    windows, kept = [], []
    for window, size, output in zip(facts.operation.windows, facts.sizes, facts.outputs, strict=True):
        padded = size + sum(window.pads)
        kept.append(-((window.extent - padded) // window.stride) + 1)
        reach = (output - 1) * window.stride + window.extent
        windows.append(replace(window, pad_end=window.pad_end + max(0, reach - padded)))
    explicit = replace(facts.operation, windows=tuple(windows), ceil=False)
    averaged = facts.operation.count_include_pad and explicit.windows != facts.operation.windows
    # An average counts the pads that are written out, but not the cells beyond them that ceil reaches.
    same = not averaged and explicit.output_size(facts.sizes) == facts.outputs
    hint = f"write the pads out: {onnx_text(explicit)}" if same else ""
    if tuple(kept) != facts.outputs:
        message = (
            f"ceil: PyTorch and onnxruntime drop a last window in the end padding and give {size_text(facts.outputs)}, "
            f"but OpenCV, OpenVINO and the shape inference of ONNX keep it and give {size_text(kept)}"
        )
        return Caution("ceil", message, hint)
    if averaged:
        return Caution("ceil", "ceil with count_include_pad: runtimes disagree on the averages at the end", hint)
    return None


def _auto_pad(facts: Facts) -> Caution | None:
    given, operation = facts.given.auto_pad, facts.operation
    if not given.startswith("SAME"):
        return None
    if operation.kind == "convt":
        troubles = ["runtimes disagree on the sizes and values of a transposed convolution"]
    else:
        does = "pads as if there were none" if operation.kind == "pool" else "does not run it"
        dilated = any(window.dilation > 1 for window in operation.windows)
        troubles = [f"with dilation, onnxruntime {does}"] if dilated else []
        # OpenCV takes neither the word, the size nor the dilation into account (seen with 5.0).
        begins = [(name, window.pad_begin, (window.kernel - 1) // 2) for name, window, *_ in facts.axes]
        other = [f"{found} before the {name}, not {pad}" for name, pad, found in begins if found != pad]
        troubles += [f"OpenCV pads {', '.join(other)}, without a word"] if other else []
    if not troubles:
        return None
    return Caution(
        "auto_pad", f"auto_pad {given}: {'; '.join(troubles)}", f"write the pads out: {onnx_text(operation)}"
    )


def _asymmetric(facts: Facts) -> Caution | None:
    uneven = [(name, window.pads) for name, window, *_ in facts.axes if window.pad_begin != window.pad_end]
    if not facts.given.auto_pad.startswith("SAME") or not uneven:
        return None
    parts = ", ".join(f"{begin} before and {end} after the {name}" for name, (begin, end) in uneven)
    steps = any(window.stride > 1 for window in facts.operation.windows)
    hint = "give the padding as numbers" if steps else "an odd kernel has the same padding on both sides"
    return Caution("asymmetric", f'"same" padding is not symmetric: {parts}', hint)


def _span(facts: Facts) -> Caution | None:
    wide = [
        f"{window.extent} {name} of {size}"
        for name, window, size, _ in facts.axes
        if facts.operation.kind != "convt" and window.extent > size
    ]
    if not wide:
        return None
    return Caution("span", f"the kernel is larger than the input: it spans {joined(wide)}", "")


def _padding(facts: Facts) -> Caution | None:
    idle = [cells_text(found.idle, name) for name, _, _, found in facts.axes if found.idle]
    if not idle:
        return None
    if facts.operation.kind == "convt":
        message = f"padding takes away all that {joined(idle)} of the input give"
    else:
        message = f"{joined(idle)} of the output read nothing but padding"
    return Caution("padding", message, "make the padding smaller than the span of the kernel")


CAUTIONS: Sequence[Callable[[Facts], Caution | None]] = (
    _uncovered,
    _bias_only,
    _uneven,
    _padding,
    _span,
    _ceil,
    _auto_pad,
    _asymmetric,
)
"""Every caution there is, the weightiest first."""
