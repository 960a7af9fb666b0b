"""evaluate and calibrate on files, pictures and tables, with models of every kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import onnxruntime
import pytest
from foreign import FLOAT, WEIGHT, convolutional, linear, write
from msgspec.structs import replace
from onnx import helper
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import DataError, FormatError, PortableNNError, UsageError
from portable_nn.prediction.keeping import save_network

SAMPLES = find_model("digits-mlp").samples
RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(200, 3)).astype(np.float32)
Z = ROWS.astype(np.float64) @ WEIGHT
Y = np.array([RNG.choice(5, p=np.exp(z) / np.exp(z).sum()) for z in Z])
RIGHT = (Z.argmax(1) == Y).mean()
LOSS = (np.log(np.exp(Z).sum(1)) - Z[np.arange(200), Y]).mean()


def network(**options: object) -> pnn.Network:
    return pnn.Sequential(pnn.Input(3), pnn.Dense(5, bias=False, weight_initial=WEIGHT.T.copy()), **options)


def idx(path: Path, array: np.ndarray, code: int) -> None:
    head = bytes([0, 0, code, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(head + array.tobytes())


def stored(folder: Path, form: str) -> Path:
    """The rows with their labels in some form."""
    path = folder / f"data.{form}"
    if form == "csv":
        np.savetxt(path, np.c_[Y, ROWS], delimiter=",", fmt=["%d", "%.9g", "%.9g", "%.9g"])
    elif form == "words":
        path = folder / "words.csv"
        rows = [
            f'"{label}", {a:.9g};{b:.9g};{c:.9g}'
            for label, (a, b, c) in zip(np.array(list("abcde"))[Y], ROWS, strict=True)
        ]
        path.write_text("\n".join(row.replace(", ", ";") for row in rows))
    elif form == "npz":
        np.savez(path, x=ROWS, y=np.array(list("abcde"))[Y])
    elif form == "h5":
        with h5py.File(path, "w") as file:
            file["x"], file["y"] = ROWS, np.eye(5)[Y]
    else:
        path = folder / "images-idx2-ubyte"
        idx(path, ROWS.astype(">f4"), 0x0D)
        idx(folder / "labels-idx1-ubyte", Y.astype(np.uint8), 0x08)
    return path


@pytest.mark.parametrize("form", ["csv", "words", "npz", "h5", "idx"])
@pytest.mark.parametrize("model", ["safetensors", "onnx", "foreign"])
def test_every_kind_of_data_and_of_model(tmp_path: Path, form: str, model: str) -> None:
    path = tmp_path / f"m.{'onnx' if model == 'foreign' else model}"
    if model == "foreign":
        linear(path, metadata={"labels": '["a", "b", "c", "d", "e"]'})
    else:
        save_network(network(labels="abcde"), path)
    found = pnn.evaluate(path, stored(tmp_path, form), worst=3)
    assert (found.examples, found.accuracy) == (200, RIGHT)
    assert found.loss == pytest.approx(LOSS, rel=1e-5)
    assert [each.name for each in found.classes] == list("abcde")
    assert len(found.worst) == 3


def test_pictures_in_a_folder_for_each_class(tmp_path: Path) -> None:
    """Two of ten lie in the wrong folder."""
    for digit in range(10):
        label = {3: 8, 5: 6}.get(digit, digit)
        (tmp_path / "sorted" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.open(SAMPLES / f"digit-{digit}.png").save(tmp_path / "sorted" / str(label) / f"{digit}.png")
    found = pnn.evaluate("digits", tmp_path / "sorted", worst=2, batch_size=3)
    assert (found.examples, found.accuracy) == (10, 0.8)
    assert {(each.input, each.expected, each.predicted) for each in found.worst} == {
        (str(tmp_path / "sorted/8/3.png"), "8", "3"),
        (str(tmp_path / "sorted/6/5.png"), "6", "5"),
    }
    assert all(each.x.size == 784 for each in found.worst)
    predictions = list(pnn.predict("digits", tmp_path / "sorted"))
    assert sum(each.label == each.expected for each in predictions) == 8
    with pytest.raises(DataError, match=r"has no labels to compare with.* the names of their folders"):
        pnn.evaluate("digits", SAMPLES)


def table(count: int = 120) -> dict[str, object]:
    rng = np.random.default_rng(2)
    area, rooms = rng.uniform(30, 150, count), rng.integers(1, 6, count)
    place = np.array(["town", "country"])[rng.integers(0, 2, count)]
    price = 3000 * area + 10_000 * rooms + 50_000 * (place == "town") + rng.normal(scale=9000, size=count)
    kind = np.where(price > np.median(price), "dear", "cheap")
    return {"area": area, "rooms": rooms, "place": place, "price": price, "tax": price * 0.02, "kind": kind}


@pytest.mark.parametrize("target", ["price", ["price", "tax"]])
@pytest.mark.parametrize("suffix", ["safetensors", "onnx"])
def test_numbers_of_a_table_in_their_units(tmp_path: Path, target: object, suffix: str) -> None:
    """By the columns' names, in any order; compared with what onnxruntime and numpy give."""
    rows = table()
    options = {"units": {"price": "€", "tax": "€"}, "drop": ["kind"] + (["tax"] if target == "price" else [])}
    net = pnn.train_table("auto-8-auto", rows, target, epochs=20, progress=False, **options).network
    save_network(net, tmp_path / f"m.{suffix}")
    names = [target] if isinstance(target, str) else target
    predicted = np.array([each.values for each in pnn.predict(net, {n: rows[n] for n in ("area", "rooms", "place")})])
    found = pnn.evaluate(tmp_path / f"m.{suffix}", dict(reversed(rows.items())), worst=2)
    for place, (number, name) in enumerate(zip(found.numbers, names, strict=True)):
        errors = predicted[:, place] - rows[name]
        assert (number.name, number.unit) == (name, "€")
        assert number.rmse == pytest.approx(np.sqrt((errors**2).mean()), rel=1e-4)
        assert number.bias == pytest.approx(errors.mean(), rel=1e-3, abs=1)
        assert number.r2 == pytest.approx(1 - (errors**2).mean() / rows[name].var(), rel=1e-4)
    if target == "price":
        worst = np.argsort(-np.abs(predicted[:, 0] - rows["price"]))[:2]
        assert [each.input for each in found.worst] == [f"table[{place}]" for place in worst]


@pytest.mark.parametrize("layers", ["auto-8-auto", "auto-8-1"])
def test_classes_of_a_table_that_are_words(tmp_path: Path, layers: str) -> None:
    rows = table()
    net = pnn.train_table(layers, rows, "kind", drop=["price", "tax"], epochs=150, progress=False).network
    answers = [each.label for each in pnn.predict(net, rows)]
    found = pnn.evaluate(net, rows)
    assert found.accuracy == np.mean(np.array(answers) == rows["kind"]) > 0.8
    assert found.auc is not None
    del rows["kind"]
    with pytest.raises(DataError, match="has no column 'kind', which the network predicts, to compare with"):
        pnn.evaluate(net, rows)


def test_a_table_without_names_as_it_was_trained_on(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "t.csv", np.c_[ROWS, Y % 2], delimiter=",", fmt="%.6g")
    net = pnn.train_table("auto-4-auto", tmp_path / "t.csv", "last", epochs=5, progress=False).network
    assert pnn.evaluate(net, tmp_path / "t.csv").examples == 200


def test_numbers_before_the_values_of_a_row(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(1, bias=False, weight_initial=WEIGHT[:, :1].T.copy()))
    export_onnx(net, tmp_path / "m.onnx")
    y = ROWS @ WEIGHT[:, 0] + 0.5
    np.savetxt(tmp_path / "t.csv", np.c_[y, ROWS], delimiter=",")
    for model in (net, tmp_path / "m.onnx", linear(tmp_path / "foreign.onnx", weight=WEIGHT[:, :1])):
        [number] = pnn.evaluate(model, tmp_path / "t.csv").numbers
        assert (number.rmse, number.bias) == pytest.approx((0.5, -0.5), rel=1e-5)


def test_a_foreign_model_of_several_numbers_is_known_by_the_data(tmp_path: Path) -> None:
    path = linear(tmp_path / "foreign.onnx", weight=WEIGHT[:, :2])
    np.savez(tmp_path / "t.npz", x=ROWS, y=ROWS @ WEIGHT[:, :2] + [0.25, -1])
    assert [each.bias for each in pnn.evaluate(path, tmp_path / "t.npz").numbers] == pytest.approx([-0.25, 1], rel=1e-4)


def test_one_number_of_a_foreign_model_may_be_a_class(tmp_path: Path) -> None:
    path = linear(tmp_path / "foreign.onnx", weight=WEIGHT[:, :1])
    y = (ROWS @ WEIGHT[:, 0] > 0).astype(int)
    found = pnn.evaluate(path, ROWS, y)
    assert "if it does, --task classes (task='classes') says so" in found.notes[-1]
    found = pnn.evaluate(path, ROWS, y, task="classes")
    assert (found.accuracy, found.auc) == (1, 1)


def test_pictures_for_a_foreign_model_with_an_operator_that_is_unknown_here(tmp_path: Path) -> None:
    path = convolutional(tmp_path / "m.onnx", metadata={"labels": '["a", "b", "c", "d", "e"]'})
    pictures = RNG.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    for place, picture in enumerate(pictures):
        folder = tmp_path / "data" / "abcde"[place % 3]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / f"{place:02}.png")
    x = (pictures / 255).astype(np.float32).transpose(0, 3, 1, 2)
    [z] = onnxruntime.InferenceSession(path).run(None, {"x": x})
    found = pnn.evaluate(path, tmp_path / "data", batch_size=5)
    assert found.accuracy == (z.argmax(1) == np.arange(12) % 3).mean()
    assert found.notes[0].startswith("the model does not say how to prepare pictures; assumed: ")
    given = {"mean": 0.5, "std": 0.25, "bgr": True}
    [z] = onnxruntime.InferenceSession(path).run(None, {"x": (x[:, ::-1] - 0.5) / 0.25})
    found = pnn.evaluate(path, tmp_path / "data", preprocess=given)
    assert found.loss == pytest.approx(
        np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(12), np.arange(12) % 3]), rel=1e-4
    )


# -- what cannot be used


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ("0,1,2,4\n9,1,2,3\n", r"t\.csv:2: the label 9 is none of the model's classes: a, b, c, d, e"),
        ("0,1,2,4\n0,1,x,3\n", "expected a finite number, found 'x'"),
        ("a,1,2,3\nz,1,2,3\n", r"t\.csv:2: the label 'z' is none of the model's classes"),
        ("a,1,2,3\nb,1,,3\n", "row 2, column 3: expected a finite number, found nothing"),
        ("1,2,3\n", r"t\.csv:1: has no labels to compare with: those of a CSV are in its first column"),
    ],
)
def test_the_first_example_that_cannot_be_used_is_named(tmp_path: Path, rows: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises(DataError, match=reason):
        pnn.evaluate(network(labels="abcde"), tmp_path / "t.csv")


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("0,1,2,4\n9,1,2,3\n7,1,2,3\n1,1,?,3\n2,1,2,3\n6,1,2,3\n")
    found = pnn.evaluate(network(labels="abcde"), tmp_path / "t.csv", strict=False)
    assert (found.examples, found.left_out) == (2, 4)
    assert found.notes[-1].startswith("4 are left out: ")
    assert found.notes[-1].endswith("and 1 more")
    (tmp_path / "t.csv").write_text("9,1,2,3\n8,1,2,3\n")
    with pytest.raises(DataError, match=r"no example to evaluate it on: \S+t\.csv:1: the label 9 is"):
        pnn.evaluate(network(labels="abcde"), tmp_path / "t.csv", strict=False)


def test_outputs_that_are_not_finite(tmp_path: Path) -> None:
    nodes = [helper.make_node("Log", ["x"], ["y"])]
    path = write(tmp_path / "log.onnx", nodes, {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n", 2])})
    x = np.array([[1, 2], [-1, 1], [3, 1]], np.float32)
    with pytest.raises(FormatError, match=r"the model gives NaN or infinity for x\[1\]"):
        pnn.evaluate(path, x, [1, 0, 0])
    np.savez(tmp_path / "t.npz", x=x, y=[1, 0, 0])
    found = pnn.evaluate(path, tmp_path / "t.npz", strict=False)
    assert (found.examples, found.accuracy, found.left_out) == (2, 1, 1)
    np.savez(tmp_path / "t.npz", x=-x, y=[1, 0, 0])
    with pytest.raises(PortableNNError, match="NaN"):
        pnn.evaluate(path, tmp_path / "t.npz", strict=False)


def test_labels_beside_the_data_must_be_as_many() -> None:
    for y in ([0] * 199, [0] * 201):
        with pytest.raises(UsageError, match=f"y has {len(y)} labels for (at least )?200 examples"):
            pnn.evaluate(network(labels="abcde"), ROWS, y)


def test_one_class_alone(tmp_path: Path) -> None:
    found = pnn.evaluate(network(labels="abcde"), ROWS, [2] * 200)
    assert found.baseline == 1
    assert [each.recall for each in found.classes].count(None) == 4
    assert "nan" not in str(found)


def test_one_label_is_none_for_many_examples() -> None:
    with pytest.raises(UsageError, match="y must have a label for each example, not one alone, 5"):
        pnn.evaluate(network(), ROWS, 5)


def test_a_task_that_is_none() -> None:
    with pytest.raises(UsageError, match="task must be classes or numbers, not 'both'"):
        pnn.evaluate(network(), ROWS, Y, task="both")


# -- calibrate


@pytest.mark.parametrize("source", ["safetensors", "onnx", "foreign"])
@pytest.mark.parametrize("target", ["safetensors", "h5", "onnx"])
def test_a_calibrated_model_keeps_its_temperature(tmp_path: Path, source: str, target: str) -> None:
    """Logits of four times the scale: the temperature is about 4 and the loss that of the right scale, in all files."""
    path = tmp_path / f"m.{'onnx' if source == 'foreign' else source}"
    if source == "foreign":
        linear(path, weight=4 * WEIGHT)
    else:
        weight = 4 * WEIGHT.T
        save_network(
            pnn.Sequential(pnn.Input(3), pnn.Dense(5, bias=False, weight_initial=weight), labels="abcde"), path
        )
    data = stored(tmp_path, "csv")
    net, found = pnn.calibrate(path, data)
    assert found.temperature == pytest.approx(4, rel=0.25)
    assert found.after.loss <= LOSS
    save_network(net, tmp_path / f"new.{target}")
    after = pnn.evaluate(tmp_path / f"new.{target}", data)
    assert after.loss == pytest.approx(found.after.loss, rel=1e-5)
    assert after.accuracy == RIGHT
    export_onnx(net, tmp_path / "p.onnx", probabilities=True)
    p = onnxruntime.InferenceSession(tmp_path / "p.onnx").run(None, {net.graph.inputs[0].name: ROWS})[0]
    z = 4 * Z / found.temperature
    np.testing.assert_allclose(p, np.exp(z) / np.exp(z).sum(1, keepdims=True), atol=1e-6)
    assert import_onnx(tmp_path / "p.onnx").outputs[0].kind == "probabilities"


def test_unsure_answers_are_counted_apart() -> None:
    net = network(labels="abcde")
    net.outputs = (replace(net.outputs[0], threshold=0.5),)
    found = pnn.evaluate(net, ROWS, Y)
    p = np.exp(Z) / np.exp(Z).sum(1, keepdims=True)
    sure = p.max(1) >= 0.5
    assert found.unsure == (~sure).sum() == pnn_unsure(net)
    assert found.accuracy_of_sure == (Z.argmax(1) == Y)[sure].mean()
    assert "of the others" in str(found)


def pnn_unsure(net: pnn.Network) -> int:
    return sum(each.label == "?" for each in pnn.predict(net, ROWS))


def test_numbers_and_words_are_told_apart() -> None:
    net = pnn.Sequential(pnn.Input(3), pnn.Dense(1), seed=0)
    with pytest.raises(DataError, match=r"x\[0\]: expected a number to compare with, found 'a'"):
        pnn.evaluate(net, ROWS, ["a"] * 200)
    with pytest.raises(UsageError, match="a temperature is for the probabilities of classes"):
        pnn.calibrate(net, ROWS, Y)


def named_table(path: Path, kind: Sequence[object]) -> Path:
    rows = (f"{a:.9g},{b:.9g},{label},{c:.9g}" for (a, b, c), label in zip(ROWS, kind, strict=True))
    path.write_text("\n".join(["a,b,kind,c", *rows]) + "\n")
    return path


def test_a_foreign_model_is_told_which_column_says_what_is_right(tmp_path: Path) -> None:
    """The others are its input, in their order."""
    model = linear(tmp_path / "m.onnx", metadata={"labels": '["a", "b", "c", "d", "e"]'})
    words = named_table(tmp_path / "words.csv", np.array(list("abcde"))[Y].tolist())
    for data in (words, named_table(tmp_path / "numbers.csv", Y.tolist())):
        found = pnn.evaluate(model, data, target="kind", task="classes", strict=False)
        assert (found.examples, found.accuracy) == (200, RIGHT)
        assert found.loss == pytest.approx(LOSS, rel=1e-5)
    target = Z @ np.ones(5) + 1
    column = linear(tmp_path / "sum.onnx", weight=WEIGHT @ np.ones((5, 1), np.float32))
    found = pnn.evaluate(column, {"y": target, "a": ROWS[:, 0], "b": ROWS[:, 1], "c": ROWS[:, 2]}, target="first")
    assert found.numbers[0].rmse == pytest.approx(1, rel=1e-5)
    assert pnn.calibrate(model, words, target="kind").calibration.temperature == pytest.approx(
        pnn.calibrate(model, stored(tmp_path, "csv")).calibration.temperature, rel=1e-6
    )


def test_a_target_that_is_none_or_missing(tmp_path: Path) -> None:
    model = linear(tmp_path / "m.onnx", metadata={"labels": '["a", "b", "c", "d", "e"]'})
    data = named_table(tmp_path / "t.csv", ["?", *np.array(list("abcde"))[Y[1:]].tolist()])
    with pytest.raises(
        DataError, match=r"t\.csv:2.*no value in column 'kind': a word such as \? or NA stands for a miss"
    ):
        pnn.evaluate(model, data, target="kind", strict=False)
    with pytest.raises(DataError, match="has no column 'sort'; it has a, b, kind, c"):
        pnn.evaluate(model, data, target="sort")
    with pytest.raises(DataError, match="column 'kind' has words, and the model takes numbers"):
        pnn.evaluate(model, named_table(data, ["a"] * 200), target="a")
    with pytest.raises(UsageError, match="target names a column of one table"):
        pnn.evaluate(model, ROWS, target="kind")
    net = pnn.train_table("auto-2-auto", table(), "kind", epochs=1, progress=False).network
    assert pnn.evaluate(net, table(), target="kind").as_json() == pnn.evaluate(net, table()).as_json()
    with pytest.raises(UsageError, match="this model predicts 'kind', not 'a': leave it out"):
        pnn.evaluate(net, table(), target="a")


def test_several_classes_of_one_example_are_refused(tmp_path: Path) -> None:
    """A single example with two classes says what the data are: nothing is left out silently."""
    model = linear(tmp_path / "m.onnx")
    y = np.eye(5)[Y]
    assert pnn.evaluate(model, ROWS, y, task="classes").accuracy == RIGHT
    y[150, (Y[150] + 1) % 5] = 1
    for labels in (y, y.astype(int)):
        with pytest.raises(UsageError, match=r"several classes of one example .*classification_report"):
            pnn.evaluate(model, ROWS, labels, task="classes")
