"""``from_sklearn`` of this package's own estimators, of classes of the user's own, and of steps that take few rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portable_nn.core.errors import UsageError

sklearn: Any = pytest.importorskip("sklearn")

from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.ensemble import StackingRegressor, VotingClassifier  # noqa: E402
from sklearn.linear_model import HuberRegressor, LogisticRegression, Ridge  # noqa: E402
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer, StandardScaler  # noqa: E402

from portable_nn.converters.sklearn import PortableClassifier, PortableRegressor, from_sklearn  # noqa: E402

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
TWO, THREE = (X[:, 0] > X[:, 1]).astype(int), np.digitize(X[:, 0], [-0.5, 0.5])
WORDS = np.array(["no", "yes"])[TWO]
NUMBER = X[:, 0] * 40 + 7


def classifier(**options: Any) -> Any:
    return PortableClassifier((6,), epochs=2, random_state=0, **options)


def regressor(**options: Any) -> Any:
    return PortableRegressor((6,), epochs=2, random_state=0, **options)


CLASSIFIERS = {
    "two": (classifier(), TWO),
    "three": (classifier(), THREE),
    "words": (classifier(loss="focal"), WORDS),
    "float32": (classifier(dtype="float32"), THREE),
    "pipeline": (make_pipeline(StandardScaler(), PCA(3), classifier()), THREE),
    "vote": (VotingClassifier([("a", classifier()), ("b", LogisticRegression())], voting="soft"), THREE),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_of_this_package(name: str) -> None:
    estimator, y = CLASSIFIERS[name]
    estimator.fit(X, y)
    before = estimator.predict_proba(X)
    network = from_sklearn(estimator)
    assert network.outputs[0].labels == tuple(map(str, estimator.classes_))
    np.testing.assert_allclose(network.predict_proba(X), before, atol=1e-6)
    if name != "vote":  # Several models, trained one by one, have no loss.
        network.fit(X, y, epochs=2, progress=False)
        np.testing.assert_array_equal(estimator.predict_proba(X), before)  # The estimator stays as it is.


REGRESSORS = {
    "alone": regressor(),
    "pipeline": make_pipeline(StandardScaler(), regressor()),
    "target": TransformedTargetRegressor(regressor(), transformer=StandardScaler()),
    "stack": StackingRegressor([("a", regressor()), ("b", Ridge())], final_estimator=regressor()),
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_of_this_package(name: str) -> None:
    estimator = REGRESSORS[name].fit(X, NUMBER)
    network = from_sklearn(estimator)
    np.testing.assert_allclose(network.predict(X)[:, 0], estimator.predict(X), rtol=1e-9)


def test_one_of_this_package_that_is_not_fitted() -> None:
    with pytest.raises(UsageError, match=r"^PortableClassifier is not fitted: call its fit"):
        from_sklearn(classifier())


class Doubled(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """It learns nothing, and says nothing of what it takes."""

    def fit(self, x: Any, y: Any = None) -> Doubled:
        return self

    def transform(self, x: Any) -> Any:
        return x * 2


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (make_pipeline(Doubled(), LogisticRegression()), "doubled"),
        (make_pipeline(StandardScaler(), Doubled(), LogisticRegression()), "doubled"),
        (make_pipeline("passthrough", make_pipeline(Doubled(), StandardScaler()), LogisticRegression()), "pipeline.do"),
        (Doubled(), "doubled"),
    ],
    ids=["first", "second", "within", "alone"],
)
def test_a_transformer_of_the_users_own_is_refused_by_name(estimator: Any, named: str) -> None:
    with pytest.raises(UsageError, match=rf"^{named}.*: Doubled, a class of your own, is not among the steps that"):
        from_sklearn(estimator.fit(X, TWO))


@pytest.mark.parametrize("function", [np.log1p, np.log, np.sqrt, np.reciprocal], ids=lambda each: each.__name__)
@pytest.mark.parametrize("before", [[], [FunctionTransformer(np.log)], [FunctionTransformer(np.square)]])
def test_rows_are_such_as_the_steps_take(function: Any, before: list[Any]) -> None:
    x = 1.5 + RNG.random((90, 4))  # Whose logarithms have one, too.
    estimator = make_pipeline(*before, FunctionTransformer(function), LogisticRegression()).fit(x, TWO)
    network = from_sklearn(estimator)
    np.testing.assert_allclose(network.predict_proba(x), estimator.predict_proba(x), atol=1e-9)


def test_rows_of_the_user_that_no_step_takes() -> None:
    estimator = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(np.abs(X), TWO)
    with pytest.raises(UsageError, match=r"^Pipeline does not take the rows that both sides are compared on: "):
        from_sklearn(estimator, data=-2 - np.abs(X))


@pytest.mark.parametrize("kind", [MultinomialNB, ComplementNB, BernoulliNB, GaussianNB])
@pytest.mark.parametrize("y", [TWO, THREE], ids=["two", "three"])
def test_steps_of_bayes_are_those_of_a_softmax(kind: Any, y: Any) -> None:
    """scikit-learn's own gradient, of as many outputs as there are classes."""
    from_sklearn(kind().fit(RNG.integers(0, 9, (90, 4)), y), prove_training=True)


def test_a_regressor_without_a_loss_is_told_of_losses_of_numbers() -> None:
    network = from_sklearn(HuberRegressor().fit(X, NUMBER))
    with pytest.raises(UsageError, match=r"^loss must be given, .*: 'mean_squared_error' is for quantities"):
        network.fit(X, NUMBER)
    network.fit(X, NUMBER, loss="huber", epochs=1, progress=False)
