from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from portable_nn.core.errors import DataError
from portable_nn.data import tables
from portable_nn.data.frames import read_frame
from portable_nn.data.tables import iterate_csv


def written(folder: Path, text: str) -> Path:
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


def read(path: Path, width: int | None = 3, chunk_rows: int = 2) -> tuple[list[int], list[list[float]], list | None]:
    chunks = list(iterate_csv(path, width, chunk_rows))
    numbers = [number for chunk in chunks for number in chunk.numbers]
    values = [row for chunk in chunks for row in chunk.values.tolist()]
    labels = None if chunks[0].labels is None else [label for chunk in chunks for label in chunk.labels.tolist()]
    return numbers, values, labels


ROWS = [[0, 255, 3], [4, 5, 6], [7, 8, 9.5]]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_and_line_ends(tmp_path: Path, delimiter: str, end: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(end.join(delimiter.join(map(str, row)) for row in ROWS).encode())
    assert read(path) == ([1, 2, 3], ROWS, None)


def test_label_first(tmp_path: Path) -> None:
    numbers, values, labels = read(written(tmp_path, "7,0,255,3\n1,4,5,6\n"))
    assert (numbers, values, labels) == ([1, 2], ROWS[:2], [7, 1])
    assert all(isinstance(label, int) for label in labels)


def test_labels_that_are_not_whole(tmp_path: Path) -> None:
    assert read(written(tmp_path, "0.5,0,255,3"))[2] == [0.5]


@pytest.mark.parametrize("cell", ["nan", "1e400", "-inf"])
def test_a_wrong_number_in_the_first_row_is_no_heading(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=f"row 1, column 1: expected a finite number, found '{cell}'"):
        read(written(tmp_path, f"{cell},2,3,4\n5,5,5,5\n"))


@pytest.mark.parametrize(
    "heading", ["a,b,c", "w,1,2", '"a","b","c"', "label,0,1,2", ",0,1", "\ufeffa,1x1,1x2", "nan,b,c", "w,5,z"]
)
def test_headings_and_blank_lines_are_skipped_and_counted(tmp_path: Path, heading: str) -> None:
    if heading.startswith("label"):
        assert read(written(tmp_path, f"{heading}\n\n7,0,255,3\n  \n8,4,5,6\n\n")) == ([3, 5], ROWS[:2], [7, 8])
        return
    assert read(written(tmp_path, f"{heading}\n\n0,255,3\n  \n4,5,6\n\n")) == ([3, 5], ROWS[:2], None)


HEADINGS = [
    ("a,b\n1,2,3\n", "expected 3 values, with a heading for each, found 2 headings (a, b)"),
    ("a,b,c,d\n1,2,3\n", "expected 3 values, with a heading for each, found 4 headings (a, b, c, d)"),
    ("a,b,c,Label\n1,2,3,0\n", "expected a label and 3 values, found 'Label' in column 4: labels stand in the first "
     "column"),
    ("a,b,class\n1,2,3\n", "expected 3 values, found 'class' in column 3: labels stand in a column of their own, the "
     "first"),
    (",a,b,c\n0,1,2,3\n", "expected a label and 3 values, found a first column without a heading, as for the numbers "
     "of rows: without them (in pandas, to_csv(path, index=False)) it can be read"),
    ("cat,1,2.5,3\ncat,4,5,6\n", "row 1, column 1: expected a finite number, found 'cat': labels are the numbers of "
     "classes, in the first column"),
    ("1,2,3,cat\n", "row 1, column 4: expected a finite number, found 'cat': labels are the numbers of classes, in the "
     "first column"),
    ("1 2 3\n4 5 6\n", "row 1: expected 3 values, or a label and 3 values, found 1 cell: commas, semicolons or tabs "
     "separate columns"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), HEADINGS)
def test_columns_that_are_not_as_they_must_be(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {reason}')}$"):
        read(path)


def test_byte_order_mark_before_numbers(tmp_path: Path) -> None:
    assert read(written(tmp_path, "\ufeff0,255,3\n"))[1] == ROWS[:1]


def test_without_width_the_first_column_is_the_label(tmp_path: Path) -> None:
    assert read(written(tmp_path, "7,0,255,3\n"), width=None) == ([1], ROWS[:1], [7])
    with pytest.raises(DataError, match="row 1: expected a label and values, found 1 cell"):
        read(written(tmp_path, "7\n"), width=None)


def test_quoted_and_spaced_numbers(tmp_path: Path) -> None:
    assert read(written(tmp_path, '"0", 255 ,3e0\n'))[1] == ROWS[:1]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("0,255,3\n4,5,x\n"))
    with pytest.raises(DataError, match=r"^stdin: row 2, column 3: expected a finite number, found 'x'$"):
        read(Path("-"))
    assert sys.stdin.closed is False


@pytest.mark.long
@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3), min_size=1)
)
def test_what_repr_writes_is_read_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]]) -> None:
    path = tmp_path_factory.getbasetemp() / "exact.csv"
    path.write_text("\n".join(",".join(map(repr, row)) for row in rows))
    assert read(path, chunk_rows=3) == (list(range(1, len(rows) + 1)), rows, None)


@given(
    st.integers(0, 8),
    st.integers(0, 3),
    st.sampled_from(["", "x", "1_0", "0x10", "1 2", "nan", "-inf", "1e39", "--1", chr(0xFF11)]),
)
def test_the_faulty_cell_is_named(tmp_path_factory: pytest.TempPathFactory, row: int, column: int, bad: str) -> None:
    cells = [["1"] * 4 for _ in range(10)]
    cells[row + 1][column] = bad
    path = tmp_path_factory.getbasetemp() / "faulty.csv"
    path.write_text("\n".join(map(",".join, cells)), encoding="utf-8")
    found = repr(bad) if bad else "nothing"
    expected = f"{path}: row {row + 2}, column {column + 1}: expected a finite number, found {found}"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}(: labels are the numbers of classes, in .*)?$"):
        read(path, chunk_rows=4)


JSON = (
    "expected CSV, rows of cells with commas between them, with a header or without, found JSON, which is read from a "
    "file named .json or .jsonl"
)
FAULTS = [
    ("", "expected rows of numbers, found none"),
    ("a,b,c\n\n", "expected rows of numbers, found only headings, a, b, c"),
    ("1,2\n", "row 1: expected 3 values, or a label and 3 values, found 2 cells"),
    ("1,2,3\n4,5,6\n7,8\n", "row 3: expected 3 values, found 2 cells"),
    ("1,2,3,4\n4,5,6\n", "row 2: expected a label and 3 values, found 3 cells"),
    ("h,h,h,h\n\n1,2,3,4,5\n", "row 3: expected 3 values, or a label and 3 values, found 5 cells"),
    ("1,2,3\n4,5,6,\n", "row 2: expected 3 values, found 4 cells"),
    ("1,2,3\n4,5,#6\n", "row 2, column 3: expected a finite number, found '#6'"),
    *((text, JSON) for text in ('{"a": 1}\n', "{\n", "[1.5, 2, 3]\n", "[[1, 2, 3]]\n", ' [{"a": 1}]', "[\n")),
]


@pytest.mark.parametrize(("text", "reason"), FAULTS)
def test_faults(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {reason}')}$"):
        read(path)


def test_a_row_of_mnist_that_lacks_a_value(tmp_path: Path) -> None:
    whole, short = ",".join(["5"] * 785), ",".join(["5"] * 784)
    path = written(tmp_path, f"{whole}\n{short}\n")
    with pytest.raises(DataError, match="row 2: expected a label and 784 values, found 784 cells"):
        read(path, 784)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"1,2,3\n" + bytes(range(128, 256)))
    with pytest.raises(DataError, match="row 2: expected text in UTF-8, found the byte 0x80: --encoding cp1252"):
        read(path)
    with pytest.raises(DataError, match=r"expected a table \(CSV\), found no such file"):
        read(tmp_path / "missing.csv")
    with pytest.raises(DataError, match=r"expected a table \(CSV\), found a folder"):
        read(tmp_path)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 20_000).map("a".__mul__), max_size=9),
    st.lists(st.text("aé ñ", min_size=1), max_size=9),
    st.sampled_from([("cp1252", "é", "E9"), ("cp1252", "€", "80"), ("utf-16", "é", "FF")]),
)
def test_the_first_row_that_is_no_text_is_named_with_an_encoding_that_reads_it(
    before: list[str], after: list[str], told: tuple[str, str, str]
) -> None:
    encoding, word, byte = told
    row = 1 if encoding == "utf-16" else len(before) + 2
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes("\n".join(["name", *before, word, *after]).encode(encoding))
        with pytest.raises(DataError) as raised:
            read_frame(path)
        advice = f"--encoding {encoding} (encoding='{encoding}') may read it"
        assert raised.value.reason == f"row {row}: expected text in UTF-8, found the byte 0x{byte}: {advice}"
        words = read_frame(path, encoding=encoding).column("name").tolist()
    assert words == [*before, word, *(each.strip() for each in after if each.strip())]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_no_encoding_is_advised_for_a_picture(tmp_path: Path, form: str) -> None:
    path = tmp_path / "t.csv"
    Image.new("L", (200, 150), 200).save(path, form)
    with pytest.raises(DataError, match="found none: pictures and other files than tables are given by their names"):
        read_frame(path)


def test_endless_lines_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_LINE", 100)
    with pytest.raises(DataError, match="row 2: longer than 100 characters, which is no table"):
        read(written(tmp_path, "1,2,3\n" + "1" * 100))


def test_chunks_are_read_as_they_are_needed(tmp_path: Path) -> None:
    chunks = iterate_csv(written(tmp_path, "1,2,3\n" * 4 + "bad,2,3\n"), 3, 2)
    assert [next(chunks).numbers, next(chunks).numbers] == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match="row 5, column 1"):
        next(chunks)


def frame_of(array: np.ndarray) -> Any:
    return pytest.importorskip("pandas", reason="pandas writes the table").DataFrame(array)


FLOATS = np.array([[0.0, 1.0, 2.0], [0.5, -1.25, 1e-9], [3.0, 4.0, 5.0]])
PIXELS = np.arange(24).reshape(2, 12) * 10


@pytest.mark.parametrize("array", [FLOATS, FLOATS[:, [0, 1, 2, 0]], PIXELS], ids=["floats", "more", "whole"])
def test_names_that_pandas_makes_up_are_no_example(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "t.csv"
    frame_of(array).to_csv(path, index=False)
    assert path.read_text().startswith("0,1,2")
    assert read(path, array.shape[1])[1:] == (array.tolist(), None)
    labels, values = read(path, None)[2], read(path, None)[1]
    assert (labels, values) == (array[:, 0].tolist(), array[:, 1:].tolist())
    np.savetxt(path, array, delimiter=",")
    assert read(path, array.shape[1])[1] == array.tolist()


def test_the_index_that_pandas_writes_is_refused(tmp_path: Path) -> None:
    frame_of(FLOATS).to_csv(tmp_path / "t.csv")
    with pytest.raises(DataError, match="a first column without a heading, as for the numbers of rows"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "array", [[[0, 1]] * 3, [[0.5, 1.5]], [[3, 4, 5], [6, 7, 8]], np.arange(12, 36).reshape(2, 12)]
)
def test_a_first_line_that_may_be_names_or_an_example_is_refused(tmp_path: Path, array: list[list[float]]) -> None:
    array = np.asarray(array)
    path = tmp_path / "t.csv"
    frame_of(array).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"may be an example, or the names .* by the option header"):
        read(path, array.shape[1])
    for header, rows in ((True, array), (False, np.vstack([np.arange(array.shape[1]), array]))):
        found = np.concatenate([each.values for each in iterate_csv(path, array.shape[1], header=header)])
        assert found.tolist() == rows.tolist()


def test_the_names_of_some_columns_are_not_taken_for_an_example(tmp_path: Path) -> None:
    array = np.array([[0.5, 1.5, 2.5, 3.5], [1.25, 2.25, 3.25, 4.25]])
    frame_of(array).rename(columns={0: 1, 1: 2, 2: 5, 3: 7}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"the first line, 1,2,5,…, may be an example, or the names"):
        read(tmp_path / "t.csv", 4)
    assert read(written(tmp_path, "1,2,5,7\n0.5,1.5,2.5,3\n"), 4)[1] == [[1, 2, 5, 7], [0.5, 1.5, 2.5, 3]]


def test_a_line_alone_is_an_example(tmp_path: Path) -> None:
    assert read(written(tmp_path, "0,1,2\n"))[1] == [[0, 1, 2]]
    assert read(written(tmp_path, "1,2,3\n4.5,5,6\n"))[1] == [[1, 2, 3], [4.5, 5, 6]]


def test_a_first_line_of_endless_digits_is_no_count(tmp_path: Path) -> None:
    text = "9" * 5000
    found = read(written(tmp_path, f"{text},{text}1,{text}2,{text}3\n0.5,0.5,0.5,0.5\n"), 4)
    assert found == ([2], [[0.5] * 4], None)
