"""``import`` of the two arrays that the program of a beginner's book saves; for ONNX see ``test_cli_models``."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.engines.once import run_numpy


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A folder with the book's network 784-200-10, as it is before training."""
    rng = np.random.default_rng(0)
    (tmp_path / "book").mkdir()
    np.save(tmp_path / "book" / "wih.npy", rng.normal(0.0, 784**-0.5, (200, 784)))
    np.save(tmp_path / "book" / "who.npy", rng.normal(0.0, 200**-0.5, (10, 200)))
    return tmp_path / "book"


@pytest.mark.parametrize("sources", [["book/wih.npy", "book/who.npy"], ["book"]])
def test_the_network_of_the_book(run, tmp_path, book, sources):
    code, out, err = run("import", *sources, "mine.safetensors")
    assert (code, err) == (0, "")
    heading, output, _, seconds, trained, prepared, written = out.splitlines()
    assert seconds.startswith("time of the proof  ")
    assert heading.split() == ["output", "largest", "error", "relative"]
    name, error, _ = output.split()
    assert name == "final_outputs"
    assert float(error) < 1e-12
    assert trained.split(maxsplit=1) == ["trained", "2 weights train, 2 constants are kept"]  # Those of the rescaling.
    assert prepared.split(maxsplit=1)[1].startswith("predict finds digits in photographs ")
    assert written.split(maxsplit=1) == ["written", "mine.safetensors (1.3 MB)"]
    network = pnn.load(tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(network.parameters["hidden.weight"], np.load(book / "wih.npy"), strict=True)
    np.testing.assert_array_equal(network.parameters["output.weight"], np.load(book / "who.npy"), strict=True)


@pytest.mark.usefixtures("book")
def test_it_predicts_pictures_of_digits(run, digits_csv):
    assert run("import", "book", "mine.h5").code == 0
    code, out, err = run("predict", "mine.h5", "digits.csv")
    assert (code, len(out.splitlines())) == (0, 6)
    assert re.fullmatch(r"[0-5] of 5 right \(\d+\.\d %\)\n", err)


def test_what_is_printed_of_a_network_that_is_tuned_on_numbers_as_they_are(run, digits_csv):
    """It finds digits in photographs as before: of the data of the training alone, nothing was prepared."""
    options = ("--preprocess", "none", "--epochs", "1", "--validation", "0", "--rate", "1e-9")
    done = run("tune", "digits", "digits.csv", *options, "-o", "t.safetensors")
    assert re.search("^prepared +predict finds digits in photographs ", done.out, re.MULTILINE)
    photo = find_model("digits").samples / "digit-3.png"
    assert run("predict", "t.safetensors", str(photo), "--format", "json").json["results"][0]["label"] == "3"


@pytest.mark.usefixtures("book")
def test_json(run, tmp_path):
    found = run("import", "book/wih.npy", "book/who.npy", "mine.safetensors", "--format", "json").json
    [output] = found.pop("outputs")
    assert (output["output"], output["max_abs_error"] < 1e-12) == ("final_outputs", True)
    assert found.pop("seconds") > 0
    assert found == {
        "schema": 1,
        "model": "book/wih.npy, book/who.npy",
        "path": "mine.safetensors",
        "bytes": (tmp_path / "mine.safetensors").stat().st_size,
        "trained": 2,
        "constants": 2,
        "prepared": "predict finds digits in photographs (train and import leave it out with --preprocess none)",
        "verified": True,
        "batches": [1, 3],
        "values": {"compared": 0, "worst": None, "widened": [], "opaque": [], "not_exercised": []},
        "sizes": {},
        "weights": [],
        "recorded": [],
        "notes": [],
    }
    found = run("import", "book", "mine.h5", "--verify", "none", "--format", "json").json
    assert (found["verified"], found["outputs"]) == (False, [])


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize(
    ("sources", "code", "message"),
    [
        (["book/wih.npy"], 2, "the book's network is in two files, one of wih and one of who: give both"),
        (["a.onnx", "b.onnx", "c.onnx"], 2, "the book's network is in two files, one of wih and one of who"),
        (
            ["book/who.npy", "book/wih.npy"],
            3,
            "book/wih.npy: has shape (200, 784), and book/who.npy has (10, 200): the "
            "two are swapped, since they fit the other way round",
        ),
        (["book/wih.npy", "none.npy"], 3, "none.npy: expected arrays (.npy), found no such file"),
        (["empty"], 3, "empty: expected one file *wih*.npy, as the book's network has it, found none"),
        (["none"], 3, "none: does not exist"),
    ],
)
def test_errors(run, tmp_path, sources, code, message):
    (tmp_path / "empty").mkdir()
    found = run("import", *sources, "mine.safetensors")
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")
    assert not (tmp_path / "mine.safetensors").exists()


@pytest.mark.usefixtures("book")
def test_a_network_that_computes_something_else_is_exit_code_1(run, tmp_path, monkeypatch):

    def wrong(*given):
        return {name: array * 0.9 for name, array in run_numpy(*given).items()}

    monkeypatch.setattr("portable_nn.converters.conversion.run_numpy", wrong)
    found = run("import", "book", "mine.safetensors")
    assert (found.code, found.out) == (1, "")
    assert found.err.startswith("error: book/wih.npy, book/who.npy: output 'final_outputs' differs by 0.0")
    assert not (tmp_path / "mine.safetensors").exists()


@pytest.mark.parametrize("arguments", [[], ["a.onnx"]])
def test_a_file_is_missing(run, arguments):
    expected = "error: expected IN... and OUT, the file to write (see portable-nn import --help)\n"
    assert run("import", *arguments).err == expected


def test_a_size_that_is_open_in_name_only(run, tmp_path):
    from foreign import FLOAT, write
    from onnx import helper

    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"], "worked_in")]
    shapes = {"x": (FLOAT, ["n", "t", 4])}, {"y": (FLOAT, ["n", 28])}
    write(tmp_path / "m.onnx", nodes, *shapes, {"s": np.array([-1, 28])})
    code, _, err = run("import", "m.onnx", "m.safetensors")
    assert (code, err) == (0, "")
    assert str(pnn.load(tmp_path / "m.safetensors").graph.inputs[0]) == "x: float32(n, t, 4)"
    code, _, err = run("import", "m.onnx", "m.safetensors", "--dim", "t=7", "--force")
    assert (code, err) == (0, "")
    network = pnn.load(tmp_path / "m.safetensors")
    assert str(network.graph.inputs[0]) == "x: float32(n, 7, 4)"
    x = np.arange(56, dtype=np.float32).reshape(2, 7, 4)
    np.testing.assert_array_equal(network.predict(x), x.reshape(2, 28))


def test_a_window_of_sound_that_fits_is_found(run, tmp_path):
    from foreign import FLOAT, write
    from onnx import helper

    pool = helper.make_node("AveragePool", ["x"], ["z"], "pool", kernel_shape=[192], strides=[128])
    nodes = [pool, helper.make_node("Squeeze", ["z", "axis"], ["y"], "one")]
    write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 1, "t"])}, {"y": (FLOAT, ["n", 1])}, {"axis": np.array([2])})
    code, _, err = run("import", "m.onnx", "m.safetensors")
    assert code == 3
    assert "it fits where t is a number, such as 256: portable-nn import --dim t=SIZE" in err
    assert run("import", "m.onnx", "m.safetensors", "--dim", "t=256").code == 0


def test_sizes_of_a_file_of_this_package(run, tmp_path):
    run("export", "digits-mlp", "d.onnx")
    code, _, err = run("import", "d.onnx", "d.safetensors", "--dim", "batch=3")
    assert (code, err) == (0, "")
    network = pnn.load(tmp_path / "d.safetensors")
    assert (network.graph.inputs[0].shape[0], network.labels) == (3, tuple("0123456789"))


@pytest.mark.usefixtures("book")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["d.onnx", "o.h5", "--dim", "bach=3"], "no size is called 'bach': did you mean 'batch'?"),
        (["d.onnx", "o.h5", "--dim", "batch=0"], "the size 'batch' must be at least 1, not 0"),
        (
            ["d.onnx", "o.h5", "--dim", "batch"],
            "--dim needs NAME=SIZE, such as height=224 or height=width, not 'batch'",
        ),
        (["book", "o.h5", "--dim", "n=3"], "--dim is an option of ONNX files, not of the arrays of a book's network"),
    ],
)
def test_wrong_sizes(run, tmp_path, arguments, message):
    run("export", "digits-mlp", "d.onnx")
    code, out, err = run("import", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "o.h5").exists()


def test_a_file_of_layers_that_somebody_trained(run, tmp_path):
    rng = np.random.default_rng(0)
    w1, b1, w2, b2 = (rng.normal(size=shape) for shape in [(4, 16), 16, (16, 3), 3])
    np.savez(tmp_path / "net.npz", W1=w1, b1=b1, W2=w2, b2=b2)
    code, out, err = run("import", "net.npz", "mine.safetensors", "--layers", "4-16-3", "--activation", "tanh")
    assert code == 0
    assert err.startswith("no function is computed after the last layer: a second one in --activation (activation)")
    assert out.splitlines()[0].split() == ["output", "largest", "error", "relative"]
    x = rng.normal(size=(5, 4))
    found = pnn.load(tmp_path / "mine.safetensors").predict(x)
    np.testing.assert_allclose(found, np.tanh(x @ w1 + b1) @ w2 + b2, rtol=1e-9)


def test_the_lists_of_nielsens_network(run, tmp_path):
    """Its inputs are 0 to 1; those of the file are pixels. It is asked as the book's network is."""
    rng = np.random.default_rng(0)
    w0, w1, b0, b1 = (rng.normal(size=shape) for shape in [(30, 784), (10, 30), (30, 1), (10, 1)])
    x = rng.integers(0, 256, (3, 784))
    hidden = 1 / (1 + np.exp(-(w0 @ x.T / 255 + b0)))
    outputs = (1 / (1 + np.exp(-(w1 @ hidden + b1)))).T
    np.savez(tmp_path / "net.npz", weights0=w0, weights1=w1, biases0=b0, biases1=b1)
    np.savez(tmp_path / "io.npz", input=x / 255, sigmoid_2=outputs)
    np.savetxt(tmp_path / "x.csv", x, "%d", delimiter=",")
    kinds = {"weights": "weight", "biases": "bias"}
    names = {f"{theirs}{n}": f"dense_{n + 1}.{ours}" for theirs, ours in kinds.items() for n in (0, 1)}
    (tmp_path / "map.json").write_text(json.dumps(names))
    digits = ["--activation", "sigmoid,sigmoid", "--preprocess", "digits", "--io", "io.npz", "--force"]
    for more in ([], ["--rename", "map.json"]):
        code, out, err = run("import", "net.npz", "mine.safetensors", *digits, *more)
        assert (code, err) == (
            0,
            "the network takes pixels, 0 to 255, and divides them by 255 before the first weights\n",
        )
        assert "prepared           predict finds digits in photographs" in out
        rows = run("predict", "mine.safetensors", "x.csv", "--format", "json").json["results"]
        assert [row["label"] for row in rows] == [str(place) for place in outputs.argmax(axis=1)]
        np.testing.assert_allclose([row["probability"] for row in rows], outputs.max(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["net.json", "mine.h5"],
            "Other lists become a file to import by np.savez('weights.npz', *map(np.array, weights)",
        ),
        (
            ["net.json", "mine.h5", "--layers", "4-3"],
            "--layers is an option of files of arrays, not of files of network2",
        ),
        (["net.mat", "mine.h5"], "If it holds weights, load it in Python, and write its arrays with np.savez("),
        (["net.npz", "mine.h5", "--activation", "tanh", "--rename", "no.json"], "no.json"),
        (
            ["net.npz", "mine.h5"],
            "--activation (activation): expected a function for each of 2 layers, or two, the second",
        ),
        (["net.npz", "mine.h5", "--activation", "gelu"], "'gelu' is not one of 'sigmoid', 'tanh'"),
        (["net.npz", "mine.h5", "--layers", "4-3"], "expected layers of 4-3, found arrays of 4-16-3"),
        (["net.npz", "mine.h5", "--rename", "W1"], "--rename needs OLD=NEW, not 'W1'"),
        (["net.npz", "mine.h5", "--dim", "batch=1"], "--dim is an option of ONNX files, not of files of arrays"),
        (
            ["net.npz", "mine.h5", "--dtype", "float32"],
            "--dtype is an option of the arrays of a book's network, not of",
        ),
        (["model.onnx", "mine.h5", "--layers", "4-3"], "--layers is an option of files of arrays, not of ONNX files"),
        (["model.onnx", "mine.h5", "--verify", "training"], "not of ONNX files: no training is there to compare with"),
        (["absent.npz", "mine.h5"], "absent.npz"),
    ],
)
def test_what_is_said_of_a_file_of_layers(run, tmp_path, arguments, message):
    np.savez(tmp_path / "net.npz", W1=np.eye(4, 16), W2=np.eye(16, 3))
    for name in ("model.onnx", "net.json", "net.mat"):
        (tmp_path / name).touch()
    code, out, err = run("import", *arguments)
    assert code
    assert out == ""
    assert message in err
    assert not (tmp_path / "mine.h5").exists()


def test_a_state_dict_of_a_network_that_is_known(run, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes and verifies state dicts")
    network = pnn.load_model("digits-mlp")
    state = {f"module.{name}": torch.tensor(array) for name, array in network.parameters.items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "a.pt")
    code, out, err = run("import", "a.pt", "a.safetensors", "--against", "digits-mlp")
    assert code == 0, err
    found = pnn.load(tmp_path / "a.safetensors")
    assert found.labels == network.labels
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array)
    assert "the prefix 'state_dict.module.' of all names is left out" in err
    assert "time of the proof" in out


def test_a_file_of_pytorch_is_layers_or_a_state_dict_with_its_training(run, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes and verifies state dicts")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    torch.save(module.state_dict(), tmp_path / "a.pt")
    code, _, err = run("import", "a.pt", "a.npz", "--layers", "4-8-3", "--activation", "tanh")
    assert code == 0, err
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    with torch.no_grad():
        np.testing.assert_allclose(pnn.load(tmp_path / "a.npz").predict(x), module(torch.tensor(x)), atol=1e-6)
    names = [f"--rename={n}.{kind}=dense_{1 + n // 2}.{kind}" for n in (0, 2) for kind in ("weight", "bias")]
    code, _, err = run("import", "a.pt", "b.npz", "--against", "a.npz", "--verify", "training", *names)
    assert code == 0, err
    code, _, err = run("import", "a.pt", "c.npz", "--against", "a.npz", "--activation", "tanh")
    assert code == 2
    assert "--activation is an option of files of arrays, not of PyTorch" in err


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Of Keras, as it saves.
def test_weights_of_keras_come_by_kerass_layouts(run, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="Keras writes and verifies its weights")
    from portable_nn.converters.keras import from_keras

    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4), keras.layers.Dense(2)])
    model.save_weights(tmp_path / "a.weights.h5")
    from_keras(model).save(tmp_path / "same.npz")
    code, _, err = run("import", "a.weights.h5", "b.npz", "--against", "same.npz")
    assert code == 0, err
    found, expected = pnn.load(tmp_path / "b.npz"), pnn.load(tmp_path / "same.npz")
    for name, array in expected.parameters.items():
        np.testing.assert_array_equal(found.parameters[name], array)


def test_what_is_suggested_for_a_state_dict_can_be_pasted(run, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes and verifies state dicts")
    network = pnn.load_model("digits-mlp")
    state = {name: torch.tensor(array.T.copy()) for name, array in network.parameters.items()}
    state["first.weight"] = state.pop("hidden.weight")
    torch.save(state, tmp_path / "b.pt")
    code, out, _ = run("inspect", "b.pt", "--against", "digits-mlp")
    assert code == 1
    renames = re.search("as import --against takes it: (.*)", out)[1]
    assert "--rename 'first.weight=hidden.weight.T'" in renames
    assert run("import", "b.pt", "b.safetensors", "--against", "digits-mlp").code
    code, _, err = run("import", "b.pt", "b.safetensors", "--against", "digits-mlp", *shlex.split(renames))
    assert code == 0, err
    weight = pnn.load(tmp_path / "b.safetensors").parameters["hidden.weight"]
    np.testing.assert_array_equal(weight, network.parameters["hidden.weight"])


def test_a_mapping_is_proposed_once_and_then_taken(run, tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch writes and verifies state dicts")
    network = pnn.load_model("digits-mlp")
    state = {name.replace("hidden", "first"): torch.tensor(array) for name, array in network.parameters.items()}
    torch.save(state, tmp_path / "c.pt")
    line = ["import", "c.pt", "c.safetensors", "--against", "digits-mlp", "--rename", "names.json"]
    code, _, err = run(*line)
    assert (code, (tmp_path / "c.safetensors").exists()) == (2, False)
    assert "look through it" in err
    assert json.loads((tmp_path / "names.json").read_text())["first.weight"] == "hidden.weight"
    assert run(*line).code == 0
