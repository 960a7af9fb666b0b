"""Estimators of scikit-learn that are made of others, and those that count: the same probabilities and numbers here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.core.errors import UsageError

pytest.importorskip("sklearn", reason="scikit-learn is the other side")

from sklearn.calibration import CalibratedClassifierCV
from sklearn.cross_decomposition import PLSRegression
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import FactorAnalysis, FastICA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier, VotingRegressor
from sklearn.impute import KNNImputer
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, QuantileTransformer, SplineTransformer, StandardScaler
from sklearn.random_projection import SparseRandomProjection
from sklearn.svm import LinearSVC

from portable_nn.converters.sklearn import from_sklearn

pytestmark = pytest.mark.filterwarnings("ignore")


def _linear() -> Any:
    return LogisticRegression(max_iter=200)


def _members() -> list[tuple[str, Any]]:
    perceptron = make_pipeline(StandardScaler(), MLPClassifier((4,), max_iter=20, random_state=0))
    return [("a", _linear()), ("b", GaussianNB()), ("c", perceptron)]


CLASSIFIERS: Final[dict[str, Callable[[], Any]]] = {
    "GaussianNB": GaussianNB,
    "MultinomialNB": MultinomialNB,
    "ComplementNB": ComplementNB,
    "BernoulliNB": lambda: BernoulliNB(binarize=3.0),
    "Quadratic": lambda: QuadraticDiscriminantAnalysis(reg_param=0.1),
    "Voting": lambda: VotingClassifier(_members(), voting="soft", weights=[1, 2, 3]),
    "Voting after": lambda: make_pipeline(MinMaxScaler(), VotingClassifier(_members(), voting="soft")),
    "Calibrated scores": lambda: CalibratedClassifierCV(LinearSVC(), cv=3),
    "Calibrated once": lambda: CalibratedClassifierCV(_linear(), ensemble=False),
    "Calibrated probabilities": lambda: CalibratedClassifierCV(GaussianNB(), cv=3),
    "One by one": lambda: OneVsRestClassifier(_linear()),
    "One by one, scores": lambda: OneVsRestClassifier(LinearSVC()),
    "Stacking": lambda: StackingClassifier([*_members(), ("d", LinearSVC())], _linear(), passthrough=True, cv=3),
    "FastICA": lambda: make_pipeline(FastICA(2, random_state=0), _linear()),
    "FactorAnalysis": lambda: make_pipeline(FactorAnalysis(2), _linear()),
    "Discriminants": lambda: make_pipeline(LinearDiscriminantAnalysis(), _linear()),
    "Discriminants by eigenvectors": lambda: make_pipeline(LinearDiscriminantAnalysis(solver="eigen"), _linear()),
    "SparseRandomProjection": lambda: make_pipeline(SparseRandomProjection(3, random_state=0), _linear()),
    "RBFSampler": lambda: make_pipeline(RBFSampler(n_components=7, random_state=0), _linear()),
    "Neighborhoods": lambda: make_pipeline(NeighborhoodComponentsAnalysis(2, max_iter=5, random_state=0), _linear()),
    "Quantiles": lambda: make_pipeline(QuantileTransformer(n_quantiles=40), _linear()),
    "Splines": lambda: make_pipeline(SplineTransformer(), _linear()),
    "Splines that continue": lambda: make_pipeline(
        SplineTransformer(6, degree=2, include_bias=False, extrapolation="continue", knots="quantile"), _linear()
    ),
}


@pytest.mark.parametrize("several", [True, pytest.param(False, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_the_same_answers(name: str, several: bool, tmp_path: Path) -> None:
    x, y = (load_iris if several else load_breast_cancer)(return_X_y=True)
    x = x[:, :6]
    model = CLASSIFIERS[name]().fit(x, y)
    from_sklearn(model, data=x).save(tmp_path / "n.safetensors")
    network = pnn.load(tmp_path / "n.safetensors")
    scores = not hasattr(model, "predict_proba")
    other = np.concatenate([x[::3] * 1.5, x[:3] - 2]) if not name.endswith("NB") else x[::3] * 1.5
    for rows in (x, other):
        expected = model.decision_function(rows) if scores else model.predict_proba(rows)
        found = network.predict(rows) if scores else network.predict_proba(rows)
        np.testing.assert_allclose(found, expected.reshape(found.shape), atol=1e-6)
    answered = [answer.label for answer in pnn.predict(network, x, engine="numpy")]
    assert answered == [str(each) for each in model.predict(x)]


@pytest.mark.parametrize(
    "model",
    [
        VotingRegressor([("a", Ridge()), ("b", make_pipeline(StandardScaler(), LinearRegression()))], weights=[3, 1]),
        StackingRegressor([("a", Ridge()), ("b", LinearRegression())], Ridge(), passthrough=True),
        PLSRegression(3),
    ],
)
def test_a_regressor_gives_the_same_numbers(model: Any) -> None:
    x, y = load_diabetes(return_X_y=True)
    network = from_sklearn(model.fit(x, y), data=x)
    np.testing.assert_allclose(network.predict(x)[:, 0], model.predict(x).ravel(), rtol=1e-9)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (VotingClassifier(_members()), r'counts votes, which no layer does: fit it with voting="soft"'),
        (CalibratedClassifierCV(_linear(), method="isotonic"), "fit it with method='sigmoid'"),
        (make_pipeline(KNNImputer(), _linear()), "KNNImputer, which keeps its examples, is not among the steps"),
        (make_pipeline(QuantileTransformer(n_quantiles=10, output_distribution="normal"), _linear()), "use 'uniform'"),
        (make_pipeline(SplineTransformer(extrapolation="periodic"), _linear()), "'constant' and 'continue' are"),
    ],
)
def test_what_has_no_nodes_is_refused_with_what_to_do(model: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_sklearn(model.fit(*load_iris(return_X_y=True)))
