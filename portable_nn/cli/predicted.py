"""The answers of ``predict``, written as they come: to standard output, and to files that can be continued."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from portable_nn.cli.printing import DASH, Printer
from portable_nn.core.text import quantity

if TYPE_CHECKING:
    from portable_nn.outputs.forms import Form, Layout
    from portable_nn.prediction.arrays import OutputRows
    from portable_nn.prediction.prediction import Prediction
    from portable_nn.prediction.predictions import Predictions

    Batches: TypeAlias = Iterator[list[Prediction]]

T = TypeVar("T")

PARQUET: Final = (".parquet",)
"""The suffix of ``--out`` for tables that are no text."""


def form_of(printer: Printer) -> str | None:
    """The form of a file that can be continued; ``None`` for standard output, and for a table for people."""
    if printer.out is None or str(printer.out) == DASH:
        return None
    if printer.out.suffix.lower() in PARQUET:
        return "parquet"
    return None if printer.form == "table" else printer.form


def write(
    predictions: Predictions,
    batches: Batches,
    printer: Printer,
    layout: Layout,
    origin: Mapping[str, str] | None,
    resume: bool,
) -> None:
    """Write predictions, which come in ``batches``; ``origin`` and ``resume`` are as ``partial_write`` takes them."""
    from portable_nn.outputs.forms import FORMS

    if name := form_of(printer):
        write_file(printer, FORMS[name](layout), predictions, batches, origin, resume)
    else:
        with printer.going_on():
            _print(batches, printer, layout)


def write_file(
    printer: Printer,
    form: Form[T],
    source: Predictions | OutputRows,
    batches: Iterable[T],
    origin: Mapping[str, str] | None,
    resume: bool,
) -> None:
    """Write ``batches`` of ``source`` to the file of ``--out``, and go on where an interrupted run has left one."""
    from portable_nn.core.partial import PART, Part, partial_write
    from portable_nn.core.progress import counting
    from portable_nn.outputs.forms import encoded

    assert printer.out
    part: Part | None = None
    try:
        with (
            printer.going_on(),
            partial_write(printer.out, origin, resume=resume, force=printer.force, assemble=form.assemble) as part,
            counting("examples", shown=not printer.quiet) as show,
        ):
            if part.state:
                source.go_on(part.state["done"])
                form.begun = part.state["begun"]
                printer.note(f"going on with {part.path}, after {quantity(source.made, 'example')}")
            elif resume and part.can_be_resumed:
                printer.note(f"there is no {printer.out}{PART} to resume: beginning with the first example")
            for batch in batches:
                part.file.write(encoded(form.rows(batch)))
                if not form.is_behind:
                    part.keep({"done": source.state(), "begun": form.begun})
                show(source.made, source.total)
            form.finish(part.file)
    except KeyboardInterrupt:
        if part is None or not part.can_be_resumed:
            printer.note(f"interrupted: {printer.out} is not written")
        elif (kept := part.kept) is None:
            printer.note(f"interrupted: nothing of {printer.out} is kept; a smaller --batch-size keeps some sooner")
        else:
            done = f"{kept['done']['made']:,}{f' of {source.total:,}' if source.total else ''} examples"
            printer.note(f"interrupted: {done} are in {printer.out}{PART}; the same command with --resume goes on")
        raise


def _print(batches: Batches, printer: Printer, layout: Layout) -> None:
    """Write predictions to standard output, or a table to a file."""
    from portable_nn.outputs.forms import FORMS

    first = next(batches, [])  # A fault of the model or its labels is reported before anything is written.
    with printer.output() as file:
        form = FORMS[printer.form](layout, is_ascii=printer.is_ascii(file))
        try:
            for batch in filter(None, chain([first], batches)):
                file.write(str(form.rows(batch)))
                file.flush()  # Who gives one line at a time waits for its answer.
        finally:  # It is complete even where an input turns out to be bad.
            file.write(str(form.end()))
