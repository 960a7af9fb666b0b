"""Pictures, and the shards of several processes, in a bucket: a server that answers as S3 does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

import portable_nn as pnn
from portable_nn.scale import predict_many

moto = pytest.importorskip("moto.server", reason="a server like S3 is that of moto[server]")
s3fs = pytest.importorskip("s3fs", reason="buckets are reached by s3fs")


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[s3fs.S3FileSystem]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION")
    for name, value in zip(names, ("a", "b", f"http://{host}:{port}", "us-east-1"), strict=True):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    files.mkdir("pictures")
    files.mkdir("results")
    yield files
    urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    server.stop()


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_bucket(bucket: s3fs.S3FileSystem, tmp_path: Path, workers: int) -> None:
    if workers:
        pytest.importorskip("distributed", reason="several processes are those of Dask")
    for place in range(20):
        pixels = np.zeros((28, 28), np.uint8)
        pixels[5:23, 4 + place // 2 : 8 + place // 2] = 200 + place
        Image.fromarray(pixels).save(tmp_path / f"{place:02}.png")
        bucket.put(str(tmp_path / f"{place:02}.png"), f"pictures/{place:02}.png")
    wanted = list(pnn.predict("digits", tmp_path))
    for run in range(2):
        given = predict_many("digits", "s3://pictures/", "s3://results/run-1", workers=workers, shard_size=6)
        found = list(given)
        assert [each.input for each in found] == [f"s3://pictures/{place:02}.png" for place in range(20)]
        assert [each.label for each in found] == [each.label for each in wanted]
        assert all(each.error is None for each in found)
        assert (given.tally.shards, given.tally.found) == (4, 4 * run)
    assert len(bucket.ls("results/run-1", refresh=True)) == 10
