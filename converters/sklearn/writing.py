"""``to_sklearn``: a network of dense layers as a fitted estimator of scikit-learn, compared with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from portable_nn.converters.conversion import compare_sides
from portable_nn.converters.sklearn.chains import Array, Chain, chain_of
from portable_nn.converters.sklearn.outputs import answers, tolerance_of
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.foreign_values import is_table
from portable_nn.core.text import some
from portable_nn.network import Network
from portable_nn.network.answering import probabilities_inside
from portable_nn.onnx.verification.messages import check_outputs

__all__ = ["to_sklearn"]


@check_kinds
def to_sklearn(
    network: Network,
    *,
    data: Any = None,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> Any:
    """A network of dense layers as a fitted estimator of scikit-learn, which computes the same and can go on training.

    Several layers are an ``MLPClassifier`` or ``MLPRegressor``; one is a ``LogisticRegression``, a ``LinearSVC`` where
    it was trained with the hinge loss, or a ``LinearRegression``. Scales of the features, such as ``Normalization``,
    are a part of the first layer, and the units of the target a part of the last. Classes are the labels, as whole
    numbers where all are such. Steps of a pipeline do not go back: missing values, categories and components.

    Args:
        network: the network: rows go in, and one output comes out.
        data: a data frame, or rows, on which both sides are compared as well.
        verify: whether both sides run on the same inputs.
        atol, rtol: how far they may differ, absolutely and relative to the largest number: 1e-5, or 1e-6 in float64.
        seed: the seed of these inputs.

    Raises:
        UsageError: the network is none of that: every node that has no counterpart is listed.
        VerificationError: both sides do not compute the same.

    >>> import portable_nn as pnn
    >>> network = pnn.Sequential(pnn.Input(4), pnn.Dense(8), pnn.Tanh(), pnn.Dense(3), labels=["a", "b", "c"], seed=0)
    >>> to_sklearn(network).classes_.tolist()
    ['a', 'b', 'c']
    """
    chain = chain_of(network)
    _check(network, chain)
    estimator = _classifier(network, chain) if _has_classes(network, chain) else _regressor(chain)
    if names := [column.name for column in network.inputs[0].columns]:
        estimator.feature_names_in_ = np.array(names, object)
        data = data[names] if is_table(data) else data
    if verify:
        _compare(network, estimator, data, atol, rtol, seed)
    return estimator


def _check(network: Network, chain: Chain) -> None:
    """Raise ``UsageError`` that lists what scikit-learn lacks of a network."""
    info = network.outputs[0]
    if info.kind == "gaussian":
        chain.faults.append(f"output '{info.name}' has variances beside its numbers")
    different = sorted(set(chain.activations))
    if len(different) > 1:
        chain.faults.append(f"its activations are {some(different)}, and scikit-learn has one for all layers")
    if words := [column.name for column in network.inputs[0].columns if column.categories]:
        chain.faults.append(f"its columns {some(words)} have categories, and an estimator takes numbers")
    if bad := [name for name, array in network.parameters.items() if not np.isfinite(array).all()]:
        chain.faults.append(f"it holds NaN or infinity, in {some(bad)}")
    if not chain.layers:
        chain.faults.append("it has no dense layer")
    if chain.faults:
        lines = "\n  ".join(dict.fromkeys(chain.faults))
        raise UsageError(
            f"scikit-learn has no estimator for this network:\n  {lines}\nexport_onnx writes it for onnxruntime; steps "
            "that prepare features can be applied before the network, which then starts after them"
        )


def _has_classes(network: Network, chain: Chain) -> bool:
    """True if the output is about classes; an activation after the last layer is then a part of that."""
    if len(chain.activations) == len(chain.layers):
        chain.last = {"logistic": "Sigmoid"}.get(chain.activations.pop(), "another")
    info = network.outputs[0]
    classes = info.kind in ("logits", "binary_logits", "probabilities") or bool(chain.last)
    if chain.last == "another" or (chain.last == "Sigmoid" and chain.layers[-1][0].shape[1] > 1):
        raise UsageError("scikit-learn has no estimator with an activation after the last layer but for probabilities")
    return classes


# -- estimators: fitted on a few made-up examples, for all that they keep, then with the network's numbers


def _classifier(network: Network, chain: Chain) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC

    weight, bias = chain.layers[-1]
    info = network.outputs[0]
    single = weight.shape[1] == 1
    if info.kind == "binary_logits" and not single:  # Several labels, each of which an example has or has not.
        return _perceptron(MLPClassifier, chain, np.concatenate([np.eye(len(bias)), 1 - np.eye(len(bias))]).astype(int))
    labels = list(info.labels) or [str(place) for place in range(2 if single else weight.shape[1])]
    if single and len(labels) == 1:
        labels = [f"not {labels[0]}", labels[0]]
    classes = _as_classes(labels)
    order = np.argsort(classes, kind="stable")  # scikit-learn has them sorted.
    if single:
        sign = 1.0 if order[0] == 0 else -1.0
        weight, bias = weight * sign, bias * sign
    elif len(classes) == 2:
        weight, bias = weight[:, order], bias[order]
        weight, bias = weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1]
    else:
        weight, bias = weight[:, order], bias[order]
    chain.layers[-1] = weight, bias
    classes = classes[order]
    if len(chain.layers) > 1:
        return _perceptron(MLPClassifier, chain, classes)
    is_hinge = info.loss.startswith("hinge")
    made = LinearSVC(loss="squared_hinge" if "squared" in info.loss else "hinge") if is_hinge else LogisticRegression()
    _fit(made, len(weight), classes)
    made.coef_, made.intercept_ = weight.T.copy(), bias.copy()
    return made


def _as_classes(labels: list[str]) -> Array:
    """Labels as whole numbers, where all are such."""
    if all(label.lstrip("-").isdecimal() and str(int(label)) == label for label in labels):
        return np.array([int(label) for label in labels])
    return np.array(labels)


def _regressor(chain: Chain) -> Any:
    from sklearn.linear_model import LinearRegression
    from sklearn.neural_network import MLPRegressor

    weight, bias = chain.layers[-1]
    targets = np.arange(4.0) if len(bias) == 1 else np.arange(4.0 * len(bias)).reshape(4, -1)
    if len(chain.layers) > 1:
        return _perceptron(MLPRegressor, chain, targets)
    made = LinearRegression()
    _fit(made, len(weight), targets)
    made.coef_ = weight.T.copy() if len(bias) > 1 else weight[:, 0].copy()
    made.intercept_ = bias.copy() if len(bias) > 1 else float(bias[0])
    return made


def _perceptron(kind: Any, chain: Chain, targets: Array) -> Any:
    sizes = tuple(len(bias) for _, bias in chain.layers[:-1])
    activation = (chain.activations or ["relu"])[0]
    made = kind(hidden_layer_sizes=sizes, activation=activation, max_iter=1, random_state=0)
    _fit(made, len(chain.layers[0][0]), targets)
    made.coefs_ = [weight.copy() for weight, _ in chain.layers]
    made.intercepts_ = [bias.copy() for _, bias in chain.layers]
    made.set_params(max_iter=200, random_state=None)
    if hasattr(made, "_optimizer"):
        del made._optimizer  # It holds the former arrays; partial_fit makes a new one.
    return made


def _fit(estimator: Any, features: int, targets: Array) -> None:
    """Fit on a few made-up examples with all classes."""
    y = np.concatenate([targets, targets])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(np.random.default_rng(0).normal(size=(len(y), features)), y)


# -- the comparison


def _compare(network: Network, estimator: Any, data: Any, atol: float | None, rtol: float | None, seed: int) -> None:
    """Run both sides, on made-up rows and on those that are given. Raises ``VerificationError``."""
    checked, method = network, "predict"
    if hasattr(estimator, "predict_proba"):
        method = "predict_proba"
        is_due = network.outputs[0].kind in ("logits", "binary_logits")
        checked = probabilities_inside(network)[0] if is_due else network
    elif hasattr(estimator, "decision_function"):
        method = "decision_function"
    tolerance = tolerance_of(network, atol, rtol)
    name, what = checked.graph.outputs[0], f"scikit-learn's {type(estimator).__name__}"
    run = partial(_answers, estimator, method, checked.types[name].shape[1] == 1, list(network.outputs[0].labels))

    def side(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        [given] = feeds.values()
        return {name: run(given).astype(checked.types[name].dtype)}

    compare_sides(checked, side, what, tolerance=tolerance, seed=seed)
    if data is not None:
        ours, theirs = checked.predict(data[:1000]), run(data[:1000]).astype(checked.types[name].dtype)
        check_outputs({name: ours}, {name: theirs}, "the network", what, tolerance, "on the data: ")


def _answers(estimator: Any, method: str, is_one: bool, labels: Sequence[str], x: Any) -> Array:
    """scikit-learn's answer, (n, numbers), by the classes of the network; of two classes the second, if ``is_one``."""
    found = answers(estimator, method, x)
    classes = [str(each) for each in estimator.classes_] if method in ("predict_proba", "decision_function") else []
    if method == "predict_proba" and sorted(labels) == sorted(classes):
        found = found[:, [classes.index(label) for label in labels]]
    elif method == "decision_function" and len(labels) == len(classes) == 2:
        found = found if classes == labels else -found
        found = np.concatenate([-found / 2, found / 2], axis=1) if not is_one else found
    elif method == "decision_function" and len(labels) == len(classes):
        found = found[:, [classes.index(label) for label in labels]]
    return found[:, 1:] if is_one and found.shape[1] == 2 else found
