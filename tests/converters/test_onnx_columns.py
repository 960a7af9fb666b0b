"""Tables in ONNX files whose inputs are the columns, words as strings: what a colleague with onnxruntime gets."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.format.meaning import Column, InputInfo
from portable_nn.onnx.columns import as_row
from portable_nn.onnx.origin import origin_of

DOCS = Path(__file__).parents[2] / "docs"


def network_of(columns: Sequence[Column], *, name: str = "answer", entry: str = "row", seed: int = 0) -> pnn.Network:
    """A network of three probabilities for rows of these columns."""
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.integers(0, len(each.categories) or 9, 50) for each in columns], axis=1)
    table, dense = pnn.Columns(columns, rows), pnn.Dense(3, name="dense")
    network = pnn.Sequential(pnn.Input(len(columns), name=entry), table, dense, pnn.Softmax(name=name), seed=seed)
    network.inputs = (InputInfo(entry, "table", columns=tuple(columns)),)
    return network


def asked(path: Path, row: dict[str, Any]) -> np.ndarray:
    """The answer of onnxruntime to one row, a word as a string."""
    feeds = {name: np.array([[cell]], object if isinstance(cell, str) else np.float32) for name, cell in row.items()}
    [found] = onnxruntime.InferenceSession(path).run(None, feeds)
    return np.asarray(found)


HOUSES = (
    Column("district", categories=("north", "south")),
    Column("area", "m²"),
    Column("heating", categories=("gas", "oil", "wood"), unknown="other"),
    Column("rooms", missing="median"),
    Column("state", categories=("new", "old"), missing="mean"),
)


def test_inputs_are_the_columns_in_their_order(tmp_path: Path) -> None:
    export_onnx(network_of(HOUSES), tmp_path / "t.onnx")
    onnx.checker.check_model(tmp_path / "t.onnx", full_check=True)
    found = onnxruntime.InferenceSession(tmp_path / "t.onnx").get_inputs()
    assert [each.name for each in found] == ["district", "area", "heating", "rooms", "state"]
    assert [each.type for each in found] == [
        "tensor(string)" if each.categories else "tensor(float)" for each in HOUSES
    ]
    assert all(each.shape == ["batch", 1] for each in found)
    note = "in the file each column is an input of its own: district, area, heating, rooms, state"
    assert pnn.inspect(tmp_path / "t.onnx").notes == (note,)
    export_onnx(network_of(HOUSES), tmp_path / "row.onnx", columns=False)
    assert pnn.inspect(tmp_path / "row.onnx").notes == ()


@pytest.mark.parametrize(
    ("changed", "numbers"),
    [
        ({}, {}),
        ({"district": "south", "heating": "wood", "state": "old"}, {"district": 1, "heating": 2, "state": 1}),
        ({"heating": "sun"}, {"heating": -1}),
        ({"rooms": np.nan}, {"rooms": np.nan}),
        ({"state": ""}, {"state": np.nan}),
        ({"state": "NA"}, {"state": np.nan}),
        ({"district": "West"}, None),
        ({"district": ""}, None),
        ({"heating": ""}, None),
        ({"area": np.nan}, None),
        ({"state": "older"}, None),
    ],
)
def test_each_treatment_of_words_and_gaps(
    changed: dict[str, Any], numbers: dict[str, float] | None, tmp_path: Path
) -> None:
    """A row of words is the row of numbers that the manifest's rules make of it; one that is refused gives NaN."""
    network = network_of(HOUSES)
    export_onnx(network, tmp_path / "t.onnx")
    row = {"district": "north", "area": 3.5, "heating": "gas", "rooms": 4.0, "state": "new"}
    coded = {"district": 0, "area": 3.5, "heating": 0, "rooms": 4, "state": 0} | (numbers or {})
    found, expected = asked(tmp_path / "t.onnx", row | changed), network.predict(np.array([[*coded.values()]]))
    np.testing.assert_allclose(found, np.full((1, 3), np.nan) if numbers is None else expected, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"columns": True}, {"columns": False}, {"external_data": 1}, {"opset": 25}])
def test_the_file_gives_back_the_network(options: dict[str, Any], tmp_path: Path) -> None:
    network = network_of(HOUSES)
    network.metadata = {"doc_string": "houses of 2020"}
    export_onnx(network, tmp_path / "t.onnx", **options)
    found = read_onnx(tmp_path / "t.onnx")
    assert found.notes == ()
    found.network.save(tmp_path / "found.safetensors"), network.save(tmp_path / "given.safetensors")
    assert (tmp_path / "found.safetensors").read_bytes() == (tmp_path / "given.safetensors").read_bytes()


@pytest.mark.parametrize(
    "options",
    [{"opset": 13}, {"opset": 21}, {"batch": 1}, {"batch": 4}, {"float16": True}, {"portable": False}],
    ids=str,
)
def test_options_of_the_export(options: dict[str, Any], tmp_path: Path) -> None:
    network = network_of(HOUSES)
    export_onnx(network, tmp_path / "t.onnx", **options)
    onnx.checker.check_model(tmp_path / "t.onnx", full_check=True)
    count, words = options.get("batch", 2), np.array(["north", "south", "West", "north"], object)
    cells: dict[str, Any] = {"district": words, "area": [1, 2, 3, 4], "heating": ["oil"] * 4, "rooms": [1, 2, 3, 4]}
    cells["state"] = ["new", "old", "", "new"]
    kinds = {each.name: object if each.categories else np.float32 for each in HOUSES}
    feeds = {name: np.array(each, kinds[name]).reshape(4, 1)[:count] for name, each in cells.items()}
    [found] = onnxruntime.InferenceSession(tmp_path / "t.onnx").run(None, feeds)
    rows = np.array([[0, 1, 1, 1, 0], [1, 2, 1, 2, 1], [0, 3, 1, 3, np.nan], [0, 4, 1, 4, 0]])
    expected = network.predict(rows)
    expected[2] = np.nan
    np.testing.assert_allclose(found, expected[:count], atol=1e-3 if "float16" in options else 1e-6)


WORDS = (
    "ja",
    "nein, nie",
    "007",
    "7",
    "nan",
    "True",
    "False",
    "Größe",
    "日本",
    "a'b\"c\\d",
    " ",
    "0.5",
    "e\u0301",
    "é",
    "NA",
)


def test_words_of_all_kinds_are_themselves(tmp_path: Path) -> None:
    network = network_of([Column("w", categories=WORDS, missing="mean")])
    export_onnx(network, tmp_path / "t.onnx")
    for place, word in enumerate(WORDS):
        np.testing.assert_allclose(asked(tmp_path / "t.onnx", {"w": word}), network.predict([[place]]), atol=1e-6)
    np.testing.assert_allclose(asked(tmp_path / "t.onnx", {"w": ""}), network.predict([[np.nan]]), atol=1e-6)
    assert np.isnan(asked(tmp_path / "t.onnx", {"w": "Ja"})).all()


@pytest.mark.parametrize(
    ("words", "is_number"),
    [
        (("1067", "10115"), True),
        (("-2", "0", "1.5", "0.1"), True),
        (("16777215", "3"), True),
        (("16777216", "3"), False),  # In float32, 16777217 is the same.
        (("007", "8"), False),
        (("1.0", "2"), False),
        (("1e3", "2"), False),
        (("1", "two"), False),
        (("nan", "1"), False),
        (("inf", "1"), False),
    ],
    ids=str,
)
@pytest.mark.parametrize("unknown", ["refuse", "other"])
@pytest.mark.parametrize("missing", ["refuse", "mean"])
def test_categories_that_are_numbers(words: Any, is_number: bool, unknown: Any, missing: Any, tmp_path: Path) -> None:
    """Where a table has numbers, which may be written in several ways, the input takes numbers; else words."""
    network = network_of([Column("w", categories=words, unknown=unknown, missing=missing), Column("x")])
    export_onnx(network, tmp_path / "t.onnx")
    [entry, _] = onnxruntime.InferenceSession(tmp_path / "t.onnx").get_inputs()
    assert entry.type == ("tensor(float)" if is_number else "tensor(string)")
    as_cell = float if is_number else str
    for place, word in enumerate(words):
        found = asked(tmp_path / "t.onnx", {"w": as_cell(word), "x": 2.0})
        np.testing.assert_allclose(found, network.predict([[place, 2]]), atol=1e-6)
    for cell, number, rule in (("5", -1, unknown), ("nan" if is_number else "", np.nan, missing)):
        expected = np.full((1, 3), np.nan) if rule == "refuse" else network.predict([[number, 2]])
        np.testing.assert_allclose(asked(tmp_path / "t.onnx", {"w": as_cell(cell), "x": 2.0}), expected, atol=1e-6)
    assert import_onnx(tmp_path / "t.onnx").manifest() == network.manifest()


def test_numbers_of_double_precision(tmp_path: Path) -> None:
    """A network that computes in float64, and is exported so."""
    columns = [Column("code", categories=("1", "2.5")), Column("w", categories=("x", "y")), Column("x")]
    rows, entry = np.array([[0, 1, 2], [1, 0, 3]]), pnn.Input(3, name="row", dtype="float64")
    network = pnn.Sequential(entry, pnn.Columns(columns, rows), pnn.Dense(2), seed=0)
    network.inputs = (InputInfo("row", "table", columns=tuple(columns)),)
    export_onnx(network, tmp_path / "t.onnx")
    onnx.checker.check_model(tmp_path / "t.onnx", full_check=True)
    feeds = {"code": np.array([[2.5], [7.0]]), "w": np.array([["y"], ["y"]], object), "x": np.array([[0.1], [0.1]])}
    [found] = onnxruntime.InferenceSession(tmp_path / "t.onnx").run(None, feeds)
    np.testing.assert_allclose(found, [network.predict([[1, 1, 0.1]])[0], [np.nan] * 2], rtol=1e-12)


@pytest.mark.long
def test_ten_thousand_categories(tmp_path: Path) -> None:
    network = network_of([Column("w", categories=tuple(f"word {place}" for place in range(10_000))), Column("x")])
    export_onnx(network, tmp_path / "t.onnx")
    found = asked(tmp_path / "t.onnx", {"w": "word 9876", "x": 2.0})
    np.testing.assert_allclose(found, network.predict([[9876, 2]]), atol=1e-6)
    assert import_onnx(tmp_path / "t.onnx", verify=False).manifest() == network.manifest()


def odd_names() -> list[tuple[str, ...]]:
    """Names that values of the network have, that marked names would have, and such as people write."""
    inside = network_of([Column("a"), Column("b", categories=("x", "y"))])
    values = (*inside.graph.values(), *(node.name for node in inside.graph.nodes))
    return [
        ("row", "answer"),
        ("answer", "_answer", "__answer", "_row"),
        tuple(dict.fromkeys(each for each in values)),
        (
            "output",
            "input",
            "batch",
            "Größe in m²",
            "日本",
            " ",
            "a b",
            "a/b:0",
            "'",
            '"',
            "_",
            "__",
            ".",
            "row.unknown",
        ),
        ("columns", "columns.unknown", "w.number", "w", "columns.ones", "answer.given", "answer.none"),
        ("row",),
    ]


@pytest.mark.parametrize("names", odd_names(), ids=lambda names: names[0])
@pytest.mark.parametrize("words", [(), (0,), (0, 1)], ids=str)
def test_no_name_of_a_column_clashes(names: tuple[str, ...], words: tuple[int, ...], tmp_path: Path) -> None:
    """Columns keep their names, whatever the values inside are called, and the network comes back."""
    columns = [Column(name, categories=("x", "y") if place in words else ()) for place, name in enumerate(names)]
    network = network_of(columns)
    export_onnx(network, tmp_path / "t.onnx", columns=True)
    onnx.checker.check_model(tmp_path / "t.onnx", full_check=True)
    assert [each.name for each in onnxruntime.InferenceSession(tmp_path / "t.onnx").get_inputs()] == [*names]
    row = {each.name: "y" if each.categories else 2.0 for each in columns}
    numbers = [[1.0 if each.categories else 2.0 for each in columns]]
    np.testing.assert_allclose(asked(tmp_path / "t.onnx", row), network.predict(numbers), atol=1e-6)
    assert import_onnx(tmp_path / "t.onnx").manifest() == network.manifest()


def test_rows_coded_by_pandas_and_a_pipeline_of_skl2onnx(tmp_path: Path) -> None:
    """The words of a pipeline of scikit-learn: its own answers, and those of the file that skl2onnx writes."""
    pandas, skl2onnx = pytest.importorskip("pandas"), pytest.importorskip("skl2onnx")
    pytest.importorskip("sklearn")
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn import compose, impute, linear_model, pipeline, preprocessing

    from portable_nn.converters.sklearn import from_sklearn

    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({"kind": rng.choice(["a", "b", "ü"], 200), "size": rng.normal(10, 3, 200)})
    frame["w"], frame["gap"] = rng.choice(["x", "y"], 200), np.where(rng.random(200) < 0.2, np.nan, 1.5)
    words = preprocessing.OneHotEncoder(handle_unknown="ignore")
    numbers = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
    both = compose.ColumnTransformer([("words", words, ["w", "kind"]), ("numbers", numbers, ["gap", "size"])])
    fitted = pipeline.make_pipeline(both, linear_model.LogisticRegression()).fit(
        frame, rng.choice(["p", "q", "r"], 200)
    )
    export_onnx(from_sklearn(fitted), tmp_path / "t.onnx", probabilities=True)
    frame.loc[3, "kind"] = "neither"
    types = [
        (name, StringTensorType([None, 1]) if name in ("kind", "w") else FloatTensorType([None, 1])) for name in frame
    ]
    theirs = skl2onnx.to_onnx(fitted, initial_types=types, options={"zipmap": False}).SerializeToString()
    feeds = {name: frame[[name]].to_numpy(object if name in ("kind", "w") else np.float32) for name in frame}
    ours, theirs = onnxruntime.InferenceSession(tmp_path / "t.onnx"), onnxruntime.InferenceSession(theirs)
    described = [[(each.name, each.type, each.shape[1:]) for each in side.get_inputs()] for side in (ours, theirs)]
    assert described[0] == described[1]
    [found] = ours.run(None, feeds)
    np.testing.assert_allclose(found, theirs.run(None, feeds)[1], atol=1e-5)
    np.testing.assert_allclose(found, fitted.predict_proba(frame), atol=1e-5)


def test_one_input_is_described_in_words(tmp_path: Path) -> None:
    network = network_of(HOUSES)
    export_onnx(network, tmp_path / "t.onnx", columns=False)
    session = onnxruntime.InferenceSession(tmp_path / "t.onnx")
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("row", ["batch", 5])]
    found = session.get_modelmeta()
    said = found.description.splitlines()
    assert said[1:6] == [
        "district: 0 for 'north', 1 for 'south'; another one is refused; a missing one is refused",
        "area: a number in m²; a missing one is refused",
        "heating: 0 for 'gas', 1 for 'oil', 2 for 'wood'; another one is -1; a missing one is refused",
        "rooms: a number; a missing one is NaN",
        "state: 0 for 'new', 1 for 'old'; another one is refused; a missing one is NaN",
    ]
    assert [each.get("categories", []) for each in json.loads(found.custom_metadata_map["columns"])] == [
        [*each.categories] for each in HOUSES
    ]
    assert not {node.domain for node in onnx.load(tmp_path / "t.onnx").graph.node} - {""}


def test_columns_say_what_they_take(tmp_path: Path) -> None:
    export_onnx(network_of(HOUSES), tmp_path / "t.onnx")
    said = onnxruntime.InferenceSession(tmp_path / "t.onnx").get_modelmeta().description
    assert "of a row with a value that is refused, the outputs are NaN" in said
    assert "heating: 'gas', 'oil', 'wood'; another one is taken as none of these; a missing one is refused" in said
    assert "state: 'new', 'old'; another one is refused; a missing one is ''" in said


def test_tables_of_numbers_are_one_input_unless_asked(tmp_path: Path) -> None:
    network = network_of([Column("a"), Column("b", missing="mean")])
    export_onnx(network, tmp_path / "t.onnx")
    assert len(onnx.load(tmp_path / "t.onnx").graph.input) == 1
    export_onnx(network, tmp_path / "t.onnx", columns=True)
    np.testing.assert_allclose(asked(tmp_path / "t.onnx", {"a": 2.0, "b": 1.0}), network.predict([[2, 1]]), atol=1e-6)
    assert np.isnan(asked(tmp_path / "t.onnx", {"a": np.nan, "b": 1.0})).all()
    [found] = pnn.predict(tmp_path / "t.onnx", {"b": [1.0], "a": [2.0]})
    assert found.probability == pytest.approx(network.predict([[2, 1]]).max(), abs=1e-6)


def test_what_has_no_columns_is_refused(tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(4), pnn.Dense(2), seed=0)
    with pytest.raises(UsageError, match=r"^--columns \(columns=True\): .*: it has no table whose columns have names"):
        export_onnx(network, tmp_path / "t.onnx", columns=True)


def test_a_word_that_was_changed_is_damage(tmp_path: Path) -> None:
    """Of the words in the nodes, of the description and of a code, no change goes unseen."""
    export_onnx(network_of(HOUSES), tmp_path / "t.onnx")
    data = (tmp_path / "t.onnx").read_bytes()
    places = [found.start() for found in re.finditer(rb"wood", data)]
    assert len(places) >= 3  # A node, the description, the columns and the manifest.
    for place in places:
        changed = data[:place] + b"food" + data[place + 4 :]
        (tmp_path / "f.onnx").write_bytes(changed)
        with pytest.raises(FormatError, match="is damaged"):
            read_onnx(tmp_path / "f.onnx")


def test_what_another_program_added_behind_the_columns_is_read(tmp_path: Path) -> None:
    """The columns in front are as they were written: the rest is read as another program's, with the same columns."""
    network = network_of(HOUSES)
    export_onnx(network, tmp_path / "t.onnx")
    model = onnx.load(tmp_path / "t.onnx")
    for node in model.graph.node:
        if node.op_type in ("Gemm", "Softmax"):
            node.name = f"{node.name}_renamed"
    assert origin_of(as_row(model), "model").state == "edited"
    found = read_onnx(model)
    assert found.network.inputs == network.inputs
    rows = np.array([[1, 2, 2, 3, 0], [0, 5, -1, np.nan, np.nan]])
    np.testing.assert_allclose(found.network.predict(rows), network.predict(rows), atol=1e-6)


def test_a_file_that_onnxruntime_optimised_is_read(tmp_path: Path) -> None:
    """The words in its nodes are those of the columns, which the manifest describes."""
    network = network_of(HOUSES)
    export_onnx(network, tmp_path / "t.onnx")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "o.onnx")
    onnxruntime.InferenceSession(tmp_path / "t.onnx", options)
    found = read_onnx(tmp_path / "o.onnx")
    assert found.notes[0].startswith("read as another tool's model")
    assert found.network.inputs[0].columns == network.inputs[0].columns
    rows = np.array([[1, 2, 2, 3, 0], [0, 5, -1, np.nan, np.nan]])
    np.testing.assert_allclose(found.network.predict(rows), network.predict(rows), atol=1e-6)


STRANGER = "import sys\nsys.modules['portable_nn'] = None  # Importing it is an error now.\n"
CHECK = (
    "\nassert not [name for name in sys.modules if name.startswith('portable_nn.')] and not sys.modules['portable_nn']"
)


def test_a_colleague_predicts_from_a_line_of_the_table(tmp_path: Path) -> None:
    """The script in the documentation, alone in a process that cannot import this package."""
    rng = np.random.default_rng(0)
    table = {"district": rng.choice(["north", "south"], 80), "area": rng.uniform(30, 150, 80).round(1)}
    table["rooms"] = np.where(rng.random(80) < 0.3, "", "2")
    price = table["area"] * np.where(table["district"] == "south", 5, 2.5)
    with (tmp_path / "houses.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([[*table, "price"], *zip(*table.values(), price.round(1), strict=True)])
    trained = pnn.train_table("auto-8-auto", tmp_path / "houses.csv", "price", missing="median", epochs=2)
    export_onnx(trained.network, tmp_path / "houses.onnx")
    [script] = re.findall(r"```python\n(import csv\n.*?)```", (DOCS / "onnx.md").read_text(encoding="utf-8"), re.S)
    run = subprocess.run(
        [sys.executable, "-c", STRANGER + script + CHECK], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    [expected, *_] = pnn.predict(trained.network, tmp_path / "houses.csv")
    assert float(run.stdout.strip("[]\n")) == pytest.approx(expected.values[0], rel=1e-5)


@pytest.mark.parametrize("engine", ["numpy", "onnxruntime"])
@pytest.mark.parametrize("options", [{"columns": True}, {"columns": False}, {"external_data": 1}], ids=str)
def test_predict_takes_the_table_as_before(engine: Any, options: dict[str, Any], tmp_path: Path) -> None:
    network = network_of(HOUSES)
    export_onnx(network, tmp_path / "t.onnx", **options)
    table = {"state": ["old", None], "rooms": [None, 3.0], "heating": ["gas", "sun"], "area": [2.0, 3.0]}
    table["district"] = ["south", "north"]
    rows = np.array([[1, 2, 0, np.nan, 1], [0, 3, -1, 3, np.nan]])
    found = pnn.predict(tmp_path / "t.onnx", table, engine=engine)
    assert [each.probability for each in found] == pytest.approx(network.predict(rows).max(axis=1), abs=1e-6)
