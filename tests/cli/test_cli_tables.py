"""Tables with named columns at the shell: from a CSV file to an ONNX file that others run."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path
from threading import Timer

import numpy as np
import onnx
import onnxruntime
import pytest

import portable_nn as pnn

HOUSES = """\
area,district,rooms,price,note
50,north,2,100.5,a
80,south,3,210,b
120,north,,250.25,c
60,south,2,150,d
90,north,3,190,e
"""


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    path = tmp_path / "houses.csv"
    path.write_text(HOUSES + HOUSES.partition("\n")[2] * 5)
    return path


def trained(run, *more: str) -> None:
    options = ("--target", "price", "--missing", "median", "--drop", "note", "--unit", "price=k€", "--unit", "area=m²")
    found = run("train", "auto-16-auto", "houses.csv", *options, "--epochs", "60", "-o", "price.safetensors", *more)
    assert found.code == 0, found.err


@pytest.mark.long
def test_a_price_is_learned_from_words_and_gaps(run, houses: Path) -> None:
    options = ("--target", "price", "--missing", "median", "--drop", "note", "--unit", "price=k€")
    found = run("train", "auto-16-auto", "houses.csv", *options, "-o", "price.safetensors", "--format", "json")
    assert found.code == 0, found.err
    assert "from 30 rows, predicts price, a number\n" in found.err
    assert "numbers: area, rooms, each brought to mean 0 and standard deviation 1\n" in found.err
    assert "categories: district (2)\nmissing values: rooms (median)\nleft out: note\n" in found.err
    assert found.err.count("losses are those of price scaled to mean 0 and standard deviation 1\n") == 1
    assert found.json["epochs"] == 1000
    assert set(found.json["figures"]) == {"val_rmse", "val_mae", "val_r2"}


def test_rows_are_predicted_by_names_in_any_order(run, houses: Path, tmp_path: Path) -> None:
    trained(run)
    (tmp_path / "new.csv").write_text("rooms,colour,district,area\n3,red,south,80\n,blue,north,120\n2,red,east,50\n")
    found = run("predict", "price.safetensors", "new.csv", "--format", "csv")
    assert found.code == 3
    assert "columns that the model does not use: colour\n" in found.err
    rows = list(csv.reader(found.out.splitlines()))
    assert rows[0] == ["input", "price [k€]", "error"]
    assert abs(float(rows[1][1]) - 210) < 40
    assert rows[3][2].startswith("column 'district': 'east' is none of the categories north, south (train --missing ")
    found = run("predict", "price.safetensors", "new.csv", "--out", "y.npy")
    assert (found.code, "new.csv:4: column 'district': 'east' is none of" in found.err) == (3, True)
    (tmp_path / "new.csv").write_text("rooms,colour,district,area\n3,red,south,80\n,blue,north,120\n")
    assert run("predict", "price.safetensors", "new.csv", "--out", "y.npy", "--force").code == 0
    np.testing.assert_allclose(np.load("y.npy")[:, 0], [float(row[1]) for row in rows[1:3]], rtol=1e-4)


def test_the_rows_that_are_dropped_are_counted_among_all(run, tmp_path: Path) -> None:
    rows = [f"{n},{'' if n % 7 == 0 else n % 3},{2 * n}" for n in range(70)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]))
    how = ("--target", "y", "--missing", "drop", "--epochs", "1", "-o", "m.npz")
    for more in ((), ("--test", "0.3")):
        found = run("train", "auto-1", "t.csv", *how, *more, "--force")
        assert found.err.count("left out: 10 of 70 rows, as a value is missing in them\n") == 1
    found = run("train", "auto-1", "t.csv", *how[:3], "indicator,drop", *how[4:], "--force")
    assert found.code == 2
    for part in ("one alone of indicator, which puts the mean", "or drop, which leaves out rows", "only other may"):
        assert part in found.err
    assert run("train", "auto-1", "t.csv", *how[:3], "indicator,other", *how[4:], "--force").code == 0


def test_a_table_in_latin_1_is_read_where_the_encoding_is_named(run, tmp_path: Path) -> None:
    text = "größe,ort,art\n" + "".join(
        f"{n},{'Köln' if n % 2 else 'Mainz'},{'süß' if n % 2 else 'herb'}\n" for n in range(40)
    )
    (tmp_path / "old.csv").write_bytes(text.encode("latin-1"))
    (tmp_path / "new.csv").write_text(text, encoding="utf-8")
    train = ("train", "auto-auto", "old.csv", "--target", "art", "--rate", "0.1", "-o", "m.npz")
    found = run(*train)
    assert (found.code, found.out) == (3, "")
    advice = "found the byte 0xF6: --encoding cp1252 may read it"
    assert found.err == f"error: old.csv: row 1: expected text in UTF-8, {advice}\n"
    assert run(*train, "--encoding", "latin-1").code == 0
    for options in (["old.csv", "--encoding", "latin-1"], ["new.csv"]):
        found = run("predict", "m.npz", *options, "--format", "csv")
        assert [row.split(",")[1] for row in found.out.splitlines()[1:]] == ["herb", "süß"] * 20
        assert run("evaluate", "m.npz", *options, "--format", "json").json["accuracy"] == 1
    refused = run("predict", "m.npz", "old.csv", "--encoding", "latins")
    assert refused.err == "error: --encoding must be latin-1 or another that Python knows, not 'latins'\n"


def test_a_german_table_of_excel_is_read_by_what_the_errors_advise(run, tmp_path: Path) -> None:
    def write(thousands: str, missing: str) -> None:
        rows = (f"Köln;{n},5;{missing if n == 9 else f'{n},25'};1{thousands}{n + 100},50" for n in range(40))
        text = "\r\n".join(["Stadt;Fläche in m²;Alter;Miete (€)", *rows])
        (tmp_path / "t.csv").write_bytes(text.encode("cp1252"))

    write(".", "k. A.")
    train = ["train", "auto-auto", "t.csv", "--target", "Miete (€)", "--epochs", "1", "-o", "m.npz"]
    assert "--encoding cp1252 may read it" in run(*train).err
    train += ["--encoding", "cp1252"]
    fault = (
        "holds words such as '1.100,50': write numbers without marks of thousands; if these are numbers with decimal"
    )
    assert f"{fault} commas, say so: --decimal ," in run(*train).err
    assert "'1.100,50': write numbers without marks of thousands" in run(*train, "--decimal", ",").err
    write("", "k. A.")
    assert "say so: --decimal ," in run(*train).err
    train += ["--decimal", ","]
    fault = "column 'Alter' holds numbers, but also the word 'k. A.': mend it"
    assert run(*train).err.startswith(f"error: t.csv: {fault}")
    write("", "")
    assert run(*train, "--missing", "mean").code == 0


def test_the_columns_to_leave_out_are_quoted_for_a_shell(run, tmp_path: Path) -> None:
    rows = "".join(f"2024-01-{n},{n},{n % 2}\n" for n in range(10, 30))
    (tmp_path / "t.csv").write_text(f"frei ab,x,y\n{rows}")
    train = ("train", "auto-auto", "t.csv", "--target", "y", "--epochs", "1", "-o", "m.npz")
    advice = run(*train).err.splitlines()[-1].partition(" leaves them out")[0].removesuffix(" (drop=)")
    assert run(*train, *shlex.split(advice)).code == 0


def test_a_model_without_names_of_columns_is_tuned_on_the_column_that_target_names(run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 2)).round(3)
    kinds = (rows[:, 0] > 0).astype(int)
    text = "\n".join(f"{a},{b},{kind}" for (a, b), kind in zip(rows, kinds, strict=True))
    (tmp_path / "t.csv").write_text(f"a,b,kind\n{text}\n")
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), labels=["0", "1"], seed=0)
    net.save(tmp_path / "m.npz")
    assert run("tune", "m.npz", "t.csv", "--target", "kind", "--rate", "0.1", "-o", "tuned.npz").code == 0
    assert run("evaluate", "tuned.npz", "t.csv", "--target", "kind", "--format", "json").json["accuracy"] > 0.95
    found = run("tune", "m.npz", "t.csv", "--target", "kind,a", "-o", "other.npz")
    assert found.err == "error: --target takes one column of a table, not kind, a\n"


def test_a_model_of_scikit_learn_is_tuned_on_its_classes_in_words(run, tmp_path: Path) -> None:
    """They stand in the first column, in an order of their own, and the model's order stays."""
    skl2onnx, linear = pytest.importorskip("skl2onnx"), pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(0)
    words = np.array(["rose", "iris", "tulip"])[np.arange(90) % 3]
    x = (np.eye(3)[np.arange(90) % 3] * 4 + rng.normal(size=(90, 3))).astype(np.float32)
    fitted = linear.LogisticRegression(C=0.01).fit(x, words)
    (tmp_path / "m.onnx").write_bytes(skl2onnx.to_onnx(fitted, x[:1]).SerializeToString())
    rows = "".join(f"{word},{','.join(map(str, row))}\n" for word, row in zip(words, x, strict=True))
    (tmp_path / "t.csv").write_text(rows)
    found = run("tune", "m.onnx", "t.csv", "--epochs", "20", "--rate", "0.1", "-o", "tuned.npz")
    assert (found.code, "the output is logits, where the model gave probabilities" in found.err) == (0, True)
    tuned = pnn.load(tmp_path / "tuned.npz")
    assert tuned.labels == tuple(fitted.classes_) == ("iris", "rose", "tulip")
    expected = linear.LogisticRegression(C=100.0).fit(x, words).predict(x)
    assert (np.array(tuned.labels)[tuned.predict(x).argmax(axis=1)] == expected).mean() > 0.95
    (tmp_path / "t.csv").write_text(f"{rows}?,1,2,3\n")
    assert "t.csv: row 91: there is no label" in run("tune", "m.onnx", "t.csv", "-o", "other.npz").err


def test_a_table_whose_first_column_is_no_label_is_refused_by_a_foreign_classifier(run, tmp_path: Path) -> None:
    """Otherwise the inputs would be the columns after it."""
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(3), pnn.Softmax(), seed=0)
    pnn.export_onnx(net, tmp_path / "m.onnx")
    model = onnx.load(tmp_path / "m.onnx")
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    (tmp_path / "t.csv").write_text("a,b,kind\n0.5,0.25,0\n1.5,0.75,1\n")
    found = run("predict", "m.onnx", "t.csv")
    assert found.code == 3
    assert "t.csv:2: the label 0.5 is none of the classes 0, 1, 2" in found.err
    found = run("evaluate", "m.onnx", "t.csv")
    assert found.err.endswith("first column, or the one that --target names\n")
    assert run("evaluate", "m.onnx", "t.csv", "--target", "kind").code == 0


def test_rows_that_the_model_was_trained_on_are_called_so(run, houses: Path, tmp_path: Path) -> None:
    trained(run, "--validation", "0.2", "--seed", "3")
    assert run("export", "price.safetensors", "price.onnx").code == 0
    said = "houses.csv: the model was trained on these examples, but for a share of 0.2, held out with seed 3; figures"
    (tmp_path / "new.csv").write_text(HOUSES)
    for model in ("price.safetensors", "price.onnx"):
        assert said in run("evaluate", model, "houses.csv").err
        assert "trained on" not in run("evaluate", model, "new.csv").err
    table = ("--target", "district", "--missing", "mean", "--drop", "note", "--epochs", "1", "--validation")
    assert run("train", "auto-auto", "houses.csv", *table, "0.2", "-o", "district.npz").code == 0
    assert run("tune", "district.npz", "new.csv", "--validation", "0", "--epochs", "1", "-o", "tuned.npz").code == 0
    assert "new.csv: the model was trained on these examples; figures" in run("evaluate", "tuned.npz", "new.csv").err
    assert "houses.csv: the model was trained on these examples, but" in run("evaluate", "tuned.npz", "houses.csv").err


def test_an_exported_file_takes_the_raw_rows_and_says_what_they_are(run, houses: Path, tmp_path: Path) -> None:
    trained(run)
    found = run("export", "price.safetensors", "price.onnx", "--one-input")
    assert found.code == 0, found.err
    session = onnxruntime.InferenceSession(tmp_path / "price.onnx")
    columns = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    assert columns == [
        {"name": "area", "unit": "m²"},
        {"name": "district", "categories": ["north", "south"]},
        {"name": "rooms", "missing": "NaN"},
    ]
    raw = np.array([[80, 1, 3], [120, 0, np.nan]], np.float32)
    expected = session.run(None, {session.get_inputs()[0].name: raw})[0].ravel()
    (tmp_path / "new.csv").write_text("area,district,rooms\n80,south,3\n120,north,\n")
    for model in ("price.onnx", "price.safetensors"):
        results = run("predict", model, "new.csv", "--format", "json").json["results"]
        np.testing.assert_allclose([each["values"][0] for each in results], expected, rtol=1e-4)


def test_inspect_lists_the_columns_and_what_is_predicted(run, houses: Path) -> None:
    trained(run)
    found = run("inspect", "price.safetensors")
    assert "\n  area [m²]: 50 to 120, mean 80\n  district: north, south\n" in found.out
    assert "\n  rooms: 2 to 3, mean 2.5; missing: median\n" in found.out
    assert "\n  labels: price\n  unit: k€\n  trained with: mean_squared_error\n" in found.out


@pytest.mark.long
def test_codes_can_be_categories_and_rows_that_are_counted_are_named(run, tmp_path: Path) -> None:
    rows = [f"{place},{(10115, 20095, 80331)[place % 3]},{'ab'[place % 3 == 1]}" for place in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["id,zip,y", *rows]))
    found = run("train", "auto-8-1", "t.csv", "--target", "y", "--categorical", "zip", "-o", "t.h5")
    assert found.code == 0, found.err
    assert "categories: zip (3)\n" in found.err
    assert "'id' only counts the rows: drop it, or the network learns their order\n" in found.err


def test_a_table_that_is_taken_for_rows_of_numbers_leads_to_the_target(run, houses: Path) -> None:
    found = run("train", "4-8-2", "houses.csv", "-o", "p.h5")
    assert found.code == 3
    assert "of a table with named columns, --target NAME says which one is predicted" in found.err


def test_decimal_commas_are_read_where_that_is_said(run, houses: Path, tmp_path: Path) -> None:
    german = HOUSES.replace(",", ";").replace(".", ",")
    (tmp_path / "houses.csv").write_text(german + german.partition("\n")[2] * 3)
    options = ("--target", "price", "--missing", "drop", "--drop", "note", "--epochs", "1", "-o", "p.h5")
    refused = run("train", "auto-8-auto", "houses.csv", *options)
    assert refused.code in {2, 3}
    assert "decimal" in refused.err
    assert run("train", "auto-8-auto", "houses.csv", *options, "--decimal", ",").code == 0


def test_missing_values_are_counted(run, houses: Path) -> None:
    found = run("train", "auto-8-auto", "houses.csv", "--target", "price", "--drop", "note", "-o", "p.h5")
    assert found.code == 3
    assert "of 30 rows values are missing in 1 column: 'rooms' 6" in found.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--missing", "mean"], "--missing is for tables with named columns: --target says which one is predicted"),
        (["--drop", "note"], "--drop is for tables with named columns"),
        (["--target", "cost"], "target: houses.csv has no column 'cost'; it has area, district, rooms, price, note"),
        (["--target", "price", "--unit", "price"], "--unit needs NAME=UNIT, such as price=€, not 'price'"),
        (["--target", "price", "--labels", "ab"], "--labels is not for --target"),
        (["--target", "price", "--standardise"], "--target standardises without --standardise"),
    ],
)
def test_wrong_usage_of_tables(run, houses: Path, options: list[str], message: str) -> None:
    found = run("train", "auto-8-auto", "houses.csv", *options, "-o", "p.h5")
    assert found.code == 2
    assert message in found.err


@pytest.mark.long
def test_a_model_of_a_table_is_tuned_on_more_rows(run, tmp_path: Path) -> None:
    rows = [f"{place},{'north' if place % 2 else ''},{'ab'[place > 20]}" for place in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["n,side,y", *rows]))
    assert run("train", "auto-8-auto", "t.csv", "--target", "y", "--missing", "mean", "-o", "y.npz").code == 0
    (tmp_path / "more.csv").write_text("\n".join(["y,side,n", "a,north,3", "b,,33", "a,,5", "b,north,30"] * 1))
    found = run("tune", "y.npz", "more.csv", "--validation", "0", "-o", "tuned.npz")
    assert found.code == 0, found.err
    assert "4 of 4 right" in run("predict", "tuned.npz", "more.csv").err
    (tmp_path / "gap.csv").write_text("y,side,n\na,north,3\n,north,4\n")
    found = run("tune", "y.npz", "gap.csv", "-o", "x.npz")
    assert (found.code, found.err) == (3, "error: gap.csv:3: there is no value in column 'y'\n")
    (tmp_path / "bad.csv").write_text("y,side,n\na,south,3\n")
    found = run("tune", "y.npz", "bad.csv", "-o", "x.npz")
    assert found.code == 3
    assert found.err.startswith("error: bad.csv:2: column 'side': 'south' is none of the categories north (")


def test_a_training_on_a_table_resumes_to_the_same_bytes(run, houses: Path, tmp_path: Path) -> None:
    options = ("--target", "price", "--missing", "mean", "--drop", "note")
    run("train", "auto-8-auto", "houses.csv", *options, "--epochs", "4", "-o", "whole.safetensors")
    checkpoint = ("--checkpoint", "run")
    run("train", "auto-8-auto", "houses.csv", *options, "--epochs", "2", "-o", "half.safetensors", *checkpoint)
    more = run(
        "train",
        "auto-8-auto",
        "houses.csv",
        *options,
        "--epochs",
        "4",
        "-o",
        "rest.safetensors",
        *checkpoint,
        "--resume",
    )
    assert more.code == 0, more.err
    assert (tmp_path / "rest.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


@pytest.mark.long
def test_parquet_is_a_table(run, houses: Path, tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"a": [1.0, 2.0, 3.0] * 8, "b": ["x", "y", "z"] * 8}), tmp_path / "t.parquet")
    assert run("train", "auto-8-auto", "t.parquet", "--target", "b", "-o", "b.npz").code == 0
    found = run("predict", "b.npz", "t.parquet", "--format", "json")
    assert found.code == 0, found.err
    assert "24 of 24 right" in found.err


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize(
    "line",
    [
        "train auto-4-auto FILE --target price -o no.safetensors",
        "predict price.safetensors FILE",
        "evaluate price.safetensors FILE",
    ],
)
def test_a_hostile_table_is_a_bad_input(run, houses: Path, tmp_path: Path, line: str, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    feather, parquet = pytest.importorskip("pyarrow.feather"), pytest.importorskip("pyarrow.parquet")
    trained(run, "--epochs", "1")
    if suffix == ".arrow":  # Sixteen gigabytes of nothing.
        feather.write_feather(pyarrow.table({"price": pyarrow.nulls(2**31 - 1)}), tmp_path / "t.arrow", "uncompressed")
        fault = "t.arrow: has 2,147,483,647 rows, whose table takes 17 GB of memory, with "
    else:
        parquet.write_table(pyarrow.table({"price": range(1000)}), tmp_path / "t.parquet", compression="none")
        whole = (tmp_path / "t.parquet").read_bytes()
        (tmp_path / "t.parquet").write_bytes(whole[:4] + bytes(200) + whole[204:])
        fault = "t.parquet: expected a table in Parquet, found none (pyarrow: "
    found = run(*line.replace("FILE", f"t{suffix}").split())
    assert found.code == 3, found.err
    assert fault in found.err
    assert "Traceback" not in found.err
    assert not (tmp_path / "no.safetensors").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "first", "good", "faults"),
    [
        (
            "price.safetensors",
            "\ufeffarea,district,rooms\n50,north,2\n",
            "80,south,3\n",
            {
                "80,south\n": "expected 3 cells, as the first line has, found 2",
                "x,south,3\n": "column 'area': expected a number, found 'x'",
                '"a"b,south,3\n': "expected 3 cells, as the first line has, found quotes in a cell that is not quoted",
            },
        ),
        (
            "plain.safetensors",
            "\ufeff1,2\n",
            "3,4\n\n",
            {"3,4,5\n": "expected 2 values, found 3 cells", "3,x\n": "column 2"},
        ),
    ],
    ids=["named", "without names"],
)
def test_lines_on_standard_input_are_answered_as_they_come(
    run, houses: Path, model: str, first: str, good: str, faults: dict[str, str]
) -> None:
    trained(run)
    pnn.Sequential(pnn.Input(2), pnn.Dense(1), seed=0).save(houses.with_name("plain.safetensors"))
    command = [sys.executable, "-m", "portable_nn", "predict", model, "-", "--format", "jsonl"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=houses.parent, stdin=pipe, stdout=pipe, stderr=pipe, encoding="utf-8"
    ) as process:
        guard = Timer(120, process.kill)
        guard.start()
        assert process.stdin
        assert process.stdout
        assert process.stderr
        for lines, fault in {first: "", **faults, good: ""}.items():
            process.stdin.write(lines)
            process.stdin.flush()
            assert fault in json.loads(process.stdout.readline()).get("error", "")
        process.stdin.close()
        end = process.stderr.read()
        guard.cancel()
    assert process.returncode == 3
    assert f"error: {len(faults)} of {len(faults) + 2} inputs cannot be used: stdin:" in end
    (houses.parent / "all.csv").write_text(first + "".join(faults) + good, encoding="utf-8")
    found = run("predict", model, "all.csv", "--format", "csv")
    assert (found.code, found.out.count("\n")) == (3, len(faults) + 3)
