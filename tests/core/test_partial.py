"""The beginnings of files, when others end, begin or write at the worst moment; see also ``test_cli_continued``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portable_nn.core.atomic import must_be_new, replacing_nothing
from portable_nn.core.errors import FileError, TakenError, UsageError
from portable_nn.core.partial import Part, partial_write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and locks of POSIX")

ORIGIN = {"the model": "m"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def write(
    path: Path, data: bytes = b"new", meanwhile: Callable[[Part], object] = lambda part: None, **how: bool
) -> None:
    with replacing_nothing(), partial_write(path, ORIGIN, **how) as part:
        if not path.exists():
            must_be_new(path)
        part.file.write(data)
        part.keep({"rows": len(data)}, every=0)
        meanwhile(part)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_what_appears_meanwhile_stays_and_nothing_is_left_to_go_on_with(path: Path) -> None:
    with pytest.raises(TakenError, match=r"rows.csv: .* what was made is in .*rows-2.csv$"):
        write(path, meanwhile=lambda part: path.write_bytes(b"theirs"))
    assert (path.read_bytes(), path.with_name("rows-2.csv").read_bytes()) == (b"theirs", b"new")
    assert names(path.parent) == ["rows-2.csv", "rows.csv"]


def test_a_second_run_of_the_same_name_is_refused_from_the_first_moment_on(path: Path) -> None:
    def second(part: Part) -> None:
        for how in ({}, {"force": True}, {"resume": True}):
            with pytest.raises(UsageError, match=r"rows.csv.part is being written by another process$"):
                write(path, b"other", **how)

    write(path, meanwhile=second)
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["rows.csv"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_file_that_a_killed_run_has_published_is_not_written_into(path: Path, resume: bool) -> None:
    """It was killed after the file had got its name, and before the beginning had lost it."""
    path.write_bytes(b"complete")
    part, journal = path.with_name("rows.csv.part"), path.with_name("rows.csv.part.json")
    os.link(path, part)
    journal.write_text(json.dumps({"size": 4, "origin": ORIGIN, "state": {"rows": 4}}))

    def look(part: Part) -> None:
        assert part.state is None
        part.file.flush()
        assert path.read_bytes() == b"complete"

    write(path, meanwhile=look, force=True, resume=resume)
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["rows.csv"]


def test_the_beginning_of_another_run_is_not_removed_by_one_that_ends(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins after the file of the first run was renamed, and before its journal is removed."""
    path.write_bytes(b"old")
    really, inner = Part.remove, list[Part]()

    def remove(part: Part) -> None:
        if not inner and part.path.exists() is False:
            other = Part(path, path, ORIGIN)
            inner.append(other)
            other.begin(resume=False, force=True)
        really(part)

    monkeypatch.setattr(Part, "remove", remove)
    write(path, force=True)
    assert path.read_bytes() == b"new"
    assert "rows.csv.part" in names(path.parent)
    inner[0].file.write(b"next")
    inner[0].finish(None, None)
    assert path.read_bytes() == b"next"
    assert names(path.parent) == ["rows.csv"]


def stopped(path: Path, rows: bytes, error: BaseException) -> None:
    """A run that ends before the journal is written again, which is done after some seconds."""
    with partial_write(path, ORIGIN) as part:
        if rows:
            part.file.write(rows)
            part.keep({"rows": len(rows)})
        part.file.write(b"half a r")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_rows_stay_that_the_journal_did_not_count_yet(path: Path, error: BaseException) -> None:
    with pytest.raises((KeyboardInterrupt, FileError)):
        stopped(path, b"rows", error)
    assert names(path.parent) == ["rows.csv.part", "rows.csv.part.json"]
    with partial_write(path, ORIGIN, resume=True) as part:
        assert part.state == {"rows": 4}
        part.file.write(b", and more")
    assert path.read_bytes() == b"rows, and more"
    assert names(path.parent) == ["rows.csv"]


def test_nothing_stays_of_a_run_that_is_interrupted_before_its_first_rows(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        stopped(path, b"", KeyboardInterrupt())
    assert names(path.parent) == []
