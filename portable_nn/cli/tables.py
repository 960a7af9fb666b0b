"""Options of the commands that read tables with named columns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from portable_nn.cli.options import choice, listed, pairs_in
from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.data.frames import Dialect

MISSING = {
    "refuse": "is an error",
    "mean": "puts the column's mean in place of a missing number",
    "median": "puts the median",
    "indicator": "puts the mean, and adds an input that marks it",
    "drop": "leaves out rows with a missing value",
}
"""What is done with missing values."""

OTHER = "other"
"""The word for a category of words that training did not have."""


@dataclass(frozen=True)
class DialectOptions:
    """The form of a CSV file with named columns."""

    SUBJECT = "Tables"

    header: Annotated[
        bool | None,
        typer.Option(
            "--header/--no-header",
            help="The first row of a table has the names of its columns, or has not. Found by default.",
            hidden=True,
        ),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(metavar="CHAR", help="Separator of the cells of a table. Found by default.", hidden=True),
    ] = None
    decimal: Annotated[
        str, typer.Option(metavar="CHAR", help="Decimal mark of a table, . or a comma.", hidden=True)
    ] = "."
    encoding: Annotated[
        str, typer.Option(metavar="NAME", help="Encoding of a table: utf-8, latin-1, cp1252, utf-16, ….", hidden=True)
    ] = "utf-8"

    def given(self) -> Dialect:
        """As the readers take it."""
        from portable_nn.data.frames import Dialect

        delimiter = {"\\t": "\t", "tab": "\t"}.get(self.delimiter or "", self.delimiter)
        return Dialect(self.header, delimiter, self.decimal, self.encoding)


Target: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME,…",
        help="Target: the column of a table to predict (its name, first or last), or several columns of numbers; "
        "with --inputs, arrays of DATA; or a file of labels.",
    ),
]


@dataclass(frozen=True)
class ArrayNames:
    """The names of the arrays that are read, and of those with what is right."""

    SUBJECT = "Data"

    inputs: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,…",
            help="Arrays with the examples in an HDF5, netCDF, npz, zarr or Parquet file; several are joined side by "
            "side.",
        ),
    ] = None
    target: Target = None

    @property
    def columns(self) -> list[str]:
        """The columns of a table to predict."""
        return [] if self.inputs or self.file else listed(self.target)

    @property
    def column(self) -> str | None:
        """The column of a table with what is right, where one is named. Raises ``UsageError`` for several."""
        if len(self.columns) > 1:
            raise UsageError(f"--target takes one column of a table, not {', '.join(self.columns)}")
        return self.columns[0] if self.columns else None

    @property
    def file(self) -> Path | None:
        """The file of labels."""
        names = listed(self.target)
        return Path(names[0]) if len(names) == 1 and not self.inputs and Path(names[0]).is_file() else None

    def options(self) -> dict[str, Any]:
        """The arguments of the library."""
        if self.inputs and not self.target:
            raise UsageError("--inputs needs --target: the names of the arrays with the right answers")
        return {"inputs": listed(self.inputs) or None, "targets": listed(self.target) if self.inputs else None}


@dataclass(frozen=True)
class TableOptions:
    """Options for the target and the columns of a table."""

    SUBJECT = "Tables"

    task: Annotated[
        Literal["classes", "numbers"] | None,
        typer.Option(help="Kind of the target. By default words and 0, 1, 2, … are classes.", hidden=True),
    ] = None
    missing: Annotated[
        str,
        choice(
            "--missing",
            names=(*MISSING, OTHER),
            help="Missing values in a table: "
            + "; ".join(f"{name} {does}" for name, does in MISSING.items())
            + ". All but refuse leave out rows without a target. A missing word is in no category; with other "
            "(indicator,other), neither is a new word.",
            after=",",
        ),
    ] = "refuse"
    categorical: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,…", help="Columns of numbers or rare words to take as categories.", hidden=True),
    ] = None
    embedding: Annotated[
        int | None,
        typer.Option(metavar="N", help="Learn N numbers for each category, instead of 1 among zeros.", hidden=True),
    ] = None
    drop: Annotated[
        list[str] | None, typer.Option(metavar="NAME,…", help="Columns of a table to leave out.", hidden=True)
    ] = None
    unit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=UNIT,…", help="Units of columns, such as price=€.", hidden=True),
    ] = None

    def options(self) -> dict[str, Any]:
        """The options of ``train_table``. Raises ``UsageError``."""
        given = listed([self.missing])
        missing = [name for name in given if name != OTHER]
        if len(missing) > 1:
            does = ", or ".join(f"{name}, which {MISSING[name]}" for name in missing)
            raise UsageError(f"--missing {self.missing}: expected one alone of {does}; only {OTHER} may be added")
        return {
            "task": self.task,
            "missing": missing[0] if missing else "refuse",
            "unknown": OTHER if OTHER in given else "refuse",
            "categorical": listed(self.categorical),
            "embedding": self.embedding,
            "drop": listed(self.drop),
            "units": self.units(),
        }

    def units(self) -> dict[str, str]:
        """Units by name."""
        return pairs_in("--unit", listed(self.unit), "NAME=UNIT, such as price=€")

    def check_unused(self, *but: str) -> None:
        """Raise ``UsageError`` for an option, ``but`` these, that needs ``--target``."""
        for name in ("task", "categorical", "embedding", "drop", "unit", "missing"):
            if name not in but and getattr(self, name) not in (None, "refuse"):
                instead = "--inputs reads arrays, as they are" if but else "--target says which one is predicted"
                raise UsageError(f"--{name} is for tables with named columns: {instead}")
