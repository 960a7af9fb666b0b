"""Estimators that are made of others: votes, stacks, calibrated classifiers, and one classifier for each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from msgspec.structs import replace as replaced

from portable_nn.converters.sklearn.features import Features, numbers_of
from portable_nn.converters.sklearn.models import answered
from portable_nn.converters.sklearn.outputs import Output, labels_of, normalised
from portable_nn.converters.sklearn.transformers import check_fitted, name_of
from portable_nn.core.errors import UsageError
from portable_nn.network import Network
from portable_nn.operators import Symbol, constant, emit, integers


class Member(NamedTuple):
    """An estimator inside another one: its network, and what that answers."""

    network: Network
    output: Output


def prefixed(network: Network, prefix: str) -> Network:
    """A network whose nodes and parameters have a prefix, so that it can stand beside another one."""
    graph = network.graph
    kept = {"", *(value.name for value in graph.inputs)}

    def new(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name if name in kept else prefix + name for name in names)

    nodes = tuple(
        replaced(node, name=prefix + node.name, inputs=new(node.inputs), outputs=new(node.outputs))
        for node in graph.nodes
    )
    parameters = tuple(replaced(value, name=prefix + value.name) for value in graph.parameters)
    outputs = tuple(replaced(info, name=prefix + info.name) for info in network.outputs)
    graph = replaced(graph, nodes=nodes, parameters=parameters, outputs=new(graph.outputs))
    arrays = {prefix + name: array for name, array in network.parameters.items()}
    return Network.from_graph(graph, arrays, outputs=outputs, seed=0)


Read: TypeAlias = Callable[[Any, Features], Member]
"""Reads an estimator that works on features."""


def composed(estimator: Any, features: Features, read: Read) -> Output | None:
    """The output of a fitted estimator of others; ``None`` where it is none of ``ENSEMBLES``."""
    name = name_of(estimator, ENSEMBLES)
    if name is None:
        return None
    check_fitted(estimator)
    return ENSEMBLES[name](estimator, features, read)


def _probabilities(estimator: Any, features: Features, read: Read) -> Symbol:
    """The probabilities of a classifier, (batch, classes)."""
    member = read(estimator, features)
    if member.output.method != "predict_proba":
        raise UsageError(f"{type(estimator).__name__} has no probabilities, which an estimator of several works with")
    found: Symbol = member.network(features.symbol)
    if member.output.kind != "probabilities":
        found = emit("Softmax", found, axis=-1) if member.output.kind == "logits" else emit("Sigmoid", found)
    return emit("Concat", 1.0 - found, found, axis=1) if found.shape[1] == 1 else found


def _numbers(estimator: Any, features: Features, read: Read, method: str) -> Symbol:
    """The numbers that a method of an estimator gives, (batch, n); of two classes the probability of the second."""
    if method == "predict_proba":
        both = _probabilities(estimator, features, read)
        return emit("Slice", both, integers([1]), integers([2]), integers([1])) if both.shape[1] == 2 else both
    member = read(estimator, features)
    output = member.output
    is_there = output.method == method or (method == "decision_function" and bool(output.layers))
    if not is_there or (method == "predict" and output.labels):
        raise UsageError(
            f"{type(estimator).__name__}: its {method} has no nodes, which an estimator of several works with"
        )
    found: Symbol = member.network(features.symbol)
    return found


UNTRAINED: Final = "the output is made of several models, which scikit-learn trained one by one: give fit a loss"


def _mean(parts: Sequence[Symbol], weights: Sequence[float] | None = None) -> Symbol:
    shares = np.ones(len(parts)) if weights is None else np.asarray(weights, np.float64)
    pairs = zip(parts, shares / shares.sum(), strict=True)
    return reduce(lambda total, part: total + part, [part * float(share) for part, share in pairs])


def _votes(estimator: Any, features: Features, read: Read) -> Output:
    if estimator.voting != "soft":
        raise UsageError('VotingClassifier(voting="hard") counts votes, which no layer does: fit it with voting="soft"')
    parts = [_probabilities(each, features, read) for each in estimator.estimators_]
    found = _mean(parts, estimator._weights_not_none)
    return Output(found, "probabilities", "predict_proba", labels_of(estimator.classes_), notes=(UNTRAINED,))


def _means(estimator: Any, features: Features, read: Read) -> Output:
    parts = [_numbers(each, features, read, "predict") for each in estimator.estimators_]
    return Output(
        _mean(parts, estimator._weights_not_none), "values", "predict", (), "mean_squared_error", (UNTRAINED,)
    )


def _calibrated(estimator: Any, features: Features, read: Read) -> Output:
    """The mean of classifiers, each of whose scores went through a logistic function of its own."""
    parts, count = [], len(estimator.classes_)
    for each in estimator.calibrated_classifiers_:
        if each.method != "sigmoid" or list(each.estimator.classes_) != list(estimator.classes_):
            raise UsageError(
                f"CalibratedClassifierCV(method={each.method!r}) is not read: fit it with method='sigmoid', and all "
                "classes in each part of the data"
            )
        method = "decision_function" if hasattr(each.estimator, "decision_function") else "predict_proba"
        scores = _numbers(each.estimator, features, read, method)
        slopes, shifts = (
            constant([[getattr(one, name) for one in each.calibrators]], scores.dtype) for name in ("a_", "b_")
        )
        found = emit("Sigmoid", -(scores * slopes + shifts))
        parts.append(emit("Concat", 1.0 - found, found, axis=1) if count == 2 else normalised(found))
    labels = labels_of(estimator.classes_)
    return Output(_mean(parts), "probabilities", "predict_proba", labels, notes=(UNTRAINED,))


def _one_by_one(estimator: Any, features: Features, read: Read) -> Output:
    """OneVsRestClassifier: the probability of each class against all others, or its score."""
    labels = labels_of(estimator.classes_)
    if estimator.multilabel_:
        raise UsageError("OneVsRestClassifier of several labels is not read: MLPClassifier is")
    if not hasattr(estimator.estimators_[0], "predict_proba"):
        scores = [_numbers(each, features, read, "decision_function") for each in estimator.estimators_]
        if len(scores) == 1:
            return Output(scores[0], "binary_logits", "decision_function", labels, notes=(UNTRAINED,))
        return Output(emit("Concat", *scores, axis=1), "logits", "decision_function", labels, notes=(UNTRAINED,))
    if len(estimator.estimators_) == 1:
        found = _probabilities(estimator.estimators_[0], features, read)
    else:
        parts = [_numbers(each, features, read, "predict_proba") for each in estimator.estimators_]
        found = normalised(emit("Concat", *parts, axis=1))
    return Output(found, "probabilities", "predict_proba", labels, notes=(UNTRAINED,))


def _stacked(estimator: Any, features: Features, read: Read) -> Output:
    """The answers of several estimators as features of a last one."""
    classes = getattr(estimator, "classes_", ())
    pairs = zip(estimator.estimators_, estimator.stack_method_, strict=True)
    parts = [_numbers(each, features, read, method) for each, method in pairs]
    if estimator.passthrough:
        parts.append(numbers_of(features, type(estimator).__name__))
    stacked = emit("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
    output = answered(estimator.final_estimator_, lambda: stacked)
    assert output is not None
    # scikit-learn numbers the classes before it fits the members.
    return replace(output, labels=labels_of(classes)) if len(classes) else output


ENSEMBLES: Final[Mapping[str, Callable[[Any, Features, Read], Output]]] = {
    "CalibratedClassifierCV": _calibrated,
    "OneVsRestClassifier": _one_by_one,
    "StackingClassifier": _stacked,
    "StackingRegressor": _stacked,
    "VotingClassifier": _votes,
    "VotingRegressor": _means,
}
"""The estimators of others that become networks, by class."""
