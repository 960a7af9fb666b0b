"""The limit on claimed memory, and the bytes of sparse files, which the system counts in blocks."""

from __future__ import annotations

from pathlib import Path

import pytest

from portable_nn.core.errors import UsageError
from portable_nn.core.files import open_regular, stored_bytes
from portable_nn.core.limits import DEFAULT, VARIABLE, excess, limit


@pytest.mark.parametrize(
    ("text", "bytes"),
    [("", DEFAULT), ("100", 100), ("3K", 3072), ("2m", 2097152), ("4G", 4294967296), ("1 GiB", 1073741824)],
)
def test_the_variable(monkeypatch: pytest.MonkeyPatch, text: str, bytes: int) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert limit() == bytes


@pytest.mark.parametrize("text", ["-1", "1.5G", "G", "much", "1X", "٣"])
def test_values_that_are_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UsageError, match=r"PORTABLE_NN_MEMORY must be a number of bytes such as .*, not '"):
        limit()


def test_a_claim_is_measured_by_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1000")
    assert excess(1000, 0, 100) is None
    assert excess(1000, 10, 100) is None
    assert excess(1001, 11, 100) is None  # 11 · 100 are more than the limit.
    assert excess(1101, 11, 100) == (
        "takes 1.1 kB of memory, with 11 B stored; at most 1.1 kB unless PORTABLE_NN_MEMORY=1G is set"
    )


def test_what_the_message_says_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    claimed = 5 * 2**30 + 1
    message = excess(claimed, 100, 100)
    assert message is not None
    monkeypatch.setenv(VARIABLE, message.partition(f"{VARIABLE}=")[2].split()[0])
    assert excess(claimed, 100, 100) is None


@pytest.mark.parametrize("pieces", [(), (0,), (5,), (0, 7)])
def test_holes_are_not_stored(tmp_path: Path, pieces: tuple[int, ...]) -> None:
    path, piece = tmp_path / "sparse", 2**16
    with path.open("wb") as file:
        for place in pieces:
            file.seek(place * piece)
            file.write(b"a" * piece)
        file.truncate(2**40)
    if path.stat().st_blocks * 512 > 2**30:
        pytest.skip("the file system has no sparse files")
    with open_regular(path) as file:
        file.seek(3)
        assert stored_bytes(file) == path.stat().st_blocks * 512 == len(pieces) * piece
        assert file.tell() == 3
