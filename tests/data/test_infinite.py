"""Infinity and NaN in tables: numbers in every spelling and kind of table, and never a category."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.core.errors import DataError
from portable_nn.data import cells
from portable_nn.data.columns import find_columns
from portable_nn.data.frames import read_frame

INFINITE = ["1e400", *(sign + text for sign in ("", "-", "+") for text in ("inf", "Inf", "INF", "Infinity"))]
"""What C, Python, R, Julia, JavaScript, Java and SQL write, and a number that is too large for any float."""

MISSING = ["", "nan", "NaN", "-nan", "NAN", "NA", "NULL"]

FINITE = ["1.5", "-2", "3e4", "0", ".5"]


def written(cells: Sequence[str], folder: Path) -> Path:
    lines = [f"{number},{cell}" for number, cell in enumerate(cells)]
    (folder / "t.csv").write_text("\n".join(["a,b", *lines]) + "\n")
    return folder / "t.csv"


def floats(cells: Sequence[str]) -> list[float]:
    return [math.nan if cell in MISSING else float(cell) for cell in cells]


def parquet(cells: Sequence[str], folder: Path) -> Path:
    arrow, files = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    files.write_table(arrow.table({"b": floats(cells)}), folder / "t.parquet")
    return folder / "t.parquet"


def frame(cells: Sequence[str], folder: Path) -> Any:
    return pytest.importorskip("pandas").DataFrame({"b": floats(cells)})


def objects(cells: Sequence[str], folder: Path) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame({"b": pandas.Series(floats(cells), dtype=object)})


SOURCES: dict[str, Callable[[Sequence[str], Path], Any]] = {
    "csv": written,
    "parquet": parquet,
    "frame": frame,
    "objects": objects,
    "dict": lambda cells, folder: {"b": floats(cells)},
    "words": lambda cells, folder: {"b": list(cells)},
    "structured": lambda cells, folder: np.array([(each,) for each in floats(cells)], [("b", "f8")]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.mark.quick("csv")
@pytest.mark.parametrize("source", SOURCES)
@given(
    st.lists(st.sampled_from(INFINITE), min_size=1, max_size=6),
    st.lists(st.sampled_from([*FINITE, *MISSING]), max_size=6),
    st.randoms(use_true_random=False),
)
def test_a_column_with_infinity_is_none_of_words_and_refused(folder, source, infinite, others, rng) -> None:
    if source == "words":  # Numbers in words are categories there, whatever they say.
        infinite = [each for each in infinite if each != "1e400"] or ["inf"]
    cells = [*infinite, *others]
    rng.shuffle(cells)
    table = read_frame(SOURCES[source](cells, folder))
    for missing in ("mean", "indicator"):
        with pytest.raises(DataError, match=r"column 'b' holds .*mend it, or leave its cell empty"):
            find_columns(table, ["b"], missing=missing)


@pytest.mark.parametrize("source", SOURCES)
@given(st.lists(st.sampled_from(MISSING), min_size=1, max_size=5))
def test_a_column_without_any_value_is_left_out(folder, source, cells) -> None:
    table = read_frame(SOURCES[source](cells, folder))
    for categorical in ((), ("b",)):
        with pytest.raises(DataError, match="column 'b' holds no value at all: leave it out"):
            find_columns(table, ["b"], missing="mean", categorical=categorical)


@pytest.mark.parametrize("source", SOURCES)
def test_codes_of_a_column_with_infinity_are_no_categories(folder, source) -> None:
    table = read_frame(SOURCES[source](["1", "2", "inf"], folder))
    with pytest.raises(DataError, match="column 'b' holds 'inf', a number that no network can compute with"):
        find_columns(table, ["b"], categorical=["b"])


@given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=5), min_size=1, max_size=5))
def test_a_word_that_means_infinity_is_one_among_other_words(words) -> None:
    """Branches of an army, say: Inf, Cav and Art."""
    found = ["Inf", "Cav", *(word for word in words if word not in cells.MISSING)]
    [column] = find_columns(read_frame({"b": found}), ["b"])
    assert set(column.categories) == set(found)


@pytest.mark.parametrize("cells", [["inf"] * 6, ["inf", "1.5"] * 3, ["1e400", "2", "3", "4", "5", "6"]])
def test_a_target_is_finite(folder, cells) -> None:
    for task in (None, "classes", "numbers"):
        with pytest.raises(DataError, match=r"the target 'b' holds inf \(.*t\.csv:\d\), which is no finite float32"):
            pnn.train_table("auto-2-auto", written(cells, folder), task=task, epochs=1, progress=False)


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e400"])
def test_a_row_with_infinity_has_an_error_and_the_others_follow(folder, cell) -> None:
    good = {"a": np.arange(8.0), "b": np.arange(8.0) * 2}
    network = pnn.train_table("auto-2-1", good, epochs=1, progress=False).network
    (folder / "p.csv").write_text(f"a,unused\n1,inf\n{cell},2\n3,4\n")
    first, second, third = pnn.predict(network, folder / "p.csv", strict=False)
    assert (first.error, third.error) == (None, None)
    assert second.error is not None
    assert second.error.startswith("column 'a': ")
    with pytest.raises(DataError, match=r"p\.csv:3: column 'a': -?inf does not fit into a float32"):
        list(pnn.predict(network, folder / "p.csv"))


def test_what_is_compared_with_is_finite(folder) -> None:
    network = pnn.Sequential(pnn.Input(1), pnn.Dense(1), seed=0)
    with pytest.raises(DataError, match=r"column 'b' holds inf \(.*t\.csv:3\), which is no finite float64"):
        pnn.evaluate(network, written(["1", "inf"], folder), target="b")
