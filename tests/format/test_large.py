"""Files larger than memory should ever have to be: written, verified, sliced and exported, one tensor at a time."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from apart import APART

GIB = 2**30

SCRIPT = """
import json, resource, sys
from pathlib import Path

import numpy as np

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.format import InputInfo, Manifest, OutputInfo, load, save
from portable_nn.core.graph import Graph, Node, Parameter, Value

path, gibibytes = Path(sys.argv[1]), int(sys.argv[2])
width, count = 8192, 4 * gibibytes  # a quarter of a GiB each
names = [f"layer_{number}.weight" for number in range(count)]
values = ["x", *(f"h{number}" for number in range(count))]
graph = Graph(
    inputs=(Value("x", "float32", ("batch", width)),),
    outputs=(values[-1],),
    parameters=tuple(Parameter(name, "float32", (width, width)) for name in names),
    nodes=tuple(Node(f"n{i}", "MatMul", (values[i], name), (values[i + 1],)) for i, name in enumerate(names)),
)
manifest = Manifest(graph=graph, inputs=(InputInfo("x"),), outputs=(OutputInfo(values[-1]),))


def stream():
    for number, name in enumerate(names):
        yield name, np.full((width, width), number + 0.5, np.float32)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


found = {"start": peak()}
digest = save(path, manifest, stream())
found |= {"saved": peak(), "bytes": path.stat().st_size}
assert load(path, lazy=True, verify="eager").digest == digest
found["verified"] = peak()
found["slice"] = load(path, lazy=True, verify="off").tensors[names[7]][100:103, 5:7].tolist()
report = export_onnx(pnn.load(path, lazy=True), path.with_suffix(".onnx"), verify=False)
found |= {"exported": peak(), "data": report.data.name, "onnx bytes": report.data.stat().st_size}
print(json.dumps(found))
"""


@pytest.mark.minutes
@pytest.mark.parametrize(
    ("suffix", "gibibytes"),
    [
        pytest.param(".h5", 3, marks=pytest.mark.long),
        pytest.param(".safetensors", 3, marks=pytest.mark.long),
        pytest.param(".npz", 5, marks=pytest.mark.sweep),  # Of more than 4 GiB, for the fields of 64 bits.
    ],
)
def test_memory_is_bounded_by_one_tensor(tmp_path: Path, suffix: str, gibibytes: int) -> None:
    room = shutil.disk_usage(tmp_path).free
    if room < (2 * gibibytes + 2) * GIB:
        pytest.skip(f"needs {2 * gibibytes + 2} GiB on the disk, and there are {room / GIB:.1f}")
    path = tmp_path / f"big{suffix}"
    try:
        command = [*APART, sys.executable, "-c", SCRIPT, str(path), str(gibibytes)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        assert found["bytes"] >= gibibytes * GIB
        assert found["onnx bytes"] >= gibibytes * GIB
        for step in ("saved", "verified", "exported"):
            assert found[step] < GIB + GIB // 4, step  # the largest tensor has a quarter of a GiB
        assert found["slice"] == [[7.5, 7.5]] * 3
        check_with_others(path, tmp_path / found["data"])
    finally:
        for file in tmp_path.iterdir():
            file.unlink()


def check_with_others(path: Path, data: Path) -> None:
    """A slice in the middle, as h5py or the safetensors package finds it; and the data of the ONNX file."""
    if path.suffix == ".h5":
        import h5py

        with h5py.File(path) as file:
            assert file["layer_9/weight"][-2:, -1].tolist() == [9.5, 9.5]
    elif path.suffix == ".npz":
        import zipfile

        with zipfile.ZipFile(path) as archive, archive.open("layer_19.weight.npy") as member:
            assert archive.getinfo("layer_19.weight.npy").header_offset > 2**32  # in a field of 64 bits
            member.seek(-4, 2)
            assert struct.unpack("<f", member.read()) == (19.5,)
    else:
        from safetensors import safe_open

        with safe_open(path, "np") as file:
            assert file.get_slice("layer_9.weight")[8190:, 8191:].ravel().tolist() == [9.5, 9.5]
    import numpy as np

    last = np.memmap(data, np.float32, "r")[-1]
    assert last == path.stat().st_size // (GIB // 4) - 0.5
