"""Options of the commands that read tables with named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from portable_nn.cli.options import choice, pairs_in
from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.data.frames import Dialect

MISSING = ("refuse", "mean", "median", "indicator", "drop")


@dataclass(frozen=True)
class DialectOptions:
    """The form of a CSV file with named columns."""

    SUBJECT = "Tables"

    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="Whether a table begins with the names of its columns. By default it is found.",
            hidden=True,
        ),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(metavar="CHAR", help="What separates the cells of a table. By default it is found.", hidden=True),
    ] = None
    decimal: Annotated[
        str, typer.Option(metavar="CHAR", help="Decimal mark of a table, . or a comma.", hidden=True)
    ] = "."

    def given(self) -> Dialect:
        """As the readers take it."""
        from portable_nn.data.frames import Dialect

        delimiter = {"\\t": "\t", "tab": "\t"}.get(self.delimiter or "", self.delimiter)
        return Dialect(self.header, delimiter, self.decimal)


def names_in(text: str | None) -> list[str] | None:
    """``waveforms,swh`` as a list."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@dataclass(frozen=True)
class ArrayNames:
    """The names of the arrays of a file that are read."""

    SUBJECT = "Arrays"

    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Arrays with the examples in an HDF5, netCDF, npz, zarr or Parquet file: x, or a,b side by side.",
        ),
    ] = None
    targets: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES", help="Array in the same file with what is right for them; or several.", hidden=True
        ),
    ] = None

    def options(self) -> dict[str, Any]:
        """The arguments of the library."""
        if (self.inputs is None) != (self.targets is None):
            raise UsageError("--inputs and --targets go together: the names of the arrays in the file")
        return {"inputs": names_in(self.inputs), "targets": names_in(self.targets)}


@dataclass(frozen=True)
class TableOptions:
    """Options for the target and the columns of a table."""

    SUBJECT = "Tables"

    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Column of a table to predict: its name, first or last. Repeatable for numbers."
        ),
    ] = None
    task: Annotated[
        Literal["classes", "numbers"] | None,
        typer.Option(help="What the target is. By default words and 0, 1, 2, … are classes.", hidden=True),
    ] = None
    missing: Annotated[
        str, choice("--missing", names=MISSING, help="What stands for values that are missing in a table.", hidden=True)
    ] = "refuse"
    unknown: Annotated[
        str,
        choice(
            "--unknown", names=("refuse", "other"), help="How predict meets a word that training did not.", hidden=True
        ),
    ] = "refuse"
    categorical: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Column of numbers or rare words that are categories. Repeatable.", hidden=True
        ),
    ] = None
    embedding: Annotated[
        int | None,
        typer.Option(metavar="N", help="Learn N numbers for each category, instead of 1 among zeros.", hidden=True),
    ] = None
    drop: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Column of a table to leave out. Repeatable.", hidden=True)
    ] = None
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=UNIT", help="Unit of a column, such as price=€. Repeatable.", hidden=True),
    ] = None

    def options(self) -> dict[str, Any]:
        """The options of ``train_table``."""
        target: str | Sequence[str] = self.target or "last"
        return {
            "target": target[0] if len(target) == 1 else target,
            "task": self.task,
            "missing": self.missing,
            "unknown": self.unknown,
            "categorical": self.categorical or (),
            "embedding": self.embedding,
            "drop": self.drop or (),
            "units": self.units(),
        }

    def units(self) -> dict[str, str]:
        """Units by name."""
        return pairs_in("--unit", self.unit, "NAME=UNIT, such as price=€")

    def check_unused(self, *but: str) -> None:
        """Raise ``UsageError`` for an option, ``but`` these, that needs ``--target``."""
        for name in ("task", "categorical", "embedding", "drop", "unit", "missing", "unknown"):
            if name not in but and getattr(self, name) not in (None, "refuse"):
                raise UsageError(f"--{name} is for tables with named columns: --target says which one is predicted")
