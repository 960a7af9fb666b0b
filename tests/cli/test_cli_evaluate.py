"""``portable-nn evaluate`` and ``calibrate``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.catalog import find_model

X = np.array([[2, 0], [0, 1], [3, 1], [1, 2], [0, 4], [3, 2]], np.float32)
Y = [0, 0, 0, 1, 1, 1]  # Two of six are taken for the other class.


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A model whose logits are the two numbers of a row, and six rows with labels."""
    layer = pnn.Dense(2, bias=False, weight_initial=np.eye(2, dtype=np.float32))
    pnn.Sequential(pnn.Input(2), layer, labels=["cat", "dog"]).save(tmp_path / "m.safetensors")
    np.savetxt(tmp_path / "rows.csv", np.c_[Y, X], delimiter=",", fmt="%g")
    return tmp_path


def test_the_table(files: Path, run) -> None:
    """The figures by hand, and the intervals by scipy: of 4 of 6, of 2 of 3, and for F1 of 2 of 4."""
    found = run("evaluate", "m.safetensors", "rows.csv", "--top", "2")
    assert (found.code, found.err) == (0, "")
    margins = (X[:, 1] - X[:, 0]) * np.array([-1, -1, -1, 1, 1, 1])
    losses = np.log1p(np.exp(-margins))
    first, *classes = found.out.split("\n\n")
    lines = first.splitlines()
    assert lines[0].split() == ["examples", "6"]
    assert lines[1] == "accuracy           66.7 % (24.1 % to 94.0 %); 50.0 % by the most frequent class alone"
    few = "(too few for an interval: 6, it needs 100)"
    assert lines[2] == f"loss               {losses.mean():.6g} {few}, cross entropy"
    assert lines[3] == "mean F1            0.666667 (too few for an interval: 3 of class 'cat', it needs 10)"
    # 7.5 of 9 pairs: one tie.
    assert lines[4] == "ROC AUC            0.833333 (too few for an interval: 3 of class 'cat', it needs 10)"
    each = "0.667 (0.13 to 0.98)  0.667 (0.13 to 0.98)  0.667 (0.17 to 0.95)        3"
    assert classes[0].splitlines()[1:] == [f"cat    {each}", f"dog    {each}"]
    assert [line.split() for line in classes[1].splitlines()] == [
        ["class", "\\", "taken", "for", "cat", "dog"],
        ["cat", "2", "1"],
        ["dog", "1", "2"],
    ]
    assert [line.split() for line in classes[2].splitlines()] == [
        ["worst", "class", "taken", "for", "probability"],
        ["rows.csv:2", "cat", "dog", "73.1", "%"],
        ["rows.csv:6", "dog", "cat", "73.1", "%"],
    ]


def test_json_and_csv(files: Path, run) -> None:
    found = run("evaluate", "m.safetensors", "rows.csv", "--format", "json", "--top", "1").json
    assert (found["schema"], found["task"], found["examples"], found["confusion"]) == (
        1,
        "classes",
        6,
        [[2, 1], [1, 2]],
    )
    assert [each["count"] for each in found["reliability"]["bins"]] == [3, 2, 1]
    assert [each["name"] for each in found["classes"]] == ["cat", "dog"]
    assert found["worst"][0] == {
        "input": "rows.csv:2",
        "expected": "cat",
        "predicted": "dog",
        "score": pytest.approx(np.log(1 + np.e)),
        "probability": pytest.approx(1 / (1 + np.exp(-1))),
    }
    found = run("evaluate", "m.safetensors", "rows.csv", "--out", "figures.csv")
    with (files / "figures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["class"], row["support"], row["taken for cat"]) for row in rows] == [
        ("cat", "3", "2"),
        ("dog", "3", "1"),
    ]
    assert float(rows[0]["precision"]) == 2 / 3
    assert found.err.startswith("examples           6\n")


def test_what_is_left_out_is_an_error_at_the_end(files: Path, run) -> None:
    (files / "more.csv").write_text("0,2,0\n7,2,0\n1,x,0\n")
    found = run("evaluate", "m.safetensors", "more.csv")
    assert (found.code, found.out[:22]) == (3, "examples           1\na")
    assert found.err.startswith(
        "error: of 3 examples 2 are left out: more.csv:2: the label 7 is none of the model's cl"
    )
    (files / "more.csv").write_text("0,2,0\n7,2,0\n")
    found = run("evaluate", "m.safetensors", "more.csv", "--strict")
    assert (found.code, found.out) == (3, "")
    assert found.err == "error: more.csv:2: the label 7 is none of the model's classes: cat, dog\n"


@pytest.mark.long
def test_numbers(files: Path, run) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    area = rng.uniform(30, 150, 80)
    (files / "flats.csv").write_text(
        "area,price\n" + "".join(f"{a:.3f},{3 * a + e:.3f}\n" for a, e in zip(area, rng.normal(size=80), strict=True))
    )
    trained = run("train", "auto-4-auto", "flats.csv", "--target", "price", "--unit", "price=k€", "-o", "p.safetensors")
    assert trained.code == 0, trained.err
    found = run("evaluate", "p.safetensors", "flats.csv", "--format", "json").json
    [number] = found["numbers"]
    values = [
        each["values"][0] for each in run("predict", "p.safetensors", "flats.csv", "--format", "json").json["results"]
    ]
    errors = np.array(values) - np.loadtxt(files / "flats.csv", delimiter=",", skiprows=1)[:, 1]
    assert (number["name"], number["unit"]) == ("price", "k€")
    assert [number["rmse"], number["bias"]] == pytest.approx([np.sqrt((errors**2).mean()), errors.mean()], rel=1e-5)
    text = run("evaluate", "p.safetensors", "flats.csv", "--top", "1", "--plot", "sheet.svg").out
    [rmse] = [line for line in text.splitlines() if line.startswith("RMSE")]
    assert rmse.split()[1:3] == [f"{number['rmse']:.6g}", "k€"]
    drawing = (files / "sheet.svg").read_text()
    assert drawing.count("<use") > 80 * 2  # Each example in both panels.


def test_the_sheet_shows_the_matrix_the_calibration_and_the_worst(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from PIL import Image

    from portable_nn.evaluation.picture import drawable, sheet

    for digit in range(10):
        folder = tmp_path / str((digit + (digit == 3)) % 10)
        folder.mkdir(exist_ok=True)
        Image.open(find_model("digits-mlp").samples / f"digit-{digit}.png").save(folder / f"{digit}.png")
    found = pnn.evaluate("digits", tmp_path, worst=3)
    drawn = sheet(found, "digits on ten")
    matrix, curve, counts, *pictures = drawn.axes
    written = {(text.get_position(), text.get_text()) for text in matrix.texts}
    assert written == {((b, a), str(found.confusion[a, b])) for a, b in zip(*np.nonzero(found.confusion), strict=True)}
    assert [label.get_text() for label in matrix.get_xticklabels()] == list("0123456789")
    points = curve.lines[1].get_xydata()
    np.testing.assert_allclose(points, [(each.confidence, each.accuracy) for each in found.reliability.bins])
    assert sum(patch.get_height() for patch in counts.patches) == pytest.approx(1)
    assert pictures[0].get_title() == "4\nas 3"
    np.testing.assert_array_equal(pictures[0].images[0].get_array(), drawable(found.worst[0].x))
    assert len(pictures) == 1  # The others of the three are right.
    assert all(spine.get_visible() for spine in pictures[0].spines.values())


def test_a_model_that_is_never_right_is_evaluated() -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), labels="abc", seed=0)
    x = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    found = net.evaluate(x, (net.predict(x).argmax(axis=1) + 1) % 3)
    assert (found.accuracy, found.f1, found.f1_interval) == (0.0, 0.0, None)


@pytest.mark.long
def test_captions_of_the_worst_do_not_touch_and_right_pictures_are_not_called_wrong() -> None:
    pytest.importorskip("matplotlib")
    from portable_nn.evaluation.picture import sheet

    names = ["W" * 20, "triangle", "$"]
    net = pnn.Sequential(pnn.Input(1, 4, 4), pnn.Flatten(), pnn.Dense(3), labels=names, seed=0)
    x = np.random.default_rng(0).normal(size=(40, 1, 4, 4)).astype(np.float32)
    best = net.predict(x).argmax(axis=1)
    drawn = sheet(net.evaluate(x, np.where(np.arange(40) < 30, (best + 1) % 3, best), worst=20))
    drawn.canvas.draw()
    boxes = [axes.title.get_window_extent() for axes in drawn.axes[3:]]
    assert len(boxes) == 20
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])
    right = sheet(net.evaluate(x, best, worst=20))
    assert len(right.axes) == 3
    assert "All are right" in [text.get_text() for text in right.texts]


@pytest.mark.parametrize(("far", "top"), [((), 104.0), ((2000.0, -500.0), 104.0), ((120.0,), 124.8)])
def test_few_predictions_that_are_far_off_do_not_squash_the_others(far: tuple[float, ...], top: float) -> None:
    pytest.importorskip("matplotlib")
    from portable_nn.evaluation.picture import sheet

    targets = np.linspace(0, 100, 1001, dtype=np.float32)[:, None]
    net = pnn.Sequential(pnn.Input(1), pnn.Dense(1, weight_initial=1.0), seed=0)
    x = targets.copy()
    x[100 : 100 + len(far), 0] = far
    axes = sheet(net.evaluate(x, targets)).axes[0]
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_ylim()[1] == pytest.approx(top)
    said = [text.get_text() for text in axes.texts]
    assert said == (["2 predictions beyond the axes, -500 to 2000"] if len(far) == 2 else [])


def test_names_of_users_are_drawn_as_they_are(tmp_path: Path) -> None:
    """A dollar sign begins no formula."""
    pytest.importorskip("matplotlib")
    from portable_nn.core.plotting import save
    from portable_nn.evaluation.picture import sheet

    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["$5$", r"$\frac{"], seed=0)
    save(sheet(net.evaluate(X, Y), r"$\frac{ on $"), tmp_path / "s.svg")
    assert r"$\frac{" in (tmp_path / "s.svg").read_text()


def test_calibrate_writes_a_model_that_evaluate_finds_better(files: Path, run) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(scale=6, size=(400, 2))
    y = (rng.random(400) < 1 / (1 + np.exp((x[:, 0] - x[:, 1]) / 3))).astype(int)  # A temperature of 3.
    np.savetxt(files / "v.csv", np.c_[y, x], delimiter=",", fmt="%.5f")
    found = run("calibrate", "m.safetensors", "v.csv", "--out", "c.onnx", "--format", "json").json
    assert found["temperature"] == pytest.approx(3, rel=0.2)
    before, after = (run("evaluate", model, "v.csv", "--format", "json").json for model in ("m.safetensors", "c.onnx"))
    for each, name in ((before, "before"), (after, "after")):
        assert each["loss"] == pytest.approx(found[name]["loss"], rel=1e-6)
        assert each["accuracy"] == found[name]["accuracy"]
    assert after["loss"] < before["loss"]
    assert after["reliability"]["ece"] < before["reliability"]["ece"]
    assert run("calibrate", "m.safetensors", "v.csv", "--out", "c.onnx").code == 2
    assert (
        json.loads(run("inspect", "c.onnx", "--format", "json").out)["outputs"][0]["temperature"]
        == found["temperature"]
    )
