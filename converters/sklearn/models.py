"""The last step of a pipeline, a classifier or a regressor, as layers that train, and what their output means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portable_nn.converters.sklearn.outputs import Kind, Layers, Output, dense, labels_of, linear, normalised
from portable_nn.converters.sklearn.transformers import check_fitted, name_of
from portable_nn.core.errors import UsageError
from portable_nn.network import Network
from portable_nn.operators import Symbol, cast, constant, emit, integers


class Penalty(NamedTuple):
    """A squared penalty of weights, as what SGD adds to their gradients.

    Attributes:
        option: the option of the estimator, and its value.
        decay: the factor; per example of the training data, or of a batch, where ``per`` says so.
        per: what the factor is divided by: ``""``, ``"n"`` or ``"batch_size"``.
        biases: whether biases shrink as well.
    """

    option: str
    decay: float
    per: str = ""
    biases: bool = False


def note_of(estimator: Any, loss: str) -> str:
    """A remark on the penalty of a fitted estimator, whose ``loss`` is none where this package lacks it; or ``""``."""
    row = PENALTIES.get(type(estimator).__name__)
    if row is None or not loss:
        return ""
    if _has_l1(estimator):
        return "its L1 penalty is no part of the loss, and has no counterpart in the optimizers here"
    found = row(estimator, loss)
    if found is None or not found.decay:
        return ""
    number = f"{found.decay:g}" + (f" / {found.per}" if found.per else "")
    groups = "" if found.biases else ', groups={"*.bias": {"weight_decay": 0.0}}'
    of = {"n": " with n examples in a batch, all of them,", "batch_size": " with batch_size examples in a batch"}
    return (
        f"its penalty {found.option} is no part of the loss:{of.get(found.per, '')} "
        f"fit(optimizer=SGD(…, weight_decay={number}){groups}) goes on with it"
    )


def _has_l1(estimator: Any) -> bool:
    share = getattr(estimator, "l1_ratio", 0.0)
    penalty = getattr(estimator, "penalty", "l2")
    if type(estimator).__name__.startswith("SGD"):
        return penalty in ("l1", "elasticnet")
    return (
        penalty in ("l1", "elasticnet") or bool(share) or type(estimator).__name__.startswith(("Lasso", "ElasticNet"))
    )


def _columns(estimator: Any, loss: str) -> int:
    """Over how many outputs of an example the loss is a mean."""
    return 1 if loss == "cross_entropy" else len(np.atleast_2d(estimator.coef_))


def _inverse(estimator: Any, loss: str, *, biases: bool) -> Penalty | None:
    if getattr(estimator, "penalty", "l2") is None:
        return None
    return Penalty(f"C={estimator.C:g}", 1 / estimator.C / _columns(estimator, loss), "n", biases)


def _ridge(estimator: Any, loss: str) -> Penalty | None:
    alpha = np.asarray(estimator.alpha)
    return Penalty(f"alpha={alpha:g}", 2 * float(alpha) / _columns(estimator, loss), "n") if alpha.size == 1 else None


def _stochastic(estimator: Any, loss: str) -> Penalty | None:
    if estimator.penalty is None:
        return None
    halved = estimator.loss == "squared_error"  # Its squared error is half of that here.
    return Penalty(f"alpha={estimator.alpha:g}", estimator.alpha * (2 if halved else 1) / _columns(estimator, loss))


def _perceptron(estimator: Any, loss: str) -> Penalty:
    return Penalty(f"alpha={estimator.alpha:g}", estimator.alpha * (2 if "squared" in loss else 1), "batch_size")


PENALTIES: Final[Mapping[str, Callable[[Any, str], Penalty | None]]] = {
    "LogisticRegression": partial(_inverse, biases=False),
    **dict.fromkeys(("LinearSVC", "LinearSVR"), partial(_inverse, biases=True)),
    **dict.fromkeys(("SVC", "SVR"), partial(_inverse, biases=False)),
    **dict.fromkeys(("Ridge", "RidgeClassifier"), _ridge),
    **dict.fromkeys(("Lasso", "ElasticNet"), lambda estimator, loss: None),
    **dict.fromkeys(("SGDClassifier", "SGDRegressor"), _stochastic),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), _perceptron),
}
"""The penalty of an estimator, by its class: ``(estimator, loss) → penalty``."""


COUNTED: Final = "scikit-learn counts, and trains by no gradient: fit goes on with cross-entropy"


def _logits(estimator: Any, x: Symbol, weight: NDArray[Any], bias: Any) -> Output:
    symbol, layers = linear(x, weight, bias)
    return Output(symbol, "logits", "predict_proba", labels_of(estimator.classes_), "cross_entropy", (COUNTED,), layers)


def _bernoulli(estimator: Any, x: Symbol) -> Output:
    if estimator.binarize is not None:
        x = cast(emit("Greater", x, constant(estimator.binarize, x.dtype)), x.dtype)
    absent = np.log(1 - np.exp(estimator.feature_log_prob_))
    bias = estimator.class_log_prior_ + absent.sum(axis=1)
    return _logits(estimator, x, estimator.feature_log_prob_ - absent, bias)


def _gaussian(estimator: Any, x: Symbol) -> Output:
    """A dense layer of the features, about their mean, and of their squares."""
    center, var = estimator.theta_.mean(axis=0), estimator.var_
    means = estimator.theta_ - center
    x = x - constant(center[np.newaxis], x.dtype)
    bias = np.log(estimator.class_prior_) - 0.5 * (np.log(2 * np.pi * var) + means**2 / var).sum(axis=1)
    weight = np.concatenate([means / var, -0.5 / var], axis=1)
    return _logits(estimator, emit("Concat", x, x * x, axis=1), weight, bias)


def _quadratic(estimator: Any, x: Symbol) -> Output:
    """QuadraticDiscriminantAnalysis: a distance from each class, in axes of its own."""
    parts = []
    for mean, axes, sizes in zip(estimator.means_, estimator.rotations_, estimator.scalings_, strict=True):
        turned = emit("MatMul", x - constant(mean[np.newaxis], x.dtype), constant(axes * sizes**-0.5, x.dtype))
        parts.append(emit("ReduceSum", turned * turned, integers([1]), keepdims=1))
    logs = np.array([np.log(sizes).sum() for sizes in estimator.scalings_])
    bias = np.log(estimator.priors_) - 0.5 * logs
    found = _logits(estimator, emit("Concat", *parts, axis=1), -0.5 * np.eye(len(bias)), bias)
    return replace(found, layers=())  # Of two classes, its decision_function is a difference.


BAYES: Final[Mapping[str, Callable[[Any, Symbol], Output]]] = {
    "BernoulliNB": _bernoulli,
    "ComplementNB": lambda of, x: _logits(of, x, of.feature_log_prob_, 0.0),
    "GaussianNB": _gaussian,
    "MultinomialNB": lambda of, x: _logits(of, x, of.feature_log_prob_, of.class_log_prior_),
    "QuadraticDiscriminantAnalysis": _quadratic,
}
"""The classifiers of probabilities by class that become layers."""


def answered(estimator: Any, numbers: Callable[[], Symbol]) -> Output | None:
    """The output of a fitted classifier or regressor; ``None`` where it is neither.

    ``numbers`` gives the features that it reads. Raises ``UsageError`` where it is not fitted, or none of ``MODELS``.
    """
    name = name_of(estimator, MODELS)
    if name is None:
        if (network := own_network(estimator)) is not None:
            return _own(network, numbers())
        if not hasattr(estimator, "predict"):
            return None
        why = next((reason for word, reason in REASONS.items() if word in type(estimator).__name__), "")
        raise UsageError(
            f"{type(estimator).__name__} is no layer{why}. What becomes a network: {', '.join(sorted(MODELS))}"
        )
    check_fitted(estimator)
    output = MODELS[name](estimator, numbers())
    said = note_of(estimator, output.loss)
    return replace(output, notes=(*output.notes, said)) if said else output


def own_network(estimator: Any) -> Network | None:
    """The network of a fitted estimator of this package."""
    found = getattr(estimator, "network_", None)
    return found if isinstance(found, Network) else None


def _own(network: Network, x: Symbol) -> Output:
    """The output of ``PortableClassifier`` and ``PortableRegressor``: their network, as it is."""
    [info] = network.outputs
    copied = Network.from_graph(network.graph, network.parameters, outputs=network.outputs, seed=0)
    kind: Any = info.kind
    return Output(copied(x), kind, "predict_proba" if info.labels else "predict", info.labels, info.loss)


REASONS: Final[Mapping[str, str]] = {
    "Forest": ": it is made of trees, which compare and do not compute",
    "Tree": ": a tree compares and does not compute",
    "Boosting": ": it is made of trees, which compare and do not compute",
    "Neighbors": ": it keeps its examples",
    "NuSVC": ": use LinearSVC, or import what skl2onnx writes of a linear kernel",
    "NuSVR": ": use LinearSVR, or import what skl2onnx writes of a linear kernel",
}
"""Why some estimators cannot become networks, by a word in their names."""


# -- classifiers


def _logistic(estimator: Any, x: Symbol) -> Output:
    symbol, layers = linear(x, estimator.coef_, estimator.intercept_)
    labels = labels_of(estimator.classes_)
    if len(labels) == 2:
        return Output(symbol, "binary_logits", "predict_proba", labels, "binary_cross_entropy", layers=layers)
    return Output(symbol, "logits", "predict_proba", labels, "cross_entropy", layers=layers)


SCORES: Final = "its scores are no probabilities, though predict makes some of them by the logistic function or softmax"

ONE_BY_ONE: Final = "scikit-learn trains each class against the rest: targets of zeros and ones (n, classes) do so here"


def _margin(estimator: Any, x: Symbol) -> Output:
    """Scores of which the largest, or one above 0, is the answer."""
    symbol, layers = linear(x, estimator.coef_, estimator.intercept_)
    labels = labels_of(estimator.classes_)
    unsaid = {"RidgeClassifier": "squared_error", "RidgeClassifierCV": "squared_error", "SVC": "hinge"}
    given = getattr(estimator, "loss", unsaid.get(type(estimator).__name__, "perceptron"))
    loss = LOSSES.get(given, "")
    notes = [SCORES] if loss else [SCORES, f"the loss {given} is not in this package: give fit another one"]
    if loss == LOSSES["squared_error"]:
        notes.append(
            "scikit-learn fits targets of -1 and 1, a column for each class (one for two classes): so does fit"
        )
    elif len(labels) > 2 and loss:
        notes.append(ONE_BY_ONE)
    kind: Kind = "binary_logits" if len(labels) == 2 else "logits"
    return Output(symbol, kind, "decision_function", labels, loss, tuple(notes), layers)


def _support(estimator: Any, x: Symbol) -> Output:
    """A support vector machine with a linear kernel, of two classes or of numbers."""
    kind = type(estimator).__name__
    if estimator.kernel != "linear":
        raise UsageError(f"{kind}(kernel={estimator.kernel!r}) is no layer, it keeps its examples: use Linear{kind}")
    if kind == "SVR":
        return _regressor(estimator, x)
    if getattr(estimator, "probability", False) is True:
        raise UsageError(
            "SVC(probability=True) has no layer for its probabilities: fit LogisticRegression, or no probability"
        )
    if len(estimator.classes_) > 2:
        raise UsageError("SVC of several classes lets pairs of them vote, which no layer does: use LinearSVC")
    return _margin(estimator, x)


LOSSES: Final[Mapping[str, str]] = {
    "hinge": "hinge",
    "squared_hinge": "hinge(squared=True)",
    "squared_error": "mean_squared_error",
    "log_loss": "binary_cross_entropy",
}
"""The losses of linear models, by scikit-learn's name."""


def _sgd(estimator: Any, x: Symbol) -> Output:
    if estimator.loss == "log_loss":
        return _sgd_logistic(estimator, x)
    if estimator.loss == "modified_huber":
        return _sgd_huber(estimator, x)
    return _margin(estimator, x)


SMALLEST: Final[Mapping[str, float]] = {"float64": -709.78, "float32": -88.72}
"""Below it scikit-learn's σ(s) is 0: where those of all classes are, it has the same probability for each."""


def _sgd_logistic(estimator: Any, x: Symbol) -> Output:
    labels = labels_of(estimator.classes_)
    if len(labels) == 2:
        return _logistic(estimator, x)
    scores, _ = linear(x, estimator.coef_, estimator.intercept_)
    # softmax(log σ(s)) is σ(s) / Σ σ(s), which are scikit-learn's probabilities.
    nothing = emit("Less", scores, constant(SMALLEST[x.dtype], x.dtype))
    zero = constant(0, x.dtype)  # onnxruntime has no Softplus of float64.
    logs = emit("Min", scores, zero) - emit("Log", emit("Exp", -emit("Abs", scores)) + 1.0)
    logits = emit("Where", nothing, constant(2 * SMALLEST[x.dtype], x.dtype), logs)
    note = "logits are log σ(score), whose softmax is scikit-learn's probabilities; " + ONE_BY_ONE.partition(":")[0]
    return Output(logits, "logits", "predict_proba", labels, "cross_entropy", (note,))


def _sgd_huber(estimator: Any, x: Symbol) -> Output:
    labels = labels_of(estimator.classes_)
    scores, _ = linear(x, estimator.coef_, estimator.intercept_)
    shares = (emit("Clip", scores, constant(-1, x.dtype), constant(1, x.dtype)) + 1.0) / 2.0
    if len(labels) > 2:
        shares = normalised(shares)
    note = "the loss modified_huber is not in this package: give fit another one"
    return Output(shares, "probabilities", "predict_proba", labels, notes=(note,))


# -- regressors


def _generalised(estimator: Any, x: Symbol) -> Output:
    """A generalised linear model, whose link says what is made of the score."""
    symbol, layers = linear(x, estimator.coef_, estimator.intercept_)
    loss, link = estimator._base_loss, type(estimator._base_loss.link).__name__
    if link == "IdentityLink":
        return Output(symbol, "values", "predict", (), "mean_squared_error", (), layers)
    if link != "LogLink":
        raise UsageError(f"{type(estimator).__name__} with the link {link} is not read: log and identity are")
    note = f"the loss {type(loss).__name__} is not in this package: give fit another one"
    return Output(emit("Exp", symbol), "values", "predict", notes=(note,))


def _partial_squares(estimator: Any, x: Symbol) -> Output:
    """PLSRegression and its like, whose coefficients are those of the features about their mean."""
    bias = estimator.intercept_ - estimator._x_mean @ estimator.coef_.T
    symbol, layers = linear(x, estimator.coef_, bias)
    return Output(symbol, "values", "predict", (), "mean_squared_error", (), layers)


ROBUST: Final = frozenset({"HuberRegressor", "QuantileRegressor", "TheilSenRegressor"})
"""Those that are fitted otherwise than by squared errors, and have no ``loss`` that says so."""


def _regressor(estimator: Any, x: Symbol) -> Output:
    symbol, layers = linear(x, estimator.coef_, estimator.intercept_)
    loss, notes = "mean_squared_error", tuple[str, ...]()
    given = getattr(estimator, "loss", "epsilon_insensitive" if type(estimator).__name__ == "SVR" else None)
    if isinstance(given, str) and given != "squared_error":
        exact = {"epsilon_insensitive": "mean_absolute_error", "squared_epsilon_insensitive": "mean_squared_error"}
        loss = exact.get(given, "") if getattr(estimator, "epsilon", 0) == 0 else ""
        if not loss:
            notes = (
                f"the loss {given} with epsilon {estimator.epsilon:g} is not in this package: give fit another one",
            )
    elif (name := type(estimator).__name__) in ROBUST:
        loss, notes = "", (f"{name} is fitted otherwise than by a loss of this package: fit needs to be given one",)
    return Output(symbol, "values", "predict", (), loss, notes, layers)


# -- networks


def _dense_layers(estimator: Any, x: Symbol) -> tuple[Symbol, Layers]:
    layers = tuple(zip(estimator.coefs_, estimator.intercepts_, strict=True))
    return dense(x, layers, estimator.activation), layers


def _mlp_classifier(estimator: Any, x: Symbol) -> Output:
    symbol, layers = _dense_layers(estimator, x)
    labels = labels_of(estimator.classes_)
    kind: Kind = "logits" if estimator.out_activation_ == "softmax" else "binary_logits"
    loss = "cross_entropy" if kind == "logits" else "binary_cross_entropy"
    return Output(symbol, kind, "predict_proba", labels, loss, (), layers, estimator.activation)


def _mlp_regressor(estimator: Any, x: Symbol) -> Output:
    symbol, layers = _dense_layers(estimator, x)
    if estimator.out_activation_ == "exp":
        note = "the loss poisson is not in this package: give fit another one"
        return Output(emit("Exp", symbol), "values", "predict", notes=(note,))
    return Output(symbol, "values", "predict", (), "mean_squared_error", (), layers, estimator.activation)


_REGRESSORS: Final = (
    *("ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "LarsCV", "Lasso"),
    *("LassoCV", "LassoLars", "LinearRegression", "LinearSVR", "OrthogonalMatchingPursuit", "Ridge", "RidgeCV"),
    *("LassoLarsCV", "LassoLarsIC", "MultiTaskElasticNet", "MultiTaskLasso", "OrthogonalMatchingPursuitCV"),
    *("QuantileRegressor", "SGDRegressor", "TheilSenRegressor"),
)

MODELS: Final[Mapping[str, Callable[[Any, Symbol], Output]]] = {
    **dict.fromkeys(("LinearDiscriminantAnalysis", "LogisticRegression", "LogisticRegressionCV"), _logistic),
    **dict.fromkeys(("GammaRegressor", "PoissonRegressor", "TweedieRegressor"), _generalised),
    **dict.fromkeys(("LinearSVC", "Perceptron", "RidgeClassifier", "RidgeClassifierCV"), _margin),
    "SGDClassifier": _sgd,
    **dict.fromkeys(("SVC", "SVR"), _support),
    **BAYES,
    "MLPClassifier": _mlp_classifier,
    "MLPRegressor": _mlp_regressor,
    **dict.fromkeys(("CCA", "PLSCanonical", "PLSRegression"), _partial_squares),
    **dict.fromkeys(_REGRESSORS, _regressor),
}
"""The classifiers and regressors that become layers, by class."""
