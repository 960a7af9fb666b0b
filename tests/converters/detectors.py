"""Detectors as ONNX files: a small one in the manner of YOLO, and torchvision's as its exporter writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

node = helper.make_node


def yolo(size: int = 64, classes: int = 3, seed: int = 0) -> ModelProto:
    """Convolutions, a head of boxes and scores, and a NonMaxSuppression whose indices gather both."""
    rng, cells = np.random.default_rng(seed), size // 8

    def kernel(*shape: int) -> Any:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype("float32")

    rows, columns = np.mgrid[:cells, :cells]
    stored = {
        "w1": kernel(8, 3, 3, 3), "w2": kernel(16, 8, 3, 3), "w3": kernel(16, 16, 3, 3),
        "head.weight": 2 * kernel(5 + classes, 16, 1, 1), "head.bias": np.zeros(5 + classes, "float32"),
        "shape": np.array([1, 5 + classes, cells**2]), "parts": np.array([2, 2, 1, classes]),
        "grid": np.stack([columns.ravel(), rows.ravel()], 1)[None].astype("float32"),
        "eight": np.float32(8), "four": np.float32(4), "most": np.array([20]), "overlap": np.float32([0.45]),
        "least": np.float32([0.3]), "0": np.array([0]), "1": np.array([1]), "2": np.array([2]),
    }  # fmt: skip
    nodes, x = [], "images"
    for place in "123":
        nodes += [
            node("Conv", [x, f"w{place}"], [f"c{place}"], strides=[2, 2], pads=[1] * 4),
            node("Relu", [f"c{place}"], [f"r{place}"]),
        ]
        x = f"r{place}"
    nodes += [
        node("Conv", [x, "head.weight", "head.bias"], ["h"], name="head"),
        node("Reshape", ["h", "shape"], ["flat"]),
        node("Transpose", ["flat"], ["rows"], perm=[0, 2, 1]),
        node("Split", ["rows", "parts"], ["at", "log_size", "object", "class"], axis=2),
        node("Sigmoid", ["at"], ["in_cell"]),
        node("Add", ["in_cell", "grid"], ["cells"]),
        node("Mul", ["cells", "eight"], ["centre"]),
        node("Exp", ["log_size"], ["size"]),
        node("Mul", ["size", "four"], ["half"]),
        node("Sub", ["centre", "half"], ["low"]),
        node("Add", ["centre", "half"], ["high"]),
        node("Concat", ["low", "high"], ["corners"], axis=2),
        node("Sigmoid", ["object"], ["sure"]),
        node("Sigmoid", ["class"], ["of_class"]),
        node("Mul", ["sure", "of_class"], ["confidence"]),
        node("Transpose", ["confidence"], ["by_class"], perm=[0, 2, 1]),
        node("NonMaxSuppression", ["corners", "by_class", "most", "overlap", "least"], ["found"], name="nms"),
        node("Gather", ["found", "2"], ["place"], axis=1),
        node("Squeeze", ["place", "1"], ["places"]),
        node("Gather", ["found", "1"], ["label"], axis=1),
        node("Squeeze", ["label", "1"], ["labels"]),
        node("Squeeze", ["corners", "0"], ["all"]),
        node("Gather", ["all", "places"], ["boxes"], axis=0),
        node("GatherND", ["by_class", "found"], ["scores"]),
    ]
    outputs = [
        ("boxes", TensorProto.FLOAT, ["n", 4]),
        ("scores", TensorProto.FLOAT, ["n"]),
        ("labels", TensorProto.INT64, ["n"]),
    ]
    graph = helper.make_graph(
        nodes,
        "yolo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def of_torchvision(name: str, path: Path, size: int) -> None:
    """Export a detector with random weights."""
    import torch
    from torchvision.models import detection

    torch.manual_seed(0)
    options = {} if name.startswith("ssd") else {"min_size": size, "max_size": size}
    made = getattr(detection, name)(weights=None, weights_backbone=None, **options).eval()
    torch.onnx.export(made, ([torch.rand(3, size, size)],), str(path), dynamo=False, opset_version=17)
