"""A case to send: the nodes at which two models part, with what goes in and comes out, as files of their own."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import UsageError
from portable_nn.core.tensors import Array

if TYPE_CHECKING:
    from onnx import ModelProto

    from portable_nn.comparison.alignment import Alignment
    from portable_nn.comparison.report import Parting

_SCRIPT: Final = '''\
"""Run both models on the same input, and print how far they are apart. Needs numpy, onnx and onnxruntime."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime

HERE = Path(__file__).parent


def output(side):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(HERE / side / "model.onnx", options, providers=["CPUExecutionProvider"])
    files = sorted((HERE / side / "test_data_set_0").glob("input_*.pb"), key=lambda file: int(file.stem[6:]))
    arrays = [onnx.numpy_helper.to_array(onnx.load_tensor(file)) for file in files]
    return session.run(None, dict(zip([each.name for each in session.get_inputs()], arrays)))[0]


a, b = output("a"), output("b")
gap = np.abs(a.astype(np.float64).ravel() - b.astype(np.float64).ravel()).max() if a.size == b.size else np.inf
print(f"onnxruntime {onnxruntime.__version__}: a {a.shape}, b {b.shape}, largest difference {gap:.3g}")
'''

_TEXT: Final = """\
{a} and {b} part at these nodes.

a: {nodes_a}
b: {nodes_b}

From the same inputs, the outputs are {apart:.3g} apart; rounding explains at most {guaranteed:.3g}, and probably no
more than {likely:.3g}. {why}

Each folder holds a model of the nodes alone, and in test_data_set_0 the inputs and the output that it has, as the tests
of ONNX do. run.py runs both. Found with {versions}.
"""


def check_new(folder: str | Path | None) -> None:
    """Raise ``UsageError`` where a folder for a case exists."""
    if folder is not None and Path(folder).exists():
        raise UsageError(f"{folder}: exists already; --repro (repro=) writes a new folder")


def write_case(folder: Path, found: Alignment, at: Parting, names: tuple[str, str]) -> None:
    """Write a new folder with the place at which the models called ``names`` part."""
    sides = (
        ("a", found.one.part(at.value_a, found.theirs[0], found.met - {at.value_a}), found.theirs[0], at.value_a),
        ("b", found.other.part(at.value_b, found.seen[0], {*found.given, *found.apart}), found.seen[0], at.value_b),
    )
    for name, model, known, value in sides:
        place = folder / name / "test_data_set_0"
        place.mkdir(parents=True)
        _write(place.parent / "model.onnx", _named(model).SerializeToString())
        arrays = {f"input_{n}": (each.name, known[each.name]) for n, each in enumerate(model.graph.input)}
        own = found.ours[0][value] if name == "b" else known[value]
        for stem, (tensor, array) in {**arrays, "output_0": (value, own)}.items():
            _write(place / f"{stem}.pb", _tensor(tensor, array))
    versions = ", ".join(f"{each} {metadata.version(each)}" for each in ("portable-nn", "onnx", "onnxruntime", "numpy"))
    words = at._asdict() | {"a": names[0], "b": names[1], "versions": versions, "why": at.why and f"Seen: {at.why}."}
    words |= {"nodes_a": ", ".join(at.nodes_a), "nodes_b": ", ".join(at.nodes_b)}
    _write(folder / "README.md", _TEXT.format(**words).encode())
    _write(folder / "run.py", _SCRIPT.encode())


def _write(path: Path, data: bytes) -> None:
    with atomic_write(path) as file:
        file.write(data)


def _tensor(name: str, array: Array) -> bytes:
    from portable_nn.onnx.storage.tensors import to_tensor

    return bytes(to_tensor(name, np.ascontiguousarray(array)).SerializeToString())


def _named(model: ModelProto) -> ModelProto:
    del model.metadata_props[:]
    return model
