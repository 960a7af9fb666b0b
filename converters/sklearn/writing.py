"""``to_sklearn``: a network of dense layers as a fitted estimator of scikit-learn, compared with it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from portable_nn.converters.conversion import compare_sides
from portable_nn.core.errors import UsageError
from portable_nn.core.graph import Node
from portable_nn.core.kinds import check_kinds
from portable_nn.core.text import some
from portable_nn.network import Network
from portable_nn.network.answering import probabilities_inside
from portable_nn.onnx.verify import Tolerance
from portable_nn.operators import find

__all__ = ["to_sklearn"]

Array = NDArray[Any]

ACTIVATIONS: Final[Mapping[str, str]] = {"logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}
"""The operators of scikit-learn's activations."""


@dataclass
class _Chain:
    """What a network does, one after the other: (x - mean) / std, dense layers, an activation between them.

    Attributes:
        mean, std: the scale of the inputs.
        layers: weights (in, out) and biases.
        activations: after each layer but the last.
        last: the operator after the last layer, ``Softmax`` or ``Sigmoid``, or ``""``.
        faults: what is none of that.
    """

    mean: Array
    std: Array
    layers: list[tuple[Array, Array]] = field(default_factory=list)
    activations: list[str] = field(default_factory=list)
    last: str = ""
    faults: list[str] = field(default_factory=list)


@check_kinds
def to_sklearn(
    network: Network, *, verify: bool = True, atol: float | None = None, rtol: float | None = None, seed: int = 0
) -> Any:
    """A network of dense layers as a fitted estimator of scikit-learn, which computes the same and can go on training.

    Several layers are an ``MLPClassifier`` or ``MLPRegressor``; one is a ``LogisticRegression``, a ``LinearSVC`` where
    it was trained with the hinge loss, or a ``LinearRegression``. A network that begins with ``Normalization`` or
    ``Rescaling`` is a pipeline with a ``StandardScaler``; one that ends in the units of its target has these in its
    last layer. Classes are the labels, as whole numbers where all are such.

    Args:
        network: the network: rows of numbers go in, and one output comes out.
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
    chain = _chain(network)
    info = network.outputs[0]
    if info.kind == "gaussian":
        chain.faults.append(f"output '{info.name}' has variances beside its numbers")
    different = sorted(set(chain.activations))
    if len(different) > 1:
        chain.faults.append(f"its activations are {some(different)}, and scikit-learn has one for all layers")
    if bad := [name for name, array in network.parameters.items() if not np.isfinite(array).all()]:
        chain.faults.append(f"it holds NaN or infinity, in {some(bad)}")
    if not chain.layers:
        chain.faults.append("it has no dense layer")
    if chain.faults:
        lines = "\n  ".join(dict.fromkeys(chain.faults))
        raise UsageError(
            f"scikit-learn has no estimator for this network:\n  {lines}\nexport_onnx writes it for onnxruntime"
        )
    estimator = _classifier(network, chain) if _has_classes(network, chain) else _regressor(chain)
    found = _scaled(estimator, chain, network)
    if verify:
        _compare(network, found, chain, atol, rtol, seed)
    return found


# -- what the network does


def _chain(network: Network) -> _Chain:
    graph = network.graph
    if len(graph.inputs) != 1 or len(graph.outputs) != 1 or len(graph.inputs[0].shape) != 2:
        raise UsageError(
            "scikit-learn takes rows of numbers: a network with one input (batch, features) and one output"
        )
    [value] = graph.inputs
    features = value.shape[1]
    if not isinstance(features, int):
        raise UsageError(f"the network takes any number of features, '{features}', and an estimator a number of them")
    chain = _Chain(np.zeros(features), np.ones(features))
    constants = {name: array.astype(np.float64) for name, array in network.parameters.items()}
    constants |= dict(_constants(graph.nodes))
    current = value.name
    for node in graph.nodes:
        if node.operator == "Constant":
            continue
        read = [name for name in node.inputs if name and name not in constants]
        known = [constants.get(name) for name in node.inputs]
        if read != [current] or node.domain or not _take(chain, node, known):
            operator = find(node.operator, node.domain)
            what = "is no step of dense layers" if operator else "is unknown"
            chain.faults.append(f"node '{node.name}' ({node.operator}) {what}")
        current = node.outputs[0]
    return chain


def _constants(nodes: tuple[Node, ...]) -> Iterator[tuple[str, Array]]:
    for node in nodes:
        value: Any = node.attributes.get("value")
        if node.operator == "Constant" and hasattr(value, "data"):
            yield node.outputs[0], np.array(value.data, np.float64).reshape(value.shape)


def _take(chain: _Chain, node: Node, known: list[Array | None]) -> bool:
    """Add a node to the chain; whether it is a step of one."""
    operator = node.operator
    if operator in ("Identity", "Flatten") or operator == "Dropout":  # Nothing, in rows, once a network is trained.
        return True
    if chain.last:
        return False
    if operator in ("Gemm", "MatMul"):
        return _dense(chain, node, known)
    name = next((name for name, each in ACTIVATIONS.items() if each == operator), "")
    if name and chain.layers and len(chain.activations) == len(chain.layers) - 1:
        chain.activations.append(name)
        return True
    if operator == "Softmax" and chain.layers and node.attributes.get("axis", -1) in (1, -1):
        chain.last = operator
        return True
    return _arithmetic(chain, operator, known)


def _dense(chain: _Chain, node: Node, known: list[Array | None]) -> bool:
    weight = known[1] if len(known) > 1 else None
    if weight is None or weight.ndim != 2 or known[0] is not None:
        return False
    attributes = node.attributes
    if attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1 or attributes.get("transA", 0):
        return False
    weight = weight.T if attributes.get("transB", 0) else weight
    bias = known[2] if len(known) > 2 and known[2] is not None else np.zeros(weight.shape[1])
    while len(chain.activations) < len(chain.layers):  # Two layers with nothing between them.
        chain.activations.append("identity")
    chain.layers.append((weight, np.broadcast_to(bias.reshape(-1), (weight.shape[1],)).copy()))
    return True


def _arithmetic(chain: _Chain, operator: str, known: list[Array | None]) -> bool:
    """Arithmetic with fixed numbers: before the first layer it scales, after the last it is a part of that."""
    places = [place for place, array in enumerate(known) if array is not None]
    value = known[places[0]] if len(places) == 1 else None
    if value is None or (operator in ("Sub", "Div") and places == [0]) or not value.size:
        return False
    value = value.reshape(-1)
    if (affine := _as_affine(operator, value)) is None:
        return False
    factor, shift = affine
    if chain.layers and len(chain.activations) < len(chain.layers):
        weight, bias = chain.layers[-1]
        if value.size not in (1, len(bias)):
            return False
        chain.layers[-1] = weight * factor, bias * factor + shift
        return True
    if chain.layers or value.size not in (1, len(chain.mean)):
        return False
    # (x - mean) / std · f + s = (x - (mean - s·std/f)) / (std / f)
    if (factor == 0).any():
        return False
    chain.mean = chain.mean - shift * chain.std / factor
    chain.std = chain.std / factor
    return True


def _as_affine(operator: str, value: Array) -> tuple[Array, Array] | None:
    """f and s, where an operator with a number computes x·f + s; ``None`` where it does not."""
    one, zero = np.ones_like(value), np.zeros_like(value)
    match operator:
        case "Add":
            return one, value
        case "Sub":
            return one, -value
        case "Mul":
            return value, zero
        case "Div" if value.all():
            return 1 / value, zero
    return None


def _has_classes(network: Network, chain: _Chain) -> bool:
    """Whether the output is about classes; an activation after the last layer is then a part of that."""
    if len(chain.activations) == len(chain.layers):
        chain.last = {"logistic": "Sigmoid"}.get(chain.activations.pop(), "another")
    info = network.outputs[0]
    classes = info.kind in ("logits", "binary_logits", "probabilities") or bool(chain.last)
    if chain.last == "another" or (chain.last == "Sigmoid" and chain.layers[-1][0].shape[1] > 1):
        raise UsageError("scikit-learn has no estimator with an activation after the last layer but for probabilities")
    return classes


# -- estimators: fitted on a few made-up examples, for all that they keep, then with the network's numbers


def _classifier(network: Network, chain: _Chain) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC

    weight, bias = chain.layers[-1]
    info = network.outputs[0]
    single = weight.shape[1] == 1
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


def _regressor(chain: _Chain) -> Any:
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


def _perceptron(kind: Any, chain: _Chain, targets: Array) -> Any:
    sizes = tuple(len(bias) for _, bias in chain.layers[:-1])
    made = kind(hidden_layer_sizes=sizes, activation=chain.activations[0], max_iter=1, random_state=0)
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
    x = np.random.default_rng(0).normal(size=(len(y), features))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(x, y)


def _scaled(estimator: Any, chain: _Chain, network: Network) -> Any:
    """The estimator, after a StandardScaler where the network begins with a scale; with the names of the columns."""
    names = [column.name for column in network.inputs[0].columns]
    if (chain.mean == 0).all() and (chain.std == 1).all():
        first = found = estimator
    else:
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler

        first = StandardScaler().fit(np.zeros((2, len(chain.mean))))
        first.mean_, first.scale_, first.var_ = chain.mean, chain.std, chain.std**2
        found = Pipeline([("scale", first), ("network", estimator)])
    if names:
        first.feature_names_in_ = np.array(names, object)
    return found


# -- the comparison


def _compare(
    network: Network, estimator: Any, chain: _Chain, atol: float | None, rtol: float | None, seed: int
) -> None:
    method, checked = "predict", network
    if hasattr(estimator, "predict_proba"):
        method = "predict_proba"
        is_due = network.outputs[0].kind in ("logits", "binary_logits")
        checked = probabilities_inside(network)[0] if is_due else network
    elif hasattr(estimator, "decision_function"):
        method = "decision_function"
    own = 1e-6 if network.graph.inputs[0].dtype == "float64" else 1e-5
    tolerance = Tolerance(own if atol is None else atol, own if rtol is None else rtol)
    name = checked.graph.outputs[0]
    run = partial(_run, estimator, method, name, checked, list(network.outputs[0].labels))
    compare_sides(checked, run, f"scikit-learn's {type(estimator).__name__}", tolerance=tolerance, seed=seed)


def _run(
    estimator: Any, method: str, name: str, network: Network, labels: list[str], feeds: Mapping[str, Array]
) -> Mapping[str, Array]:
    """scikit-learn's answer with the classes in the order of the network."""
    [rows] = feeds.values()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Names of columns that arrays do not have.
        found = np.asarray(getattr(estimator, method)(rows.astype(np.float64)))
    found, width = found.reshape(len(rows), -1), network.types[name].shape[1]
    classes = [str(each) for each in estimator.classes_] if method != "predict" else []
    if method == "predict_proba" and len(labels) == len(classes):
        found = found[:, [classes.index(label) for label in labels]]
    elif method == "decision_function" and len(labels) == len(classes) == 2:
        found = found if classes == labels else -found
        found = np.concatenate([-found / 2, found / 2], axis=1) if width == 2 else found
    elif method == "decision_function" and len(labels) == len(classes):
        found = found[:, [classes.index(label) for label in labels]]
    found = found[:, 1:] if width == 1 and found.shape[1] == 2 else found
    return {name: found.astype(network.types[name].dtype)}
