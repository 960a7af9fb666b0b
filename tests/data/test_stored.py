"""What is stored, against the whole arrays in memory; and the thread that reads ahead."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import DataError, UsageError
from portable_nn.data import stored
from portable_nn.data.ahead import ahead
from portable_nn.data.stored import Stored, piece_of, rows_of

X = np.random.default_rng(0).normal(size=(103, 5, 2)).astype(np.float32)


class Slices:
    """The least that an array can be."""

    shape, dtype = X.shape, X.dtype

    def __getitem__(self, part: slice) -> Any:
        assert isinstance(part, slice)
        return X[part].tolist()


def kinds(folder: Path) -> Iterator[tuple[Any, int]]:
    """Each kind of what is stored, and the rows of a chunk."""
    file = h5py.File(folder / "x.h5", "w")
    yield file.create_dataset("plain", data=X), 1
    yield file.create_dataset("chunked", data=X, chunks=(10, 5, 1), compression="gzip"), 10
    yield file.create_dataset("big", data=X.astype(">f8"), chunks=(7, 5, 2), shuffle=True), 7
    for order in "CF":
        np.save(folder / f"{order}.npy", np.asarray(X, order=order))  # type: ignore[call-overload]
        yield np.load(folder / f"{order}.npy", mmap_mode="r"), 1
    yield Slices(), 1


@pytest.mark.parametrize("number", range(6))
def test_rows_are_those_of_the_array(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, chunk = list(kinds(tmp_path))[number]
    np.testing.assert_array_equal(rows_of(x, "x"), X)  # Small: read at once.
    monkeypatch.setattr(stored, "WHOLE", 0)
    found = rows_of(x, "x")
    assert isinstance(found, Stored)
    assert (found.shape, found.chunk, len(found), found.size) == (X.shape, chunk, 103, X.size)
    for part in (slice(None), slice(5, 5), slice(90, None), slice(-4, None), slice(13, 47)):
        np.testing.assert_array_equal(found[part], X[part])
    np.testing.assert_array_equal(found.part(20, 60)[5:], X[25:60])


def test_a_private_map_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setattr(stored, "WHOLE", 0)
    for mode in ("c", "r+"):
        x = np.load(tmp_path / "x.npy", mmap_mode=mode)  # type: ignore[arg-type]
        x[3] = 7
        found = rows_of(x, "x")
        for _ in range(2):
            assert (found[2:5] == x[2:5]).all()
        assert (x[3] == 7).all()


def test_what_is_in_memory_stays_as_it_is() -> None:
    torch = pytest.importorskip("torch")
    pandas = pytest.importorskip("pandas")
    for x in (X, X.tolist(), torch.tensor(X), pandas.DataFrame(X[:, 0]), pandas.Series(X[:, 0, 0]), 3, "x.csv"):
        assert rows_of(x, "x") is x


def test_a_dataset_of_words_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["words"] = ["a", "b"]
        with pytest.raises(UsageError, match=r"^x must hold real numbers, not object$"):
            rows_of(file["words"], "x")


def test_pieces_are_whole_chunks() -> None:
    def of(row: int, chunk: int) -> Stored:
        return Stored("x", np.dtype("u1"), (10**6, row), chunk, lambda start, stop: X)

    assert piece_of([of(1024, 1)]) == 1024
    assert piece_of([of(1024, 100)]) == 1000
    assert piece_of([of(1024, 5000)]) == 5000
    assert piece_of([of(1024, 100), of(1, 3000)]) == 3000  # The lighter one is read once.
    assert piece_of([of(1024, 100), of(1, 10**6)]) == 1000  # That would take a gigabyte.


def test_errors_name_what_cannot_be_read() -> None:
    def damaged(start: int, stop: int) -> Any:
        raise OSError("filter returned failure during read")

    def short(start: int, stop: int) -> Any:
        return X[start : stop - 1]

    for read, reason in (
        (damaged, "rows 3 to 7 cannot be read \\(filter returned failure"),
        (short, r"expected float32 \(5, 5, 2\) of its rows, found float32 \(4, 5, 2\)"),
    ):
        with pytest.raises(DataError, match=reason):
            Stored("x", X.dtype, X.shape, 1, read)[3:8]


def threads() -> int:
    return sum(each.name == "reading ahead" for each in threading.enumerate())


def test_reading_ahead_gives_the_same_and_at_most_so_many_at_once() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    for most in (1, 3):
        made.clear()
        for place, number in enumerate(ahead(numbers(), most)):
            assert number == place
            time.sleep(0.001)
            assert len(made) <= place + 1 + most
    assert list(ahead([])) == []
    assert not threads()


def test_an_error_comes_where_its_item_would_have() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise DataError("x", "is damaged")

    found = ahead(broken())
    assert next(found) == 1
    with pytest.raises(DataError, match="is damaged"):
        next(found)
    with pytest.raises(StopIteration):
        next(found)
    assert not threads()


def test_the_thread_ends_with_the_reader() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    found = ahead(endless())
    next(found)
    assert threads() == 1
    found.close()
    assert not threads()
    found = ahead(endless())
    next(found)
    del found
    assert not threads()


def test_prefetch_can_be_gone_through_again() -> None:
    items = pnn.Prefetch([1, 2, 3], ahead=2)
    assert list(items) == list(items) == [1, 2, 3]
    assert len(items) == 3
    with pytest.raises(UsageError, match="takes an iterable"):
        pnn.Prefetch(3)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="ahead must be a whole number from 1"):
        pnn.Prefetch([], ahead=0)
