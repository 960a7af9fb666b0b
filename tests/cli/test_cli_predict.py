from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from foreign import FLOAT, write
from onnx import helper
from PIL import Image

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.format import InputInfo
from portable_nn.preprocessing.defaults import default_preprocessing

SAMPLES = find_model("digits-mlp").samples


def test_a_table(run):
    code, out, err = run("predict", "digits-mlp", SAMPLES)
    head, *rows = out.splitlines()
    assert (code, err, head.split()) == (0, "", ["input", "label", "probability", "guess"])
    assert [row.split()[:2] for row in rows] == [[str(SAMPLES / f"digit-{n}.png"), str(n)] for n in range(10)]
    assert all(row.endswith(" %") for row in rows)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_classes_without_names_are_printed_with_probabilities(run, tmp_path, engine):
    """What ``fit`` was given says that the outputs are classes, and the file keeps it."""
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x[:5])
    for units, loss, y in ((3, None, x.argmax(axis=1) % 3), (1, "binary_cross_entropy", (x[:, :1] > 0) * 1.0)):
        network = pnn.Sequential(pnn.Input(4), pnn.Dense(units), seed=0)
        network.fit(x, y, loss=loss, epochs=2, progress=False)
        network.save(tmp_path / "m.npz")
        found = run("predict", "m.npz", "x.npy", "--engine", engine, "--format", "json").json["results"]
        outputs = network.predict(x[:5])
        if units == 1:
            outputs = np.concatenate([0 * outputs, outputs], axis=1)
        expected = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        assert [each["label"] for each in found] == [str(each) for each in expected.argmax(axis=1)]
        np.testing.assert_allclose([each["probability"] for each in found], expected.max(axis=1), rtol=1e-5)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_json(run, engine):
    code, out, err = run("predict", "digits-mlp", SAMPLES, "--format", "json", "--top", "2", "--engine", engine)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert list(found) == ["schema", "model", "results"]
    assert (found["schema"], found["model"]) == (1, "digits-mlp")
    for digit, result in enumerate(found["results"]):
        assert list(result) == ["input", "label", "index", "probability", "top", "box"]
        assert (result["input"], result["label"], result["index"]) == (
            str(SAMPLES / f"digit-{digit}.png"),
            str(digit),
            digit,
        )
        assert result["top"][0] == [result["label"], result["probability"]]
        assert result["top"][0][1] > result["top"][1][1]


def test_rows_of_csv_and_the_right_answers(run, digits_csv):
    code, out, err = run("predict", "digits-mlp", digits_csv.name)
    assert [row.split()[0] for row in out.splitlines()[1:]] == [f"digits.csv:{row}" for row in range(1, 6)]
    assert [row.split()[-1] for row in out.splitlines()] == ["expected", "0", "2", "4", "6", "8"]
    assert (code, err) == (0, "5 of 5 right (100.0 %); 0 of 5 unsure\n")
    results = run("predict", "digits-mlp", digits_csv, "--format", "json").json["results"]
    assert [result["expected"] for result in results] == [result["label"] for result in results] == list("02468")


@pytest.mark.long
def test_standard_input_in_a_process_of_its_own(shell, digits_csv):
    code, out, err = shell("predict", "digits-mlp", "-", "--quiet", "--format", "json", input=digits_csv.read_text())
    assert (code, err) == (0, "")
    assert [result["input"] for result in json.loads(out)["results"]] == [f"stdin:{row}" for row in range(1, 6)]


def test_top_makes_more_columns(run):
    _, out, _ = run("predict", "digits-mlp", SAMPLES / "digit-8.png", "--top", "4")
    assert out.splitlines()[0].split() == [
        "input",
        "label",
        "probability",
        "2nd",
        "probability",
        "3rd",
        "probability",
        "4th",
        "probability",
        "guess",
    ]


def test_verbose_tells_all_of_it_on_stderr(run):
    code, out, err = run("predict", "digits-mlp", SAMPLES / "digit-1.png", "--verbose", "--format", "json")
    assert json.loads(out)["results"][0]["label"] == "1"
    assert code == 0
    for part in (
        "runs in onnxruntime",
        "  1. convert to grey",
        "  5. separate the drawings",
        "the ink is taken to be dark",
    ):
        assert part in err
    assert run("predict", "digits-mlp", SAMPLES / "digit-1.png", "--verbose", "--quiet").err == ""


def test_polarity_can_be_forced(run):
    dark = SAMPLES / "digit-3.png"
    assert run("predict", "digits-mlp", dark, "--polarity", "dark", "-v").err.count("taken to be dark") == 1
    assert run("predict", "digits-mlp", dark, "--polarity", "dark").out == run("predict", "digits-mlp", dark).out
    wrong = run("predict", "digits-mlp", dark, "--polarity", "light")
    assert wrong.code == 3 or wrong.out != run("predict", "digits-mlp", dark).out


def test_raw_takes_what_the_graph_takes(run, tmp_path, digits_csv):
    """Of an older file, whose steps are beside its graph, what they make of pixels; then 0 to 255 as all else does."""
    table = np.loadtxt(digits_csv, delimiter=",")
    np.save(tmp_path / "ready.npy", table[:, 1:] / 255 * 0.99 + 0.01)
    older = pnn.load_model("digits-mlp")
    scaled = {"hidden.weight", "hidden.bias", "digit.weight", "digit.bias"}
    body = pnn.Sequential(
        pnn.Input(784, name="image"), pnn.Dense(200, name="hidden"), pnn.Sigmoid(), pnn.Dense(10, name="digit"),
        labels="0123456789",
    )  # fmt: skip
    body.load_weights({name: older.parameters[name] for name in scaled})
    body.inputs = (InputInfo("image", "image", default_preprocessing((784,))),)
    body.save(tmp_path / "older.safetensors")
    given = [
        ("digits-mlp", "digits.csv"),
        ("digits-mlp", "digits.csv", "--raw"),
        ("older.safetensors", "digits.csv"),
        ("older.safetensors", "ready.npy", "--raw"),
    ]
    first, *others = [
        [result["probability"] for result in run("predict", *each, "--format", "json").json["results"]]
        for each in given
    ]
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-5)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
def test_numbers_that_miss_by_far_what_is_meant_are_reported(run, tmp_path, engine, kind):
    x = np.random.default_rng(0).normal([50, -3, 1e4], [9, 0.2, 2e3], (30, 3))
    layers = [pnn.Input(3), pnn.Normalization(name="norm").adapt(x), pnn.Dense(2)]
    net = pnn.Sequential(*layers, labels=["no", "yes"], seed=0)
    net.save(tmp_path / "m.safetensors")
    run("convert", "m.safetensors", "m.onnx")
    np.save(tmp_path / "good.npy", x)
    np.save(tmp_path / "bad.npy", (x - x.mean(axis=0)) / x.std(axis=0))
    arguments = ("--engine", engine, "--batch-size", "10")
    assert run("predict", f"m.{kind}", "good.npy", *arguments).err == ""
    code, out, err = run("predict", f"m.{kind}", "bad.npy", *arguments)
    assert (code, len(out.splitlines())) == (0, 31)
    [line] = err.splitlines()
    assert line.startswith("warning: the examples hold numbers from -")
    assert f", but m.{kind} is made for numbers from about -" in line
    assert re.search(r" to 1\.\d+e\+04, which 'norm' scales$", line)


def test_what_is_assumed_of_pictures_is_told_unasked(run, tmp_path):
    """Where another tool's model says nothing; a model that says it is silent."""
    net = pnn.Sequential(pnn.Input(784), pnn.Dense(10), seed=0)
    net.save(tmp_path / "m.safetensors")
    code, out, err = run("predict", "m.safetensors", SAMPLES)
    assert (code, len(out.splitlines())) == (0, 11)
    assert err.startswith("the model does not say how to prepare pictures; assumed: convert to grey, 0 (black) to 255")
    assert "; multiply by 0.00388235 and add 0.01; reshape to (784,)\n" in err
    assert run("predict", "digits-mlp", SAMPLES).err == ""


@pytest.mark.parametrize(
    ("layer", "scaled"),
    [
        (pnn.Rescaling(1 / 255), False),
        (pnn.Normalization(None, mean=33, std=78), False),
        (pnn.Rescaling(2, -1), True),
        (pnn.Normalization(None, mean=0.13, std=0.31), True),
        (pnn.Sigmoid(), True),
    ],
)
def test_pictures_are_scaled_once(run, tmp_path, layer, scaled):
    """A model that scales pixels itself gets them as they are, although it does not say how pictures are prepared."""
    net = pnn.Sequential(pnn.Input(784, name="x"), layer, pnn.Dense(10), seed=0)
    net.save(tmp_path / "m.safetensors")
    code, _, err = run("predict", "m.safetensors", SAMPLES, "--io", "io.npz")
    assert code == 0
    assert ("multiply by" in err, "warning" in err) == (scaled, False)
    with np.load(tmp_path / "io.npz") as recorded:
        assert recorded["x"].max() == pytest.approx(1 if scaled else 255, rel=0.02)


def test_output_goes_into_a_file(run, tmp_path):
    told = run("predict", "digits-mlp", SAMPLES).out
    assert run("predict", "digits-mlp", SAMPLES, "-o", "answers.txt") == (0, "", "")
    assert (tmp_path / "answers.txt").read_text() == told
    assert run("predict", "digits-mlp", SAMPLES, "-o", "-").out == told


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
def test_csv_has_the_numbers_in_full(run, tmp_path, digits_csv, engine):
    arguments = ("predict", "digits-mlp", digits_csv.name, "--top", "2", "--engine", engine)
    results = run(*arguments, "--format", "json").json["results"]
    code, out, err = run(*arguments, "--out", "answers.csv")
    assert (code, out, err) == (0, "", "5 of 5 right (100.0 %); 0 of 5 unsure\n")
    head, *rows = csv.reader((tmp_path / "answers.csv").read_text().splitlines())
    assert head == ["input", "label", "probability", "2nd", "2nd probability", "guess", "expected", "error"]
    for row, result in zip(rows, results, strict=True):
        (first, p), (second, q) = result["top"]
        assert [row[0], row[1], float(row[2]), row[3], float(row[4]), *row[5:]] == [
            result["input"],
            first,
            p,
            second,
            q,
            "",
            result["expected"],
            "",
        ]
    assert run(*arguments, "--format", "csv", "-q").out == (tmp_path / "answers.csv").read_text()


def test_an_output_that_cannot_be_written(run):
    code, out, err = run("predict", "digits-mlp", SAMPLES, "-o", "nowhere/answers.txt")
    assert (code, out) == (3, "")
    assert err.startswith("error: nowhere/answers.txt: cannot be written: there is no folder")


def test_any_onnx_file_and_labels_with_brackets(run, tmp_path):
    from foreign import convolutional

    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "black.png")
    convolutional(tmp_path / "m.onnx", batch=1)
    (tmp_path / "labels.txt").write_text("[bold]a\n[red]b\n[/]c\nd\n\x1b[31me\n")
    _, out, _ = run("predict", "m.onnx", "black.png", "--labels", "labels.txt", "--top", "5")
    assert all(label in out for label in ("[bold]a", "[red]b", "[/]c", r"\x1b[31me"))
    assert "\x1b" not in out


def test_the_name_of_a_shipped_model_is_its_samples_where_there_is_no_such_file(run, tmp_path):
    rows = run("predict", "digits", "digits-mlp").out.splitlines()[1:]
    assert [(Path(row.split()[0]).name, row.split()[1]) for row in rows] == [
        (f"digit-{n}.png", str(n)) for n in range(10)
    ]
    (tmp_path / "digits").mkdir()
    code, _, err = run("predict", "digits", "digits")
    assert (code, "digits: " in err) == (3, True)
    hint = "found neither; the name of a shipped model, such as digits, stands for its samples"
    assert hint in run("predict", "digits", "models/digits_cnn/samples").err


def test_quantities(run, tmp_path):
    from foreign import linear

    linear(tmp_path / "m.onnx", weight=np.array([[2.0]], np.float32))
    (tmp_path / "x.csv").write_text("1.5\n-2\n")
    assert run("predict", "m.onnx", "x.csv").out == "input    value\nx.csv:1      3\nx.csv:2     -4\n"
    assert run("predict", "m.onnx", "x.csv", "--format", "json").json == {
        "schema": 1,
        "model": "m.onnx",
        "results": [{"input": "x.csv:1", "values": [3.0]}, {"input": "x.csv:2", "values": [-4.0]}],
    }


def test_many_rows_come_in_order(run, tmp_path, digits_csv):
    digits_csv.write_text(digits_csv.read_text() * 130)
    results = run("predict", "digits-mlp", "digits.csv", "--format", "json", "--batch-size", "100").json["results"]
    assert [result["input"] for result in results] == [f"digits.csv:{row}" for row in range(1, 651)]


def test_json_is_whole_although_an_input_is_bad(run, tmp_path, digits_csv):
    digits_csv.write_text(digits_csv.read_text() * 60 + "1,2\n")
    code, out, err = run("predict", "digits-mlp", "digits.csv", "--format", "json", "--batch-size", "20", "--strict")
    assert code == 3
    assert len(json.loads(out)["results"]) == 300
    assert err == "error: digits.csv: row 301: expected a label and 784 values, found 2 cells\n"


@pytest.mark.long
def test_a_file_is_written_whole_or_not_at_all(shell, tmp_path, digits_csv):
    digits_csv.write_text(digits_csv.read_text() * 60 + "1,2\n")
    (tmp_path / "answers.txt").write_text("old")
    code, out, err = shell(
        "predict", "digits-mlp", "digits.csv", "-o", "answers.txt", "--force", "--batch-size", "20", "--strict"
    )
    assert (code, out) == (3, "")
    assert err == "error: digits.csv: row 301: expected a label and 784 values, found 2 cells\n"
    assert (tmp_path / "answers.txt").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"answers.txt", "digits.csv"}


def bad_files(folder: Path) -> None:
    (folder / "text.png").write_text("I am no picture\n" * 20)
    (folder / "cut.png").write_bytes((SAMPLES / "digit-0.png").read_bytes()[:150])
    (folder / "empty").mkdir()
    (folder / "short.csv").write_text(",".join(["1"] * 783) + "\n")
    (folder / "blank.png").write_bytes(b"")
    (folder / "odd.xyz").write_text("?")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("text.png", "text.png: .*a text file"),
        ("cut.png", "cut.png: .*PNG picture that is damaged or cut short"),
        ("empty", "empty: the folder has no images"),
        ("short.csv", "short.csv(: row |:)1: expected 784 values, or a label and 784 values, found 783 cells"),
        ("blank.png", "blank.png: .*an empty file"),
        ("odd.xyz", "odd.xyz: "),
        ("missing.png", "missing.png: expected a file or folder, found neither$"),
        ("30,1.5,2", "30,1.5,2: .* found neither; rows are read from a file, or with - from standard input"),
    ],
)
def test_bad_inputs_are_one_line_and_exit_code_3(run, tmp_path, given, message):
    import re

    bad_files(tmp_path)
    code, out, err = run("predict", "digits-mlp", given, "--strict")
    assert (code, out) == (3, "")
    assert re.match(f"error: {message}", err)
    assert err.count("\n") == 1
    told = run("predict", "digits-mlp", given)
    assert re.match(f"error: {message}", told.err)
    [_, row] = told.out.splitlines()
    name, reason = row.split("  error: ")
    assert (told.code, told.err) == (3, f"error: {name.strip()}: {reason}\n")


@pytest.mark.long
def test_a_bad_input_in_a_process_of_its_own(shell, tmp_path):
    bad_files(tmp_path)
    code, out, err = shell("predict", "digits-mlp", "text.png", "--strict")
    assert (code, out, err.count("\n")) == (3, "", 1)


@pytest.fixture
def mixed(tmp_path: Path, digits_csv: Path) -> Path:
    """A folder of pictures of which one is none, a table with two bad rows, and arrays with an example with NaN."""
    folder = tmp_path / "pictures"
    shutil.copytree(SAMPLES, folder)
    (folder / "digit-4.png").write_text("I am no picture")
    lines = digits_csv.read_text().splitlines()
    digits_csv.write_text("\n".join([*lines[:2], "1,2", lines[2].replace(",0,", ",x,", 1), *lines[3:]]) + "\n")
    examples = np.loadtxt(lines, delimiter=",")[:, 1:]
    examples[3, 5] = np.nan
    np.save(tmp_path / "arrays.npy", examples)
    return tmp_path


MIXED = ("pictures", "digits.csv", "missing.png", "arrays.npy")
BAD = {
    "pictures/digit-4.png": "expected a picture such as PNG or JPEG, found a text file",
    "digits.csv:3": "expected a label and 784 values, found 2 cells",
    "digits.csv:4": "column 2: expected a finite number, found 'x'",
    "missing.png": "expected a file or folder, found neither",
    "arrays.npy:3": "expected finite float32 numbers, found 1 of 784 missing (NaN), the first at [5]",
}
NAMES = [
    *(f"pictures/digit-{n}.png" for n in range(10)), *(f"digits.csv:{n}" for n in range(1, 7)), "missing.png",
    *(f"arrays.npy:{n}" for n in range(5)),
]  # fmt: skip
FAILED = (
    "error: 5 of 22 inputs cannot be used: pictures/digit-4.png: expected a picture such as PNG or JPEG, found a text "
    "file; the other errors are in their rows\n"
)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("batch_size", ["1", "3", "256"])
def test_a_bad_input_is_a_row_and_the_others_are_predicted(run, mixed, engine, batch_size):
    """As without the bad ones, of which none is left out."""
    found = run("predict", "digits-mlp", *MIXED, "--format", "json", "--engine", engine, "--batch-size", batch_size)
    rows = {row["input"]: row for row in found.json["results"]}
    assert (found.code, list(rows)) == (3, NAMES)
    assert found.err == f"4 of 4 right (100.0 %); 0 of 22 unsure\n{FAILED}"
    assert {name: row["error"] for name, row in rows.items() if "error" in row} == BAD
    assert all(rows[name] == {"input": name, "error": reason} for name, reason in BAD.items())
    whole = run("predict", "digits-mlp", SAMPLES, "--format", "json", "--engine", engine).json["results"]
    for digit in {*range(10)} - {4}:
        row = rows[f"pictures/digit-{digit}.png"]
        assert row["label"] == whole[digit]["label"] == str(digit)
        assert row["probability"] == pytest.approx(whole[digit]["probability"], abs=1e-6)
    assert [rows[f"arrays.npy:{n}"]["label"] for n in (0, 1, 2, 4)] == list("0248")
    assert [rows[f"digits.csv:{n}"]["label"] for n in (1, 2, 5, 6)] == list("0268")


def test_a_bad_input_in_tables_and_csv(run, mixed):
    found = run("predict", "digits-mlp", *MIXED, "--quiet")
    rows = dict(line.split(maxsplit=1) for line in found.out.splitlines())
    assert (found.code, found.err, list(rows)) == (3, FAILED, ["input", *NAMES])
    assert rows["digits.csv:2"].split() == ["2", "99.9", "%"]  # The first input had no class, so there is no column.
    assert {name: row for name, row in rows.items() if "error" in row} == {name: f"error: {BAD[name]}" for name in BAD}
    found = run("predict", "digits-mlp", *MIXED, "--out", "answers.csv", "--quiet")
    assert found == (3, "", FAILED)
    head, *cells = csv.reader((mixed / "answers.csv").read_text().splitlines())
    assert head == ["input", "label", "probability", "guess", "error"]
    assert {len(row) for row in cells} == {5}
    assert [row[0] for row in cells] == NAMES
    assert {row[0]: row[1:] for row in cells if row[0] in BAD} == {name: ["", "", "", BAD[name]] for name in BAD}
    assert all(row[1] and not row[-1] for row in cells if row[0] not in BAD)


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_bad_inputs_that_come_first(run, mixed, form):
    found = run("predict", "digits-mlp", "missing.png", "none.png", "pictures/digit-7.png", "--format", form)
    assert (found.code, found.err.count("\n")) == (3, 1)
    assert found.err.startswith("error: 2 of 3 inputs cannot be used: missing.png: expected a file or folder, found ")
    lines = [line for line in found.out.splitlines() if ".png" in line]
    assert ["found neither" in line for line in lines] == [True, True, False]
    only = run("predict", "digits-mlp", "missing.png", "none.png", "--format", form)
    assert (only.code, only.out.count("found neither")) == (3, 2)


def test_strict_stops_at_the_first(run, mixed):
    found = run("predict", "digits-mlp", "pictures", "digits.csv", "--strict", "--batch-size", "2", "--format", "json")
    assert (found.code, found.err) == (3, f"error: pictures/digit-4.png: {BAD['pictures/digit-4.png']}\n")
    assert run("predict", "digits-mlp", "pictures", "missing.png", "--strict").out == ""


def test_numbers_that_are_none_for_one_example(run, tmp_path):
    """The model divides by its input."""
    nodes = [helper.make_node("Reciprocal", ["x"], ["y"])]
    write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, ["n", 1])}, {"y": (FLOAT, ["n", 1])})
    (tmp_path / "x.csv").write_text("4\n0\n-2\n")
    found = run("predict", "m.onnx", "x.csv", "--format", "json")
    assert (found.code, found.err) == (
        3,
        "error: 1 of 3 inputs cannot be used: x.csv:2: the model gives NaN or infinity\n",
    )
    assert [row.get("values", row.get("error")) for row in found.json["results"]] == [
        [0.25], "the model gives NaN or infinity", [-0.5],
    ]  # fmt: skip
    assert (
        run("predict", "m.onnx", "x.csv", "--strict").err
        == "error: m.onnx: the model gives NaN or infinity for x.csv:2\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["digit-mlp", "."], 2, "no model is called 'digit-mlp': did you mean 'digits-mlp'?"),
        (["no.onnx", "."], 3, "no.onnx: does not exist"),
        (["no.safetensors", "."], 3, "no.safetensors: does not exist"),
        (["bad.onnx", "."], 3, "bad.onnx: is a text file, not an ONNX model"),
        (["bad.xyz", "."], 2, "bad.xyz: expected a model, whose name ends in .safetensors, .h5, .npz or .onnx"),
        (["digits-mlp", SAMPLES, "--labels", "nine.txt"], 3, "nine.txt: has 9 labels, but digits-mlp has 10 classes"),
        (
            ["digits-mlp", SAMPLES, "--labels", "no.txt"],
            3,
            "no.txt: expected labels, one in a line, found no such file",
        ),
        (["digits-mlp", SAMPLES, "--top", "0"], 2, "--top must be a whole number from 1, not 0"),
        (["digits-mlp", SAMPLES, "--raw"], 2, "--raw is for arrays"),
    ],
)
def test_other_errors(run, tmp_path, arguments, code, message):
    (tmp_path / "nine.txt").write_text("\n".join("012345678"))
    (tmp_path / "bad.onnx").write_text("hello")
    (tmp_path / "bad.xyz").write_text("hello")
    found = run("predict", *arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith(f"error: {message}")


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("kind", ["weights", "onnx"])
def test_a_digest_says_which_model_is_meant(run, kind, engine):
    path = getattr(find_model("digits-mlp"), kind)
    found = run("inspect", path, "--format", "json").json
    digest = found["digest"] if kind == "weights" else found["file"]["sha256"]
    words = ["predict", path, SAMPLES / "digit-8.png", "--engine", engine, "--digest"]
    code, out, _ = run(*words, digest)
    assert (code, out.splitlines()[1].split()[1]) == (0, "8")
    code, out, err = run(*words, "0" * 64)
    what = "network: its digest" if kind == "weights" else "model: its SHA-256"
    assert (code, out) == (3, "")
    assert err == f"error: {path}: is another {what} is {digest}, and {'0' * 64} was expected\n"
    code, _, err = run(*words, "8")
    assert code == 2
    assert "a digest is the 64 hexadecimal digits that 'portable-nn inspect' prints, not '8'" in err
