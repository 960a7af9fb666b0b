"""The examples in the help texts run as they stand, on small files with the names that they have there."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from keras_models import keras, sequential
from onnx import helper
from PIL import Image
from signing import sign, write_public_key
from test_cli_main import PATHS

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.cli import module_of
from portable_nn.converters.onnx import export_onnx
from portable_nn.pages.runtime import MODULE, PROGRAM

pytest.importorskip("matplotlib")

SLOW = {"train", "models build", "simulate gan", "simulate sweep", "simulate field", "simulate run", "simulate compare"}
"""Commands of which only the first example is run among the quick tests."""

DRAWN = {"simulate field", "simulate sweep"}
"""Commands of which no example is quick."""

LENGTHY = {"models build", "simulate gan"}
"""Commands that have no quick example, or whose data come from another package: their examples are only parsed."""


def digits(path: Path, rows: int = 60) -> None:
    """Rows as the book has them, one of them with a wrong label."""
    samples = find_model("digits-mlp").samples
    found = [[n, *np.asarray(Image.open(samples / f"digit-{n}.png")).ravel()] for n in range(10)]
    found = (found * (rows // 10))[:rows]
    found[-1][0] = 3
    np.savetxt(path, found, fmt="%d", delimiter=",")


def penguins(path: Path) -> None:
    rows = [
        f"{'Adelie' if n % 2 else 'Gentoo'},{40 + 6 * (n % 2) + n / 50},{'' if n == 7 else 180 + n}" for n in range(40)
    ]
    path.write_text("\n".join(["species,bill_length_mm,flipper_length_mm", *rows]) + "\n")


def houses(path: Path) -> None:
    rows = [f"Street {n},{50 + n},{100_000 + 2000 * n}" for n in range(40)]
    path.write_text("\n".join(["address,area,price", *rows]) + "\n")


def iris(path: Path) -> None:
    rows = [[n % 3, n % 3 + 0.1 * (n % 5), 2.0, n % 3, 1 + n % 2] for n in range(60)]
    np.savetxt(path, rows, fmt="%g", delimiter=",")


def idx(path: Path) -> None:
    """Pictures and their labels, as MNIST has them."""
    samples = find_model("digits-mlp").samples
    pixels = np.stack([np.asarray(Image.open(samples / f"digit-{n % 10}.png")) for n in range(60)]).astype(np.uint8)
    for name, kind, array in (
        (path.name, 3, pixels),
        ("train-labels-idx1-ubyte.gz", 1, (np.arange(60) % 10).astype(np.uint8)),
    ):
        sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
        (path.parent / name).write_bytes(gzip.compress(bytes([0, 0, 8, kind]) + sizes + array.tobytes()))


def classifier() -> pnn.Network:
    """Three classes of pictures of 224 by 224 pixels."""
    return pnn.Sequential(
        pnn.Input(3, 224, 224),
        pnn.Conv2d(4, 32, stride=32),
        pnn.GlobalAvgPool(name="pool"),
        pnn.Flatten(),
        pnn.Dense(3),
        seed=0,
    )


def picture(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (240, 260, 3), np.uint8)
    Image.fromarray(pixels).save(path)


def photograph(path: Path) -> None:
    Image.open(find_model("digits-mlp").samples / "digit-3.png").convert("L").save(path)


def shipped(path: Path) -> None:
    pnn.load(find_model("digits-mlp").weights).save(path)


def names(path: Path) -> None:
    path.write_text("cat\ndog\nfish\n")


def speech(path: Path) -> None:
    """One branch for each sampling rate, which is an input."""
    branches = {
        f"{name}_branch": helper.make_graph(
            [helper.make_node(operator, ["x"], [name])], name, [], [helper.make_tensor_value_info(name, 1, ["n", 4])]
        )
        for name, operator in (("then", "Relu"), ("else", "Tanh"))
    }
    nodes = [helper.make_node("Equal", ["sr", "rate"], ["is"]), helper.make_node("If", ["is"], ["y"], **branches)]
    inputs = [helper.make_tensor_value_info("x", 1, ["n", 4]), helper.make_tensor_value_info("sr", 7, [])]
    rate = helper.make_tensor("rate", 7, [], [16000])
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", 1, ["n", 4])], [rate])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def examples_of_pictures(path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.random((30, 3, 224, 224), np.float32), y=np.arange(30) % 3)


def photos(path: Path) -> None:
    """A folder of small pictures for each class."""
    for place, name in enumerate(("cat", "dog", "fish")):
        (path / name).mkdir(parents=True)
        for number in range(2):
            pixels = np.random.default_rng(place + 3 * number).integers(0, 255, (24, 26, 3), np.uint8)
            Image.fromarray(pixels).save(path / name / f"{number}.png")


def echoes(path: Path) -> None:
    """Arrays with names."""
    x = np.random.default_rng(0).normal(size=(80, 104)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file["waveforms"], file["swh"] = x, x[:, 0]


def heights(path: Path) -> None:
    network = pnn.Sequential(pnn.Input(104), pnn.Dense(1), seed=0)
    network.fit(np.zeros((2, 104)), np.zeros(2), loss="mean_squared_error", epochs=1, progress=False)
    network.save(path)


def tagger(path: Path) -> None:
    pnn.Sequential(pnn.Input("steps", 3), pnn.LSTM(4), pnn.Dense(2), seed=0).save(path)


def steps(path: Path) -> None:
    np.savetxt(path, np.random.default_rng(0).normal(size=(9, 3)), delimiter=",")


def validation(path: Path) -> None:
    """What the classifier says of pictures, but for every fifth one."""
    x = np.random.default_rng(0).random((30, 3, 224, 224), np.float32)
    classes = classifier().predict(x).argmax(1)
    np.savez(path, x=x, y=np.where(np.arange(30) % 5, classes, (classes + 1) % 3))


def wine(path: Path) -> None:
    path.write_text("alcohol,acid,ash,kind\n" + "".join(f"{n % 7},{n % 5},{n % 3},{n % 2}\n" for n in range(30)))


def tabular(path: Path) -> None:
    export_onnx(pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0), path)


def scans(path: Path) -> None:
    shutil.copytree(find_model("digits-mlp").samples, path)


def packages(path: Path) -> None:
    dist = path / "onnxruntime-web" / "dist"
    dist.mkdir(parents=True)
    (dist / MODULE).write_text("/* ONNX Runtime Web v0.0.1 */")
    (dist / PROGRAM).write_bytes(b"\0asm")


def book(path: Path) -> None:
    rng = np.random.default_rng(0)
    np.save(path.parent / "wih.npy", rng.normal(size=(20, 784)))
    np.save(path.parent / "who.npy", rng.normal(size=(10, 20)))


def nielsen(path: Path) -> None:
    """What ``network2.py`` saves of a new network."""
    rng = np.random.default_rng(0)
    weights, biases = [rng.normal(size=(10, 784)).tolist()], [rng.normal(size=(10, 1)).tolist()]
    saved = {"sizes": [784, 10], "weights": weights, "biases": biases, "cost": "CrossEntropyCost"}
    path.write_text(json.dumps(saved))


def by_hand(path: Path) -> None:
    """Layers that somebody trained in numpy, used as ``x @ W + b``; and some number beside those of one."""
    rng = np.random.default_rng(0)
    if path.stem == "logistic":
        np.savez(path, W=rng.normal(size=(4, 3)), b=rng.normal(size=3), lr=0.1)
    else:
        np.savez(
            path,
            **{
                f"{kind}{n}": rng.normal(size=s)
                for n, w in ((1, (4, 16)), (2, (16, 3)))
                for kind, s in (("W", w), ("b", w[1:]))
            },
        )


def recorded(path: Path, model: str) -> None:
    """Inputs of a model and its outputs, by name."""
    network = pnn.load(path.parent / model) if model.endswith(".h5") else classifier()
    shape = [2, *network.graph.inputs[0].shape[1:]]
    high = 255 if model.endswith(".h5") else 1
    x = np.random.default_rng(0).uniform(0, high, shape).astype(np.float32)
    np.savez(path, **{network.graph.inputs[0].name: x, network.graph.outputs[0]: network.predict(x)})


def state(path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch writes and verifies state dicts")
    network = pnn.load_model("digits")
    torch.save({name: torch.tensor(array) for name, array in network.parameters.items()}, path)


def of_keras(path: Path) -> None:
    sequential((4,), keras().layers.Dense(3, activation="softmax")).save(path)


def fork(path: Path) -> None:
    pnn.Sequential(pnn.Input(4), pnn.Dense(3, name="logits"), pnn.Softmax(), seed=1).save(path)


def prepared(path: Path) -> np.ndarray:
    """The picture beside it as another program prepares it."""
    levels = Image.open(path.with_name("cat.jpg")).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    return (np.asarray(levels, np.float32) / 255).transpose(2, 0, 1)[np.newaxis]


def answered(path: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(path.with_name("mobilenet.onnx"))
    np.savez(path, session.run(None, {session.get_inputs()[0].name: prepared(path)})[0])


MAKERS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(
        ("mnist_train.csv", "mnist_test.csv", "mine.csv", "more.csv", "test.csv", "validation.csv"), digits
    ),
    "penguins.csv": penguins,
    "houses.csv": houses,
    "iris.csv": iris,
    "train-images-idx3-ubyte.gz": idx,
    **dict.fromkeys(("mine.safetensors", "mine.h5", "calibrated.safetensors"), shipped),
    "digits.onnx": lambda path: export_onnx(pnn.load(find_model("digits-mlp").weights), path) and None,
    **dict.fromkeys(
        ("theirs.onnx", "mobilenet.onnx", "model.onnx", "somebody.onnx"),
        lambda path: export_onnx(classifier(), path) and None,
    ),
    "mine.npz": examples_of_pictures,
    **dict.fromkeys(("cat.jpg",), picture),
    "photo.jpg": photograph,
    **dict.fromkeys(("imagenet.txt", "classes.txt"), names),
    "scans/": scans,
    "node_modules/": packages,
    "photos/": photos,
    "validation.npz": validation,
    "wine.csv": wine,
    "echoes.h5": echoes,
    "swh.safetensors": heights,
    "tagger.safetensors": tagger,
    "steps.csv": steps,
    "tabular.onnx": tabular,
    "who.npy": book,
    "network.json": nielsen,
    **dict.fromkeys(("weights.npz", "logistic.npz"), by_hand),
    "speech.onnx": speech,
    "theirs.h5": shipped,
    "theirs.pt": state,
    "theirs.keras": of_keras,
    "fork.safetensors": fork,
    "mine.safetensors.sig": lambda path: sign(path.with_suffix(""), path) and None,
    "key.pub": lambda path: write_public_key(path) and None,
}
"""What makes the file with a name. A file that an example writes is not made: it comes last, or after an option."""

OWN: dict[str, dict[str, Callable[[Path], None]]] = {
    "export mine.h5 mine.onnx --io theirs.npz --tolerance 1e-4": {"theirs.npz": lambda path: recorded(path, "mine.h5")},
    "import somebody.onnx theirs.safetensors --io theirs.npz": {
        "theirs.npz": lambda path: recorded(path, "somebody.onnx")
    },
    "convert theirs.npz mine.onnx --against digits-mlp --rename w1=hidden.weight": {
        "theirs.npz": lambda path: np.savez(
            path,
            **{
                "w1" if name == "hidden.weight" else name: array
                for name, array in pnn.load(find_model("digits-mlp").weights).parameters.items()
            },
        )
    },
    "diff mobilenet.onnx cat.jpg --inputs-b theirs.npz": {
        "theirs.npz": lambda path: np.savez(path, images=prepared(path)[:, ::-1])
    },
    "diff mobilenet.onnx cat.jpg --preprocess imagenet --answers-b theirs.npz": {"theirs.npz": answered},
    "sample mine.onnx --engine numpy -o sheet.png": {
        "mine.onnx": lambda path: export_onnx(pnn.load(find_model("digits-gan").weights), path) and None
    },
}
"""Files that an example needs in another form than the rest."""

UNMADE = {"detector.onnx", "matching.onnx", "image=1,3,512,512"}
"""Words of examples that are only parsed: of models with several inputs, or with boxes."""

WRITING = {"--out", "-o", "--plot", "--io", "--draw", "--html", "--repro"}
CONVERTING = {"export", "import", "convert"}

CODES = {
    "check somebody.onnx --strict": {0, 1},
    "inspect theirs.h5 --against digits-mlp": {0, 1},
    "diff mobilenet.onnx cat.jpg --inputs-b theirs.npz": {1},
    "diff mobilenet.onnx cat.jpg --preprocess imagenet --answers-b theirs.npz": {1},
}
"""Exit codes of examples that check something; all others must succeed."""

EXAMPLES = [
    pytest.param(
        example,
        id=example,
        marks=[pytest.mark.long] if " ".join(path) in (SLOW if place else DRAWN) else [],
    )
    for path in PATHS
    for place, example in enumerate(module_of(*path).EXAMPLES)
    if " ".join(path) not in LENGTHY and not UNMADE & set(example.split())
]


def read_by(words: list[str]) -> list[str]:
    """The words that may name files to read."""
    written = WRITING - {"--io"} if words[0] in CONVERTING else WRITING
    found = [word for before, word in pairwise(words) if before not in written]
    return (
        found[:-1] if words[0] in CONVERTING and not words[-1].startswith("-") and "--" not in "".join(words) else found
    )


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own, under PyTorch.
@pytest.mark.parametrize("example", EXAMPLES)
def test_it_runs(run, tmp_path, monkeypatch, example):
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", "/bin/bash")
    words = shlex.split(example)
    target = words[2] if words[0] in {"export", "convert"} else words[-1] if example.count("--") == 0 else ""
    if words[0] == "import":
        target = next(word for word in words if word.endswith(".safetensors"))
    makers = MAKERS | OWN.get(example, {})
    for word in dict.fromkeys(read_by(words)):
        if word in makers and not (words[0] in CONVERTING and word == target):
            makers[word](tmp_path / word)
    if "--resume" in words and words[0] != "predict":  # Which begins where there is nothing to go on with.
        assert run(*(word for word in words if word != "--resume"), "--epochs", "1").code == 0
        (tmp_path / "mine.h5").unlink()
    found = run(*words)
    assert found.code in CODES.get(example, {0}), found.err
    for before, word in pairwise(words):
        if before in WRITING:
            assert (tmp_path / word).stat().st_size > 0
