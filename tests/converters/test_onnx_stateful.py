"""CausalConvWithState and LinearAttention of opset 27, imported in other operators, beside onnx.reference."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from portable_nn.core.errors import GraphError
from portable_nn.engines.plan import Plan
from portable_nn.onnx.opsets.support import NEWEST_READ
from portable_nn.onnx.reading import from_model

pytestmark = pytest.mark.skipif(onnx.defs.onnx_opset_version() < NEWEST_READ, reason="this onnx does not know them")
RNG = np.random.default_rng(0)


def floats(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def model_of(operator: str, feeds: dict[str, Any], order: tuple[str, ...], **attributes: Any) -> onnx.ModelProto:
    """One node; inputs that ``feeds`` lacks are left out, and a size that is a text stays open."""
    read = [name if name in feeds else "" for name in order]
    while not read[-1]:
        read.pop()
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, feeds[name].shape) for name in read if name]
    node = helper.make_node(operator, read, ["y", "present"], name="it", **attributes)
    outputs = [onnx.ValueInfoProto(name=name) for name in ("y", "present")]
    graph = helper.make_graph([node], "g", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)], ir_version=11)


def agree(model: onnx.ModelProto, feeds: dict[str, Any]) -> None:
    read = from_model(model, "m")
    plan = Plan(read.graph, {}, read.parameters)
    for name, array in feeds.items():
        plan.inputs[name][...] = array
    plan.run()
    for name, wanted in zip(("y", "present"), ReferenceEvaluator(model).run(None, feeds), strict=True):
        np.testing.assert_allclose(plan.outputs[name], wanted, rtol=1e-5, atol=1e-5, err_msg=name)


CONV = ("x", "weight", "bias", "past")


@pytest.mark.parametrize("activation", ["none", "silu", "swish"])
@pytest.mark.parametrize(("bias", "past", "taps"), [(True, True, 3), (False, False, 4), (True, False, 1)])
def test_causal_convolutions(bias: bool, past: bool, taps: int, activation: str) -> None:
    feeds = {"x": floats(2, 5, 6), "weight": floats(5, 1, taps)}
    feeds |= {"bias": floats(5)} if bias else {}
    feeds |= {"past": floats(2, 5, taps - 1)} if past else {}
    agree(model_of("CausalConvWithState", feeds, CONV, activation=activation), feeds)


ATTENTION = ("query", "key", "value", "past", "decay", "beta")


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize(("heads", "past", "steps"), [((2, 2), True, 5), ((4, 2), False, 3), ((3, 1), True, 1)])
def test_linear_attention(rule: str, heads: tuple[int, int], past: bool, steps: int) -> None:
    (asking, kept), size, values = heads, 4, 3
    for wide, scale in itertools.product((False, True), (0.0, 0.5)):
        feeds = {"query": floats(2, steps, asking * size), "key": floats(2, steps, kept * size) / 2}
        feeds |= {"value": floats(2, steps, kept * values)}
        feeds |= {"past": floats(2, kept, size, values)} if past else {}
        feeds |= {"decay": -np.abs(floats(2, steps, kept * (size if wide else 1)))} if "gated" in rule else {}
        feeds |= {"beta": np.abs(floats(2, steps, 1 if wide else kept)) / 2} if "delta" in rule else {}
        options = {"q_num_heads": asking, "kv_num_heads": kept, "update_rule": rule, "scale": scale}
        agree(model_of("LinearAttention", feeds, ATTENTION, **options), feeds)


def refused(model: onnx.ModelProto, message: str) -> None:
    with pytest.raises(GraphError, match=re.escape(f"at opset 27, {message}")):
        from_model(model, "m")


def test_what_does_not_fit_is_refused() -> None:
    feeds = {"x": floats(2, 5, 6), "weight": floats(5, 1, 3)}
    refused(model_of("CausalConvWithState", feeds, CONV, activation="gelu"), "activation must be none, silu or swish")
    flat = {"x": floats(5, 6), "weight": floats(5, 1, 3)}
    refused(model_of("CausalConvWithState", flat, CONV), "input and weight must be (batch, channels, length)")
    feeds = {"query": floats(2, 3, 8), "key": floats(2, 3, 8), "value": floats(2, 3, 6)}
    heads = {"q_num_heads": 2, "kv_num_heads": 2}
    refused(model_of("LinearAttention", feeds, ATTENTION, **heads), "update_rule 'gated_delta' needs decay")
    options = {**heads, "update_rule": "linear"}
    beta = {**feeds, "beta": floats(2, 3, 2)}
    refused(model_of("LinearAttention", beta, ATTENTION, **options), "update_rule 'linear' has no beta")
    refused(
        model_of("LinearAttention", feeds, ATTENTION, **{**options, "update_rule": "own"}), "update_rule must be one"
    )
    refused(
        model_of("LinearAttention", feeds, ATTENTION, **{**options, "kv_num_heads": 3}), "q_num_heads must be a mul"
    )
    model = model_of("LinearAttention", feeds, ATTENTION, **options)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[1].dim_param = "steps"
    refused(model, "it is written out for a known number of steps, and query is (2, steps, 8): --dim sets it")
