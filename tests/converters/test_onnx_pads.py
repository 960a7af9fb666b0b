"""Windows go out with pads in numbers, and come in so, too: what they compute stays the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, checker, helper, numpy_helper

from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.core.errors import GraphError, UsageError
from portable_nn.core.graph import Dim, Graph
from portable_nn.onnx.session import Session
from portable_nn.onnx.verify import Tolerance, compare
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import Leaf, Symbol, constant, emit, trace

RNG = np.random.default_rng(7)
POOLS = ("MaxPool", "AveragePool", "LpPool")
LEFT_TO_THE_RUNTIME = {"auto_pad", "output_shape", "ceil_mode"}
WEIGHT = RNG.normal(size=(3, 2, 3, 2)).astype(np.float32)


def graph_of(build: Callable[[Leaf], Symbol], *sizes: Dim, channels: int = 2) -> Graph:
    x = Leaf("x", "float32", ("batch", channels, *sizes))
    return trace([x], [build(x)]).graph


def attributes(model: onnx.ModelProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in model.graph.node[-1].attribute}


def written(graph: Graph, opset: int = 17) -> dict[str, Any]:
    """The attributes of the last node of the model that ``graph`` becomes, which computes the same in onnxruntime."""
    model = to_model(graph, {}, opset=opset)
    checker.check_model(model, full_check=True)
    compare(graph, {}, model, "m", tolerance=Tolerance())
    found = attributes(model)
    assert not LEFT_TO_THE_RUNTIME & {name for name, value in found.items() if value not in (b"NOTSET", 0)}
    return found


# -- out


@pytest.mark.parametrize("strides", [(1, 1), (2, 3), (4, 1)])
@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_convolutions_have_pads_in_numbers(auto_pad: str, strides: tuple[int, int]) -> None:
    written(graph_of(lambda x: emit("Conv", x, weight(), auto_pad=auto_pad, strides=strides), 6, 7))


def weight() -> Symbol:
    return constant(WEIGHT, "float32")


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("operator", POOLS)
def test_pools_have_pads_in_numbers(operator: str, auto_pad: str) -> None:
    options = {"kernel_shape": (3, 2), "strides": (2, 2), "auto_pad": auto_pad}
    written(graph_of(lambda x: emit(operator, x, **options), 6, 7))


@pytest.mark.parametrize(
    ("options", "pads", "output_padding"),
    [
        ({"auto_pad": "SAME_UPPER", "strides": (2, 2)}, [0, 0, 1, 0], None),
        ({"auto_pad": "SAME_LOWER", "strides": (2, 2)}, [1, 0, 0, 0], None),
        ({"auto_pad": "SAME_UPPER", "strides": (1, 3)}, [1, 0, 1, 0], [0, 1]),
        ({"output_shape": (9, 8), "strides": (2, 2)}, [1, 0, 1, 0], None),
        ({"output_shape": (12, 9), "strides": (2, 2)}, [0, 0, 0, 0], [1, 1]),
        ({"output_shape": (8, 8), "strides": (2, 2), "auto_pad": "SAME_UPPER"}, [1, 0, 2, 0], None),
        ({"auto_pad": "VALID"}, [0, 0, 0, 0], None),
    ],
)
def test_transposed_convolutions_have_pads_in_numbers(
    options: dict[str, Any], pads: list[int], output_padding: list[int] | None
) -> None:
    """Input (5, 4), kernel (3, 2): without pads the output has (size - 1) · stride + kernel cells along each axis."""
    found = written(graph_of(lambda x: emit("ConvTranspose", x, weight(), **options), 5, 4, channels=3))
    assert found["pads"] == pads
    assert found.get("output_padding") == output_padding


@st.composite
def ceiled(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """The size of one axis, and the options of a pool over it that rounds up, with the same pads at both ends."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    pad = draw(st.integers(0, kernel // 2))
    size = draw(st.integers(max(1, kernel - 2 * pad), 9))
    return size, {"kernel_shape": [kernel], "pads": [pad, pad], "strides": [stride], "ceil_mode": 1}


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(ceiled(), st.sampled_from(POOLS), st.integers(0, 2))
def test_rounding_up_is_written_as_a_longer_end(case: tuple[int, dict[str, Any]], operator: str, further: int) -> None:
    size, options = case
    [kernel], (begin, end) = options["kernel_shape"], options["pads"]
    options["pads"] = [begin, min(end + further, kernel - 1)]
    assert "ceil_mode" not in written(graph_of(lambda x: emit(operator, x, **options), size), opset=22)


@settings(max_examples=60, deadline=None)
@given(ceiled(), st.sampled_from(["MaxPool", "AveragePool"]))
def test_what_is_written_computes_what_torch_rounds_up_to(case: tuple[int, dict[str, Any]], operator: str) -> None:
    torch = pytest.importorskip("torch")
    size, options = case
    (pad, _), [kernel], [stride] = options["pads"], options["kernel_shape"], options["strides"]
    x = np.arange(2 * size, dtype=np.float32).reshape(1, 2, size)
    if operator == "MaxPool":
        pool = torch.nn.MaxPool1d(kernel, stride, pad, ceil_mode=True)
    else:
        pool = torch.nn.AvgPool1d(kernel, stride, pad, ceil_mode=True, count_include_pad=False)
    model = to_model(graph_of(lambda x: emit(operator, x, **options), size), {})
    [found] = Session(to_bytes(model)).run({"x": x}).values()
    np.testing.assert_allclose(found, pool(torch.from_numpy(x)).numpy(), rtol=1e-6)


def test_an_end_that_is_longer_than_runtimes_take_is_refused_where_indices_are_wanted() -> None:
    """Three taps over seven cells, moved by four: the second window has two of them behind the end."""
    options = {"kernel_shape": [3], "dilations": [3], "strides": [4], "pads": [1, 1], "ceil_mode": 1, "name": "it"}
    expected = "ceil_mode would need an end padding of 3 along axis 2, which must be less than the kernel of 3"
    with pytest.raises(UsageError, match=rf"node 'it' \(MaxPool\): {expected}$"):
        to_model(graph_of(lambda x: emit("MaxPool", x, outputs=2, **options), 7), {})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda x: emit("Conv", x, weight(), auto_pad="SAME_UPPER", strides=(1, 2), name="it"),
            "the pads of auto_pad SAME_UPPER depend on the size along axis 3, which is unknown: give it a number",
        ),
        (
            lambda x: emit("MaxPool", x, kernel_shape=(3, 3), strides=(2, 1), ceil_mode=1, name="it"),
            "the pads of ceil_mode depend on the size along axis 2, which is unknown: give it a number",
        ),
    ],
)
def test_pads_that_follow_from_a_size_need_it(build: Callable[[Leaf], Symbol], message: str) -> None:
    graph = graph_of(build, "height", "width")
    operator = graph.nodes[-1].operator
    with pytest.raises(UsageError, match=rf"^this network .* opset 17: node 'it' \({operator}\): {message}$"):
        to_model(graph, {})


def test_pads_that_follow_from_no_size_are_written() -> None:
    same = written(graph_of(lambda x: emit("Conv", x, weight(), auto_pad="SAME_LOWER"), "height", "width"))
    assert same["pads"] == [1, 1, 1, 0]
    ceiled = {"kernel_shape": (3, 2), "strides": (1, 1), "ceil_mode": 1, "count_include_pad": 1}
    assert written(graph_of(lambda x: emit("AveragePool", x, **ceiled), "height", "width"))["pads"] == [0, 0, 0, 0]


def test_a_wanted_size_that_no_output_padding_reaches_is_refused() -> None:
    options = {"output_shape": (14, 9), "strides": (2, 2), "name": "it"}
    graph = graph_of(lambda x: emit("ConvTranspose", x, weight(), **options), 5, 4, channels=3)
    expected = r"output_shape \(14, 9\) would need output_padding \(3, 1\), which must be less than the stride"
    with pytest.raises(UsageError, match=rf"node 'it' \(ConvTranspose\): {expected}$"):
        to_model(graph, {})


# -- in


def foreign(operator: str, shape: list[Dim], **options: Any) -> onnx.ModelProto:
    """A model of another tool: one node 'it'."""
    has_weight = operator.startswith("Conv")
    graph = helper.make_graph(
        [helper.make_node(operator, ["x", "w"] if has_weight else ["x"], ["y"], name="it", **options)],
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(WEIGHT, "w")] if has_weight else [],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("operator", "channels", "options", "pads"),
    [
        ("Conv", 2, {"auto_pad": "SAME_UPPER", "strides": [2, 3]}, (0, 0, 1, 1)),
        ("Conv", 2, {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, (1, 1, 0, 0)),
        ("Conv", 2, {"auto_pad": "VALID"}, (0, 0, 0, 0)),
        ("MaxPool", 2, {"auto_pad": "SAME_UPPER", "kernel_shape": [3, 3], "strides": [2, 2]}, (0, 1, 1, 1)),
        ("AveragePool", 2, {"auto_pad": "SAME_LOWER", "kernel_shape": [2, 2]}, (1, 1, 0, 0)),
        ("ConvTranspose", 3, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (0, 0, 1, 0)),
        ("ConvTranspose", 3, {"auto_pad": "SAME_LOWER", "strides": [2, 1]}, (1, 1, 0, 0)),
    ],
)
def test_pads_are_read_as_numbers_and_that_is_said(
    operator: str, channels: int, options: dict[str, Any], pads: tuple[int, ...]
) -> None:
    found = read_onnx(foreign(operator, ["n", channels, 6, 7], **options))
    [node] = found.network.graph.nodes
    assert node.attributes["pads"] == pads
    assert "auto_pad" not in node.attributes
    assert found.notes == (f"node 'it' ({operator}): auto_pad {options['auto_pad']} is read as pads {pads}",)


def test_a_wanted_size_is_read_as_pads() -> None:
    found = read_onnx(foreign("ConvTranspose", ["n", 3, 5, 4], output_shape=[9, 9], strides=[2, 2]))
    [node] = found.network.graph.nodes
    assert node.attributes == {"strides": (2, 2), "pads": (1, 0, 1, 0), "output_padding": (0, 1)}
    [note] = found.notes
    assert note == "node 'it' (ConvTranspose): output_shape (9, 9) is read as output_padding (0, 1), pads (1, 0, 1, 0)"


def test_where_a_size_is_not_known_it_stays_as_it_is() -> None:
    found = read_onnx(foreign("Conv", ["n", 2, "height", "width"], auto_pad="SAME_UPPER", strides=[2, 2]))
    [node] = found.network.graph.nodes
    assert node.attributes["auto_pad"] == "SAME_UPPER"
    assert found.notes == ()


def test_a_transposed_convolution_with_pads_of_no_size_is_read_for_all_sizes() -> None:
    network = import_onnx(foreign("ConvTranspose", ["n", 3, "height", "width"], auto_pad="SAME_UPPER", strides=[2, 2]))
    assert network.graph.nodes[0].attributes["pads"] == (0, 0, 1, 0)


def test_what_is_in_numbers_already_is_read_as_it_is() -> None:
    found = read_onnx(foreign("Conv", ["n", 2, 6, 7], auto_pad="NOTSET", pads=[1, 1, 1, 1]))
    assert found.network.graph.nodes[0].attributes == {"auto_pad": "NOTSET", "pads": (1, 1, 1, 1)}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("operator", "shape", "options", "message"),
    [
        ("Conv", [1, 4, 6, 7], {}, "X .* has 4 channels, but W .* reads 2"),
        ("Conv", [1, 2, 6], {}, "W must have 3 dimensions"),
        ("MaxPool", [1, 2, 6, 7], {"kernel_shape": [0, 2]}, "kernel_shape must be 1 or more"),
        ("MaxPool", [1, 2, 6, 7], {"kernel_shape": [2]}, "kernel_shape must be 2 numbers"),
    ],
)
def test_what_does_not_fit_is_reported_as_ever(
    operator: str, shape: list[Dim], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(GraphError, match=rf"^model: 'it' \({operator}\): {message}"):
        read_onnx(foreign(operator, shape, auto_pad="SAME_UPPER", **options))


def test_rounding_up_is_read_as_it_is() -> None:
    found = read_onnx(foreign("MaxPool", ["n", 2, 6, 7], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))
    assert found.network.graph.nodes[0].attributes["ceil_mode"] == 1
