"""``predict --stream``: the rows of all inputs are the steps of one sequence."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

import portable_nn as pnn

X = np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)


@pytest.fixture
def wanted(tmp_path):
    net = pnn.Sequential(pnn.Input("steps", 3), pnn.LSTM(5), pnn.Dense(2), seed=0)
    net.save(tmp_path / "t.safetensors")
    np.save(tmp_path / "a.npy", X[:4])
    np.save(tmp_path / "b.npy", X[4:])
    np.savetxt(tmp_path / "x.csv", X, delimiter=",", fmt="%.9g")
    return net.predict(X[np.newaxis])[0]


def _values(done):
    assert done.code == 0, done.err
    return np.array([row["values"] for row in done.json["results"]])


STREAM = ("--stream", "--format", "json")


@pytest.mark.parametrize("size", ["256", "3", "1"])
def test_it_goes_on_from_file_to_file(run, wanted, size):
    done = run("predict", "t.safetensors", "a.npy", "b.npy", *STREAM, "--batch-size", size)
    np.testing.assert_allclose(_values(done), wanted, atol=1e-6)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_a_table(run, wanted, engine):
    done = run("predict", "t.safetensors", "x.csv", *STREAM, "--engine", engine)
    np.testing.assert_allclose(_values(done), wanted, atol=1e-6)


def test_standard_input(run, wanted, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "x.csv").read_bytes())))
    done = run("predict", "t.safetensors", "-", *STREAM, "--batch-size", "1")
    np.testing.assert_allclose(_values(done), wanted, atol=1e-6)


def test_an_exported_model(run, wanted):
    assert run("export", "t.safetensors", "t.onnx", "--stream").code == 0
    np.testing.assert_allclose(_values(run("predict", "t.onnx", "x.csv", *STREAM)), wanted, atol=1e-6)
    refused = run("predict", "t.onnx", "x.csv")
    assert refused.code == 2
    assert "--stream keeps its states" in refused.err


def test_a_judge_of_the_whole_answers_after_each_step(run, tmp_path):
    net = pnn.Sequential(pnn.Input("steps", 3), pnn.GRU(5, last=True), pnn.Dense(2), seed=0)
    net.save(tmp_path / "l.safetensors")
    np.save(tmp_path / "x.npy", X)
    wanted = [net.predict(X[np.newaxis, :end])[0] for end in range(1, 11)]
    np.testing.assert_allclose(_values(run("predict", "l.safetensors", "x.npy", *STREAM)), wanted, atol=1e-6)


def test_a_bad_step_ends_it(run, wanted, tmp_path):
    (tmp_path / "bad.csv").write_text("1,2,3\n4,x,6\n7,8,9\n")
    done = run("predict", "t.safetensors", "bad.csv", "--stream", "--batch-size", "1")
    assert done.code == 3
    assert "bad.csv" in done.err
    assert "bad.csv:3" not in done.out


def test_what_cannot_be_a_stream_is_refused(run, wanted, tmp_path):
    pnn.Sequential(pnn.Input("steps", 3), pnn.GRU(5, bidirectional=True), seed=0).save(tmp_path / "b.safetensors")
    done = run("predict", "b.safetensors", "x.csv", "--stream")
    assert done.code == 2
    assert "it is bidirectional" in done.err
    done = run("predict", "t.safetensors", "x.csv", "--stream", "--out", "y.npz")
    assert done.code == 2
    assert "--stream gives an answer for each step" in done.err
    done = run("predict", "digits", "x.csv", "--stream")
    assert done.code == 2
    assert "no layer keeps a state" in done.err
