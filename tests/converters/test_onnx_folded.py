"""Sizes, pads, scales, axes and bounds that a file computes of constants, in random ways, are imported all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import read_onnx
from portable_nn.core.errors import GraphError

Array = np.ndarray[Any, Any]

INPUT = np.random.default_rng(0).standard_normal((2, 3, 6, 8), np.float32)


class Hiding:
    """Nodes of a model, and constants that are computed in up to ``depth`` steps each."""

    def __init__(self, rng: np.random.Generator, depth: int) -> None:
        self.rng, self.depth = rng, depth
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        names = [f"v{len(self.nodes)}.{place}" for place in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names[0]

    def stored(self, array: Any) -> str:
        tensor = numpy_helper.from_array(np.asarray(array), f"c{len(self.initializers)}")
        if self.rng.random() < 0.5:
            return self.node("Constant", value=tensor)
        self.initializers.append(tensor)
        return tensor.name

    def hidden(self, array: Array, depth: int | None = None) -> str:
        """A value that is ``array``."""
        depth = self.depth if depth is None else depth
        if depth == 0:
            return self.stored(array)
        ways = [way for fits, way in WAYS if fits(array)]
        return ways[self.rng.integers(len(ways))](self, array, lambda part: self.hidden(part, depth - 1))

    def whole(self, *numbers: int) -> str:
        return self.hidden(np.array(numbers, np.int64))


Hide = Callable[[Array], str]
Way = Callable[[Hiding, Array, Hide], str]


def _gathered(h: Hiding, a: Array, hide: Hide) -> str:
    order = h.rng.permutation(a.size)
    return h.node("Gather", hide(a[order]), hide(np.argsort(order)))


def _cast(h: Hiding, a: Array, hide: Hide) -> str:
    other = a.astype(h.rng.choice(["float32", "float64", "int64", "int32"]))
    code = helper.np_dtype_to_tensor_dtype(a.dtype)
    return h.node("Cast", hide(other if np.array_equal(other.astype(a.dtype), a) else a), to=code)


def _turned(h: Hiding, a: Array, hide: Hide) -> str:
    table = h.node("Transpose", hide(a.reshape(2, -1).T.copy()), perm=[1, 0])
    return h.node("Reshape", table, h.stored(np.int64([-1])))


def _reversed(h: Hiding, a: Array, hide: Hide) -> str:
    ends = ([-1], [-(2**63)], [0], [-1])
    return h.node("Slice", hide(a[::-1].copy()), *(h.stored(np.int64(each)) for each in ends))


def _chosen(h: Hiding, a: Array, hide: Hide) -> str:
    return h.node("Where", hide(np.ones(a.shape, bool)), hide(a), h.stored(np.zeros_like(a)))


def _shape_of(h: Hiding, a: Array, hide: Hide) -> str:
    return h.node("Shape", h.node("ConstantOfShape", hide(a)))


def _is(h: Hiding, a: Array, hide: Hide) -> str:
    return h.node("Equal", hide(np.where(a, 3, 4)), h.stored(np.int64(3)))


def _is_list(a: Array) -> bool:
    return a.ndim == 1 and a.size > 0


def _is_number(a: Array) -> bool:
    return a.dtype.kind != "b"


WAYS: Final[list[tuple[Callable[[Array], bool], Way]]] = [
    (lambda a: True, lambda h, a, hide: h.node("Identity", hide(a))),
    (lambda a: a.ndim == 1 and a.size > 1, lambda h, a, hide: h.node("Concat", hide(a[:1]), hide(a[1:]), axis=0)),
    (_is_number, _cast),
    (_is_list, _gathered),
    (_is_list, _reversed),
    (lambda a: _is_list(a) and a.size % 2 == 0, _turned),
    (_is_number, lambda h, a, hide: h.node("Neg", hide(-a))),
    (_is_number, lambda h, a, hide: h.node("Mul", hide(a), h.stored(np.ones((), a.dtype)))),
    (_is_number, lambda h, a, hide: h.node("Add", hide(a - 2), hide(np.full_like(a, 2)))),
    (_is_number, lambda h, a, hide: h.node("Max", hide(a), h.stored(a - 1))),
    (_is_number, lambda h, a, hide: h.node("Clip", hide(a), h.stored(np.asarray(-100, a.dtype)))),
    (lambda a: a.dtype.kind == "f" and (a >= 0).all(), lambda h, a, hide: h.node("Sqrt", hide(a * a))),
    (lambda a: a.dtype == np.int64 and _is_list(a) and bool((a > 0).all()), _shape_of),
    (_is_list, lambda h, a, hide: h.node("Expand", hide(a), h.stored(np.int64(a.shape)))),
    (lambda a: a.dtype != bool, _chosen),
    (lambda a: a.dtype == bool, _is),
]
"""Which arrays a way is for, and how it makes them."""

READERS: Final[dict[str, Callable[[Hiding], str]]] = {
    "scales": lambda h: h.node("Resize", "x", "", h.hidden(np.float32([1, 1, 2, 1.5])), mode="linear"),
    "sizes": lambda h: h.node("Resize", "x", "", "", h.whole(2, 3, 9, 4), mode="nearest"),
    "pads": lambda h: h.node("Pad", "x", h.whole(0, 0, 1, 2, 0, 0, 3, 0), h.hidden(np.float32(0.5))),
    "shape": lambda h: h.node("Reshape", "x", h.whole(0, -1, 4)),
    "expanded": lambda h: h.node("Expand", h.node("ReduceMax", "x", axes=[2]), h.whole(1, 1, 5, 1)),
    "repeats": lambda h: h.node("Tile", "x", h.whole(1, 2, 1, 3)),
    "slices": lambda h: h.node("Slice", "x", h.whole(1, 0), h.whole(5, 7), h.whole(2, 3), h.whole(2, 3)),
    "bounds": lambda h: h.node("Clip", "x", h.hidden(np.float32(-0.5)), h.hidden(np.float32(0.75))),
    "axes": lambda h: h.node("Unsqueeze", "x", h.whole(1, 4)),
    "reduced": lambda h: h.node("ReduceSum", "x", h.whole(1, 3), keepdims=0),
    "count": lambda h: h.node("TopK", "x", h.whole(3), outputs=2),
    "parts": lambda h: h.node("Split", "x", h.whole(2, 6), outputs=2, axis=3),
}  # fmt: skip
"""What reads constants that decide its output."""


def model_of(h: Hiding, output: str) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", (2, 3, 6, 8)), (output, None)))
    graph = helper.make_graph(h.nodes, "g", [x], [y], h.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "seeds",
    [
        range(4),
        pytest.param(range(4, 24), marks=pytest.mark.long),
        pytest.param(range(24, 100), marks=pytest.mark.sweep),
    ],
    ids=["few", "more", "many"],
)
def test_constants_may_be_computed(reader: str, seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        hiding = Hiding(np.random.default_rng(seed), depth=1 + seed % 7)
        model = model_of(hiding, READERS[reader](hiding))
        [expected, *_] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": INPUT})
        np.testing.assert_allclose(read_onnx(model).network.predict(INPUT), expected, atol=1e-6, err_msg=str(seed))
        name = model.graph.output[0].name
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, expected.shape))
        onnx.save(model, tmp_path / "a.onnx")
        assert not [found for found in pnn.check(tmp_path / "a.onnx").findings if found.level == "error"]


def test_a_rank_that_data_decide_is_refused() -> None:
    hiding = Hiding(np.random.default_rng(0), depth=0)
    shape = hiding.node("Reshape", hiding.node("NonZero", "x"), hiding.stored(np.array([-1])))
    with pytest.raises(GraphError, match=r"the number of axes of its output is the unknown size .*size\("):
        read_onnx(model_of(hiding, hiding.node("ConstantOfShape", shape)))
