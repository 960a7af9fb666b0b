"""Shared by ``size conv``, ``convt`` and ``pool``: explain an output size, or find options that give one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, Final, get_args

from portable_nn import sizes
from portable_nn.cli.drawing import draw, written
from portable_nn.cli.printing import Printer
from portable_nn.cli.size.chained import PLACEHOLDERS, Link, chain_page, heading, links, torch_code
from portable_nn.cli.size.options import LARGEST, ChannelOptions, ResultOptions, WindowOptions, numbers, pads
from portable_nn.core.errors import ShapeError, UsageError
from portable_nn.core.text import fields, quantity, table
from portable_nn.sizes import Coverage, Operation, size_text
from portable_nn.sizes.operation import AutoPad, Kind

AXES: Final = 2
"""The number of axes by default: those of an image, as in PyTorch's Conv2d."""

MOST_AXES: Final = 3

NOTHING_FOUND: Final = 1
"""The exit code where no options give the wanted size."""

NO_TORCH: Final = "has no such layer"

COLUMNS: Final = {"kernel": "", "stride": "", "padding": "", "dilation": "1", "output_padding": "0"}
"""The columns of the table of solutions, each with the value that all rows must have for it to be omitted."""


def answer(
    printer: Printer,
    kind: Kind,
    windows: WindowOptions,
    wanted: ResultOptions,
    channels: ChannelOptions | None = None,
    html: Path | None = None,
    **others: Any,
) -> None:
    """Print the output size of an operation, or the operations that have the output size ``wanted.to``.

    ``windows`` are the options along each axis; ``others`` hold for all axes.

    Raises:
        UsageError: options that make no sense, or that do not fit the size of the input.
        ShapeError: no options give the wanted size; the exit code is then ``NOTHING_FOUND``.
    """
    if wanted.most < 1:
        raise UsageError(f"--top must be at least 1, not {wanted.most}")
    given = _per_axis({**vars(windows), "to": wanted.to}, wanted.axes)
    inputs, outputs = given.pop("size"), given.pop("to", None)
    printer.notes(_channels_in(inputs))
    layer, groups = channels.layer() if channels else ((1, 1), 1)
    others |= {"groups": groups} if channels else {}
    word = given.get("padding")
    auto_pad = given.pop("padding") if word in get_args(AutoPad) else None
    chain, none = list[Link](), ""
    if outputs is None:
        found = [_forwards(kind, inputs, given, auto_pad=auto_pad or "NOTSET", **others)]
    elif auto_pad:
        raise UsageError(f"--padding {auto_pad} cannot be used with --to, which finds the padding")
    else:
        found, chain, none = _backwards(kind, inputs, outputs, given, wanted.most, others, layer)
    for each in found[:1]:
        sizes.check_channels(each, *layer)
    notes = [PLACEHOLDERS if channels and channels.channels is None else "", none]
    data, text = _explained(found[0], inputs, layer) if outputs is None else _listed(found, inputs, layer, chain, notes)
    operation, _, layer = chain[0] if chain else Link(found[0], inputs, layer)
    title = torch_line(operation, inputs, layer)
    pictures = draw(
        wanted.plot,
        lambda: drawing().draw(operation, inputs, title),
        lambda: drawing().animate(operation, inputs, title),
        html,
        lambda: chain_page(chain) if chain else page(operation, inputs, layer),
    )
    text += written(pictures)
    printer.result(text, {"kind": kind, "input": inputs, **data, "pictures": [str(path) for _, path in pictures]})


def _channels_in(inputs: Sequence[int]) -> Iterator[str]:
    """A note where a size seems to have the channels of a picture."""
    if len(inputs) == MOST_AXES and inputs[2] in (1, 3, 4) and min(inputs[:2]) > 4:
        axes = f"--in {size_text(inputs)} has three spatial axes"
        yield f"{axes}; of a picture, leave the channels out: --in {size_text(inputs[:2])}"


def drawing() -> ModuleType:
    """The module that draws operations, which needs numpy and Pillow."""
    from portable_nn.sizes import drawing

    return drawing


def page(operation: Operation, inputs: Sequence[int], channels: tuple[int, int]) -> bytes:
    """The operation as a page."""
    from portable_nn.lessons import size_page

    return size_page(operation, inputs, channels)


def _per_axis(written: Mapping[str, str | None], axes: int | None) -> dict[str, Any]:
    """The options that are given, each with a number for every axis."""
    found: dict[str, Any] = {}
    for name, text in written.items():
        if text is not None:
            found[name] = pads(_option(name), text) if name == "padding" else numbers(_option(name), text)
    lengths = {name: len(value) for name, value in found.items() if isinstance(value, tuple)}
    count = max([length for length in lengths.values() if length > 1], default=AXES) if axes is None else axes
    if not 1 <= count <= MOST_AXES:
        raise UsageError(f"there can be 1 to {MOST_AXES} axes, not {count}")
    for name, length in lengths.items():
        if length not in (1, count):
            raise UsageError(f"{_option(name)} has numbers for {quantity(length, 'axis')}, not for {count}")
        found[name] *= count // length
    return found


def _option(name: str) -> str:
    return "--" + ("in" if name == "size" else name.replace("_", "-"))


def _forwards(kind: Kind, inputs: Sequence[int], given: Mapping[str, Any], **others: Any) -> Operation:
    """The operation that has the options; they must fit the input."""
    if "kernel" not in given:
        raise UsageError("--kernel is missing: the size of the kernel; or --to, to find one")
    operation: Operation = getattr(sizes, kind)(**given, **others, axes=len(inputs))
    try:
        outputs = operation.output_size(inputs)
    except ShapeError as error:
        raise UsageError(str(error)) from error
    if max(outputs) > LARGEST:  # Every cell is looked at.
        raise UsageError(
            f"the output would be {size_text(outputs)}: at most {LARGEST:,} cells along an axis are supported"
        )
    return operation


def _backwards(
    kind: Kind,
    inputs: Sequence[int],
    outputs: Sequence[int],
    given: Mapping[str, Any],
    most: int,
    others: Mapping[str, Any],
    layer: tuple[int, int],
) -> tuple[list[Operation], list[Link], str]:
    """The best operations that turn one size into the other, and keep the options that are given; a chain, where no
    options are given or a single layer cannot do it well; and why there is none."""
    found, chain, none = tuple[Operation, ...](), list[Link](), ""
    fault: ShapeError | None = None
    try:
        found = sizes.solve(kind, inputs, outputs, limit=most, ceil=others.get("ceil", False), **given)
    except ShapeError as error:
        fault = error
    if not (given and found) or _faults(found[0], inputs):
        chain, none = links(kind, inputs, outputs, layer, others.get("groups", 1), given)
    if fault and not chain:
        tried = "" if "dilation" in given else ", of dilation 1,"
        fault = ShapeError(f"{fault}; a chain of such layers{tried} was not found either") if given and none else fault
        fault.exit_code = NOTHING_FOUND  # The input is valid: the answer is that no such options exist.
        raise fault
    return [replace(operation, **others) for operation in found], chain, none * (not given)


def _explained(operation: Operation, inputs: Sequence[int], channels: tuple[int, int]) -> tuple[dict[str, Any], str]:
    """One operation in full, for programs and for people."""
    covered, fixes = sizes.coverage(operation, inputs), sizes.fixes(operation, inputs)
    cautions = sizes.cautions(operation, inputs)
    data = {
        **_data(operation, inputs, channels),
        "steps": [[line._asdict() for line in lines] for lines in sizes.explain(operation, inputs)],
        "cautions": [caution._asdict() for caution in cautions],
        "fixes": [
            {
                "text": fix.text,
                "changes": fix.changes,
                "output": fix.output_size,
                "options": _options(fix.operation.resolved(inputs)),
            }
            for fix in fixes
        ],
    }
    pairs = [
        ("PyTorch", data["torch"] or NO_TORCH),
        ("ONNX", data["onnx"]),
        ("coverage", _coverage_text(operation, covered)),
    ]
    mending = [fix.text for fix in fixes]
    for caution in cautions:
        pairs.append(("warning", caution.message))
        if caution.hint not in mending:
            pairs.append(("", caution.hint))
    pairs += [("change" if number == 0 else "or", text) for number, text in enumerate(mending)]
    return data, sizes.explain_text(operation, inputs) + "\n" + fields(pairs)


def _listed(
    found: Sequence[Operation],
    inputs: Sequence[int],
    channels: tuple[int, int],
    chain: Sequence[Link] = (),
    notes: Sequence[str] = (),
) -> tuple[dict[str, Any], str]:
    """Operations that give the wanted size, the best first, after a chain of them; for programs and for people."""
    links = [_data(*link) | {"input": link.inputs} for link in chain]
    data = [_data(operation, inputs, channels) for operation in found]
    outputs = links[-1]["output"] if links else data[0]["output"]
    parts = []
    if links:
        cells = [
            {
                "input": size_text(one["input"]),
                **_cells(one),
                "output": size_text(one["output"]),
                "faults": _faults(link.operation, link.inputs),
            }
            for one, link in zip(links, chain, strict=True)
        ]
        parts += [f"{heading(chain)}, a chain of {quantity(len(chain), 'layer')}", _table(cells), torch_code(chain)]
    if data:
        alone = "in one layer, " if links else ""
        parts.append(f"{size_text(inputs)} -> {size_text(outputs)}, {alone}best first")
        spelled = [
            {"PyTorch": one["torch"] or NO_TORCH, "faults": _faults(each, inputs)}
            for each, one in zip(found, data, strict=True)
        ]
        parts.append(_table([_cells(one) | more for one, more in zip(data, spelled, strict=True)]))
    text = "\n\n".join(part.strip() for part in [*parts, *notes] if part) + "\n"
    return {"output": outputs, "chain": links, "solutions": data}, text


def _cells(data: Mapping[str, Any]) -> dict[str, str]:
    """The options of an operation, by the headings of their columns."""
    return {name: _axes_text(data["options"][name]) for name in COLUMNS if name in data["options"]}


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table with the columns that say something."""
    shown = [name for name in rows[0] if any(row[name] != COLUMNS.get(name, "") for row in rows)]
    return table([name.replace("_", " ") for name in shown], ([row[name] for name in shown] for row in rows))


def _data(operation: Operation, inputs: Sequence[int], channels: tuple[int, int]) -> dict[str, Any]:
    """One operation for programs."""
    explicit = operation.resolved(inputs)
    return {
        "output": operation.output_size(inputs),
        "options": _options(explicit),
        "auto_pad": operation.auto_pad,
        "torch": torch_line(operation, inputs, channels),
        "onnx": sizes.onnx_text(explicit),
        "coverage": [
            {
                "axis": sizes.axis_name(number, len(inputs)),
                "of": "output" if operation.kind == "convt" else "input",
                "counts": axis.counts,
                "uncovered": axis.uncovered,
                "holes": axis.holes,
                "idle": axis.idle,
                "phases": axis.phases,
                "uneven": axis.uneven,
            }
            for number, axis in enumerate(sizes.coverage(operation, inputs))
        ],
    }


def _options(explicit: Operation) -> dict[str, Any]:
    """The options of an operation with explicit pads: lists with one for each axis, and those that hold for all."""
    windows, kind = explicit.windows, explicit.kind
    per_axis = ["kernel", "stride", "dilation", *(["output_padding"] if kind == "convt" else [])]
    for_all = ["ceil", "mode", "count_include_pad"] if kind == "pool" else ["groups"]
    return {
        **{name: [getattr(window, name) for window in windows] for name in per_axis},
        "padding": [window.pads for window in windows],
        **{name: getattr(explicit, name) for name in for_all},
    }


def torch_line(operation: Operation, inputs: Sequence[int], channels: tuple[int, int]) -> str | None:
    """The PyTorch spelling, if there is one; with ``auto_pad`` as it is where PyTorch knows it."""
    for candidate in (operation, operation.resolved(inputs)):
        with suppress(UsageError):
            return sizes.torch_text(candidate, *channels, inputs)
    return None


def _axes_text(values: Sequence[int | tuple[int, int]]) -> str:
    """The values of an option in the spelling of the command line."""
    pairs = (value if isinstance(value, tuple) else (value,) for value in values)
    texts = [":".join(map(str, dict.fromkeys(pair))) for pair in pairs]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def _coverage_text(operation: Operation, covered: Sequence[Coverage]) -> str:
    """The number of cells that are read or written, and how often."""
    touched, total = _touched(covered)
    if not touched:
        return f"none of {quantity(total, 'cell')}"
    share = f"all {total:,}" if touched == total else f"{touched:,} of {total:,}"
    least = prod(min(filter(None, axis.counts)) for axis in covered)
    most = prod(max(axis.counts) for axis in covered)
    times = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    if operation.kind == "convt":
        return f"{share} cells of the output have taps of the kernel on them, {times} each"
    return f"{share} cells of the input are read, {'once' if most == 1 else f'{times} times'} each"


def _faults(operation: Operation, inputs: Sequence[int]) -> str:
    """The faults of an operation in a few words: cells that it leaves out, and uneven overlap."""
    covered = sizes.coverage(operation, inputs)
    touched, total = _touched(covered)
    left_out = "hold the bias alone" if operation.kind == "convt" else "are never read"
    faults = [f"{total - touched:,} of {quantity(total, 'cell')} {left_out}"] if touched < total else []
    return ", ".join(faults + ["uneven overlap"] * any(axis.uneven for axis in covered))


def _touched(covered: Sequence[Coverage]) -> tuple[int, int]:
    """The number of cells whose count is not 0, and the number of all cells."""
    touched = prod(len(axis.counts) - len(axis.uncovered) for axis in covered)
    return touched, prod(len(axis.counts) for axis in covered)
