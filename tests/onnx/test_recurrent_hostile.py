"""Hostile recurrent nodes in ONNX files end in clear errors: no crash, no hang, no numbers of nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from portable_nn.converters.onnx import import_onnx
from portable_nn.core.errors import FormatError, PortableNNError
from portable_nn.outputs.reports import check

NAMES = ("W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


def floats(*shape: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(0).normal(size=shape).astype(dtype)


def model(
    shape: Any = ("t", "n", 3), *, operator: str = "LSTM", opset: int = 14, outputs: int = 1, **given: Any
) -> Any:
    """One node of 4 hidden units; inputs and attributes by their names, ``None`` for no such attribute."""
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    inputs = {"W": floats(1, 4 * gates, 3), "R": floats(1, 4 * gates, 4)}
    inputs |= {name: given.pop(name) for name in NAMES if name in given}
    attributes = {"hidden_size": 4, **given}
    attributes = {name: value for name, value in attributes.items() if value is not None}
    read = ["x", *(name if name in inputs else "" for name in NAMES)]
    while not read[-1]:
        read.pop()
    graph = helper.make_graph(
        [helper.make_node(operator, read, [f"y{place}" for place in range(outputs)], "it", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y0", onnx.TensorProto.FLOAT, ["a", "b", "c", "d"])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in inputs.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


LENGTHS = "a sequence of X has 1 to 5 steps, and sequence_lens says {}"
AFFINE = ["Affine"] * 3
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "rows of W": (
        {"W": floats(1, 15, 3)},
        "W must be float32 (1, 16, 3) for X (t, n, 3), 1 direction and 4 hidden units",
    ),
    "rank of W": ({"W": floats(16, 3)}, "W must be float32 (1, 16, 3)"),
    "columns of R": ({"R": floats(1, 16, 5)}, "hidden_size is 4, but R (1, 16, 5) is for 5"),
    "rank of R": ({"R": floats(16)}, "R must be (directions, 4 * hidden size, hidden size), not (16,)"),
    "an empty R": ({"W": floats(1, 0, 3), "R": floats(1, 0, 0), "hidden_size": 0}, "R must be (directions, 4 * hidden"),
    "B": ({"B": floats(1, 16)}, "B must be float32 (1, 32)"),
    "P": ({"P": floats(1, 16)}, "P must be float32 (1, 12)"),
    "initial_h": ({"shape": (5, 2, 3), "initial_h": floats(1, 3, 4)}, "initial_h must be float32 (1, 2, 4)"),
    "rank of initial_c": ({"shape": (5, 2, 3), "initial_c": floats(2, 4)}, "initial_c must be float32 (1, 2, 4)"),
    "element types": ({"W": floats(1, 16, 3, dtype=np.float64)}, "its inputs have different element types"),
    "a huge hidden_size": ({"hidden_size": 2**62}, "hidden_size is 4611686018427387904, but R (1, 16, 4) is for 4"),
    "a negative hidden_size": ({"hidden_size": -4}, "hidden_size is -4, but R"),
    "lengths that are too long": ({"shape": (5, 2, 3), "sequence_lens": np.array([9, 1], "i4")}, LENGTHS.format(9)),
    "negative lengths": ({"shape": (5, 2, 3), "sequence_lens": np.array([-1, 1], "i4")}, LENGTHS.format(-1)),
    "lengths of nothing": ({"shape": (5, 2, 3), "sequence_lens": np.array([0, 1], "i4")}, LENGTHS.format(0)),
    "wide lengths": ({"shape": (5, 2, 3), "sequence_lens": np.array([1, 1])}, "sequence_lens must be int32 (2,)"),
    "as many lengths": ({"shape": (5, 2, 3), "sequence_lens": np.ones(3, "i4")}, "sequence_lens must be int32 (2,)"),
    "layout before it was there": ({"opset": 7, "layout": 1}, "is not a valid ONNX model"),
    "layout": ({"layout": 2}, "layout must be 0 or 1, not 2"),
    "an unknown activation": ({"activations": ["Foo", "Tanh", "Tanh"]}, "'Foo' is none of them"),
    "too few activations": ({"activations": ["Tanh"]}, "activations must be 3 functions for each direction, not Tanh"),
    "too many activations": ({"activations": ["Tanh"] * 4}, "activations must be 3 functions for each direction"),
    "no activation_alpha": ({"activations": AFFINE}, "activation_alpha must have 3 numbers"),
    "few activation_alpha": (
        {"activations": AFFINE, "activation_alpha": [1.0]},
        "activation_alpha must have 3 numbers",
    ),
    "much activation_alpha": (
        {"activations": AFFINE, "activation_alpha": [1.0] * 9, "activation_beta": [0.0] * 3},
        "activation_alpha has 9 numbers, and 3 of the activation functions have such a parameter",
    ),
    "activation_alpha that is none": (
        {"activations": ["Elu", "Tanh", "Tanh"], "activation_alpha": [float("nan")]},
        "activation_alpha must be numbers, not NaN",
    ),
    "a clip of 0": ({"clip": 0.0}, "clip must be more than 0, not 0"),
    "a clip that is none": ({"clip": float("nan")}, "clip must be more than 0, not nan"),
    "a direction": ({"direction": "sideways"}, "direction must be one of forward, reverse, bidirectional"),
    "weights of one direction": ({"direction": "bidirectional"}, "W must be float32 (2, 16, 3)"),
    "rank of X": ({"shape": (5, 3)}, "X must be (steps, batch, features), not (5, 3)"),
    "huge X": ({"shape": (2**40, 2, 3)}, "TB of memory"),
    "outputs": ({"outputs": 4}, "LSTM has 1 to 3 outputs, not 4"),
    "no steps": ({"shape": (0, 2, 3)}, "X must have 1 step or more"),
    "no sequences": ({"shape": (5, 0, 3)}, "its LSTM cannot run on inputs without elements"),
}


@pytest.mark.parametrize(("given", "message"), CASES.values(), ids=CASES)
def test_a_hostile_node_is_refused(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    made = model(**given)
    with pytest.raises(PortableNNError, match=re.escape(message)):
        import_onnx(made)
    onnx.save(made, tmp_path / "m.onnx")
    check(tmp_path / "m.onnx")  # No crash either.


def test_a_file_on_disk_is_looked_at_as_well(tmp_path: Path) -> None:
    from portable_nn.onnx.session import Session

    onnx.save(model(), tmp_path / "m.onnx")
    session = Session(tmp_path / "m.onnx")
    assert session.run({"x": floats(5, 2, 3)})["y0"].shape == (5, 1, 2, 4)
    for _ in range(2):
        with pytest.raises(FormatError, match="its LSTM cannot run on inputs without elements"):
            session.run({"x": floats(5, 0, 3)})
