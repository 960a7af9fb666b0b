"""The forms of files that are written some rows at a time; of predictions a table, CSV, JSON (lines) and Parquet."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO, Final, Generic, NamedTuple, TypeVar

from portable_nn.core.atomic import atomic_write
from portable_nn.core.csv_writing import csv_text
from portable_nn.core.errors import MissingPackageError
from portable_nn.core.partial import Assemble
from portable_nn.core.text import Table, grouped, percent
from portable_nn.prediction.prediction import Prediction

SCHEMA: Final = 1
"""The version of the JSON output: it changes when a field is removed or changes its meaning."""

LOST: Final = "unsure"
"""The heading of the marks of numbers whose standard deviation is above the model's threshold."""

ORDINALS: Final = {2: "nd", 3: "rd"}

GROUP: Final = 2**16
"""The rows of a row group of Parquet."""


class Layout(NamedTuple):
    """The model's name, the names of the quantities that it predicts, and whether it may be unsure."""

    model: str
    names: Sequence[str]
    may_be_unsure: bool


T = TypeVar("T")


class Form(ABC, Generic[T]):
    """Makes the contents of a file of what comes in batches.

    ``begun`` is what a form that goes on must know, as JSON has it: ``None`` before the first rows. ``assemble`` writes
    the file, where it is another one than what was written so far.
    """

    begun: Any = None

    @property
    def is_behind(self) -> bool:
        """True if rows are kept back, until the text before them is known."""
        return False

    @property
    def assemble(self) -> Assemble | None:
        """The function that makes the file of the rows that were written, where it is not the same."""
        return None

    @abstractmethod
    def rows(self, chunk: T) -> str | bytes:
        """The next rows, with what comes before the first."""

    @abstractmethod
    def finish(self, file: BinaryIO) -> None:
        """Write what is there when all rows are."""


class Text(Form[Sequence[Prediction]]):
    """Makes text of predictions.

    Args:
        layout: what the predictions have in common.
        is_ascii: whether the text must be plain ASCII.
    """

    def __init__(self, layout: Layout, *, is_ascii: bool = False) -> None:
        self.layout, self.is_ascii = layout, is_ascii

    def end(self) -> str | bytes:
        """The end of the file, after the last row."""
        return ""

    def finish(self, file: BinaryIO) -> None:
        """Write what comes after the last row."""
        file.write(encoded(self.end()))


class JsonLines(Text):
    """One object per line, as in the list of ``Json``."""

    def rows(self, chunk: Sequence[Prediction]) -> str:
        """The next rows."""
        return "".join(self.json(_as_json(prediction)) + "\n" for prediction in chunk)

    def json(self, data: Any) -> str:
        """``data`` as JSON."""
        return json.dumps(data, ensure_ascii=self.is_ascii, allow_nan=False)


class Json(JsonLines):
    """One object with one result per line."""

    def rows(self, chunk: Sequence[Prediction]) -> str:
        """The next rows."""
        text = ",\n".join(self.json(_as_json(prediction)) for prediction in chunk)
        if self.begun is None:
            return self._head() + ("\n" if chunk else "") + text
        return (",\n" if chunk else "") + text

    def _head(self) -> str:
        layout, self.begun = self.layout, True
        head = {"schema": SCHEMA, "model": layout.model, **({"quantities": layout.names} if layout.names else {})}
        return self.json(head).removesuffix("}") + ', "results": ['

    def end(self) -> str:
        """The end of the file, after the last row."""
        return ("" if self.begun else self._head()) + "\n]}\n"


class Columns(Text):
    """Columns, which are those of the first example that has a prediction."""

    def __init__(self, layout: Layout, *, is_ascii: bool = False) -> None:
        super().__init__(layout, is_ascii=is_ascii)
        self._before: list[Prediction] = []

    @property
    def is_behind(self) -> bool:
        """True if there were errors alone so far."""
        return bool(self._before)

    def rows(self, chunk: Sequence[Prediction]) -> str | bytes:
        """The next rows."""
        if self.begun is not None:
            return self.cells(chunk)
        if all(prediction.error is not None for prediction in chunk):
            self._before += chunk
            return ""
        return self._first(chunk)

    def end(self) -> str | bytes:
        """The end of the file, after the last row."""
        return self._first([]) if self._before else ""

    def _first(self, chunk: Sequence[Prediction]) -> str | bytes:
        both = [*self._before, *chunk]
        self._before = []
        self.begun = headings(both, self.layout)
        head: Any = self.head()
        found: str | bytes = head + self.cells(both)
        return found

    def head(self) -> str | bytes:
        """The names of the columns."""
        raise NotImplementedError

    def cells(self, chunk: Sequence[Prediction]) -> str | bytes:
        """The rows."""
        raise NotImplementedError


class ForPeople(Columns):
    """A table with aligned columns; errors are as long as they are."""

    def head(self) -> str:
        """Nothing: the table writes the names of its columns before its first row."""
        self._table = Table(*self.begun)
        return ""

    def cells(self, chunk: Sequence[Prediction]) -> str:
        """The rows."""
        text = ""
        for is_bad, group in groupby(chunk, key=lambda each: each.error is not None):
            if is_bad:
                text += self._table.loose_lines([each.input, f"error: {each.error}"] for each in group)
            else:
                text += self._table.lines(map(self._shown, group))
        return text

    def _shown(self, prediction: Prediction) -> list[str]:
        show, unread = (grouped, prediction.label or "") if prediction.values else (percent, "")
        found = fitted(cells(prediction, self.layout), len(self.begun))
        return [show(each) if isinstance(each, float) else each or unread for each in found]


class Csv(Columns):
    """CSV, with a last column for errors."""

    def head(self) -> str:
        """The names of the columns."""
        return csv_text([_unlike([*(heading.removeprefix(">") for heading in self.begun), "error"])])

    def cells(self, chunk: Sequence[Prediction]) -> str:
        """The rows."""
        count = len(self.begun)
        return csv_text([*fitted(cells(each, self.layout), count), each.error or ""] for each in chunk)


class Parquet(Columns):
    """Columns with types and metadata: numbers, words, and what is missing.

    Until the file is assembled, they are a stream of Arrow, to which can be added.
    """

    def __init__(self, layout: Layout, *, is_ascii: bool = False) -> None:
        super().__init__(layout, is_ascii=is_ascii)
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise MissingPackageError("pyarrow", "writing Parquet", "tables") from None

    def head(self) -> bytes:
        """The names of the columns."""
        return bytes(self._schema().serialize())

    def _schema(self) -> Any:
        import pyarrow as pa

        names = _unlike(heading.removeprefix(">") for heading in self.begun)
        kinds = [pa.float64() if heading.startswith(">") else pa.string() for heading in self.begun]
        metadata = {"model": _as_unicode(self.layout.model)}
        return pa.schema([*zip(names, kinds, strict=True), ("error", pa.string())], metadata)

    def cells(self, chunk: Sequence[Prediction]) -> bytes:
        """The rows."""
        import pyarrow as pa

        schema, count = self._schema(), len(self.begun)
        rows = [[*fitted(cells(each, self.layout), count), each.error] for each in chunk]
        columns = [[None if cell == "" else _as_unicode(cell) for cell in column] for column in zip(*rows, strict=True)]
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        return bytes(pa.record_batch(arrays, schema=schema).serialize()) if rows else b""

    def end(self) -> bytes:
        """The end of the file, after the last row."""
        rest = super().end() or (b"" if self.begun else self._first([]))
        return encoded(rest) + b"\xff\xff\xff\xff\x00\x00\x00\x00"

    @property
    def assemble(self) -> Assemble:
        """The function that writes the file from the stream."""
        return _assembled


def _assembled(written: Path, target: Path) -> None:
    """A file of Parquet, of a stream of Arrow."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    with pa.OSFile(str(written)) as source, pa.ipc.open_stream(source) as batches:
        schema = batches.schema
        with atomic_write(target) as file, ParquetWriter(file, schema) as writer:
            for group in _groups(batches):
                writer.write_table(pa.Table.from_batches(group, schema), row_group_size=GROUP)


def _groups(batches: Iterable[Any]) -> Iterator[list[Any]]:
    """Record batches that make up row groups."""
    group, rows = list[Any](), 0
    for batch in batches:
        if group and rows + len(batch) > GROUP:
            yield group
            group, rows = [], 0
        group.append(batch)
        rows += len(batch)
    yield group


def _as_unicode(cell: Any) -> Any:
    """A cell; text as the other forms have it, where the name of a file is no Unicode."""
    return encoded(cell).decode() if isinstance(cell, str) else cell


def _unlike(names: Iterable[str]) -> list[str]:
    """Names of columns, each another one: ``label``, ``probability``, ``2nd``, ``2nd probability``."""
    found = list[str]()
    for name in names:
        found.append(f"{found[-1]} {name}" if name in found else name)
    return found


FORMS: Final[Mapping[str, type[Text]]] = {
    "table": ForPeople,
    "json": Json,
    "jsonl": JsonLines,
    "csv": Csv,
    "parquet": Parquet,
}
"""The class of each form."""


# -- one prediction


def _as_json(prediction: Prediction) -> dict[str, Any]:
    if prediction.error is not None:
        return {"input": prediction.input, "error": prediction.error}
    if prediction.values:
        marked = {"label": prediction.label} if prediction.label else {}
        return {"input": prediction.input, "values": _read(prediction), **marked}
    result = {
        "input": prediction.input,
        "label": prediction.label,
        "index": prediction.index,
        "probability": prediction.probability,
        "top": prediction.top,
    }
    more = {"guess": prediction.guess, "expected": prediction.expected, "box": prediction.box}
    return result | {name: found for name, found in more.items() if found is not None}


def _read(prediction: Prediction) -> list[float | None]:
    """The quantities, with None in place of means of which the model is unsure."""
    return [None if value != value else value for value in prediction.values]


def cells(prediction: Prediction, layout: Layout) -> list[Any]:
    """The input, and the values or the classes with their probabilities."""
    if prediction.values:
        return [prediction.input, *_read(prediction), *[prediction.label or ""] * layout.may_be_unsure]
    return [prediction.input, *_answer(prediction, layout)]


def _answer(prediction: Prediction, layout: Layout) -> Iterator[str | float]:
    """The classes with their probabilities, the guess where a model may be unsure, and the class in the data."""
    if prediction.top:
        yield from (str(prediction.label), prediction.top[0][1])
    for name, share in prediction.top[1:]:
        yield from (name, share)
    if layout.may_be_unsure:
        yield prediction.guess or ""
    if prediction.expected is not None:
        yield prediction.expected


def headings(chunk: Iterable[Prediction], layout: Layout) -> list[str]:
    """The headings of predictions like the first one in ``chunk``, of numbers after a ``>``; of errors alone, that of
    the input."""
    prediction = next((each for each in chunk if each.error is None), None)
    if prediction is None:
        return ["input"]
    if prediction.values:
        count = len(prediction.values)
        if len(layout.names) == count:
            return ["input", *(f">{name}" for name in layout.names), *[LOST] * layout.may_be_unsure]
        return ["input", *([">value"] if count == 1 else (f">{place}" for place in range(count)))]
    more = (
        heading
        for place in range(2, len(prediction.top) + 1)
        for heading in (f"{place}{ORDINALS.get(place, 'th')}", ">probability")
    )
    guess = ["guess"] if layout.may_be_unsure else []
    expected = [] if prediction.expected is None else ["expected"]
    return ["input", "label", ">probability", *more, *guess, *expected]


def fitted(cells: Sequence[Any], columns: int) -> list[Any]:
    """As many cells as there are columns: other inputs may have no expected class, or may alone have one."""
    return [*cells, *[""] * columns][:columns]


def encoded(text: str | bytes) -> bytes:
    """Text as files have it."""
    return text if isinstance(text, bytes) else text.encode(errors="backslashreplace")
