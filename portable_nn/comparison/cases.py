"""A case to send: the nodes at which two models part, with what goes in and comes out, as files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from onnx import ModelProto

from portable_nn.comparison.alignment import Alignment
from portable_nn.comparison.report import limit_in_words
from portable_nn.core.errors import UsageError
from portable_nn.core.tensors import Array
from portable_nn.onnx.storage.tensors import to_tensor

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


def stored(side):
    return onnx.numpy_helper.to_array(onnx.load_tensor(HERE / side / "test_data_set_0" / "output_0.pb"))


a, b = output("a"), output("b")
gap = np.abs(a.astype(np.float64).ravel() - b.astype(np.float64).ravel()).max() if a.size == b.size else np.inf
print(f"onnxruntime {onnxruntime.__version__}: a {a.shape}, b {b.shape}, largest difference {gap:.3g}")
'''

_TEXT: Final = """\
{a} and {b} part at these nodes.

a: {nodes_a}
b: {nodes_b}

On the same inputs, an element of the outputs differs by {apart}. Rounding explains at most {guaranteed},
and probably no more than {likely}.
{why}
The folders a and b hold a model of these nodes alone, and in test_data_set_0 its inputs and its output, as the tests of
ONNX do. run.py {runs}. Found with {versions}.
"""


def check_new(folder: str | Path | None) -> None:
    """Raise ``UsageError`` where a folder for a case exists, or the one that it would be in does not."""
    if folder is not None and Path(folder).exists():
        raise UsageError(f"{folder}: exists already; --repro (repro=) writes a new folder")
    if folder is not None and not Path(folder).absolute().parent.is_dir():
        raise UsageError(f"{folder}: --repro (repro=) writes a new folder in one that exists")


def write_case(folder: Path, found: Alignment, names: tuple[str, str]) -> None:
    """Write a new folder with the place at which the models called ``names`` part, whole or not at all."""
    at = found.partings[0]
    place, given = found.worst_round(at), {*found.given, *found.apart}
    theirs, seen = found.theirs[place], found.seen[place]
    versions = ", ".join(f"{each} {metadata.version(each)}" for each in ("portable-nn", "onnx", "onnxruntime", "numpy"))
    words: dict[str, str] = {
        "a": names[0],
        "b": names[1],
        f"nodes_{found.one.letter.lower()}": ", ".join(at.nodes_a),
        f"nodes_{found.other.letter.lower()}": ", ".join(at.nodes_b),
        "apart": f"{at.apart:.3g}",
        "guaranteed": limit_in_words(at.guaranteed),
        "likely": limit_in_words(at.likely),
        "why": at.why and f"\nThe difference of the nodes: {at.why}.\n",
        "versions": ", ".join(filter(None, (versions, found.other.runs_in))),
        "runs": f"runs a, and reads what {found.other.runs_in} made of b"
        if found.other.runs_in
        else "runs both models",
    }
    script = _SCRIPT.replace('output("b")', 'stored("b")') if found.other.runs_in else _SCRIPT
    with TemporaryDirectory(dir=folder.absolute().parent, prefix=".case-") as made:
        case = Path(made) / "case"
        _write_side(
            case / found.one.letter.lower(),
            found.one.part(at.value_a, theirs, found.met - {at.value_a}),
            theirs,
            theirs[at.value_a],
        )
        own = found.ours[place][at.value_b]
        _write_side(case / found.other.letter.lower(), found.other.part(at.value_b, seen, given), seen, own)
        (case / "README.md").write_text(_TEXT.format(**words), encoding="utf-8")
        (case / "run.py").write_text(script, encoding="utf-8")
        case.rename(folder)


def _write_side(folder: Path, model: ModelProto, known: Mapping[str, Array], output: Array) -> None:
    """Write a model, what goes in and what comes out, as the tests of ONNX have them."""
    del model.metadata_props[:]
    place = folder / "test_data_set_0"
    place.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    arrays = {f"input_{number}": (each.name, known[each.name]) for number, each in enumerate(model.graph.input)}
    for stem, (name, array) in {**arrays, "output_0": (model.graph.output[0].name, output)}.items():
        (place / f"{stem}.pb").write_bytes(to_tensor(name, array).SerializeToString())
