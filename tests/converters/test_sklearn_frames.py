"""Pipelines of scikit-learn on data frames as people have them: words, dates, texts and columns that no step uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.sklearn import from_sklearn, read_sklearn
from portable_nn.core.errors import DataError

pytest.importorskip("sklearn", reason="scikit-learn is the other side")
pytest.importorskip("pandas", reason="the frames are those of pandas")

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

ROWS: Final = 120


def frame_of(rng: np.random.Generator) -> tuple[Any, Any]:
    """A frame of all kinds of columns, and what is predicted."""
    frame = pd.DataFrame({
        "id": range(ROWS), "name": [f"Ms {place}, née X" for place in range(ROWS)], "age": rng.normal(40, 10, ROWS),
        "born": pd.date_range("1990-01-01", periods=ROWS), "city": rng.choice(["Ulm", "Rom"], ROWS),
        "kids": rng.integers(0, 3, ROWS), "smokes": rng.random(ROWS) < 0.5,
        "waited": pd.to_timedelta(rng.integers(0, 99, ROWS), unit="s"),
        "class": pd.Categorical(rng.choice(["x", "y", "z"], ROWS)),
        "visits": pd.array(rng.integers(0, 9, ROWS), dtype="Int64"),
        "size": pd.array(rng.choice(["S", "M", "L"], ROWS), dtype="string"),
        "member": pd.array(rng.random(ROWS) < 0.5, dtype="boolean"),
    })  # fmt: skip
    frame.loc[3, "age"], frame.loc[5, "name"], frame.loc[7, "born"] = np.nan, None, pd.NaT
    return frame, np.where(frame["kids"] > 0, "yes", "no")


def numbers() -> Any:
    return make_pipeline(SimpleImputer(), StandardScaler())


def only(*steps: Any) -> Any:
    return ColumnTransformer([(str(place), *step) for place, step in enumerate(steps)])


STEPS: Final[dict[str, tuple[Any, list[str]]]] = {
    "names": (only((OneHotEncoder(), ["city"]), ("passthrough", ["kids"])), ["city", "kids"]),
    "places": (only((OneHotEncoder(), [4]), (numbers(), [2, 5])), ["age", "city", "kids"]),
    "another order": (only((numbers(), ["kids", "age"]), (OneHotEncoder(), ["city", "class", "size"])),
                      ["age", "city", "kids", "class", "size"]),
    "all kinds": (only((OrdinalEncoder(), ["smokes", "member", "visits", "class"])),
                  ["smokes", "class", "visits", "member"]),
    "a union": (FeatureUnion([("a", only((OneHotEncoder(), ["city"]))), ("b", only((numbers(), ["age"])))]),
                ["age", "city"]),
    "inside another": (only((make_pipeline(only((numbers(), ["age"]), ("drop", ["name"])), StandardScaler()),
                             ["name", "age", "born"])), ["age"]),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_columns_that_no_step_uses_may_hold_anything(tmp_path: Path, name: str) -> None:
    frame, y = frame_of(np.random.default_rng(0))
    steps, used = STEPS[name]
    pipeline = Pipeline([("columns", steps), ("model", LogisticRegression())]).fit(frame, y)
    found = read_sklearn(pipeline, data=frame)
    network = found.network
    assert [column.name for column in network.inputs[0].columns] == used
    assert found.notes[0].startswith("columns that no step uses are left out: id, name")
    network.save(tmp_path / "n.safetensors")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    expected = pipeline.predict_proba(frame)
    shuffled = frame[frame.columns[::-1]]
    for each in (network, pnn.load(tmp_path / "n.safetensors")):
        np.testing.assert_allclose(each.predict_proba(frame), expected, atol=1e-12)
        np.testing.assert_allclose(each.predict_proba(shuffled), expected, atol=1e-12)
    for given in (tmp_path / "rows.csv", frame):
        answers = pnn.predict(tmp_path / "n.safetensors", given)
        assert [answer.label for answer in answers] == pipeline.predict(frame).tolist()
    assert network.evaluate(frame, y).accuracy == pipeline.score(frame, y)


def test_a_frame_that_does_not_fit_is_refused_by_row_and_column() -> None:
    frame, y = frame_of(np.random.default_rng(1))
    pipeline = Pipeline([("columns", STEPS["names"][0]), ("model", LogisticRegression())]).fit(frame, y)
    network = from_sklearn(pipeline)
    with pytest.raises(DataError, match="has no column 'city'"):
        network.predict(frame.drop(columns="city"))
    strange = frame.assign(city=["Ulm", "Oslo"] * (ROWS // 2))
    for method in (network.predict, network.predict_proba, lambda x: network.evaluate(x, y)):
        with pytest.raises(DataError, match=r"x\[1\]: column 'city': 'Oslo' is none of the categories Rom, Ulm"):
            method(strange)
    before = network.evaluate(frame, y).loss
    network.fit(frame, y, optimizer=pnn.Adam(0.1), epochs=20, progress=False)
    assert network.evaluate(frame, y).loss < before
