"""``portable-nn inspect`` on files of arrays, and ``--against``; ``test_cli_models`` has the rest."""

from __future__ import annotations

import hashlib

import h5py
import numpy as np
import pytest
import safetensors.numpy

import portable_nn as pnn
from portable_nn.core.text import size


@pytest.fixture
def files(tmp_path):
    """A network of 3, 2; its weights as another project has them, and as they should be."""
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0)
    net.save(tmp_path / "mine.safetensors")
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file["model_weights/dense/dense/kernel:0"] = net.parameters["dense_1.weight"].T
        file["model_weights/dense/dense/bias:0"] = net.parameters["dense_1.bias"]
    arrays = dict(net.parameters)
    safetensors.numpy.save_file(arrays, tmp_path / "torch.safetensors")
    np.savez(tmp_path / "wrong.npz", **{"dense_1.weight": np.zeros((2, 4)), "dense_1.bias": np.zeros(2)})
    return tmp_path


def test_a_file_of_arrays(run, files):
    code, out, err = run("inspect", "keras.h5")
    sha256 = hashlib.sha256((files / "keras.h5").read_bytes()).hexdigest()
    assert (code, err) == (0, "")
    assert out.splitlines()[1:] == [
        f"SHA-256  {sha256}",
        "",
        "tensor                              dtype    shape   bytes",
        "model_weights/dense/dense/bias:0    float32  (2,)        8",
        "model_weights/dense/dense/kernel:0  float32  (3, 2)     24",
        "2 tensors                                               32",
    ]


def test_a_file_of_arrays_as_json(run, files):
    found = run("inspect", "wrong.npz", "--format", "json").json
    assert (found["schema"], found["parameters"], found["bytes"], found["nodes"]) == (1, 10, 80, [])
    assert found["tensors"] == [
        {"name": "dense_1.weight", "dtype": "float64", "shape": [2, 4], "bytes": 64},
        {"name": "dense_1.bias", "dtype": "float64", "shape": [2], "bytes": 16},
    ]
    assert found["file"]["sha256"] == hashlib.sha256((files / "wrong.npz").read_bytes()).hexdigest()


def test_the_digest_is_printed(run, files):
    digest = run("inspect", "mine.safetensors", "--format", "json").json["digest"]
    assert f"digest      {digest}" in run("inspect", "mine.safetensors").out.splitlines()
    assert pnn.load(files / "mine.safetensors", digest=digest)


def test_all_fit(run, files):
    code, out, err = run("inspect", "torch.safetensors", "--against", "mine.safetensors")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "tensor          needed  found   result",
        "dense_1.weight  (2, 3)  (2, 3)  fits",
        "dense_1.bias    (2,)    (2,)    fits",
        "",
        "2 of 2 tensors fit",
    ]


def test_names_and_layouts_of_keras(run, files):
    code, out, err = run("inspect", "keras.h5", "--against", "mine.safetensors")
    assert (code, err) == (1, "")
    assert out.splitlines() == [
        "tensor          needed  found   result",
        "dense_1.weight  (2, 3)  (3, 2)  missing; perhaps model_weights/dense/dense/kernel:0, transposed",
        "dense_1.bias    (2,)    (2,)    missing; perhaps model_weights/dense/dense/bias:0",
        "",
        "as import --against takes it: --rename 'model_weights/dense/dense/kernel:0=dense_1.weight.T' "
        "--rename 'model_weights/dense/dense/bias:0=dense_1.bias'",
        "",
        "0 of 2 tensors fit",
    ]


def test_another_shape(run, files):
    code, out, _ = run("inspect", "wrong.npz", "--against", "mine.safetensors")
    assert code == 1
    assert "dense_1.weight  (2, 3)  (2, 4)  shape differs" in out.splitlines()
    assert out.splitlines()[-1] == "1 of 2 tensors fit"


def test_against_as_json(run, files):
    found = run("inspect", "keras.h5", "--against", "mine.safetensors", "--format", "json")
    assert found.code == 1
    assert {key: found.json[key] for key in ("schema", "file", "model", "fits", "left_over")} == {
        "schema": 1,
        "file": "keras.h5",
        "model": "mine.safetensors",
        "fits": False,
        "left_over": [],
    }
    assert found.json["tensors"][0] == {
        "name": "dense_1.weight",
        "needed": [2, 3],
        "status": "missing",
        "found": [3, 2],
        "suggestion": "model_weights/dense/dense/kernel:0",
        "axes": [1, 0],
    }


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no.npz"], 3, "no.npz: does not exist"),
        (["text.npz"], 3, "text.npz: is not a zip archive, as .npz files are"),
        (["text.h5"], 3, "text.h5: begins with b'hello', not as an HDF5 file does"),
        (["links.h5"], 3, "links.h5: '/a' is an external link to '/x' in 'other.h5': external links are not followed"),
        (["keras.h5", "--manifest"], 2, "keras.h5: has no manifest: it holds arrays, not a network that portable-nn"),
        (["keras.h5", "--against", "digitz"], 2, "no model is called 'digitz'"),
        (["digits", "--against", "keras.h5"], 3, "keras.h5: is an HDF5 file"),
        (
            ["digits", "--against", "digits", "--manifest"],
            2,
            "--manifest and --against cannot be used together: they show different things",
        ),
        (["m.pb"], 2, "no model is called 'm.pb'"),
    ],
)
def test_errors(run, files, arguments, code, message):
    (files / "text.npz").write_text("hello")
    (files / "text.h5").write_text("hello")
    with h5py.File(files / "links.h5", "w") as file:
        file["a"] = h5py.ExternalLink("other.h5", "/x")
    found = run("inspect", *arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")


@pytest.mark.long
def test_in_a_process_of_its_own(shell, files):
    code, out, err = shell("inspect", "keras.h5", "--against", "digits-mlp")
    assert (code, err) == (1, "")
    assert out.splitlines()[-1].startswith("0 of 6 tensors fit, and 2 of the file are left over")


# -- pictures


def test_plot_and_dot_beside_the_table(run, files):
    plain = run("inspect", "mine.safetensors").out
    for done, name in (("drawn", "m.png"), ("written", "m.dot")):
        code, out, err = run("inspect", "mine.safetensors", "--plot", name)
        assert (code, out, err) == (0, f"{plain}\n{done}  {name} ({size((files / name).stat().st_size)})\n", "")
    assert (files / "m.png").read_bytes().startswith(b"\x89PNG")
    assert '  n1 [label="Gemm\\ndense_1\\n(batch, 2)\\n8 parameters"];\n' in (files / "m.dot").read_text()


def test_dot_on_stdout_is_alone(run, files):
    code, out, err = run("inspect", "mine.safetensors", "--plot", "-")
    assert (code, err) == (0, "")
    assert (out.splitlines()[0], out.splitlines()[-1]) == ("digraph {", "}")
    assert "  n0 -> n1;" in out.splitlines()


def test_json_has_what_the_arrows_are_made_of(run, files):
    node = run("inspect", "mine.safetensors", "--format", "json").json["nodes"][0]
    assert (node["reads"], node["makes"]) == (["input", "dense_1.weight", "dense_1.bias"], ["dense_1"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine.safetensors", "--plot", "m.bmp"], "m.bmp: the name of a picture ends in .png, .svg, .pdf or .dot"),
        (
            ["mine.safetensors", "--plot", "m.png", "--manifest"],
            "--manifest and --plot cannot be used together: they show different things",
        ),
        (
            ["mine.safetensors", "--plot", "-", "--against", "digits"],
            "--against and --plot cannot be used together: they show different things",
        ),
        (["keras.h5", "--plot", "m.png"], "keras.h5: holds arrays, not a network: there is nothing to draw"),
        (["keras.h5", "--plot", "-"], "keras.h5: holds arrays, not a network: there is nothing to draw"),
    ],
)
def test_pictures_that_cannot_be(run, files, arguments, message):
    found = run("inspect", *arguments)
    assert (found.code, found.out, found.err) == (2, "", f"error: {message}\n")
    assert not list(files.glob("m.[pbd]*"))
