"""The description in a file that was exported: a colleague who has only the file reads its outputs by it."""

from __future__ import annotations

import re
from ast import literal_eval
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.core.errors import FormatError
from portable_nn.preprocessing.steps import GreyscaleStep, ResizeStep

X = np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32)
NAMES = ["it's", "b, c", "öl"]


def classifier(*last: pnn.layers.Layer, labels: list[str] = NAMES) -> pnn.Network:
    """A network with these last layers."""
    return pnn.Sequential(pnn.Input(4), *last, labels=labels, seed=3)


@pytest.mark.parametrize("probabilities", [False, True])
def test_the_order_of_classes_and_what_makes_probabilities_of_the_numbers(probabilities: bool, tmp_path: Path) -> None:
    network = classifier(pnn.Dense(3), *[pnn.Softmax()] * probabilities)
    pnn.export_onnx(network, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    text = onnx.load(tmp_path / "m.onnx").doc_string
    assert text == session.get_modelmeta().description
    kind, order = re.fullmatch(rf"Output '{network.graph.outputs[0]}': (\w+) .*; in this order: (.*)\.", text).groups()
    assert kind == ("probabilities" if probabilities else "logits")
    [numbers] = session.run(None, {network.graph.inputs[0].name: X})
    shares = numbers if probabilities else np.exp(numbers) / np.exp(numbers).sum(axis=1, keepdims=True)
    names = literal_eval(f"[{order}]")
    for found, row in zip(pnn.predict(network, X, top=3), shares, strict=True):
        assert found.label == names[int(row.argmax())]
        np.testing.assert_allclose([dict(found.top)[name] for name in names], row, rtol=1e-4)


def test_one_number_is_about_the_last_class(tmp_path: Path) -> None:
    network = classifier(pnn.Dense(1), labels=["no", "yes"])
    pnn.export_onnx(network, tmp_path / "m.onnx")
    text = onnx.load(tmp_path / "m.onnx").doc_string
    assert "the logistic function makes the probability of the last class; in this order: 'no', 'yes'." in text


def test_a_colleague_reads_what_is_done_with_a_picture(tmp_path: Path) -> None:
    network = pnn.Sequential(
        pnn.Input(8, 8), pnn.Flatten(), pnn.Dense(3), labels=NAMES, preprocessing=(GreyscaleStep(), ResizeStep(8, 8))
    )
    pnn.export_onnx(network, tmp_path / "m.onnx")
    made, *steps, _ = onnx.load(tmp_path / "m.onnx").doc_string.splitlines()
    assert made == "Input 'input' is made of a picture:"
    assert [each.split(",")[0] for each in steps] == ["- convert to grey", "- scale to 8x8 pixels (bilinear)"]
    assert pnn.import_onnx(tmp_path / "m.onnx").save(tmp_path / "a.npz") == network.save(tmp_path / "b.npz")


def test_the_network_comes_back_without_it_and_another_one_is_an_edit(tmp_path: Path) -> None:
    network = classifier(pnn.Dense(3))
    network.outputs = (replace(network.outputs[0], temperature=2.5, threshold=0.4),)
    for metadata in ({}, {"doc_string": "mine"}):
        network.metadata = metadata
        pnn.export_onnx(network, tmp_path / "m.onnx")
        assert pnn.import_onnx(tmp_path / "m.onnx").save(tmp_path / "a.npz") == network.save(tmp_path / "b.npz")
    model = onnx.load(tmp_path / "m.onnx")
    for part in ("mine\n\nOutput ", "divided by 2.5 first", "probability 0.4"):
        assert part in model.doc_string
    model.doc_string = model.doc_string.replace("'öl'", "'oil'")
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(FormatError, match="doc_string"):
        pnn.import_onnx(tmp_path / "m.onnx")
    model.doc_string = "mine"  # As files had it before outputs were described.
    onnx.save(model, tmp_path / "m.onnx")
    assert pnn.import_onnx(tmp_path / "m.onnx").metadata == {"doc_string": "mine"}


def test_plain_numbers_are_not_described(tmp_path: Path) -> None:
    pnn.export_onnx(pnn.Sequential(pnn.Input(4), pnn.Dense(3), seed=0), tmp_path / "m.onnx")
    assert onnx.load(tmp_path / "m.onnx").doc_string == ""
