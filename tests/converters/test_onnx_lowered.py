"""Operators that an opset lacks, written as older ones where sizes are known only when the model runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
import pytest

from portable_nn.engines.plan import Plan
from portable_nn.onnx.writing import to_model
from portable_nn.operators import Leaf, Symbol, constant, emit, emit_all, integers, trace
from portable_nn.operators.registry import Array

RNG = np.random.default_rng(0)


def assert_agree(leaves: Sequence[Leaf], outputs: Sequence[Symbol], feeds: Sequence[Array], opset: int) -> None:
    graph = trace(leaves, outputs).graph
    model = to_model(graph, {}, opset=opset)
    assert not {node.op_type for node in model.graph.node} & {"Attention", "AffineGrid", "RotaryEmbedding"}
    given = {value.name: array for value, array in zip(graph.inputs, feeds, strict=True)}
    plan = Plan(graph, {name: array.shape for name, array in given.items()}, {})
    for name, array in given.items():
        plan.inputs[name][...] = array
    plan.run()
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)
    for ours, other in zip(plan.outputs.values(), theirs, strict=True):
        assert ours.shape == other.shape
        np.testing.assert_allclose(ours, other, rtol=1e-5, atol=1e-5)


def normal(*shape: int) -> Array:
    return RNG.normal(size=shape).astype("float32")


def leaf(name: str, *shape: int | str, dtype: str = "float32") -> Leaf:
    return Leaf(name, dtype, shape)


@pytest.mark.parametrize("opset", [13, 22])
@pytest.mark.parametrize(("queries", "keys"), [(3, 5), (6, 6), (1, 4)])
@pytest.mark.parametrize("heads", [2, 4])
def test_attention(opset: int, queries: int, keys: int, heads: int) -> None:
    leaves = [leaf("q", "b", heads, "s", 4), leaf("k", "b", 2, "t", 4), leaf("v", "b", 2, "t", 3)]
    feeds = [normal(2, heads, queries, 4), normal(2, 2, keys, 4), normal(2, 2, keys, 3)]
    window = emit("Attention", *leaves, is_causal=1, left_window_size=2)
    assert_agree(leaves, [window, emit("Attention", *leaves, softcap=3.0)], feeds, opset)
    mask = leaf("mask", "b", 1, "s", "m", dtype="bool")
    seen = RNG.random((2, 1, queries, keys - 1)) < 0.5
    assert_agree([*leaves, mask], [emit("Attention", *leaves, mask)], [*feeds, seen], opset)
    past = [leaf("pk", "b", 2, "p", 4), leaf("pv", "b", 2, "p", 3)]
    made = emit_all("Attention", *leaves, None, *past, is_causal=1, outputs=4)
    assert_agree([*leaves, *past], made, [*feeds, normal(2, 2, 3, 4), normal(2, 2, 3, 3)], opset)
    lengths = leaf("lengths", "b", dtype="int64")
    padded = emit("Attention", *leaves, None, None, None, lengths, is_causal=1)
    assert_agree([*leaves, lengths], [padded], [*feeds, np.array([keys, 2])], opset)


@pytest.mark.parametrize("opset", [13, 22])
@pytest.mark.parametrize("interleaved", [0, 1])
def test_rotary_embedding(opset: int, interleaved: int) -> None:
    leaves = [leaf("x", "b", "s", 24), leaf("p", "b", "s", dtype="int64")]
    tables = [constant(normal(7, 2), "float32") for _ in range(2)]
    made = emit(
        "RotaryEmbedding", leaves[0], *tables, leaves[1], num_heads=4, rotary_embedding_dim=4, interleaved=interleaved
    )
    assert_agree(leaves, [made], [normal(2, 5, 24), RNG.integers(0, 7, (2, 5))], opset)


@pytest.mark.parametrize("opset", [13, 16, 20])
@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample(opset: int, aligned: int, padding: str) -> None:
    leaves = [leaf("x", "b", "c", "h", "w"), leaf("grid", "b", "y", "z", 2)]
    made = [
        emit("GridSample", *leaves, mode=mode, padding_mode=padding, align_corners=aligned)
        for mode in ("linear", "nearest", "cubic")
    ]
    feeds = [normal(2, 3, 4, 5), RNG.uniform(-2, 2, (2, 3, 2, 2)).astype("float32")]
    assert_agree(leaves, made, feeds, opset)


@pytest.mark.parametrize("opset", [13, 19])
@pytest.mark.parametrize("aligned", [0, 1])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 3, 1, 2)])
def test_affine_grid(opset: int, aligned: int, shape: tuple[int, ...]) -> None:
    """The places of an image of unknown size, and of one whose width is known."""
    leaves = [leaf("theta", "b", 2, 3), leaf("x", "b", 3, "h", "w")]
    size = emit("Shape", leaves[1])
    partly = emit("Concat", emit("Shape", leaves[1], end=3), integers([7]), axis=0)
    made = [emit("AffineGrid", leaves[0], each, align_corners=aligned) for each in (size, partly)]
    assert_agree(leaves, made, [normal(shape[0], 2, 3), normal(*shape)], opset)
