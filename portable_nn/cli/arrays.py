"""Options of ``predict`` for outputs that are no labels: arrays, boxes and areas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from portable_nn.cli.options import listed, pairs_in
from portable_nn.cli.predicted import write_file
from portable_nn.core.errors import PortableNNError, UsageError
from portable_nn.core.text import quantity

if TYPE_CHECKING:
    from portable_nn.cli.printing import Printer
    from portable_nn.cli.scaling import ScaleOptions
    from portable_nn.core.graph import Shape
    from portable_nn.operators.registry import Array, NamedArrays
    from portable_nn.outputs.drawings import Finding
    from portable_nn.prediction.arrays import OutputRows
    from portable_nn.prediction.options import ModelOptions

SUFFIXES: Final = (".npz", ".npy", ".h5", ".hdf5", ".zarr")
"""The suffixes of ``--out`` for arrays."""


@dataclass(frozen=True)
class ArrayOptions:
    """Several inputs, other outputs, and pictures of what was found."""

    SUBJECT = "Inputs and outputs"

    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            metavar="NAME,…|NAME=FILE,…",
            help="Arrays to read, in pieces, from an HDF5, netCDF, npz, zarr or Parquet file; several are joined "
            "side by side. Or a picture or file of arrays for each input of the model.",
        ),
    ] = None
    output: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Output to read or write. By default labels, or all arrays.", hidden=True),
    ] = None
    min_score: Annotated[float, typer.Option(metavar="P", help="Smallest score of a box of --draw.", hidden=True)] = (
        0.25
    )

    def named(self) -> Mapping[str, str]:
        """The files by input. Raises ``UsageError``."""
        names = listed(self.dataset)
        return pairs_in("--inputs", names, "NAME=FILE, such as image=photo.jpg") if "=" in "".join(names) else {}

    def names(self) -> list[str] | None:
        """The arrays to read in a file."""
        return None if self.named() else listed(self.dataset) or None

    def wanted(self, printer: Printer) -> bool:
        """True if the result is arrays, and no table of predictions."""
        return bool(self.named() or _file_of(printer))


def _file_of(printer: Printer) -> Path | None:
    """The file of ``--out``, where it is one of arrays."""
    return printer.out if printer.out and printer.out.suffix.lower() in SUFFIXES else None


def run_arrays(
    printer: Printer,
    model: str,
    inputs: list[str],
    given: ArrayOptions,
    options: ModelOptions,
    scaling: ScaleOptions,
    *,
    drawn: Path | None,
    resume: bool,
) -> None:
    """Run a model, and write its outputs, or draw in ``drawn`` what it finds."""
    if scaling.wanted and (drawn or given.named()):
        raise UsageError("--workers gives predictions, or arrays: leave out --inputs NAME=FILE and --draw")
    if drawn:
        _draw(printer, model, inputs, drawn, given, options)
        return
    from portable_nn.opening.origin import check_resumable
    from portable_nn.prediction.arrays import outputs_of

    if inputs and given.named():
        raise UsageError("give files either as INPUT, for the only input of a model, or as --inputs NAME=FILE")
    if _file_of(printer) and not given.named() and _stream(printer, model, inputs, resume, scaling, options):
        return
    if resume:
        check_resumable(None)
    notes = list[str]()
    found = outputs_of(model, given.named() or inputs, options, notes)
    printer.notes(notes)
    if given.output is not None:
        chosen = {name: a for name, a in found.items() if given.output in (name, name.rpartition(".")[0])}
        if not chosen:
            raise UsageError(f"{model}: has no output '{given.output}': its outputs are {', '.join(found)}")
        found = chosen
    write_arrays(printer, model, found)


def _stream(
    printer: Printer,
    model: str,
    inputs: list[str],
    resume: bool,
    scaling: ScaleOptions,
    options: ModelOptions,
) -> bool:
    """Write the outputs some rows at a time, and say whether they are of that kind."""
    from portable_nn.evaluation.scoring import NOT_FINITE
    from portable_nn.opening.origin import origin_of
    from portable_nn.outputs.records import Records
    from portable_nn.prediction.arrays import output_rows

    assert printer.out
    notes = list[str]()
    found: OutputRows | None
    if scaling.wanted:
        found, run = scaling.outputs(printer, model, inputs, notes, options)
    else:
        found, run = output_rows(model, inputs, options, notes), None
    if found is None:
        return False
    _check_one(printer.out, found.names)
    printer.notes(notes)
    origin = None if run else origin_of(model, inputs, vars(options))  # Shards are gone on with, and not the file.
    records = Records(model, found, printer.out.suffix.lower())
    write_file(printer, records, found, found.in_batches(), origin, resume)
    _note_written(printer, printer.placed(printer.out), records.shapes())
    if run:
        scaling.finish(printer, run)
    if found.first_bad is not None:
        rows = f"{found.bad:,} of {quantity(found.made, 'row')} cannot be used, the first is {found.first_bad} (from 0)"
        raise PortableNNError(f"{rows}: {NOT_FINITE}")
    return True


def _check_one(path: Path, names: Sequence[str]) -> None:
    if path.suffix.lower() == ".npy" and len(names) != 1:
        raise UsageError(
            f"{path}: .npy holds one array, and there are {', '.join(names)}: --output says which, or use .npz"
        )


def _note_written(printer: Printer, out: Path, shapes: Mapping[str, Shape]) -> None:
    from portable_nn.core.graph import format_shape

    each = ", ".join(f"{name} {format_shape(shape)}" for name, shape in shapes.items())
    printer.note(f"written to {out}: {each}")


def write_arrays(printer: Printer, model: str, found: NamedArrays) -> None:
    """Write arrays to the file of ``--out``; without such a file, their shapes and values as the result."""
    from portable_nn.core.graph import format_shape
    from portable_nn.core.text import table

    if out := _file_of(printer):
        _save(out, model, found)
        _note_written(printer, out, {name: array.shape for name, array in found.items()})
        return
    rows = [(name, str(array.dtype), format_shape(array.shape), _range(array)) for name, array in found.items()]
    data = [{"output": name, "dtype": dtype, "shape": list(found[name].shape)} for name, dtype, _, _ in rows]
    headings = ("output", "type", "shape", "values")
    printer.result(table(headings, rows), {"model": model, "outputs": data}, lambda: [headings, *rows])
    printer.note("--out FILE.npz writes them")


def _range(array: Array) -> str:
    """A few numbers themselves, or the least and the greatest."""
    if array.size == 0:
        return "none"
    if array.size <= 8:
        return " ".join(f"{number:.6g}" for number in array.ravel().tolist())
    return f"{array.min():.6g} to {array.max():.6g}"


def _save(path: Path, model: str, found: NamedArrays) -> None:
    import numpy as np

    from portable_nn.core.atomic import atomic_write
    from portable_nn.engines.recording import save_recorded
    from portable_nn.outputs.records import save_arrays

    _check_one(path, list(found))
    if path.suffix.lower() == ".npz":
        save_recorded(path, found)
    elif path.suffix.lower() == ".npy":
        with atomic_write(path) as file:
            np.save(file, next(iter(found.values())), allow_pickle=False)
    else:
        save_arrays(path, model, found)


def _draw(
    printer: Printer, model: str, inputs: list[str], path: Path, given: ArrayOptions, options: ModelOptions
) -> None:
    from portable_nn.core.atomic import atomic_write
    from portable_nn.outputs.drawings import drawings
    from portable_nn.outputs.overlays import sheet_of

    if given.named() or _file_of(printer):
        raise UsageError("--draw is for pictures alone, without --inputs, and without arrays in --out")
    if options.raw:
        raise UsageError("--raw is for arrays, and --draw for pictures")
    notes = list[str]()
    made = list(drawings(model, inputs, options, notes, given.min_score))
    printer.notes(notes)
    with atomic_write(path) as file:
        sheet_of([(each.name, each.picture) for each in made]).save(file, "PNG")
    findings = [finding for each in made for finding in each.findings]
    _report(printer, model, findings, [each.name for each in made])
    printer.note(f"drawn in {path}")


def _report(printer: Printer, model: str, findings: Iterable[Finding], names: list[str]) -> None:
    from portable_nn.core.text import percent, table

    found = list(findings)
    has_boxes = any(each.box for each in found)
    edges = ("left", "top", "right", "bottom") if has_boxes else ()
    covered = ("pixels",) if any(each.pixels is not None for each in found) else ()
    headings = ("input", "label", "score" if has_boxes else "share", *edges, *covered)
    counts = [["" if each.pixels is None else each.pixels] if covered else [] for each in found]
    rows = [
        (each.input, each.label, percent(each.score), *(f"{edge:.6g}" for edge in each.box), *map(str, count))
        for each, count in zip(found, counts, strict=True)
    ]
    text = table(headings, rows) if found else f"nothing found in {', '.join(names)}"
    exact = [(each.input, each.label, each.score, *each.box, *count) for each, count in zip(found, counts, strict=True)]
    printer.result(text, {"model": model, "found": list(map(_data, found))}, lambda: [headings, *exact])


def _data(found: Finding) -> dict[str, Any]:
    if not found.box:
        return {"input": found.input, "label": found.label, "share": found.score}
    return {name: value for name, value in vars(found).items() if value is not None}
