"""What others may put into a folder of shards: no file outside is written, nothing waits, nothing is believed."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xxhash
from PIL import Image

from portable_nn.core.errors import FormatError, PortableNNError
from portable_nn.scale import predict_many
from portable_nn.scale.storage import LOCK

pytestmark = pytest.mark.skipif(os.name == "nt", reason="symbolic links and FIFOs as Unix has them")


def answers(folder: Path) -> list[tuple[str, str | None]]:
    found = predict_many("digits", folder / "in", folder / "shards", workers=0, shard_size=2)
    return [(each.input, each.label) for each in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for place in range(3):
        pixels = np.full((28, 28), 255, np.uint8)
        pixels[5:22, 10 + place : 13 + place] = 0
        Image.fromarray(pixels).save(tmp_path / "in" / f"{place}.png")
    (tmp_path / "victim").write_text("precious")
    return tmp_path


def linked(path: Path) -> None:
    path.symlink_to("../victim")


def dangling(path: Path) -> None:
    path.symlink_to("../made outside")


def to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def deep(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def nan(path: Path) -> None:
    path.write_bytes(b'{"version": NaN, "origin": {}}')


def twice(path: Path) -> None:
    path.write_bytes(b'{"version": 1, "version": 1, "origin": {}}')


def other(path: Path) -> None:
    path.write_bytes(b'{"version": 1, "origin": [1], "shard": 5, "first_bad": 7}')


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


KINDS: list[Callable[[Path], None]] = [
    linked,
    dangling,
    to_itself,
    os.mkfifo,
    Path.mkdir,
    deep,
    nan,
    twice,
    other,
    binary,
]


@pytest.mark.parametrize("plant", KINDS, ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("name", ["run.json", "manifest.jsonl", LOCK, "a shard", "a row", "a shard alone"])
def test_a_planted_file_is_refused_or_replaced(folder: Path, name: str, plant: Callable[[Path], None]) -> None:
    wanted = answers(folder)
    shard = min((folder / "shards").glob("*.npz"))
    path = {"a shard": shard, "a shard alone": shard, "a row": shard.with_suffix(".json")}.get(
        name, folder / "shards" / name
    )
    path.unlink()
    if name == "a shard alone":
        shard.with_suffix(".json").unlink()
        (folder / "shards" / "manifest.jsonl").unlink()
    plant(path)
    before = {each.name for each in folder.iterdir()}
    try:
        found = answers(folder)
    except PortableNNError:
        found = wanted
    assert found == wanted
    assert (folder / "victim").read_text() == "precious"
    assert {each.name for each in folder.iterdir()} == before


@pytest.mark.parametrize("garbage", [b"", b"[[[", b"\xff\x00\n", b'{"shard": "../victim"}\n'])
def test_a_garbage_manifest_is_written_anew(folder: Path, garbage: bytes) -> None:
    wanted, manifest = answers(folder), folder / "shards" / "manifest.jsonl"
    before = manifest.read_bytes()
    manifest.write_bytes(garbage)
    assert answers(folder) == wanted
    assert manifest.read_bytes() == before


@pytest.mark.parametrize("damage", [{"outputs": np.zeros((1, 10), np.float32)}, {"finite": np.zeros(0)}])
def test_a_shard_that_does_not_agree_with_itself_is_refused(folder: Path, damage: dict[str, np.ndarray]) -> None:
    answers(folder)
    shard = max((folder / "shards").glob("*.npz"), key=lambda path: path.stat().st_size)
    with np.load(shard) as file:
        arrays = {**file, **damage}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    data = buffer.getvalue()
    shard.write_bytes(data)
    row = shard.with_suffix(".json")
    text = json.loads(row.read_text())
    row.write_text(json.dumps({**text, "size": len(data), "xxh3": xxhash.xxh3_64_hexdigest(data)}))
    (folder / "shards" / "manifest.jsonl").unlink()
    with pytest.raises(FormatError, match=r"is no shard of this program, or damaged \(it has \d names and"):
        answers(folder)


def test_the_folder_itself_may_be_a_link(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "shards").symlink_to("elsewhere")
    assert answers(folder) == answers(folder)
    assert (folder / "elsewhere" / "run.json").is_file()
    shutil.rmtree(folder / "elsewhere")
