"""Random pipelines over tables of numbers and words: scalers, imputers and encoders by columns, and an estimator."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pytest

sklearn: Any = pytest.importorskip("sklearn", reason="scikit-learn is the other side")
pd: Any = pytest.importorskip("pandas", reason="tables with words are those of pandas")

pytestmark = pytest.mark.filterwarnings("ignore")

SEEDS: Final = [
    pytest.param(seed, marks=() if seed < 3 else pytest.mark.long if seed < 50 else pytest.mark.sweep)
    for seed in range(500)
]


def _table(rng: np.random.Generator) -> Any:
    """Numbers of several scales, some missing, and columns of a few words."""
    columns: dict[str, Any] = {}
    for place in range(rng.integers(1, 4)):
        numbers = rng.normal(rng.uniform(-5, 5), 10 ** rng.uniform(-2, 2), 80)
        columns[f"number_{place}"] = np.where(rng.random(80) < rng.choice([0, 0.2]), np.nan, numbers)
    for place in range(rng.integers(1, 3)):
        columns[f"word_{place}"] = rng.choice(["red", "green", "blue", "a, b"][: rng.integers(2, 5)], 80)
    return pd.DataFrame(columns)


def _pipeline(rng: np.random.Generator, table: Any) -> tuple[Any, Any]:
    from sklearn import linear_model, neural_network, preprocessing
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    p = preprocessing
    scalers = [p.StandardScaler, p.MinMaxScaler, p.MaxAbsScaler, p.RobustScaler]
    encoders = [
        lambda: p.OneHotEncoder(handle_unknown="ignore", sparse_output=False), lambda: p.OneHotEncoder(drop="first"),
        lambda: p.OneHotEncoder(drop="if_binary", sparse_output=False), p.OrdinalEncoder,
    ]  # fmt: skip
    numbers = [name for name in table if name.startswith("number")]
    words = [name for name in table if name.startswith("word")]

    def some(names: list[str]) -> Any:
        imputer = SimpleImputer(
            strategy=rng.choice(["mean", "median", "constant"]), add_indicator=bool(rng.random() < 0.3)
        )
        return make_pipeline(imputer, scalers[rng.integers(len(scalers))]()), names

    split = int(rng.integers(0, len(numbers)))
    parts = [names for names in (numbers[:split], numbers[split:]) if names]
    steps = [(f"numbers_{place}", *some(names)) for place, names in enumerate(parts)]
    steps += [(name, encoders[rng.integers(len(encoders))](), [name]) for name in words]
    order = rng.permutation(len(steps))
    columns = ColumnTransformer([steps[place] for place in order])
    classes = int(rng.integers(0, 4))
    columns.transformer_weights = {steps[0][0]: 2.5} if classes % 2 else None
    perceptron = {"hidden_layer_sizes": (4,), "max_iter": 5, "random_state": 0}
    if classes < 2:
        regressors = [
            linear_model.Ridge(0.3),
            linear_model.LinearRegression(),
            neural_network.MLPRegressor(**perceptron),
        ]
        return make_pipeline(columns, regressors[rng.integers(3)]), rng.normal(size=80)
    classifiers = [
        linear_model.LogisticRegression(max_iter=30),
        linear_model.SGDClassifier(loss="log_loss", random_state=0),
        neural_network.MLPClassifier(**perceptron),
    ]
    labels = np.array(["yes", "no", "perhaps"])[np.arange(80) % classes]
    return make_pipeline(columns, classifiers[rng.integers(3)]), labels


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_pipeline_over_a_table_computes_what_scikit_learn_does(seed: int, tmp_path: Any) -> None:
    import portable_nn as pnn
    from portable_nn.converters.sklearn import from_sklearn

    rng = np.random.default_rng(seed)
    table = _table(rng)
    model, y = _pipeline(rng, table)
    model.fit(table, y)
    network = from_sklearn(model, data=table, rtol=1e-5)
    network.save(tmp_path / "net.safetensors")
    network = pnn.load(tmp_path / "net.safetensors")
    [info] = network.inputs
    columns = [
        [list(column.categories).index(word) for word in table[column.name]]
        if column.categories
        else table[column.name]
        for column in info.columns
    ]
    rows = np.column_stack(columns).astype("float64")
    if network.outputs[0].labels:
        np.testing.assert_allclose(network.predict_proba(rows), model.predict_proba(table), atol=1e-6)
    else:
        expected = model.predict(table)
        np.testing.assert_allclose(network.predict(rows)[:, 0], expected, atol=1e-6 * max(1.0, np.abs(expected).max()))
