"""Sentences of the documentation that no command on a page shows: each stands there, and holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import UnsupportedError
from tests.keras_models import keras as keras_or_skip

ROOT = Path(__file__).parent.parent
CARDS = sorted((ROOT / "models").glob("*/CARD.md"))


def _pools_that_lose_nothing(folder: Path) -> None:
    for size in range(1, 25):
        for stride in (each for each in range(1, size + 1) if size % each == 0):
            network = pnn.Sequential(pnn.Input(1, size), pnn.AvgPool1d(stride, stride=stride), seed=0)
            read = [network.predict(cell.reshape(1, 1, -1)).any() for cell in np.eye(size, dtype=np.float32)]
            assert all(read)


def _a_file_gives_back_the_network(folder: Path) -> None:
    network = pnn.Sequential(pnn.Input(1, 6, 6), pnn.Conv2d(2, 3), pnn.Softplus(), pnn.Flatten(), pnn.Dense(2), seed=0)
    saved, again = folder / "a.safetensors", folder / "b.safetensors"
    network.save(saved)
    for options, is_same in (({}, True), ({"opset": 13}, True), ({"float16": True}, False), ({"batch": 1}, False)):
        export_onnx(network, folder / "a.onnx", **options)  # type: ignore[arg-type]
        import_onnx(folder / "a.onnx").save(again)
        assert (saved.read_bytes() == again.read_bytes()) is is_same


def _the_likeliest_class_stays(folder: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)).astype(np.float32) * 4, rng.integers(0, 3, 200)  # Sure, and wrong.
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(3), labels=["a", "b", "c"], seed=0)
    before = network.predict_proba(x)
    assert network.calibrate(x, y).temperature > 1
    after = network.predict_proba(x)
    assert (before.argmax(1) == after.argmax(1)).all()
    assert (after.max(1) < before.max(1)).all()


def _activations_that_are_not_read(folder: Path) -> None:
    keras = keras_or_skip()
    from portable_nn.converters.keras import from_keras

    page = (ROOT / "docs/keras.md").read_text(encoding="utf-8")
    [words] = re.findall(r"all activations but ([^(]*)\(", page)
    refused = set(re.findall(r"`(\w+)`", words))
    names = {name for name in vars(keras.activations) if name[0] != "_"} - {"deserialize", "get", "serialize"}
    names = {name for name in names if callable(getattr(keras.activations, name))}
    assert refused < names
    for name in sorted(names):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Activation(name)])
        if name in refused:
            with pytest.raises(UnsupportedError, match=name):
                from_keras(model)
        else:
            from_keras(model)  # Both sides are compared.


def _a_spectral_norm(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    from portable_nn.converters.torch import read_torch

    module = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(4, 3))
    found = read_torch(module, torch.zeros(1, 4))
    assert {parameter.name: parameter.trainable for parameter in found.network.graph.parameters}["weight"]
    np.testing.assert_array_equal(found.network.parameters["weight"], module.eval().weight.detach().numpy())
    assert any("weight" in note for note in found.notes)


CLAIMS: list[tuple[str, str, Callable[[Path], None]]] = [
    ("docs/sizes.md", "a stride that divides its input, and a kernel as large", _pools_that_lose_nothing),
    ("docs/onnx.md", "gives back the same network, to the last byte, unless an option", _a_file_gives_back_the_network),
    (
        "docs/commands/calibrate.md",
        "The likeliest class stays the same, and its probability changes",
        _the_likeliest_class_stays,
    ),
]
LONG: list[tuple[str, str, Callable[[Path], None]]] = [
    ("docs/keras.md", "all activations but `glu`", _activations_that_are_not_read),
    ("docs/pytorch.md", "weights that a spectral norm makes train without it", _a_spectral_norm),
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("page", "words", "check"), [*CLAIMS, *(pytest.param(*row, marks=pytest.mark.long) for row in LONG)]
)
def test_a_sentence_stands_there_and_holds(
    page: str, words: str, check: Callable[[Path], None], tmp_path: Path
) -> None:
    assert words in " ".join((ROOT / page).read_text(encoding="utf-8").split())
    check(tmp_path)


@pytest.mark.parametrize("card", CARDS, ids=[card.parent.name for card in CARDS])
def test_a_card_says_which_versions_its_files_have_and_how_many_parameters(card: Path) -> None:
    text = card.read_text(encoding="utf-8")
    [name, version, opset] = re.findall(r"`([\w-]+).safetensors` \(weight file, version (\d)\).*\(opset (\d+)\)", text)[
        0
    ]
    with safetensors.safe_open(card.parent / f"{name}.safetensors", "numpy") as file:
        manifest = json.loads(file.metadata()["portable_nn"])
        count = sum(int(np.prod(file.get_slice(tensor).get_shape())) for tensor in file.keys())  # noqa: SIM118
    assert manifest["version"] == int(version)
    assert [each.version for each in onnx.load(card.parent / f"{name}.onnx").opset_import if not each.domain] == [
        int(opset)
    ]
    assert f"| Parameters | {count:,} (" in text
