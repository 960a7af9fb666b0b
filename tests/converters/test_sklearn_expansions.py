"""Steps of scikit-learn that make other features: products, bins, powers, functions, targets by category; and links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.sklearn import from_sklearn
from portable_nn.core.errors import UsageError

pytest.importorskip("sklearn", reason="scikit-learn is the other side")

from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_wine
from sklearn.decomposition import IncrementalPCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    Ridge,
    TweedieRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    PolynomialFeatures,
    PowerTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.random_projection import GaussianRandomProjection

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS: Final[dict[str, Callable[[], Any]]] = {
    "squares and products": lambda: PolynomialFeatures(2),
    "products of three": lambda: PolynomialFeatures(3, interaction_only=True, include_bias=False),
    "degrees two and three": lambda: PolynomialFeatures((2, 3)),
    "bins": lambda: KBinsDiscretizer(4),
    "numbers of bins": lambda: KBinsDiscretizer(5, encode="ordinal", strategy="uniform"),
    "dense bins": lambda: KBinsDiscretizer(3, encode="onehot-dense", strategy="kmeans"),
    "Yeo-Johnson": PowerTransformer,
    "Yeo-Johnson without scale": lambda: PowerTransformer(standardize=False),
    "Box-Cox": lambda: PowerTransformer("box-cox"),
    "projection": lambda: GaussianRandomProjection(4, random_state=0),
    "components": lambda: IncrementalPCA(3),
    **{each.__name__: (lambda each=each: FunctionTransformer(each))
       for each in (np.log1p, np.log, np.log2, np.log10, np.sqrt, np.square, np.expm1, np.tanh, np.reciprocal,
                    np.sin, np.cos, np.sign, np.abs, np.exp, np.negative)},
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_steps_that_make_other_features(tmp_path: Path, name: str) -> None:
    x, y = load_wine(return_X_y=True)
    x = x[:, :3]
    pipeline = make_pipeline(STEPS[name](), StandardScaler(with_mean=False), LogisticRegression()).fit(x, y)
    network = from_sklearn(pipeline, data=x)
    np.testing.assert_allclose(network.predict_proba(x), pipeline.predict_proba(x), atol=1e-9)
    network.save(tmp_path / "n.safetensors")
    answers = pnn.predict(tmp_path / "n.safetensors", x)
    assert [int(answer.label) for answer in answers] == pipeline.predict(x).tolist()


def test_functions_that_have_no_nodes_are_refused_by_name() -> None:
    x = np.ones((5, 2))
    for function in (lambda x: x + 1, np.arctan2):
        with pytest.raises(UsageError, match=r"functiontransformer: the function .* has no nodes; those of numpy"):
            from_sklearn(_fitted_with(function, x))
    with pytest.raises(UsageError, match="with kw_args has no nodes"):
        from_sklearn(make_pipeline(FunctionTransformer(np.log1p, kw_args={"dtype": "f8"}), Ridge()).fit(x, x[:, 0]))


def _fitted_with(function: Any, x: Any) -> Any:
    pipeline = make_pipeline(FunctionTransformer(), Ridge()).fit(x, x[:, 0])
    pipeline[0].func = function
    return pipeline


@pytest.mark.parametrize(
    "model",
    [PoissonRegressor(), GammaRegressor(), TweedieRegressor(power=1.5), TweedieRegressor(power=0), QuantileRegressor(),
     TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1)],
    ids=str,
)  # fmt: skip
def test_links_and_functions_of_the_target(model: Any) -> None:
    x, _ = load_wine(return_X_y=True)
    x, y = x[:, 1:], x[:, 0]
    pipeline = make_pipeline(StandardScaler(), model).fit(x, y)
    network = from_sklearn(pipeline, data=x)
    np.testing.assert_allclose(network.predict(x)[:, 0], pipeline.predict(x), rtol=1e-9)
    trained = str(model) == "TweedieRegressor(power=0)" or isinstance(model, TransformedTargetRegressor)
    assert network.outputs[0].loss == ("mean_squared_error" if trained else "")


@pytest.mark.parametrize("classes", [2, 3])
def test_discriminants_are_probabilities(classes: int) -> None:
    x, y = load_wine(return_X_y=True)
    model = LinearDiscriminantAnalysis().fit(x, np.minimum(y, classes - 1))
    np.testing.assert_allclose(from_sklearn(model).predict_proba(x), model.predict_proba(x), atol=1e-9)


@pytest.mark.parametrize("kind", ["two classes", "three classes", "numbers"])
def test_categories_become_what_the_target_is_on_average(kind: str) -> None:
    pandas = pytest.importorskip("pandas", reason="words are in frames")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"a": rng.choice(["x", "y", "z"], 90), "b": rng.choice(["u", None], 90), "k": rng.integers(0, 3, 90)}
    )
    y = {"two classes": rng.integers(0, 2, 90), "three classes": rng.integers(0, 3, 90), "numbers": rng.random(90)}[
        kind
    ]
    model = Ridge() if kind == "numbers" else LogisticRegression()
    pipeline = make_pipeline(TargetEncoder(target_type="continuous" if kind == "numbers" else "auto"), model)
    pipeline.fit(frame, y)
    network = from_sklearn(pipeline, data=frame)
    found = network.predict(frame)[:, 0] if kind == "numbers" else network.predict_proba(frame)
    expected = pipeline.predict(frame) if kind == "numbers" else pipeline.predict_proba(frame)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_an_indicator_of_what_was_missing_refuses_what_was_not() -> None:
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_union

    x = np.random.default_rng(0).normal(size=(20, 3))
    x[0, 1] = np.nan
    for step in (MissingIndicator(), make_union(SimpleImputer(), MissingIndicator())):
        network = from_sklearn(step.fit(x))  # Both sides are compared.
        np.testing.assert_allclose(network.predict(x), step.transform(x), atol=1e-12)
        assert [column.missing == "refuse" for column in network.inputs[0].columns] == [True, False, True]
