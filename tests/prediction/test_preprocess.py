"""Pictures for models of other programs: ``predict`` and ``prepare`` with ``preprocess``, and copies that keep it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign import FLOAT, UINT8, convolutional, linear, write
from onnx import TensorProto, helper
from PIL import Image

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.onnx.storage.preparation import PREPARATION
from portable_nn.prediction.keeping import save_network
from portable_nn.preprocessing.steps import ColourStep, ResizeStep

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def pixels(height: int = 30, width: int = 41) -> np.ndarray:
    rng = np.random.default_rng(height)
    levels = np.linspace(0, 255, height * width * 3).reshape(height, width, 3) * 0.8 + rng.uniform(
        0, 50, (height, width, 3)
    )
    return levels.clip(0, 255).astype(np.uint8)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(pixels()).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def imagenet(size: int, crop: int, image: Image.Image) -> np.ndarray:
    """By Pillow alone: the shorter side scaled, the middle cut out, mean and standard deviation; (1, 3, crop, crop)."""
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(size * width / short), int(size * height / short)), Image.Resampling.BILINEAR)
    left, top = (round((side - crop) / 2) for side in image.size)
    levels = np.asarray(image.crop((left, top, left + crop, top + crop)), np.float32)
    return ((levels / 255 - MEAN) / STD).transpose(2, 0, 1)[np.newaxis]


def answer(path: Path, x: np.ndarray) -> np.ndarray:
    [found] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    powers = np.exp(found.astype(np.float64) - found.max())
    return (powers / powers.sum())[0]


def shares(model: object, inputs: object, classes: int = 5, **options: object) -> np.ndarray:
    [found] = list(pnn.predict(model, inputs, top=classes, task="classes", **options))
    named = dict(found.top)
    return np.array([named[str(place)] for place in range(classes)])


@pytest.mark.parametrize("side", [8, "side"])
def test_a_foreign_model_gets_what_its_publisher_gave_it(tmp_path, photo, side):
    model = convolutional(tmp_path / "m.onnx", side=side)
    given = {"name": "imagenet", "size": 9, "crop": 8}
    wanted = imagenet(9, 8, Image.open(photo))
    np.testing.assert_allclose(shares(model, photo, preprocess=given), answer(model, wanted), atol=1e-6)
    if side == 8:  # The numpy engine, which prepare opens a model with, lacks its operator.
        return
    free = pnn.predict(model, [Image.fromarray(pixels(s, s)) for s in (9, 20)], preprocess={"fit": "none"})
    assert len(free) == 2  # Of different sizes, in batches of their own.


def test_prepare_gives_what_predict_feeds(photo):
    net = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Flatten(), pnn.Dense(2), seed=0)
    found = pnn.prepare(net, photo, preprocess={"name": "imagenet", "size": 9})
    np.testing.assert_allclose(found, imagenet(9, 8, Image.open(photo)), rtol=0, atol=1e-6)
    steps = (ColourStep(), ResizeStep(8, 8))
    np.testing.assert_array_equal(
        pnn.prepare(net, photo, preprocess=[*steps, pnn_transpose()]), pnn_resized().transpose(2, 0, 1)[np.newaxis]
    )


def pnn_transpose():
    from portable_nn.preprocessing.steps import TransposeStep

    return TransposeStep((2, 0, 1))


def pnn_resized() -> np.ndarray:
    channels = [Image.fromarray(pixels()[..., place].astype(np.float32)).resize((8, 8), 2) for place in range(3)]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


@pytest.mark.parametrize(
    ("dtype", "code"), [("uint8", UINT8), ("float16", TensorProto.FLOAT16), ("float32", FLOAT), ("float64", 11)]
)
@pytest.mark.parametrize("batch", ["n", 1, 3])
def test_inputs_with_the_colours_last(tmp_path, dtype, code, batch):
    """(…, height, width, 3) needs no option: each answer is the mean of a colour, as Pillow's bytes have it."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=FLOAT),
        helper.make_node("ReduceMean", ["f"], ["y"], axes=[1, 2], keepdims=0),
    ]
    model = write(tmp_path / "m.onnx", nodes, {"x": (code, [batch, 30, 41, 3])}, {"y": (FLOAT, [batch, 3])})
    means = pixels().mean(axis=(0, 1)) / (1 if dtype == "uint8" else 255)
    found = pnn.predict(model, [Image.fromarray(pixels())] * 2)
    assert "the model does not say how to prepare pictures; assumed: convert to red" in found.warnings[0]
    for each in found:
        assert each.values == pytest.approx(means, rel=2e-3)


def test_arrays_get_the_arithmetic(tmp_path, photo):
    model = linear(tmp_path / "m.onnx", weight=np.eye(3, dtype=np.float32))
    del photo
    net = pnn.Sequential(pnn.Input(8, 8, 3), pnn.Flatten(), pnn.Dense(2), seed=0)
    x = pixels(8, 8)[np.newaxis]
    found = pnn.prepare(net, x, preprocess={"mean": 127.5, "std": 127.5})
    np.testing.assert_allclose(found, x / 127.5 - 1, rtol=0, atol=1e-6)
    with pytest.raises(UsageError, match="pictures need"):
        pnn.predict(model, "photo.png", preprocess="imagenet")


def test_what_is_assumed_is_reported(tmp_path, photo):
    model = convolutional(tmp_path / "m.onnx")
    told = pnn.predict(model, photo, preprocess={"mean": 0.5, "std": 0.5, "bgr": True}).warnings
    assert told[0].startswith("pictures are prepared as said: convert to red, green and blue")
    assert told[1:] == (
        "mean and std are at most 1: they are for 0 to 1",
        "an example is (colour, height, width), the colours blue, green, red",
    )


def test_other_kinds_of_models_are_refused(tmp_path, photo):
    with pytest.raises(UsageError, match="pictures need"):
        pnn.predict(linear(tmp_path / "m.onnx"), photo, preprocess="imagenet")
    with pytest.raises(UsageError, match="preprocess must be a name, a dict or a Preparation, not int"):
        pnn.predict(convolutional(tmp_path / "m.onnx"), photo, preprocess=3)
    with pytest.raises(UsageError, match="steps for pictures must stand before steps of arithmetic"):
        pnn.predict(tmp_path / "m.onnx", photo, preprocess=[pnn_transpose(), ColourStep()])


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")  # Of the exporter of torch.
def test_resnet_of_torchvision_end_to_end(tmp_path, photo):
    """The five best classes of a model with random weights, from a JPEG file, are those of torchvision's pipeline."""
    torch, torchvision = pytest.importorskip("torch"), pytest.importorskip("torchvision")
    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval()
    torch.onnx.export(
        net,
        torch.zeros(1, 3, 224, 224),
        tmp_path / "m.onnx",
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}},
    )
    Image.fromarray(pixels(300, 417)).save(tmp_path / "photo.jpg")
    with torch.no_grad():
        made = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()(Image.open(tmp_path / "photo.jpg"))
        best = torch.softmax(net(made.unsqueeze(0)), 1).topk(5)
    [found] = list(pnn.predict(tmp_path / "m.onnx", tmp_path / "photo.jpg", top=5, preprocess="imagenet"))
    assert [int(name) for name, _ in found.top] == best.indices[0].tolist()
    np.testing.assert_allclose([share for _, share in found.top], best.values[0].numpy(), rtol=1e-4)


# -- copies that keep the preparation


def test_a_copy_of_a_foreign_model_says_it(tmp_path, photo):
    model = convolutional(tmp_path / "m.onnx", metadata={"author": "somebody"})
    told = pnn.keep_preprocessing(model, tmp_path / "kept.onnx", {"name": "imagenet", "size": 9})
    assert told[2] == "scale the shorter side to 9 pixels (bilinear), and cut 8x8 out of the middle"
    kept = onnx.load(tmp_path / "kept.onnx")
    assert kept.graph == onnx.load(model).graph
    entries = {each.key: each.value for each in kept.metadata_props}
    assert entries.pop("author") == "somebody"
    assert [step["step"] for step in json.loads(entries[PREPARATION])["inputs"]["x"]] == [
        "colour",
        "levels",
        "shorter_side",
        "scale",
        "normalise",
        "transpose",
    ]
    wanted = answer(model, imagenet(9, 8, Image.open(photo)))
    found = pnn.predict(tmp_path / "kept.onnx", photo, task="classes")
    assert not found.warnings
    np.testing.assert_allclose(shares(tmp_path / "kept.onnx", photo), wanted, atol=1e-6)
    again = pnn.predict(tmp_path / "kept.onnx", photo, preprocess="unit", task="classes")
    assert again.warnings[0] == "instead of the preparation that the model says, the one given is used"


@pytest.mark.parametrize("name", ["kept.safetensors", "kept.onnx"])
def test_a_copy_of_an_own_model_has_the_arithmetic_in_its_graph(tmp_path, photo, name):
    net = pnn.Sequential(pnn.Input(3, 8, 8), pnn.Flatten(), pnn.Dense(5), labels=list("01234"), seed=0)
    net.save(tmp_path / "m.safetensors")
    export_onnx(net, tmp_path / "m.onnx")
    wanted = answer_of(net, imagenet(9, 8, Image.open(photo)))
    for source in (net, tmp_path / "m.safetensors", tmp_path / "m.onnx"):
        pnn.keep_preprocessing(source, tmp_path / name, {"name": "imagenet", "size": 9})
        np.testing.assert_allclose(shares(tmp_path / name, photo), wanted, atol=1e-6)
    if name == "kept.onnx":  # Any other program gives it the pixels as they are.
        levels = np.asarray(imagenet(9, 8, Image.open(photo)))[0].transpose(1, 2, 0) * STD + MEAN
        entry = onnxruntime.InferenceSession(tmp_path / name, providers=["CPUExecutionProvider"])
        [found] = entry.run(None, {entry.get_inputs()[0].name: np.rint(levels * 255).astype(np.float32)[np.newaxis]})
        powers = np.exp(found[0] - found.max())
        np.testing.assert_allclose(powers / powers.sum(), wanted, atol=1e-6)


def answer_of(net: pnn.Network, x: np.ndarray) -> np.ndarray:
    found = net.predict(x)[0].astype(np.float64)
    powers = np.exp(found - found.max())
    return powers / powers.sum()


BAD = [
    ("", "it cannot be read as JSON in UTF-8"),
    ("{}", "it lacks the field 'version'"),
    ('{"version":2,"inputs":{}}', "its version is 2, and this version of portable-nn reads 1"),
    ('{"version":1,"inputs":{"x":[{"step":"eval"}]}}', r'inputs.x\[0\] cannot be {"step":"eval"}'),
    ('{"version":1,"inputs":{"x":[{"step":"bgr"}]}}', "steps for pictures must begin with greyscale or colour"),
    (
        '{"version":1,"inputs":{"x":[{"step":"resize","height":99999,"width":1,"method":"box"}]}}',
        r"inputs.x\[0\]: height must be from 1",
    ),
    ('{"version":1,"inputs":{},"run":"rm"}', "it has the unknown field 'run'"),
    ("[" * 5000, "it cannot be read as JSON in UTF-8|it cannot be "),
    (" " * 2**17, "it has 131072 characters, and at most 65536 are read"),
]


@pytest.mark.parametrize(("text", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_entries_are_not_trusted(tmp_path, photo, text, reason):
    model = convolutional(tmp_path / "m.onnx", metadata={PREPARATION: text})
    with pytest.raises(FormatError, match=rf"the entry '{PREPARATION}' of its metadata cannot be read: .*{reason}"):
        pnn.predict(model, photo)


def of_run(model: object, inputs: object, **options: object) -> np.ndarray:
    found = pnn.run(model, inputs, **options)["y"][0].astype(np.float64)
    return np.exp(found) / np.exp(found).sum()


@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
def test_an_import_takes_over_what_a_copy_says(tmp_path, photo, suffix):
    """Prepared once: as Pillow and onnxruntime have it, on either engine, also after another preparation is kept."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    kernel = np.random.default_rng(4).normal(size=(5, 3, 3, 3)).astype(np.float32)
    kinds = {"x": (FLOAT, ["n", 3, 8, 8])}, {"y": (FLOAT, ["n", 5])}
    model = write(tmp_path / "m.onnx", nodes, *kinds, {"w": kernel})
    pnn.keep_preprocessing(model, tmp_path / "copy.onnx", {"name": "imagenet", "size": 10, "crop": 8})
    expected = answer(model, imagenet(10, 8, Image.open(photo)))
    network = import_onnx(tmp_path / "copy.onnx")
    assert PREPARATION not in network.metadata
    save_network(network, tmp_path / f"imported.{suffix}")
    for each in (network, tmp_path / "copy.onnx", tmp_path / f"imported.{suffix}"):
        for engine in ("numpy", "onnxruntime"):
            np.testing.assert_allclose(of_run(each, photo, engine=engine), expected, rtol=1e-4)
    other = {"name": "imagenet", "size": 9, "crop": 8}
    pnn.keep_preprocessing(tmp_path / "copy.onnx", tmp_path / f"other.{suffix}", other)
    again = answer(model, imagenet(9, 8, Image.open(photo)))
    np.testing.assert_allclose(of_run(tmp_path / f"other.{suffix}", photo), again, rtol=1e-4)


def test_a_copy_stays_with_the_weights_of_the_model(tmp_path):
    model = convolutional(tmp_path / "m.onnx")
    (tmp_path / "inner").mkdir()
    onnx.save(onnx.load(model), tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    with pytest.raises(UsageError, match="the copy must be in the folder of the model, whose weights"):
        pnn.keep_preprocessing(tmp_path / "e.onnx", tmp_path / "inner" / "k.onnx", "imagenet")
    pnn.keep_preprocessing(tmp_path / "e.onnx", tmp_path / "k.onnx", {"name": "imagenet", "size": 9})
    assert len(pnn.predict(tmp_path / "k.onnx", Image.fromarray(pixels()))) == 1
    with pytest.raises(UsageError, match=r"k.txt: the name of the copy must end in"):
        pnn.keep_preprocessing(model, tmp_path / "k.txt", "imagenet")
