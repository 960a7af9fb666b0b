"""Answers as bytes and back, and the places where they are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portable_nn.core.errors import FormatError, UsageError
from portable_nn.data.batches import Bad, Batch
from portable_nn.prediction.answers import Answer
from portable_nn.scale.shards import checked, packed, unpacked
from portable_nn.scale.storage import storage

NAMES = ["plain.png", "with space.png", "zwei\nZeilen.png", "日本.png", "bad\udcff.png#2"]


def answer(names: list[str], numbers: np.ndarray, **more: object) -> Answer:
    batch = Batch(names, np.zeros((len(names), 0), np.float32), **more)  # type: ignore[arg-type]
    return Answer(batch, numbers, np.isfinite(numbers).all(axis=1))


def same(found: Answer | Bad, wanted: Answer | Bad) -> bool:
    if isinstance(found, Bad) or isinstance(wanted, Bad):
        return found == wanted
    return (
        found.batch.names == wanted.batch.names
        and found.batch.labels == wanted.batch.labels
        and found.batch.boxes == wanted.batch.boxes
        and found.numbers.tobytes() == wanted.numbers.tobytes()
        and found.finite.tolist() == wanted.finite.tolist()
    )


def test_a_shard_gives_back_what_went_in() -> None:
    rng = np.random.default_rng(0)
    given: list[Answer | Bad] = [
        answer(NAMES, rng.normal(size=(5, 3))),  # float64 that float32 cannot hold
        Bad("broken \udcfe.png", "no picture"),
        answer(["a", "b"], np.float64(np.float32(rng.normal(size=(2, 3)))), labels=["7", None]),
        answer(["c"], np.zeros((1, 3)), labels=[[0.1, 2.0]], boxes=[(1, 2, 3, 4)]),
    ]
    data, row = packed(given)
    assert (row["examples"], row["bad"], row["first_bad"]) == (9, 1, ["broken \udcfe.png", "no picture"])
    assert {name: row[name] for name in ("size", "xxh3")} == checked(data)
    found = list(unpacked(data, "shard"))
    assert len(found) == 4
    assert all(map(same, found, given))
    assert packed(found)[0] == data


def test_outputs_of_float32_take_four_bytes_each() -> None:
    numbers = np.float64(np.random.default_rng(1).normal(size=(1000, 10)).astype(np.float32))
    data, _ = packed([answer([str(place) for place in range(1000)], numbers)])
    assert len(data) < 4 * 10_000 + 15_000


def test_numpy_alone_reads_a_shard(tmp_path: Path) -> None:
    data, _ = packed([answer(["a", "b"], np.array([[1.5, 2.0], [3.0, 4.0]]))])
    path = tmp_path / "shard.npz"
    path.write_bytes(data)
    with np.load(path) as file:
        assert file["outputs"].tolist() == [[1.5, 2.0], [3.0, 4.0]]
        assert file["finite"].tolist() == [True, True]


@pytest.mark.parametrize("data", [b"", b"PK\3\4 no archive", packed([])[0][:-30]])
def test_other_bytes_are_no_shard(data: bytes) -> None:
    with pytest.raises(FormatError, match=r"^here: is no shard of this program, or damaged"):
        list(unpacked(data, "here"))


@pytest.fixture(params=["folder", "memory://"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "shards")
    pytest.importorskip("fsspec", reason="places that are no folders are those of fsspec")
    return f"memory://{tmp_path.name}/shards"


def test_a_place_keeps_bytes_by_name(where: str) -> None:
    place = storage(where)
    assert place.sizes() == {}
    place.create()
    with place.alone():
        place.write("a.npz", b"123")
        place.write("b.json", b"{}")
        place.write("a.npz", b"1234")
        assert place.sizes() == {"a.npz": 4, "b.json": 2}
        assert place.read(["b.json", "a.npz"]) == {"b.json": b"{}", "a.npz": b"1234"}
        place.remove(["a.npz", "never.npz"])
        assert place.sizes() == {"b.json": 2}


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    first, second = storage(tmp_path), storage(tmp_path)
    with first.alone(), pytest.raises(UsageError, match=r"is being written by another process$"), second.alone():
        pass
    with second.alone():
        pass


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".0123.npz.0a1b2c3d.pnn-tmp"
    left.write_bytes(b"half of it")
    with storage(tmp_path).alone():
        assert not left.exists()


def test_a_place_that_nothing_reaches_is_said_to_be_so() -> None:
    pytest.importorskip("fsspec", reason="places that are no folders are those of fsspec")
    with pytest.raises(UsageError, match=r"^nowhere://bucket cannot be reached \("):
        storage("nowhere://bucket")
