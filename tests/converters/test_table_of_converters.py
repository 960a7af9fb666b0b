"""Converters are found by files and objects, and those of other packages by their entry points."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from portable_nn.converters.registry import BUILT_IN, converter, converters, from_object, reader_of
from portable_nn.core.errors import UsageError

THEIRS = '''
import numpy as np
import portable_nn as pnn
from portable_nn.converters.conversion import Imported, Written, compare_sides
from portable_nn.converters.registry import Converter


class Line:
    """y = a x + b"""

    def __init__(self, a, b):
        self.a, self.b = a, b


def from_line(line, *, verify=True):
    network = pnn.Sequential(pnn.Input(1, name="x"), pnn.Dense(1, weight_initial=[[line.a]], bias_initial=[line.b]))
    [out] = network.graph.outputs
    proof = compare_sides(network, lambda feeds: {out: (line.a * feeds["x"] + line.b).astype("f4")}, "the line")
    return Imported(network, proof, ("a line",))


def read(path, *, verify=True):
    return from_line(Line(*map(float, open(path).read().split())), verify=verify)


def write(network, path, *, verify=True, digits=3):
    weight, bias = network.parameters.values()
    path.write_text(f"{weight.item():.{digits}g} {bias.item():.{digits}g}")
    return Written(path, path.stat().st_size, {}, ())


CONVERTER = Converter(title="lines", packages=("their_lines",), from_object=from_line,
                      reads={".line": read}, writes={".line": write})
'''

USE = """
import numpy as np
import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.converters.registry import from_object
from their_lines import Line

net = from_object(Line(2, 0.5))
assert np.allclose(net.predict(np.float32([[3]])), 6.5)
open("mine.line", "w").write("2 0.5")
for line in ("import mine.line mine.npz", "inspect mine.line", "check mine.line", "predict mine.line x.npy"):
    np.save("x.npy", np.float32([[3]]))
    assert main(line.split()) == 0, line
assert pnn.load("mine.npz").predict(np.float32([[3]])) == 6.5
assert main("import mine.line other.npz --layers 1-1".split()) == 2
"""


@pytest.mark.long
def test_another_package_adds_a_converter(tmp_path: Path) -> None:
    (tmp_path / "their_lines.py").write_text(THEIRS)
    home = tmp_path / "their_lines-1.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: their-lines\nVersion: 1.0\n")
    (home / "entry_points.txt").write_text("[portable_nn.converters]\nlines = their_lines:CONVERTER\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), str(Path(__file__).parents[2])])
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_converter_is_there_and_says_what_it_needs() -> None:
    assert set(BUILT_IN) <= set(converters())
    assert {each.title for each in converters().values()} >= {"ONNX files", "files of arrays"}


def test_an_unknown_converter_is_named() -> None:
    with pytest.raises(UsageError, match="there is no converter 'onyx'; there are onnx, "):
        converter("onyx")
    assert reader_of(Path("x.unknown")) is None


def test_what_an_object_needs_is_said() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(UsageError, match=r"an example is missing: .*from_torch\(module, "):
        from_object(torch.nn.Linear(2, 3))
