"""The temperature and the threshold that a model carries: what predict makes of them, in both engines and all files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from closed_forms import logistic, softmax
from foreign import WEIGHT
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.evaluation.probabilities import log_probabilities, probabilities

ROWS = np.random.default_rng(5).normal(size=(40, 3)).astype(np.float32)
CLASSES = list("abcde")


def network(width: int = 5, last: pnn.Layer | None = None, **meaning: object) -> pnn.Network:
    layer = pnn.Dense(width, bias=False, weight_initial=WEIGHT[:, :width].T.copy())
    net = pnn.Sequential(pnn.Input(3), layer, *([last] if last else []), labels=CLASSES[: max(width, 2)])
    net.outputs = (replace(net.outputs[0], **meaning),)
    return net


def stored(net: pnn.Network, path: Path) -> Path:
    export_onnx(net, path) if path.suffix == ".onnx" else net.save(path)
    return path


@pytest.mark.parametrize("engine", ["onnxruntime", "numpy"])
@pytest.mark.parametrize("suffix", ["safetensors", "h5", "onnx"])
def test_the_temperature_and_the_threshold_of_a_file_hold_in_both_engines(tmp_path, suffix, engine):
    path = stored(network(temperature=2.5, threshold=0.45), tmp_path / f"m.{suffix}")
    expected = softmax((ROWS @ WEIGHT) / 2.5)
    sure = expected.max(axis=1) >= 0.45
    assert 5 < sure.sum() < 35
    found = pnn.predict(path, ROWS, engine=engine, top=5)
    each = list(found)
    shares = [[dict(one.top)[name] for name in CLASSES] for one in each]
    np.testing.assert_allclose(shares, expected, rtol=1e-5)
    best = [CLASSES[place] for place in expected.argmax(axis=1)]
    assert [one.label for one in each] == [b if s else "?" for b, s in zip(best, sure, strict=True)]
    assert [one.index for one in each] == [CLASSES.index(b) if s else None for b, s in zip(best, sure, strict=True)]
    assert [one.guess for one in each] == [None if s else b for b, s in zip(best, sure, strict=True)]
    np.testing.assert_allclose([one.probability for one in each], expected.max(axis=1), rtol=1e-5)
    assert (found.threshold, found.unsure) == (0.45, 40 - sure.sum())


@pytest.mark.parametrize(
    ("width", "last", "expected"),
    [
        (1, None, lambda z: logistic(z / 3)),
        (1, pnn.Sigmoid(), lambda z: logistic(z / 3)),
        (5, pnn.Softmax(), lambda z: softmax(z / 3)),
    ],
)
def test_a_temperature_divides_the_logits_of_each_kind_of_output(tmp_path, width, last, expected):
    """Also those that a layer has made probabilities of."""
    path = stored(network(width, last, temperature=3.0), tmp_path / "m.safetensors")
    found = np.array(
        [[dict(one.top)[name] for name in CLASSES[: max(2, width)]] for one in pnn.predict(path, ROWS, top=5)]
    )
    np.testing.assert_allclose(found[:, -width:], expected(ROWS @ WEIGHT[:, :width]), rtol=1e-4, atol=1e-7)


def test_logarithms_of_probabilities_keep_their_digits_where_these_vanish():
    z = np.array([[800.0, 0.0, -800.0], [3.0, 1.0, 2.0]])
    np.testing.assert_allclose(log_probabilities(z, "logits")[0], [0, -800, -1600])
    np.testing.assert_allclose(log_probabilities(z, "logits")[1], np.log(softmax(z[1:])[0]), rtol=1e-14)
    np.testing.assert_allclose(
        log_probabilities(z[:, :1], "binary_logits"), [[-800, 0], [-3.048587351573742, -0.048587351573742]]
    )
    assert probabilities(z, "logits")[0].tolist() == [1, 0, 0]
    assert np.isfinite(log_probabilities(np.array([[0.0, 1.0]]), "probabilities")).all()


def test_an_answer_of_numbers_has_the_means_and_deviations_of_a_normal_distribution(tmp_path):
    net = network(4)
    net.outputs = (replace(net.outputs[0], kind="gaussian", labels=("height", "weight")),)
    found = list(pnn.predict(stored(net, tmp_path / "m.safetensors"), ROWS[:3]))
    means, variances = np.split((ROWS @ WEIGHT)[:3, :4], 2, axis=1)
    np.testing.assert_allclose([one.values for one in found], np.c_[means, np.exp(variances / 2)], rtol=1e-5)


def test_the_best_guess_stands_beside_a_question_mark_in_each_form(tmp_path, monkeypatch, capsys):
    from portable_nn.cli import main

    monkeypatch.chdir(tmp_path)
    stored(network(threshold=0.6), tmp_path / "m.safetensors")
    z = ROWS @ WEIGHT
    order = np.argsort(softmax(z).max(axis=1))
    np.savetxt("rows.csv", np.c_[[0, 1], ROWS[order[[0, -1]]]], delimiter=",")
    unsure, sure = (CLASSES[place] for place in z[order[[0, -1]]].argmax(axis=1))

    assert main(["predict", "m.safetensors", "rows.csv"]) == 0
    out, err = capsys.readouterr()
    head, first, second = (line.split() for line in out.splitlines())
    assert head == ["input", "label", "probability", "guess", "expected"]
    assert (first[1], first[-2:], second[1], second[-1]) == ("?", [unsure, "a"], sure, "b")
    assert err == f"{int(sure == 'b')} of 2 right ({'50.0' if sure == 'b' else '0.0'} %); 1 of 2 unsure\n"

    assert main(["predict", "m.safetensors", "rows.csv", "--format", "json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["results"]
    assert (first["label"], first["index"], first["guess"], first["top"][0][0]) == ("?", None, unsure, unsure)
    assert "guess" not in second
    assert second["label"] == sure

    assert main(["predict", "m.safetensors", "rows.csv", "--format", "csv"]) == 0
    lines = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["input", "label", "probability", "guess", "expected", "error"]
    assert [(line[1], line[3]) for line in lines[1:]] == [("?", unsure), (sure, "")]
