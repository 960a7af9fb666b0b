"""Networks for tables with named columns, against scikit-learn's, and their rows in onnxruntime."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import DataError, UsageError
from portable_nn.data.columns import encoded, find_columns
from portable_nn.data.frames import read_frame


def folder(package: str) -> Path:
    """The folder of an installed package, which is not imported. Skips the test without it."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        pytest.skip(f"{package} is not installed")
    return Path(found.origin).parent


class Public(NamedTuple):
    """A table that a package ships: how it is read by pandas, the column to predict, and the options for gaps."""

    read: Callable[[], Any]
    target: str
    kind: str
    options: Mapping[str, Any] = MappingProxyType({})


def bundled(name: str, words: bool = True) -> Any:
    """A table of scikit-learn; the classes with their names."""
    found = getattr(pytest.importorskip("sklearn.datasets"), f"load_{name}")(as_frame=True)
    frame = found.frame
    if words:
        frame["target"] = [str(found.target_names[place]) for place in frame["target"]]
    return frame


def csv(package: str, path: str, drop: tuple[str, ...] = ()) -> Any:
    return pytest.importorskip("pandas").read_csv(folder(package) / path).drop(columns=list(drop))


def cars() -> Any:
    rows = json.loads((folder("vega_datasets") / "_data/cars.json").read_text())
    return pytest.importorskip("pandas").DataFrame(rows).drop(columns=["Name", "Year"])


PENGUINS = "data/penguins.csv"

TABLES = {
    "iris": Public(lambda: bundled("iris"), "target", "classes"),
    "wine": Public(lambda: bundled("wine"), "target", "classes"),
    "breast cancer": Public(lambda: bundled("breast_cancer"), "target", "classes"),
    "digits": Public(lambda: bundled("digits", words=False), "target", "classes"),
    "diabetes": Public(lambda: bundled("diabetes", words=False), "target", "numbers"),
    "penguins": Public(
        lambda: csv("palmerpenguins", PENGUINS, ("year",)), "species", "classes", {"missing": "indicator"}
    ),
    "sex of penguins": Public(
        lambda: csv("palmerpenguins", PENGUINS).dropna(subset=["sex"]), "sex", "classes", {"missing": "mean"}
    ),
    "mpg": Public(lambda: csv("plotnine", "data/mpg.csv", ("model",)), "hwy", "numbers"),
    "cars": Public(
        lambda: cars().dropna(subset=["Miles_per_Gallon"]), "Miles_per_Gallon", "numbers", {"missing": "median"}
    ),
    "origin of cars": Public(cars, "Origin", "classes", {"missing": "mean"}),
    "diamonds": Public(lambda: csv("plotnine", "data/diamonds.csv").sample(3000, random_state=0), "price", "numbers"),
}


def peer(train: Any, test: Any, table: Public, seed: int) -> float:
    """The accuracy or the root mean square error of scikit-learn's network with the same hidden layer."""
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    x = train.drop(columns=table.target)
    numbers = list(x.select_dtypes("number").columns)
    words = [name for name in x.columns if name not in numbers]
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("words", OneHotEncoder(handle_unknown="ignore"), words),
        ]
    )
    options = {"hidden_layer_sizes": (32,), "max_iter": 200, "random_state": seed}
    if table.kind == "classes":
        found = make_pipeline(prepare, MLPClassifier(**options)).fit(x, train[table.target])
        return float((found.predict(test.drop(columns=table.target)) == test[table.target]).mean())
    regressor = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
    found = make_pipeline(prepare, regressor).fit(x, train[table.target])
    errors = found.predict(test.drop(columns=table.target)) - test[table.target]
    return float(np.sqrt(np.mean(errors**2)))


def ours(network: pnn.Network, test: Any, table: Public) -> float:
    found, meant = list(pnn.predict(network, test)), test[table.target]
    if table.kind == "classes":
        return float(np.mean([each.label == str(value) for each, value in zip(found, meant, strict=True)]))
    return math.sqrt(np.mean([(each.values[0] - value) ** 2 for each, value in zip(found, meant, strict=True)]))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::Warning")
@pytest.mark.parametrize("name", TABLES)
def test_one_call_is_as_good_as_scikit_learn(tmp_path: Path, name: str) -> None:
    """Within 2 points of accuracy or 5 % of the error, over three splits; and the exported file takes the raw rows."""
    pytest.importorskip("sklearn")
    table = TABLES[name]
    frame = table.read()
    mine, theirs = [], []
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(frame))
        held_out = int(0.3 * len(frame))
        test, train = frame.iloc[order[:held_out]], frame.iloc[order[held_out:]]
        train.to_csv(tmp_path / "train.csv", index=False)
        network = pnn.train_table(
            "auto-32-auto", tmp_path / "train.csv", table.target,
            task=table.kind, unknown="other", validation=0, seed=seed, **table.options,
        ).network  # fmt: skip
        mine.append(ours(network, test, table))
        theirs.append(peer(train, test, table, seed))
    if table.kind == "classes":
        assert np.mean(mine) >= np.mean(theirs) - 0.02
    else:
        assert np.mean(mine) <= np.mean(theirs) * 1.05
    export_onnx(network, tmp_path / "t.onnx", columns=False)
    raw, faults = encoded(read_frame(test), network.inputs[0].columns)
    assert not faults
    session = onnxruntime.InferenceSession(tmp_path / "t.onnx")
    found = session.run(None, {session.get_inputs()[0].name: raw})[0]
    np.testing.assert_allclose(found, network.predict(raw), rtol=1e-4, atol=1e-4 * np.abs(found).max())


def simple(count: int = 80) -> dict[str, Any]:
    """A table in which ``word`` and ``n`` decide everything."""
    rng = np.random.default_rng(0)
    word, n = rng.choice(["up", "down"], count), rng.normal(5, 2, count)
    sign = np.where(word == "up", 1.0, -1.0)
    return {"word": word, "n": n, "price": 100 + 30 * sign * n, "class": np.where(sign * (n - 5) > 0, "yes", "no")}


def without(*names: str) -> dict[str, Any]:
    return {name: column for name, column in simple().items() if name not in names}


def test_numbers_are_predicted_in_their_units_and_by_name(tmp_path: Path) -> None:
    trained = pnn.train_table("auto-32-auto", without("class"), "price", units={"price": "€", "n": "m"}, epochs=120)
    assert trained.figures["val_r2"] > 0.95
    [info], [output] = trained.network.inputs, trained.network.outputs
    assert [(column.name, column.unit, column.categories) for column in info.columns] == [
        ("word", "", ("down", "up")),
        ("n", "m", ()),
    ]
    assert (output.labels, output.unit, output.target, output.loss) == (("price",), "€", "price", "mean_squared_error")
    found = pnn.predict(trained.network, {"n": [5.0, 5.0], "other": [0, 0], "word": ["up", "down"]})
    assert found.quantities == ("price [€]",)
    up, down = (each.values[0] for each in found)
    assert abs(up - 250) < 25
    assert abs(down + 50) < 25
    rows = [{"word": "up", "n": 5.0}, {"word": "down", "n": 5.0}]
    assert [each.values[0] for each in pnn.predict(trained.network, rows)] == [up, down]
    assert trained.network.predict(pnn.prepare(trained.network, rows[1])).item() == pytest.approx(down)
    with pytest.raises(DataError, match=r"\[1\]: expected the columns word, n, found word"):
        list(pnn.predict(trained.network, [rows[0], {"word": "down"}]))
    with pytest.raises(UsageError, match=r"pnn.prepare\(network, rows_as_dicts\) numbers words as in training"):
        trained.network.predict([["up", "x"]])
    trained.network.save(tmp_path / "price.safetensors")
    again = pnn.load(tmp_path / "price.safetensors")
    assert (again.inputs, again.outputs) == (trained.network.inputs, trained.network.outputs)


def test_two_classes_can_have_one_output() -> None:
    trained = pnn.train_table("auto-16-1", without("price"), "class", epochs=150)
    [output] = trained.network.outputs
    assert (output.kind, output.labels) == ("binary_logits", ("no", "yes"))
    found = list(pnn.predict(trained.network, {"word": ["up", "up"], "n": [9.0, 1.0], "class": ["yes", "no"]}))
    assert [each.label for each in found] == ["yes", "no"]
    assert [each.expected for each in found] == ["yes", "no"]


def test_several_numbers_are_predicted_at_once() -> None:
    table = simple()
    table["double"] = 2 * table["price"]
    trained = pnn.train_table(
        "auto-32-2", table, ["price", "double"], drop=["class"], units={"double": "ct"}, epochs=100
    )
    assert trained.network.outputs[0].units == ("", "ct")
    [found] = pnn.predict(trained.network, {"word": ["up"], "n": [5.0]})
    assert found.values[1] == pytest.approx(2 * found.values[0], rel=0.1)


def test_numbers_in_another_unit_are_warned_of() -> None:
    trained = pnn.train_table("auto-8-auto", without("class"), "price", units={"n": "m"}, epochs=1)
    low, high = min(simple()["n"]), max(simple()["n"])
    meant = rf"column 'n' holds 500, and training had {low:g} to {high:g} m: is its unit the same"
    with pytest.warns(pnn.DataWarning, match=meant):
        list(pnn.predict(trained.network, {"word": ["up"], "n": [500.0]}))


def test_rows_one_by_one_show_another_unit_together_and_are_warned_of_once() -> None:
    rng = np.random.default_rng(0)
    table = {"weight": rng.uniform(20, 1500, 300), "more": rng.normal(size=300), "y": rng.integers(0, 2, 300)}
    network = pnn.train_table("auto-8-auto", table, "y", epochs=1).network
    rows = [{"weight": weight / 1000, "more": 0.5} for weight in table["weight"].tolist()[:60]]
    rows[::3] = [{"weight": None, "more": 0.5} for _ in rows[::3]]  # Two that can be used stand between those.
    with pytest.warns(pnn.DataWarning, match="table: column 'weight' holds .* and training had") as found:
        assert sum(each.error is None for each in pnn.predict(network, rows, strict=False)) == 40
    assert len(found) == 1


def test_a_network_takes_rows_by_the_names_of_columns() -> None:
    network = pnn.train_table("auto-8-auto", without("class"), "price", epochs=1).network
    rows = [{"n": 5.0, "word": "up"}, {"n": 6.0, "word": "down"}]
    wanted = network.predict(pnn.prepare(network, rows))
    assert np.array_equal(network.predict(rows), wanted)
    assert np.array_equal(network.predict(rows[1]), wanted[1:])
    assert np.array_equal(network.predict({"word": ["up", "down"], "n": [5.0, 6.0]}), wanted)
    with pytest.raises(DataError, match="has no column 'word'"):
        network.predict([{"n": 5.0}])


@pytest.mark.parametrize("form", ["${:.2f}", "{} %", "1.{:03d}.000", "id {}", "{} €"])
def test_words_that_are_new_in_most_rows_are_refused_by_name_and_repeated_ones_are_categories(form: str) -> None:
    y, rng = ["yes", "no"] * 40, np.random.default_rng(0)
    rare = [form.format(int(each)) for each in rng.permutation(900)[:80]]
    often = [form.format(int(each)) for each in np.concatenate([np.arange(30), rng.integers(0, 30, 50)])]
    with pytest.raises(
        DataError, match=r"(?s)column 'rare' holds 80 different words in 80 rows, such as .*--drop rare \(drop=\)"
    ) as found:
        pnn.train_table("auto-auto", {"often": often[:60] + often[:20], "rare": rare, "y": y}, epochs=1)
    assert "'often'" not in str(found.value)
    assert ("remove marks such as $ and %" in str(found.value)) == ("id" not in form)
    with pytest.raises(DataError, match="column 'rare' holds 240 different words") as found:
        pnn.train_table("auto-auto", {"rare": list(map(form.format, range(240))), "y": y * 3}, epochs=1)
    assert ("remove marks such as $ and %" in str(found.value)) == ("id" not in form)
    assert pnn.train_table("auto-auto", {"a": np.arange(80) % 7, "rare": rare, "y": y}, drop=["rare"], epochs=1)
    with pytest.raises(DataError, match=r"(?s)target 'rare' holds 80 different words in 80 rows, .*--task classes"):
        pnn.train_table("auto-auto", {"a": np.arange(80) % 7, "rare": rare}, "rare", epochs=1)
    trained = pnn.train_table("auto-auto", {"rare": rare, "y": y}, categorical=["rare"], epochs=1)
    assert set(trained.network.inputs[0].columns[0].categories) == set(rare)


@given(st.integers(2, 90), st.integers(0, 2**32 - 1))
def test_categories_that_most_rows_share_are_never_refused(kinds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    words = np.array(
        [f"{kind} Street" for kind in np.append(np.repeat(np.arange(kinds), 2), rng.integers(0, kinds, 9))]
    )
    frame = read_frame({"street": rng.permutation(words)})
    assert find_columns(frame, ["street"])[0].categories == tuple(sorted(set(words)))


def test_what_stands_for_a_missing_word_is_no_median() -> None:
    table = {"n": [1.0, None, 3.0, 4.0] * 5, "word": ["a", "b", None, "b"] * 5, "y": ["no", "yes"] * 10}
    trained = pnn.train_table("auto-auto", table, missing="median", epochs=1)
    assert "missing values: n (median), word (in no category)" in trained.notes


@pytest.mark.parametrize(
    ("values", "labels"),
    [([0, 1, 2], ("0", "1", "2")), ([1, 2], ("1", "2")), (["b", "a"], ("a", "b")), ([True, False], ("0", "1"))],
)
def test_words_and_counted_numbers_are_classes(values: list[Any], labels: tuple[str, ...]) -> None:
    table = {"n": np.arange(30.0), "y": [values[place % len(values)] for place in range(30)]}
    assert pnn.train_table("auto-auto", table, "y", epochs=1).network.labels == labels


def test_other_numbers_are_numbers_unless_one_says_so() -> None:
    table = {"n": np.arange(30.0), "y": [(0, 5, 9)[place % 3] for place in range(30)]}
    assert pnn.train_table("auto-auto", table, "y", epochs=1).network.outputs[0].kind == "values"
    assert pnn.train_table("auto-auto", table, "y", task="classes", epochs=1).network.labels == ("0", "5", "9")


@pytest.mark.parametrize("missing", ["mean", "median", "indicator"])
def test_rows_without_a_target_are_left_out_and_said_where_others_are_filled(missing: Any) -> None:
    """The network is that of a table which never had them."""
    rows = [(None if place % 5 else 1.0 * place, place % 3, place % 2) for place in range(40)]
    columns = dict(zip("abc", map(list, zip(*rows, strict=True)), strict=True))
    more = {name: [*cells, 7.0, 8.0] for name, cells in columns.items()} | {"c": [*columns["c"], None, float("nan")]}
    found, wanted = (
        pnn.train_table("auto-4-auto", table, "c", task="numbers", missing=missing, epochs=2, progress=False)
        for table in (more, columns)
    )
    assert "left out: 2 of 42 rows, as a target is missing in them" in found.notes
    for name, array in wanted.network.parameters.items():
        np.testing.assert_array_equal(found.network.parameters[name], array)
    with pytest.raises(
        DataError, match="the target 'c' is missing in 2 rows: --missing mean, median, indicator or drop"
    ):
        pnn.train_table("auto-4-auto", more | {"a": more["b"]}, "c", task="numbers", epochs=2)


def test_rows_with_gaps_are_left_out_where_that_is_wanted() -> None:
    table = {"n": [1.0, None, 3.0, 4.0] * 10, "y": ["a", "b", None, "b"] * 10}
    with pytest.raises(DataError, match="the target 'y' is missing in 10 rows"):
        pnn.train_table("auto-auto", table, "y")
    trained = pnn.train_table("auto-auto", table, "y", missing="drop", epochs=1)
    assert trained.notes[:2] == [
        "left out: 20 of 40 rows, as a value is missing in them",
        "from 20 rows, predicts y, 2 classes: a, b",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "cost"}, "target: table has no column 'cost'; it has word, n, price, class"),
        ({"target": "Price"}, "target: table has no column 'Price'; did you mean 'price'?"),
        ({"layers": "1-auto"}, "the first layer has 1 unit, but the inputs are 3 columns"),
        ({"layers": "auto-3"}, "the last layer has 3 units, but 'class' has 2 classes: no, yes"),
        ({"layers": "auto-x-auto"}, "layers must be sizes with hyphens between them, such as auto-32-auto"),
        ({"layers": "auto"}, "layers must be two or more sizes"),
        ({"drop": ["class"]}, "drop: column 'class' cannot be left out: it is the target"),
        ({"drop": ["m"]}, "drop: column 'm' cannot be left out: table has word, n, price, class"),
        ({"task": "numbers"}, "target 'class' holds words such as"),
        ({"loss": "mean_squared_error"}, "classes of which one is right have the loss cross_entropy"),
        ({"decimal": "x"}, "decimal must be '.' or ','"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"layers": "auto-4-auto", "data": simple(), "target": "class", "epochs": 1, **arguments}
    with pytest.raises(UsageError, match=message):
        pnn.train_table(**given)


NOISE = np.random.default_rng(5)
ROWS = NOISE.uniform(-1, 1, (4000, 1))
SPREAD = 30 * np.exp(ROWS[:, 0])
PRICES = {"a": ROWS[:, 0], "price": 1000 + 200 * ROWS[:, 0] + SPREAD * NOISE.normal(size=4000)}


@pytest.mark.parametrize("loss", ["mean_absolute_error", pnn.Huber(0.5), "gaussian"])
def test_numbers_are_learned_with_other_losses(loss: Any) -> None:
    """The mean to a tenth of the spread; and with a Gaussian, the spread in the unit of the data, to 30 %."""
    network, _, figures, _ = pnn.train_table("auto-16-auto", PRICES, "price", loss=loss, epochs=15, progress=False)
    x = np.linspace(-0.9, 0.9, 7)[:, np.newaxis]
    found = network.predict(x)
    np.testing.assert_allclose(found[:, 0], 1000 + 200 * x[:, 0], atol=8)
    [info] = network.outputs
    assert (info.loss, info.labels) == (str(loss), ("price",))
    assert figures["val_rmse"] == pytest.approx(np.sqrt(np.mean(SPREAD**2)), rel=0.2)
    if loss == "gaussian":
        assert info.kind == "gaussian"
        np.testing.assert_allclose(np.exp(found[:, 1] / 2), 30 * np.exp(x[:, 0]), rtol=0.3)
        told = pnn.predict(network, {"a": x[:, 0]})
        assert told.quantities == ("price", "std of price")
        spread = np.exp(found[:, 1] / 2)
        np.testing.assert_allclose([each.values for each in told], np.column_stack([found[:, 0], spread]), rtol=1e-6)


@pytest.mark.parametrize(
    ("layers", "target", "loss", "message"),
    [
        (
            "auto-auto",
            "price",
            "cross_entropy",
            "numbers have the loss mean_squared_error, ",
        ),
        ("auto-auto", "word", "huber", "classes of which one is right have the loss cross_entropy or focal, not huber"),
        (
            "auto-1",
            "word",
            "cross_entropy",
            "one output for two classes has the loss binary_cross_entropy or focal",
        ),
    ],
)
def test_losses_that_do_not_fit_a_target(layers: str, target: str, loss: str, message: str) -> None:
    data = {"a": np.arange(9) / 7, "price": np.arange(9) * 1.5, "word": np.array(["x", "y", "x"] * 3)}
    with pytest.raises(UsageError, match=f"^{message}"):
        pnn.train_table(layers, data, target, loss=loss)


@pytest.mark.parametrize(
    ("option", "word"), [("missing", "medain"), ("missing", "indicator,other"), ("unknown", "any")]
)
def test_other_words_for_missing_and_unknown_cells_are_refused(option: str, word: str) -> None:
    table = {"a": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 1.0, 0.0, 1.0]}
    with pytest.raises(pnn.PortableNNError, match=f"{option} must be 'refuse'.*, not '{word}'"):
        pnn.train_table("auto-2-auto", table, "y", epochs=1, **{option: word})


def test_an_option_that_no_training_has_is_named_with_the_function_that_was_called() -> None:
    rows = {"a": [0.0, 1.0] * 10, "b": ["x", "y"] * 10}
    with pytest.raises(UsageError, match=r"^train_table has no option 'test'$"):
        pnn.train_table("auto-auto", rows, "b", epochs=1, test=0.2)
    assert pnn.train_table("auto-auto", rows, "b", epochs=1, clip_norm=1.0).network
