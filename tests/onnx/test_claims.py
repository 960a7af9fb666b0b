"""ONNX files of about a hundred bytes that claim gigabytes: each is refused, and what that takes is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bounded import bounded
from onnx import ModelProto, TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import import_onnx
from portable_nn.core.errors import FormatError, GraphError

MANY = 12 * 2**30
"""A number of elements: 48 GiB of float32."""

SIDE = 100_000
"""The square of it is about as much."""


def model(
    nodes: Sequence[tuple[str, Sequence[str], str, dict[str, Any]]],
    arrays: dict[str, Any] | None = None,
    shape: Sequence[int | str] = (1,),
    opset: int = 18,
) -> ModelProto:
    """A model from ``x`` to ``y``: operators with inputs, output and attributes, and ``arrays`` as initializers."""
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, [output], **options) for operator, inputs, output, options in nodes],
        "",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (arrays or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="")


def sizes(*items: int) -> np.ndarray:
    return np.array(items, np.int64)


ADD: tuple[str, Sequence[str], str, dict[str, Any]] = ("Add", ["z", "x"], "y", {})
ONE = np.ones((1, 1, 1, 1), np.float32)
PICTURE = (1, 1, 1, 1)
BOMBS = {
    "ConstantOfShape": model([("ConstantOfShape", ["s"], "z", {}), ADD], {"s": sizes(MANY)}),
    "Expand": model([("Expand", ["x", "s"], "y", {})], {"s": sizes(MANY)}),
    "Expand of a constant": model(
        [("Expand", ["k", "s"], "e", {}), ("Exp", ["e"], "z", {}), ADD],
        {"k": np.ones(1, np.float32), "s": sizes(MANY)},
    ),
    "Tile of a constant": model(
        [("Tile", ["k", "s"], "z", {}), ADD], {"k": np.ones(1, np.float32), "s": sizes(3 * 10**8)}
    ),
    "Tile of an integer": model(
        [("Tile", ["k", "s"], "t", {}), ("Cast", ["t"], "z", {"to": 1}), ADD], {"k": sizes(1), "s": sizes(10**11)}
    ),
    "Concat of a constant with itself": model(
        [*(("Concat", [f"k{i}"] * 2, f"k{i + 1}", {"axis": 0}) for i in range(28)), ("Exp", ["k28"], "z", {}), ADD],
        {"k0": np.ones(8, np.float32)},
    ),
    "Tile": model([("Tile", ["x", "s"], "y", {})], {"s": sizes(MANY)}),
    "Range": model(
        [("Range", ["a", "b", "c"], "r", {}), ("Cast", ["r"], "z", {"to": 1}), ADD],
        {"a": np.int64(0), "b": np.int64(MANY), "c": np.int64(1)},
    ),
    "Pad": model([("Pad", ["x", "s"], "y", {})], {"s": sizes(0, MANY)}),
    "Resize": model(
        [("Resize", ["x", "", "", "s"], "y", {"mode": "nearest"})], {"s": sizes(1, 1, SIDE, SIDE)}, PICTURE
    ),
    "Resize by scales": model(
        [("Resize", ["x", "", "s"], "y", {"mode": "linear"})], {"s": np.array([1, 1, 1e5, 1e5], np.float32)}, PICTURE
    ),
    "OneHot": model(
        [("Cast", ["x"], "i", {"to": 7}), ("OneHot", ["i", "d", "v"], "y", {})],
        {"d": np.int64(MANY), "v": np.array([0, 1], np.float32)},
    ),
    "EyeLike": model([("ConstantOfShape", ["s"], "c", {}), ("EyeLike", ["c"], "z", {}), ADD], {"s": sizes(SIDE, SIDE)}),
    "CenterCropPad": model([("CenterCropPad", ["x", "s"], "y", {"axes": [0]})], {"s": sizes(MANY)}),
    "HannWindow": model([("HannWindow", ["s"], "z", {}), ADD], {"s": np.int64(MANY)}),
    "MatMul": model(
        [("Expand", ["x", "s"], "a", {}), ("Transpose", ["a"], "b", {"perm": [1, 0]}), ("MatMul", ["b", "a"], "y", {})],
        {"s": sizes(1, SIDE)},
    ),
    "Conv": model([("Conv", ["x", "w"], "y", {"pads": [SIDE // 2] * 4})], {"w": ONE}, PICTURE),
    "ConvTranspose": model(
        [("ConvTranspose", ["x", "w"], "y", {"strides": [SIDE] * 2, "output_padding": [SIDE - 1] * 2})],
        {"w": ONE},
        PICTURE,
    ),
    "Concat": model([("Concat", ["x"] * 48, "y", {"axis": 0})], shape=(2**26,)),
    "an input": model([("Relu", ["x"], "y", {})], shape=(MANY,)),
    "an input of an open batch": model([("Relu", ["x"], "y", {})], shape=("n", SIDE, SIDE)),
    "a reduced value": model(
        [("Expand", ["x", "s"], "a", {}), ("Exp", ["a"], "b", {}), ("ReduceSum", ["b"], "y", {})], {"s": sizes(MANY)}
    ),
    "many values": model(
        [
            *(("Expand", ["x", "s"], f"a{i}", {}) for i in range(30)),
            *(("ReduceSum", [f"a{i}"], f"b{i}", {}) for i in range(30)),
            ("Sum", [f"b{i}" for i in range(30)], "c", {}),
            *(("Exp", [f"a{i}"], f"d{i}", {}) for i in range(30)),
            ("Max", ["c", *(f"d{i}" for i in range(30))], "y", {}),
        ],
        {"s": sizes(2**26)},
    ),
    "many constants": model(
        [
            *(("ConstantOfShape", ["s"], f"a{i}", {}) for i in range(30)),
            ("Sum", ["x", *(f"a{i}" for i in range(30))], "y", {}),
        ],
        {"s": sizes(2**26)},
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("command", ["verify=True", "verify=False"])
def test_a_bomb_is_refused(tmp_path: Path, command: str) -> None:
    """With proof the import refuses it; without, the first prediction does."""
    lines = []
    for place, bomb in enumerate(BOMBS.values()):
        path = tmp_path / f"{place}.onnx"
        path.write_bytes(bomb.SerializeToString())
        shape = [each.dim_value for each in bomb.graph.input[0].type.tensor_type.shape.dim]
        if command == "verify=False" and max(shape) > 1:
            continue  # There the claim is the input itself, which a caller has.
        lines += [
            "try:",
            f"    net = portable_nn.converters.onnx.import_onnx({str(path)!r}, {command})",
            f"    net.predict(__import__('numpy').ones({shape}, 'f4'))",
            f"    print({place}, 'is not refused')",
            "except PortableNNError as error:",
            "    print(str(error).replace(chr(10), ' '))",
        ]
    found = bounded("\n".join(lines))
    assert found.bytes < 150e6
    for line in found.text.splitlines():
        assert "of memory, with" in line
        assert "unless PORTABLE_NN_MEMORY=" in line
    assert len(found.text.splitlines()) == len(lines) // 6


@pytest.mark.long
def test_onnxruntime_is_not_asked_either(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(BOMBS["ConstantOfShape"].SerializeToString())
    code = f"net = portable_nn.converters.onnx.import_onnx({str(path)!r}, verify=False)\n"
    found = bounded(code + "net.predict(__import__('numpy').ones(1, 'f4'), engine='onnxruntime')")
    assert "'constantofshape' (ConstantOfShape): takes 52 GB of memory, with 0 B stored" in found.text
    assert found.bytes < 100e6


@pytest.mark.long
def test_no_foreign_file_is_given_to_onnxruntime_unchecked(tmp_path: Path) -> None:
    """But for many values that are each below the limit: which of them it has at once, onnxruntime decides."""
    lines = []
    for place, bomb in enumerate(bomb for name, bomb in BOMBS.items() if name != "many values"):
        path = tmp_path / f"{place}.onnx"
        path.write_bytes(bomb.SerializeToString())
        lines += [
            "try:",
            f"    OnnxFile(Path({str(path)!r})).runnable('m', 'onnxruntime').runner()",
            f"    print({place}, 'is not refused')",
            "except PortableNNError as error:",
            "    print(str(error).replace(chr(10), ' '))",
        ]
    head = "from pathlib import Path\nfrom portable_nn.opening.onnx_file import OnnxFile\n"
    found = bounded(head + "\n".join(lines))
    assert found.bytes < 150e6
    for line in found.text.splitlines():
        assert "of memory, with" in line
    assert len(found.text.splitlines()) == len(lines) // 5


@pytest.mark.parametrize("verify", [True, False])
def test_the_limit_is_set_by_the_environment(monkeypatch: pytest.MonkeyPatch, verify: bool) -> None:
    small = model([("Expand", ["x", "s"], "y", {})], {"s": sizes(2000)})
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "3K")
    with pytest.raises(GraphError, match=r"'expand' \(Expand\): takes 8.0 kB of memory, with . B stored; at most"):
        import_onnx(small, verify=verify).predict(np.ones(1, np.float32))
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "20K")
    assert np.array_equal(import_onnx(small, verify=verify).predict(np.ones(1, np.float32)), np.ones(2000))


@pytest.mark.parametrize("batch", [1, 300])
def test_a_network_may_compute_a_thousand_times_what_it_is_given(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """The limit grows with the batch: it does not stop large work."""
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1")
    net = pnn.Sequential(pnn.Input(1, 8, 8), pnn.Conv2d(16, kernel=3, padding=1), pnn.ReLU(), pnn.Flatten(), seed=0)
    assert net.predict(np.ones((batch, 1, 8, 8), np.float32)).shape == (batch, 1024)


def calls(depth: int, last: str = "Relu") -> ModelProto:
    """A model of functions, each of which calls the next one twice."""
    functions = []
    for level in range(depth):
        inner, domain = (f"f{level + 1}", "own") if level < depth - 1 else (last, "" if last == "Relu" else "own")
        nodes = [helper.make_node(inner, [x], [y], domain=domain) for x, y in ("xa", "ay")]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", f"f{level}", ["x"], ["y"], nodes, opsets))
    found = model([("f0", ["x"], "y", {"domain": "own"})], opset=17)
    found.functions.extend(functions)
    found.opset_import.append(helper.make_opsetid("own", 1))
    return found


def test_functions_that_double_the_nodes() -> None:
    assert len(import_onnx(calls(5), verify=False).graph.nodes) == 2**5
    with pytest.raises(FormatError, match="its functions make 1,073,741,823 nodes of 59: no tool can run so many"):
        import_onnx(calls(29))


@pytest.mark.long
@pytest.mark.parametrize("command", ["converters.onnx.import_onnx", "check", "inspect"])
def test_no_command_runs_functions_that_double_the_nodes(tmp_path: Path, command: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(calls(29).SerializeToString())
    found = bounded(f"print(portable_nn.{command}({str(path)!r}))")
    assert "its functions make 1,073,741,823 nodes of 59: no tool can run so many" in found.text
    assert found.bytes < 60e6


def test_functions_that_call_each_other_in_a_circle() -> None:
    with pytest.raises(FormatError, match=r"its functions call each other in a circle: (f0, f1, f0|f1, f0, f1)$"):
        import_onnx(calls(2, last="f0"))
