"""Tables with named columns, read as pandas, polars and pyarrow read them."""

from __future__ import annotations

import csv
import io
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portable_nn.core.errors import DataError, UsageError
from portable_nn.data.cells import MISSING, is_words
from portable_nn.data.columns import encoded, find_columns
from portable_nn.data.frames import read_frame
from portable_nn.format.meaning import Column, Statistics


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


TEXTS = {
    "names and numbers": "a,b\n1,2.5\n-3e2,.5\n",
    "words in quotes, with commas and quotes": 'a,b\n"x, y",1\n"say ""no""",2\n',
    "a line end in quotes": 'a,b\n"x\ny",1\nz,2\n',
    "semicolons": "a;b\nx;1\ny;2\n",
    "tabs": "a\tb\nx\t1\ny\t2\n",
    "a byte order mark and line ends of Windows": "\ufeffa,b\r\nx,1\r\ny,2\r\n",
    "no line end at the end": "a,b\nx,1\ny,2",
    "spaces around cells": "a , b\n x , 1\n y , 2\n",
    "cells that are missing": "a,b,c\nx,,1\nNA,2,NaN\n,N/A,null\n",
    "other alphabets": "größe,名\n1,日本\n2,ß\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_csv_file_is_read_as_pandas_reads_it(tmp_path: Path, name: str) -> None:
    pandas = pytest.importorskip("pandas")
    path = written(tmp_path / "t.csv", TEXTS[name])
    frame = read_frame(path)
    expected = pandas.read_csv(
        path, sep=None, engine="python", skipinitialspace=True, encoding="utf-8-sig", dtype_backend="numpy_nullable"
    )
    assert list(frame.columns) == [heading.strip() for heading in expected.columns]
    for cells, column in zip(frame.columns.values(), expected.items(), strict=True):
        for cell, other in zip(cells.tolist(), column[1].tolist(), strict=True):
            if other is pandas.NA:
                assert cell is None or math.isnan(cell)
            else:
                assert cell == (other.strip() if isinstance(other, str) else other)


@pytest.mark.long
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=("C", "Z")), min_size=1).filter(lambda text: text not in MISSING),
            st.floats(allow_nan=False, allow_infinity=False, width=64),
        ),
        min_size=1,
    ),
    delimiter=st.sampled_from(",;\t"),
)
@settings(max_examples=100, deadline=None)
def test_what_the_csv_module_writes_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float]], delimiter: str
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(
        [("word", "number"), *((f"_{word}", value) for word, value in rows)]
    )
    path = written(tmp_path_factory.mktemp("csv") / "t.csv", text.getvalue())
    frame = read_frame(path, delimiter=delimiter)
    assert frame.columns["word"].tolist() == [f"_{word}" for word, _ in rows]
    assert frame.columns["number"].tolist() == [value for _, value in rows]


@pytest.mark.long
def test_a_word_in_the_last_of_many_rows_makes_a_column_of_words(tmp_path: Path) -> None:
    lines = [f"{place:03}" for place in range(20_000)]
    frame = read_frame(written(tmp_path / "t.csv", "n,w\n" + "".join(f"{text},{text}\n" for text in lines) + "1,x\n"))
    assert frame.columns["w"].tolist() == [*lines, "x"]
    assert frame.columns["n"].tolist() == [*map(float, lines), 1.0]


def test_rows_are_named_by_their_lines(tmp_path: Path) -> None:
    frame = read_frame(written(tmp_path / "t.csv", 'a,b\n"x\ny",1\n\nz,2\n'))
    assert [frame.row(place) for place in range(2)] == [f"{tmp_path}/t.csv:3", f"{tmp_path}/t.csv:5"]


def test_a_table_without_names_has_numbers_for_them(tmp_path: Path) -> None:
    frame = read_frame(written(tmp_path / "t.csv", "1,x\n2,y\n"))
    assert list(frame.columns) == ["column 1", "column 2"]
    assert not frame.named
    assert read_frame(tmp_path / "t.csv", header=True).columns.keys() == {"1", "x"}
    words = written(tmp_path / "words.csv", "x,y\nz,w\n")
    assert len(read_frame(words)) == 1
    assert len(read_frame(words, header=False)) == 2


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("names", [["column 1", "column 2", "column 3"], ["a", "b", "c"], ["0", "1", "2"]])
def test_names_that_pandas_makes_up_are_no_row(tmp_path: Path, index: bool, names: list[str]) -> None:
    array = np.array([[0.5, 1.5, 2.5], [3.0, 4.0, 5.0]])
    pandas = pytest.importorskip("pandas", reason="pandas writes the table")
    pandas.DataFrame(array).to_csv(tmp_path / "t.csv", index=index)
    frame = read_frame(tmp_path / "t.csv")
    assert list(frame.columns) == [*["index"] * index, "0", "1", "2"]
    rows, faults = encoded(frame, [Column(name) for name in names])
    assert rows.tolist() == array.tolist()
    assert not faults
    two = written(tmp_path / "two.csv", "0,1\n0.5,1.5\n")
    with pytest.raises(DataError, match="may be an example, or the names"):
        read_frame(two)
    assert [len(read_frame(two, header=header)) for header in (True, False)] == [1, 2]


def test_booleans_of_frames_are_the_words_of_files(tmp_path: Path) -> None:
    file = read_frame(written(tmp_path / "t.csv", "b,n\nTrue,1\nFalse,2\n,3\n"))
    frame = read_frame({"b": [True, False, None]})
    number, word = Column("b", missing="mean"), Column("b", categories=("False", "True"), missing="mean")
    for each in (file, frame):
        for column in (number, word):
            rows, faults = encoded(each, [column])
            assert rows[:2].tolist() == [[1], [0]]
            assert np.isnan(rows[2])
            assert not faults


def test_decimal_commas_are_said_and_not_guessed(tmp_path: Path) -> None:
    path = written(tmp_path / "t.csv", "a;b\n1,5;2\n2,25;3\n")
    assert read_frame(path, decimal=",").columns["a"].tolist() == [1.5, 2.25]
    with pytest.raises(DataError, match=r"column 'a' holds words such as '1,5': .* commas, say so: --decimal ,"):
        find_columns(read_frame(path), ["a", "b"])


FAULTS = {
    "nothing": ("", "expected rows, found an empty file"),
    "names alone": ("a,b\n", "expected rows below the names of the columns, found none"),
    "JSON": (
        '{"height_m":24,"soil":"clay"}\n{"height_m":3,"soil":"sand"}\n',
        "expected CSV, rows of cells with commas between them, with a header or without, found JSON, which is read "
        "from a file named .json or .jsonl",
    ),
    "names in brackets": ("[m],[1/s]\n", "expected rows below the names of the columns, found none"),
    "a cell too few": ("a,b\n1,2\n3\n", r":3: expected 2 cells, as the first line has, found 1"),
    "a cell too many": ("a,b\n1,2,3\n", r":2: expected 2 cells, as the first line has, found 3"),
    "one name twice": ("a,b,a\n1,2,3\n", "two columns have one name: a"),
    "a column without a name": ("a,,b\n1,2,3\n", "column 2 has no name"),
    "a quote that never ends": ('a,b\n"x,1\ny,2\n', "line 3 cannot be read as CSV"),
    "an escape in a name": ("a\x1b[2J,b\n1,2\n", r"column 1: 'a\\x1b\[2J' is no name"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str) -> None:
    text, message = FAULTS[name]
    with pytest.raises(DataError, match=message):
        read_frame(written(tmp_path / "t.csv", text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,2\n\xff\xfe,3\n")
    with pytest.raises(DataError, match=r"^.*: row 3: expected text in UTF-8, found the byte 0xFF"):
        read_frame(tmp_path / "t.csv")


def tables() -> dict[str, object]:
    """The same table in everything that holds tables."""
    columns = {"n": [1.0, 2.5, None], "w": ["x", None, "y"], "i": [3, 4, 5]}
    packages: dict[str, object] = {"dict": columns}
    try:
        import pandas

        packages["pandas"] = pandas.DataFrame(columns)
        packages["pandas with categories"] = pandas.DataFrame({**columns, "w": pandas.Categorical(columns["w"])})
        packages["pandas with pandas.NA"] = pandas.DataFrame(columns).convert_dtypes()
    except ImportError:
        pass
    try:
        import polars

        packages["polars"] = polars.DataFrame(columns)
    except ImportError:
        pass
    try:
        import pyarrow

        packages["pyarrow"] = pyarrow.table(columns)
    except ImportError:
        pass
    return packages


@pytest.mark.parametrize("name", tables())
def test_a_table_in_memory_is_taken_whatever_holds_it(name: str) -> None:
    frame = read_frame(tables()[name])
    assert frame.columns["n"].tolist()[:2] == [1.0, 2.5]
    assert math.isnan(frame.columns["n"][2])
    assert frame.columns["w"].tolist() == ["x", None, "y"]
    assert frame.columns["i"].tolist() == [3.0, 4.0, 5.0]


def test_a_structured_array_and_masked_columns_are_tables() -> None:
    array = np.array([(1.5, "x"), (2.5, "y")], [("n", "f4"), ("w", "U1")])
    assert read_frame(array).columns["w"].tolist() == ["x", "y"]
    masked = np.ma.MaskedArray([1.0, 99.0], [False, True])
    assert np.isnan(read_frame({"n": masked}).columns["n"]).tolist() == [False, True]
    with pytest.raises(DataError, match="expected numbers or words, found complex128"):
        read_frame({"n": masked + 1j})


@pytest.mark.parametrize("lines", [False, True])
def test_files_of_json_are_read_as_pandas_writes_them(tmp_path: Path, lines: bool) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / ("t.jsonl" if lines else "t.json")
    pandas.DataFrame(tables()["dict"]).to_json(path, orient="records", lines=lines)
    frame = read_frame(path)
    assert frame.columns["w"].tolist() == ["x", None, "y"]
    assert np.isnan(frame.columns["n"]).tolist() == [False, False, True]
    assert frame.row(2) == f"{path}[2]"


@pytest.mark.parametrize("text", ["[[1, 2], [3, null]]", '{"instances": [[1, 2], [3, null]]}', "[1, 2]\n[3, null]\n"])
@pytest.mark.parametrize("stdin", [False, True])
def test_lists_in_json_are_rows_without_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, stdin: bool
) -> None:
    path: str | Path = "-" if stdin else written(tmp_path / "t.json", text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(text.encode()))))
    frame = read_frame(path)
    assert (len(frame), frame.named, [cells[0] for cells in frame.columns.values()]) == (2, False, [1, 2])
    assert np.isnan(list(frame.columns.values())[1][1])


JSON_FAULTS = {
    "nothing": (".json", "", r"expected rows in JSON; it cannot be read"),
    "no lines": (".jsonl", "\n", r"expected rows in JSON, an object or a list of numbers each: \[\{"),
    "a number": (".json", "5", r"expected rows in JSON, an object or a list of numbers each: \[\{"),
    "lists of other lengths": (".json", "[[1, 2], [3]]", r"\[1\]: expected 2 cells, as the first row has"),
    "a line that ends early": (".jsonl", '{"a": 1}\n{"a": \n', r"t.jsonl:2: expected rows in JSON; .* line 1 "),
    "a row over two lines": (".jsonl", "[1, 2]\n\n[3\n4]\n", r"t.jsonl:3: expected rows in JSON; "),
    "two rows in a line": (".jsonl", '{"a": 1}, {"a": 2}\n', r"t.jsonl:1: expected rows in JSON; "),
    "Latin-1": (".json", '[{"a": "\udce9"}]', r"expected rows in JSON; it cannot be read as JSON in UTF-8 \("),
    "a list in a cell": (".json", '[{"a": [1, 2], "b": 1}]', r"column 'a': expected one value a row, found \[1, 2\]"),
    "lists of two lengths": (".json", '{"a": [[1, 2], [3]], "b": [1, 2]}', "column 'a': expected one value a row"),
    "columns by rows": (
        ".json",
        '{"a": {"0": 1}, "b": {"0": 2}}',
        "column 'a': expected one value a row, found {'0': 1}",
    ),
    "another column": (".jsonl", '{"a": 1}\n{"b": 1}\n', r"\[1\]: expected the columns a, found b"),
    "a name twice": (".json", '[{"a": 1, "a": 2}]', "'a' stands in it twice"),
    "lists in lists": (".json", "[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize("name", JSON_FAULTS)
def test_what_is_no_table_in_json_is_refused(tmp_path: Path, name: str) -> None:
    suffix, text, message = JSON_FAULTS[name]
    (tmp_path / f"t{suffix}").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=message):
        read_frame(tmp_path / f"t{suffix}")


def test_numbers_among_words_are_words_as_a_person_writes_them() -> None:
    assert read_frame([{"a": 1}, {"a": "x"}, {"a": 2.5}, {"a": None}]).columns["a"].tolist() == ["1", "x", "2.5", None]


@pytest.mark.parametrize("suffix", ["parquet", "feather", "arrow"])
def test_files_of_arrow_are_read(tmp_path: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet, feather = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow.feather")
    table = pyarrow.table({"n": [1.0, None, 3.0], "w": ["x", "y", None], "i": [1, 2, 3]})
    write = parquet.write_table if suffix == "parquet" else feather.write_feather
    write(table, tmp_path / f"t.{suffix}")
    frame = read_frame(tmp_path / f"t.{suffix}")
    assert frame.columns["w"].tolist() == ["x", "y", None]
    assert np.isnan(frame.columns["n"]).tolist() == [False, True, False]
    (tmp_path / f"bad.{suffix}").write_bytes((tmp_path / f"t.{suffix}").read_bytes()[:-20])
    with pytest.raises(DataError, match="found none"):
        read_frame(tmp_path / f"bad.{suffix}")


def test_a_whole_number_beyond_all_floats_is_infinite() -> None:
    assert read_frame({"n": [1, 10**400, -(10**400), 2**63]}).columns["n"].tolist() == [1, math.inf, -math.inf, 2.0**63]


def test_dates_texts_and_odd_cells_are_no_columns() -> None:
    days = np.array(["2024-01-01", "2024-01-02"], "datetime64[D]")
    for each in (days, days - days[0]):
        with pytest.raises(DataError, match="column 'day' holds dates or times"):
            find_columns(read_frame({"day": each, "n": [1, 2]}), ["day", "n"])
        assert find_columns(read_frame({"day": each, "n": [1, 2]}), ["n"])[0].statistics.maximum == 2
    frame = read_frame({"day": ["2024-01-01", "2024-1-2"], "n": [1, 2]})
    with pytest.raises(DataError, match="column 'day' holds dates or times: make numbers of them"):
        find_columns(frame, ["day", "n"])
    names = read_frame({"name": [f"name {place}" for place in range(200)]})
    with pytest.raises(DataError, match=r"column 'name' holds 200 different words, such as name 0, .*: leave"):
        find_columns(names, ["name"])
    nearly = read_frame({"n": ["1", "2", "3", "4", "five"], "gap": ["1", "2", "", "4", "5"], "day": ["2024-1-2"] * 5})
    said = r"(?s)1 column: 'gap' 1\. --missing .*'n' holds numbers, but also .*'five'.*--drop n,day \(drop=\) leaves"
    with pytest.raises(DataError, match=said):
        find_columns(nearly, ["n", "gap", "day"])


def test_missing_values_are_counted_by_column() -> None:
    frame = read_frame({"a": [1.0, None, None], "w": ["x", None, "y"], "b": [1, 2, 3]})
    with pytest.raises(DataError, match="of 3 rows values are missing in 2 columns: 'a' 2, 'w' 1"):
        find_columns(frame, ["a", "w", "b"])


def test_columns_are_found_as_pandas_describes_them() -> None:
    pandas = pytest.importorskip("pandas")
    numbers = np.random.default_rng(0).normal(50, 9, 200)
    table = pandas.DataFrame({"n": numbers, "w": np.where(numbers > 50, "b", "a")})
    found, words = find_columns(read_frame(table), ["n", "w"], units={"n": "kg"})
    described = table["n"].describe()
    assert (found.name, found.unit, found.missing) == ("n", "kg", "refuse")
    assert isinstance(found.statistics, Statistics)
    assert found.statistics.minimum == described["min"]
    assert found.statistics.maximum == described["max"]
    assert found.statistics.mean == pytest.approx(described["mean"], rel=1e-12)
    assert found.statistics.std == pytest.approx(table["n"].std(ddof=0), rel=1e-12)
    assert words.categories == tuple(sorted(table["w"].unique()))


COLUMNS = (Column("n", missing="mean"), Column("w", categories=("a", "b")), Column("code", categories=("1", "2.5")))


def test_rows_are_encoded_by_the_names_of_columns_in_any_order() -> None:
    frame = read_frame({"extra": [0, 0], "code": [2.5, 1], "w": ["b", "a"], "n": [None, 7]})
    rows, faults = encoded(frame, COLUMNS)
    np.testing.assert_array_equal(rows, np.array([[np.nan, 1, 1], [7, 0, 0]], np.float32))
    assert not faults


def test_what_a_row_lacks_is_named() -> None:
    _, faults = encoded(read_frame({"n": [1, 2, 3], "w": ["a", "c", None], "code": [1, 1, 1]}), COLUMNS)
    assert faults == {
        1: "column 'w': 'c' is none of the categories a, b (train --missing indicator,other takes new words; "
        "in Python unknown='other')",
        2: "column 'w': the value is missing, as none was in training",
    }
    with pytest.raises(DataError, match="has no column 'w'; what it has beside the others: W"):
        encoded(read_frame({"n": [1], "W": ["a"], "code": [1]}), COLUMNS)
    with pytest.raises(UsageError, match="no column 'm'; it has n"):
        find_columns(read_frame({"n": [1.0, 2.0]}), ["n"], units={"m": "kg"})


def test_other_words_are_none_of_the_categories_where_that_is_wanted() -> None:
    columns = (Column("w", categories=("a", "b"), unknown="other"),)
    rows, faults = encoded(read_frame({"w": ["b", "c"]}), columns)
    assert rows.tolist() == [[1.0], [-1.0]]
    assert not faults


def test_a_table_without_names_is_taken_in_order(tmp_path: Path) -> None:
    frame = read_frame(written(tmp_path / "t.csv", "1,a,1\n2,b,2.5\n"))
    rows, _ = encoded(frame, COLUMNS)
    assert rows.tolist() == [[1, 0, 0], [2, 1, 1]]
    with pytest.raises(DataError, match="expected 3 columns, n, w, code, or a first line with their names; found 2"):
        encoded(read_frame(written(tmp_path / "two.csv", "1,a\n2,b\n")), COLUMNS)
    with pytest.raises(DataError, match="the first row holds the names of the columns: in JSON, rows are objects"):
        encoded(read_frame(written(tmp_path / "t.json", '[["code", "w", "n"], [1, "a", 2]]')), COLUMNS)


def test_words_are_objects_and_numbers_are_floats() -> None:
    frame = read_frame({"w": ["a"], "n": [1]})
    assert is_words(frame.columns["w"])
    assert not is_words(frame.columns["n"])
