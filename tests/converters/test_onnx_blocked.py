"""Models that onnxruntime saved for one kind of processor are read as the models that they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from portable_nn.converters.onnx import import_onnx, read_onnx
from portable_nn.core.errors import FormatError, UnsupportedError, VerificationError
from portable_nn.onnx.blocked import DOMAIN, block_here

Array = np.ndarray[Any, Any]
GOLDEN = Path(__file__).parent.parent / "golden" / "blocks-of-8.onnx"
"""``golden_model`` as onnxruntime 1.32 saved it on a processor without AVX-512."""


def wave(*shape: int) -> Array:
    """Numbers that no generator must keep making."""
    found = np.sin(np.arange(1.0, 1 + np.prod(shape)) ** 2 * 0.7).reshape(shape)
    return (found * np.sqrt(2 / max(1, np.prod(shape[1:])))).astype(np.float32)


class Model:
    """A model that is put together node by node, of pictures with 3 channels."""

    def __init__(self, opset: int = 17, size: int | str = 12) -> None:
        self.opset, self.size = opset, size
        self.nodes, self.weights = list[onnx.NodeProto](), dict[str, Array]()

    def __call__(self, operator: str, *read: str | Array, domain: str = "", **options: Any) -> str:
        made, names = f"v{len(self.nodes)}", list[str]()
        for each in read:
            names.append(each if isinstance(each, str) else f"onnx::{operator}_{len(self.weights)}")
            if not isinstance(each, str):
                self.weights[names[-1]] = each
        self.nodes.append(helper.make_node(operator, names, [made], made, domain=domain, **options))
        return made

    def conv(self, x: str, *shape: int, bias: bool = True, **options: Any) -> str:
        biases = [wave(shape[0])] if bias else []
        return self("Conv", x, wave(*shape), *biases, pads=[shape[-1] // 2] * 4, **options)

    def proto(self, y: str) -> onnx.ModelProto:
        known = {"x": ["n", 3, self.size, self.size], y: None}
        ends = [[helper.make_tensor_value_info(name, 1, shape)] for name, shape in known.items()]
        stored = [numpy_helper.from_array(array, name) for name, array in self.weights.items()]
        graph = helper.make_graph(self.nodes, "pictures", *ends, stored)
        opsets = [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def saved(model: onnx.ModelProto, path: Path, level: str = "ORT_ENABLE_ALL") -> onnx.ModelProto:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def blocks(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node if node.domain == DOMAIN]


def stem(m: Model, channels: int = 32) -> str:
    return m("Relu", m.conv("x", channels, 3, 3, 3))


def inverted(m: Model) -> str:
    """As in MobileNet: each channel by itself, 20 channels behind it, and a sum round them."""
    x = m.conv(stem(m), 20, 32, 1, 1)
    y = m("Clip", m.conv(x, 96, 20, 1, 1), np.float32(0), np.float32(6))
    y = m("Clip", m.conv(y, 96, 1, 3, 3, group=96), np.float32(0), np.float32(6))
    return m("Add", x, m.conv(y, 20, 96, 1, 1))


def residual(m: Model) -> str:
    """As in ResNet: a sum, then an activation."""
    x = m("MaxPool", stem(m), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = m.conv(m("Relu", m.conv(x, 32, 32, 3, 3, bias=False)), 32, 32, 3, 3, bias=False)
    return m("Relu", m("Add", y, x))


def dense(m: Model) -> str:
    """As in DenseNet: channels joined and normalised."""
    x = stem(m)
    y = m("Concat", x, m.conv(x, 16, 32, 3, 3), axis=1)
    y = m("BatchNormalization", y, wave(48), wave(48), wave(48), 1 + wave(48) ** 2, epsilon=1e-5)
    return m("Relu", y)


def pools(m: Model) -> str:
    x = m("MaxPool", stem(m), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    x = m("AveragePool", x, kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1)
    x = m("AveragePool", x, kernel_shape=[2, 2], auto_pad="SAME_LOWER")
    return m("Add", m("GlobalAveragePool", x), m("GlobalMaxPool", x))


def resized(**options: str) -> Callable[[Model], str]:
    def build(m: Model) -> str:
        nothing, scales = [""] if m.opset > 10 else [], np.float32([1, 1, 2, 3])
        return m("Resize" if m.opset > 9 else "Upsample", stem(m), *nothing, scales, **options)

    return build


def turned(m: Model) -> str:
    """Channels last between convolutions."""
    y = m("Transpose", m.conv(stem(m), 20, 32, 1, 1), perm=[0, 2, 3, 1])
    return m("Transpose", m("MatMul", y, wave(20, 20)), perm=[0, 3, 1, 2])


def activated(name: str, domain: str = "", **options: float) -> Callable[[Model], str]:
    return lambda m: m(name, m.conv("x", 20, 3, 3, 3), domain=domain, **options)


def reshaped(m: Model) -> str:
    """A sum of which onnxruntime cannot tell that both have the same size, and so gives an axis to the blocks."""
    x, m.size = stem(m), "size"
    return m("Add", m("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), m.conv(x, 32, 32, 1, 1, strides=[2, 2]))


CASES: dict[str, tuple[Callable[[Model], str], int]] = {
    "inverted": (inverted, 20),
    "no bias": (lambda m: m("Relu", m.conv(stem(m), 20, 32, 3, 3, bias=False)), 20),
    "residual": (residual, 32),
    "dense": (dense, 48),
    "pools": (pools, 32),
    "groups": (lambda m: m.conv(stem(m), 32, 16, 3, 3, group=2), 32),
    "upsample 9": (resized(mode="nearest"), 32),
    "resize 10": (resized(mode="nearest"), 32),
    "nearest": (resized(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"), 32),
    "half_pixel": (resized(mode="linear", coordinate_transformation_mode="half_pixel"), 32),
    "align_corners": (resized(mode="linear", coordinate_transformation_mode="align_corners"), 32),
    "asymmetric": (resized(mode="linear", coordinate_transformation_mode="asymmetric"), 32),
    "turned": (turned, 20),
    "reshaped": (reshaped, 32),
    "LeakyRelu": (activated("LeakyRelu", alpha=0.3), 20),
    "HardSigmoid": (activated("HardSigmoid", alpha=0.3, beta=0.4), 20),
    "Sigmoid": (activated("Sigmoid"), 20),
    "Tanh": (activated("Tanh"), 20),
    "QuickGelu": (activated("QuickGelu", "com.microsoft", alpha=1.7), 20),
}


def built(name: str) -> onnx.ModelProto:
    """A case, and 20 channels behind it: they fill blocks of 8 and of 16 in different ways."""
    build, channels = CASES[name]
    m = Model(int(name.split()[-1]) if name[-1].isdigit() else 17)
    return m.proto(m("Relu", m.conv(build(m), 20, channels, 1, 1)))


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_is_the_one_that_it_was(name: str, tmp_path: Path) -> None:
    model = built(name)
    found = saved(model, tmp_path / "best.onnx")
    if not blocks(found):
        pytest.skip("this processor needs no blocks")
    network, proof, _ = read_onnx(tmp_path / "best.onnx")
    feeds = {"x": np.random.default_rng(1).normal(size=(2, 3, 12, 12)).astype(np.float32)}
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)[0]
    np.testing.assert_allclose(next(iter(network.predict(feeds).values())), wanted, atol=1e-5, rtol=1e-5)
    assert {fate.kind for fate in proof.weights} <= {"kept", "constant"}
    weights = [each for each in network.graph.parameters if each.name.startswith("onnx::Conv") or len(each.shape) == 4]
    assert all(each.trainable for each in weights)
    sizes = {tuple(each.dims) for each in model.graph.initializer if len(each.dims) == 4}
    assert {value.shape for value in network.graph.parameters if len(value.shape) == 4} >= sizes


def test_zeros_that_fill_blocks_tell_how_large_these_are(tmp_path: Path) -> None:
    m = Model()
    model = m.proto(m.conv(m.conv(stem(m), 20, 32, 1, 1), 48, 20, 1, 1))
    if not blocks(saved(model, tmp_path / "best.onnx")):
        pytest.skip("this processor needs no blocks")
    network = import_onnx(tmp_path / "best.onnx")
    assert [value.shape for value in network.graph.parameters if value.shape[1:]] == [
        (32, 3, 3, 3), (20, 32, 1, 1), (48, 20, 1, 1)
    ]  # fmt: skip


def golden_model() -> onnx.ModelProto:
    m = Model()
    x = m.conv(stem(m, 8), 24, 8, 1, 1)
    return m.proto(m.conv(m("Relu", m.conv(x, 24, 1, 3, 3, group=24)), 12, 24, 1, 1))


def test_the_file_of_another_processor_is_what_it_was_there() -> None:
    network, proof, notes = read_onnx(GOLDEN)
    feeds = {"x": np.random.default_rng(2).normal(size=(2, 3, 12, 12)).astype(np.float32)}
    wanted = onnxruntime.InferenceSession(golden_model().SerializeToString()).run(None, feeds)[0]
    np.testing.assert_allclose(next(iter(network.predict(feeds).values())), wanted, atol=1e-5, rtol=1e-5)
    assert any("channels in blocks of 8" in note for note in notes)
    if block_here() != 8:
        assert any(f"takes blocks of 8 channels for such of {block_here()}" in note for note in proof.notes)


def plain_sizes(path: Path) -> onnx.ModelProto:
    """A model that fits both sizes of blocks: all numbers of channels are multiples of 16."""
    m = Model()
    model = m.proto(m.conv(stem(m), 48, 32, 3, 3))
    if not blocks(saved(model, path)):
        pytest.skip("this processor needs no blocks")
    return model


def test_a_file_that_fits_both_sizes_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "best.onnx"
    model = plain_sizes(path)
    with pytest.raises(UnsupportedError, match=r"blocks of 8 or of 16.*save the optimised model at level EXTENDED"):
        import_onnx(path)
    saved(model, path, "ORT_ENABLE_EXTENDED")
    import_onnx(path)


def test_blocks_that_are_taken_for_others_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_sizes(tmp_path / "best.onnx")
    other = 24 - block_here()
    monkeypatch.setattr("portable_nn.onnx.blocked.BLOCKS", (other,))
    monkeypatch.setattr("portable_nn.converters.onnx.importing.block_here", lambda: other)
    with pytest.raises(VerificationError):
        import_onnx(tmp_path / "best.onnx")


def without_weight(model: onnx.ModelProto) -> None:
    del model.graph.initializer[:]


def of_20_rows(model: onnx.ModelProto) -> None:
    weight = next(each for each in model.graph.initializer if len(each.dims) == 4)
    weight.CopyFrom(numpy_helper.from_array(wave(20, 3, 3, 3), weight.name))


def with_fewer_channels(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for each in node.attribute:
            each.i -= each.name == "channels"


def without_channels(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "ReorderOutput":
            del node.attribute[:]


def unknown(model: onnx.ModelProto) -> None:
    model.graph.node[0].op_type = "Outverse"


def softmax(model: onnx.ModelProto) -> None:
    node = model.graph.node[1]
    node.CopyFrom(helper.make_node("Softmax", node.input[:1], node.output, node.name))


def in_a_body(model: onnx.ModelProto) -> None:
    body, made = onnx.GraphProto(), [value.name for value in model.graph.output]
    body.CopyFrom(model.graph)
    del body.input[:], model.graph.node[:]
    model.graph.node.append(helper.make_node("If", ["yes"], made, then_branch=body, else_branch=body))
    model.graph.input.append(helper.make_tensor_value_info("yes", onnx.TensorProto.BOOL, []))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (without_weight, FormatError, "do not fit each other"),
        (of_20_rows, FormatError, "neither of 8 nor of 16"),
        (with_fewer_channels, FormatError, "channels that are used"),
        (without_channels, FormatError, "'channels'"),
        (unknown, UnsupportedError, "Outverse"),
        (in_a_body, UnsupportedError, "body of another one.*level EXTENDED"),
        (softmax, UnsupportedError, r"\(Softmax\).*level EXTENDED"),
    ],
)
@pytest.mark.quick
def test_a_damaged_file_is_refused_by_name(
    change: Callable[[onnx.ModelProto], None], kind: type[Exception], message: str
) -> None:
    model = onnx.load(GOLDEN)
    change(model)
    with pytest.raises(kind, match=message):
        import_onnx(model)
