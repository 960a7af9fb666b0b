"""Named arrays at the shell: train, evaluate and predict, and a training that is killed and continued."""

from __future__ import annotations

import csv
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

import portable_nn as pnn

X = np.random.default_rng(0).normal(size=(900, 6)).astype(np.float32)
SWH = (X @ np.arange(6) / 3 + 5).astype(np.float32)


@pytest.fixture
def echoes(tmp_path):
    with h5py.File(tmp_path / "echoes.h5", "w") as file:
        file.create_dataset("waveforms", data=X, chunks=(50, 6), compression="gzip")
        file["swh"], file["kind"] = SWH, (SWH > 5).astype(np.uint8)
    return tmp_path / "echoes.h5"


TRAIN = ("train", "6-8-1", "echoes.h5", "--inputs", "waveforms", "--target", "swh", "--unit", "swh=m")


def test_train_evaluate_predict(run, echoes, tmp_path):
    done = run(*TRAIN, "--out", "swh.safetensors", "--epochs", "4", "--rate", "0.01")
    assert done.code == 0, done.err
    assert "predicts swh, numbers\nlosses are those of swh scaled to mean 0 and standard deviation 1\n" in done.err
    net = pnn.load(tmp_path / "swh.safetensors")
    assert (net.outputs[0].labels, net.outputs[0].unit) == (("swh",), "m")
    wanted = net.predict(X)[:, 0]
    done = run("predict", "swh.safetensors", "echoes.h5", "--inputs", "waveforms", "--out", "heights.csv")
    assert done.code == 0, done.err
    with (tmp_path / "heights.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["input", "swh [m]", "error"]
    assert [row[0] for row in rows[1:]] == [f"echoes.h5:{place}" for place in range(900)]
    np.testing.assert_allclose([float(row[1]) for row in rows[1:]], wanted, rtol=1e-5, atol=1e-5)
    done = run(
        "evaluate", "swh.safetensors", "echoes.h5", "--inputs", "waveforms", "--target", "swh", "--format", "json"
    )
    assert done.code == 0, done.err
    assert done.json["numbers"][0]["rmse"] == pytest.approx(float(np.sqrt(np.mean((wanted - SWH) ** 2))), rel=1e-4)


def test_the_examples_of_the_test_are_those_of_arrays_by_name(run, echoes):
    """Blocks of rows were held out, where of an array that is read as a whole single rows would be."""
    with h5py.File("pair.h5", "w") as file:
        file["x"], file["y"] = X, (SWH > 5).astype(np.uint8)
    names = ("--inputs", "x", "--target", "y")
    for given, other, way in ((names, (), "name its arrays as then"), ((), names, "leave --inputs and --target out")):
        train = ("train", "6-4-2", "pair.h5", "--test", "0.2", "--epochs", "1", "-q", "--force", *given)
        assert run(*train, "--out", "n.safetensors").code == 0
        assert run("evaluate", "n.safetensors", "pair.h5", "--test", *given).code == 0
        done = run("evaluate", "n.safetensors", "pair.h5", "--test", *other)
        assert done.code == 3
        assert f"pair.h5: other examples were held out to test the model than would be drawn: {way}" in done.err


def test_rows_with_nan_are_named_in_training_and_in_every_output(run, echoes):
    pnn.Sequential(pnn.Input(6), pnn.Dense(1), seed=0).save("net.safetensors")
    wanted = pnn.load("net.safetensors").predict(X)
    with h5py.File(echoes, "a") as file:
        file["waveforms"][[7, 300], 2] = np.nan, np.inf
    done = run(*TRAIN, "--out", "swh.safetensors")
    assert done.code == 2
    assert "waveforms holds NaN or infinity in 2 of 900 rows, the first is 7 (from 0)" in done.err
    for out in ("y.h5", "y.npy", "y.csv"):
        done = run("predict", "net.safetensors", "echoes.h5", "--inputs", "waveforms", "--out", out)
        assert done.code == 3
        assert "2 of 900 " in done.err
    assert (
        "error: 2 of 900 rows cannot be used, the first is 7 (from 0)"
        in run("predict", "net.safetensors", "echoes.h5", "--inputs", "waveforms", "--out", "y.npz").err
    )
    found = np.load("y.npy")
    assert np.flatnonzero(~np.isfinite(found[:, 0])).tolist() == [7, 300]
    np.testing.assert_allclose(np.delete(found, [7, 300], 0), np.delete(wanted, [7, 300], 0), rtol=1e-5, atol=1e-5)


def test_a_unit_in_a_text_that_is_not_read_is_none_and_is_told(run, echoes, tmp_path):
    with h5py.File(echoes, "a") as file:
        file["swh"].attrs["units"] = "m"  # Of variable length, as h5py writes it.
    done = run(*TRAIN[:-2], "--out", "swh.npz", "--epochs", "1")
    assert done.code == 0, done.err
    assert "swh: attributes that are not read, as their length is not fixed: units; --unit or" in done.err
    assert pnn.load(tmp_path / "swh.npz").outputs[0].unit == ""


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_units_and_names_of_classes_are_those_of_the_file(run, tmp_path, kind):
    arrays = {"waveforms": (X, {}), "swh": (SWH, {"units": "m"}), "n": (SWH, {"units": "1"})}
    flags = {"flag_meanings": "ocean lake ice land", "flag_values": np.int8([0, 1, 2, 3])}
    arrays["surface"] = np.arange(900).astype(np.int8) % 4, flags
    if kind == "nc":
        with h5py.File(tmp_path / "echoes.nc", "w") as file:
            for name, (values, attributes) in arrays.items():
                file[name] = values
                file[name].attrs.update({k: np.bytes_(v) if isinstance(v, str) else v for k, v in attributes.items()})
    else:
        group = pytest.importorskip("zarr").open_group(str(tmp_path / "echoes.zarr"), mode="w")
        for name, (values, attributes) in arrays.items():
            made = group.create_array(name, data=values)
            made.attrs.update({k: v if isinstance(v, str) else v.tolist() for k, v in attributes.items()})
    train = ("train", "auto-4-auto", f"echoes.{kind}", "--inputs", "waveforms", "--epochs", "1", "-q", "--force")
    for target, labels, units, more in (
        ("surface", ("ocean", "lake", "ice", "land"), (), ("--test", "0.2")),
        ("surface", ("a", "b", "c", "d"), (), ("--labels", "a,b,c,d")),
        ("swh", ("swh",), ("m",), ()),
        ("swh", ("swh",), ("cm",), ("--unit", "swh=cm")),
        ("n,swh", ("n", "swh"), ("", "m"), ()),
    ):
        done = run(*train, "--target", target, *more, "--out", "found.safetensors")
        assert done.code == 0, done.err
        [info] = pnn.load(tmp_path / "found.safetensors").outputs
        assert (info.labels, info.each_unit) == (labels, units)


def test_tune(run, echoes, tmp_path):
    assert run(*TRAIN, "--out", "swh.safetensors", "--epochs", "2", "--rate", "0.01").code == 0
    before = pnn.load(tmp_path / "swh.safetensors")
    named = ("echoes.h5", "--inputs", "waveforms")
    done = run(
        "tune", "swh.safetensors", *named, "--target", "swh", "--epochs", "5", "--rate", "0.01",
        "--out", "tuned.safetensors", "--format", "json",
    )  # fmt: skip
    assert done.code == 0, done.err
    after = pnn.load(tmp_path / "tuned.safetensors")
    assert after.outputs == before.outputs
    errors = [np.square(net.predict(X)[:, 0] - SWH).mean() for net in (before, after)]
    assert errors[1] < errors[0] / 2
    done = run("tune", "swh.safetensors", *named, "--target", "kind", "--out", "no.safetensors", "--until", "-1", "-q")
    assert done.code == 0, done.err
    assert pnn.load(tmp_path / "no.safetensors").labels == ("0", "1")
    done = run("tune", "swh.safetensors", *named, "--target", "swh,kind", "--out", "no.h5")
    assert (done.code, "has 2 numbers for each example, and the network predicts 1" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("train", "6-8-1", "echoes.h5", "--inputs", "waveforms"), 2, "--inputs needs --target"),
        ((*TRAIN, "--drop", "a"), 2, "--drop is for tables with named columns: --inputs reads arrays, as they are"),
        (("train", "6-1", "echoes.h5", "--inputs", "no", "--target", "swh"), 3, "has no 'no'; it has kind, swh"),
        (("predict", "digits", "echoes.h5", "--inputs", "no"), 3, "has no 'no'; it has kind, swh, waveforms"),
        (("evaluate", "digits", "echoes.h5", "--inputs", "swh"), 2, "--inputs needs --target"),
    ],
)
def test_wrong_usage(run, echoes, arguments, code, reason):
    done = run(*arguments, *(("--out", "m.safetensors") if arguments[0] == "train" else ()))
    assert (done.code, done.out) == (code, "")
    assert reason in done.err


@pytest.mark.long
def test_killed_in_the_middle_it_goes_on_to_the_same_bytes(run, tmp_path):
    x = np.random.default_rng(1).normal(size=(400_000, 60)).astype(np.float32)  # 96 MB: more than is read at once.
    with h5py.File(tmp_path / "echoes.h5", "w") as file:
        file.create_dataset("waveforms", data=x, chunks=(4096, 60))
        file["swh"] = x[:, 0] * x[:, 1]
    options = ("train", "60-16-1", "echoes.h5", "--inputs", "waveforms", "--target", "swh", "--epochs", "2", "-q")
    assert run(*options, "--out", "whole.safetensors").code == 0
    saving = ("--out", "resumed.safetensors", "--checkpoint", "run,500")
    command = [sys.executable, "-m", "portable_nn", *options, *saving]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        while len(list((tmp_path / "run").glob("*.safetensors"))) < 3:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert not (tmp_path / "resumed.safetensors").exists()
    assert run(*options, *saving, "--resume").code == 0
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "resumed.safetensors").read_bytes()
