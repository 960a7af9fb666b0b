"""predict_proba, evaluate and calibrate of a network, and the probabilities in an exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from bounded import bounded
from closed_forms import logistic, softmax
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.cli import main
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import DataError, UsageError

RNG = np.random.default_rng(7)
X = RNG.normal(size=(300, 3)).astype(np.float32)


def network(width: int, last: pnn.Layer | None = None, temperature: float = 1.0) -> pnn.Network:
    layers = [pnn.Input(3), pnn.Dense(width), *([last] if last else [])]
    net = pnn.Sequential(*layers, labels=list("abcdef")[: max(width, 2)], seed=0)
    net.outputs = (replace(net.outputs[0], temperature=temperature),)
    return net


def raw(net: pnn.Network) -> np.ndarray:
    return X @ net.parameters["dense_1.weight"].T + net.parameters["dense_1.bias"]


FORMS = {
    "softmax": (4, None, softmax),
    "logistic": (1, None, logistic),
    "probabilities": (4, pnn.Softmax(), softmax),
    "one probability": (1, pnn.Sigmoid(), logistic),
}


@pytest.mark.parametrize("temperature", [1.0, 0.4, 3.0])
@pytest.mark.parametrize("form", FORMS)
def test_probabilities_by_the_kind_of_the_output(tmp_path: Path, form: str, temperature: float) -> None:
    """In numpy, in onnxruntime, and in the exported file as plain onnxruntime runs it: all by the closed form."""
    width, last, function = FORMS[form]
    net = network(width, last, temperature)
    expected = function(raw(net).astype(np.float64) / temperature)
    both = np.concatenate([1 - expected, expected], axis=1) if width == 1 else expected
    np.testing.assert_allclose(net.predict_proba(X), both, atol=2e-6)
    np.testing.assert_allclose(net.predict_proba(X, engine="onnxruntime"), both, atol=2e-6)
    report = export_onnx(net, tmp_path / "m.onnx", probabilities=True)
    assert report.max_abs_error < 1e-5
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    np.testing.assert_allclose(session.run(None, {"input": X})[0], expected, atol=2e-6)
    back = import_onnx(tmp_path / "m.onnx")
    assert (back.outputs[0].kind, back.outputs[0].temperature) == ("probabilities", 1.0)
    assert back.labels == net.labels
    first, second = (list(pnn.predict(model, X[:20])) for model in (net, tmp_path / "m.onnx"))
    assert [each.label for each in first] == [each.label for each in second]
    np.testing.assert_allclose([e.probability for e in first], [e.probability for e in second], atol=2e-6)


def test_the_shell_exports_probabilities_as_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    network(4, temperature=2.5).save("m.safetensors")
    assert main(["export", "m.safetensors", "m.onnx", "--probabilities"]) == 0
    assert "'dense_1' divided by the temperature 2.5, and made probabilities" in capsys.readouterr().err
    assert [node.op_type for node in onnx.load("m.onnx").graph.node][-2:] == ["Div", "Softmax"]
    assert main(["export", "m.safetensors", "plain.onnx"]) == 0
    assert onnx.load("plain.onnx").graph.node[-1].op_type == "Gemm"
    assert import_onnx("plain.onnx").outputs[0].temperature == 2.5
    assert main(["export", "m.onnx", "again.onnx", "--probabilities"]) == 0
    assert "the outputs are probabilities already" in capsys.readouterr().err


def test_numbers_have_no_probabilities(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(1), seed=0)
    with pytest.raises(UsageError, match="predicts numbers, and no output has classes"):
        net.predict_proba(X)
    with pytest.raises(UsageError, match="no output of the network says that it has some"):
        export_onnx(net, tmp_path / "m.onnx", probabilities=True)
    assert not (tmp_path / "m.onnx").exists()
    with pytest.raises(UsageError, match="a temperature is for the probabilities of classes"):
        net.calibrate(X, np.zeros(300, int))


# -- calibration


@pytest.mark.parametrize("form", FORMS)
def test_the_temperature_is_the_one_that_scipy_finds(form: str) -> None:
    optimize = pytest.importorskip("scipy.optimize")
    width, last, function = FORMS[form]
    net = network(width, last)
    z = raw(net).astype(np.float64)
    true = function(z / 2.2)
    both = np.concatenate([1 - true, true], axis=1) if width == 1 else true
    y = np.array([RNG.choice(both.shape[1], p=row) for row in both])

    def loss(temperature: float) -> float:
        p = function(z / temperature)
        p = np.concatenate([1 - p, p], axis=1) if width == 1 else p
        return -np.log(p[np.arange(300), y]).mean()

    best = optimize.minimize_scalar(loss, bounds=(0.1, 20), method="bounded", options={"xatol": 1e-9})
    answers = [each.label for each in pnn.predict(net, X)]
    found = net.calibrate(X, y)
    assert found.temperature == net.outputs[0].temperature == pytest.approx(best.x, rel=2e-3)
    assert found.after.loss == pytest.approx(best.fun, abs=1e-7)
    assert found.before.loss == pytest.approx(loss(1.0), abs=1e-6)
    assert found.after.loss < found.before.loss
    assert [each.label for each in pnn.predict(net, X)] == answers
    again = net.calibrate(X, y)
    assert again.temperature == pytest.approx(found.temperature, rel=1e-9)
    assert again.before.loss == pytest.approx(found.after.loss, rel=1e-12)


def test_a_calibration_without_a_best_temperature_is_refused() -> None:
    net = network(4)
    best = raw(net).argmax(1)
    with pytest.raises(UsageError, match="nearly each is right, and a lower one is always better"):
        net.calibrate(X, best)
    with pytest.raises(UsageError, match="as if the model knew nothing"):
        net.calibrate(X, raw(net).argmin(1))
    assert net.outputs[0].temperature == 1


def test_separate_logistic_functions_have_no_common_temperature() -> None:
    with pytest.raises(UsageError, match="in output 'sigmoid_1' do not add up to 1"):
        network(4, pnn.Sigmoid()).calibrate(X, RNG.integers(0, 4, 300))


# -- evaluate


def test_evaluate_of_a_network_takes_labels_as_fit_does() -> None:
    net = network(4)
    y = RNG.integers(0, 4, 300)
    right = float((raw(net).argmax(1) == y).mean())
    for given in (y, y.tolist(), np.eye(4)[y], ["abcd"[place] for place in y], np.array(list("abcd"))[y]):
        assert net.evaluate(X, given).accuracy == pytest.approx(right, abs=1e-15)
    worst = net.evaluate(X, y, worst=2, engine="onnxruntime").worst
    losses = -np.log(softmax(raw(net)))[np.arange(300), y]
    assert [each.input for each in worst] == [f"x[{place}]" for place in np.argsort(-losses)[:2]]


def test_evaluate_of_several_outputs_takes_a_dict() -> None:
    x = pnn.Input(3, name="x")
    net = pnn.Network(x, [pnn.Dense(4, name="kind")(x), pnn.Dense(2, name="size")(x)], labels="abcd", seed=0)
    sizes = RNG.normal(size=(300, 2))
    found = net.evaluate(X, {"kind": np.zeros(300, int), "size": sizes})
    kinds, numbers = net.predict({"x": X}).values()
    assert found["kind"].accuracy == (kinds.argmax(1) == 0).mean()
    assert [n.mae for n in found["size"].numbers] == pytest.approx(np.abs(numbers - sizes).mean(0).tolist(), rel=1e-6)
    with pytest.raises(UsageError, match="has the outputs kind, size"):
        net.evaluate(X, np.zeros(300, int))


@pytest.mark.long
def test_a_million_examples_take_no_more_memory_than_a_few() -> None:
    """Their outputs alone would be 160 MB, and the examples, which here are one row again and again, 512 MB."""
    found = bounded(
        "import numpy as np, portable_nn as pnn\n"
        "net = pnn.Sequential(pnn.Input(128), pnn.Dense(20), labels=list('abcdefghijklmnopqrst'), seed=0)\n"
        "x = np.broadcast_to(np.linspace(-1, 1, 128, dtype=np.float32), (1_000_000, 128))\n"
        "best = int(net.predict(x[:1]).argmax())\n"
        "y = np.broadcast_to(np.array(best), 1_000_000)\n"
        "found = net.evaluate(x, y, worst=20)\n"
        "print(found.examples, found.accuracy, len(found.worst))"
    )
    assert found.text == "1000000 1.0 20"
    assert found.bytes < 120e6


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.full(300, 9), DataError, r"x\[0\]: the label 9 is none of the model's classes: a, b, c, d"),
        (np.zeros(299, int), UsageError, "an entry or a row for each of 300 examples"),
        (["z"] * 300, DataError, "the label 'z' is none"),
        (np.full((300, 2), 1), UsageError, "several classes of one example"),
        (None, UsageError, "y"),
    ],
)
def test_labels_that_do_not_fit_are_named(y: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        network(4).evaluate(X, y)


def test_options_and_targets_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="worst must be a whole number from 0, not -3"):
        network(4).evaluate(X, np.zeros(300, int), worst=-3)
    with pytest.raises(UsageError, match="task must be classes or numbers, not 'no'"):
        network(4).evaluate(X, np.zeros(300, int), task="no")
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(1), seed=0)
    for target in (np.inf, 1e200):
        with pytest.raises(DataError, match=r"x\[0\]: expected a number up to 1e\+75 to compare with, found"):
            net.evaluate(X, np.full(300, target))
    assert np.isfinite(net.evaluate(X, np.linspace(0, 1e75, 300)).numbers[0].rmse_interval).all()


def test_outputs_that_are_not_finite_are_named() -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(2, weight_initial=np.full((2, 3), 3e38, np.float32)), labels="ab")
    with pytest.raises(DataError, match=r"x\[0\]: the model gives NaN or infinity"):
        net.evaluate(np.full((2, 3), 1e5, np.float32), [0, 1])
    with pytest.raises(UsageError, match="x holds no examples"):
        net.evaluate(np.zeros((0, 3)), [])
