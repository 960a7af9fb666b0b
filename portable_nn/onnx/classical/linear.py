"""Linear models: products with weights that train, and what makes probabilities of scores.

What the operators compute is that of the specification of ``ai.onnx.ml`` and, where that leaves it open, of
onnxruntime, which every import is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np

from portable_nn.onnx.classical.use import Floats, Use

POST: Final = ("NONE", "SOFTMAX", "LOGISTIC")
"""The functions of the scores; ``SOFTMAX_ZERO`` and ``PROBIT`` are not translated."""


def linear_classifier(use: Use) -> None:
    """Scores of each class: a row of coefficients and an intercept for each; one row alone is the second of two."""
    labels = use.classes()
    post, weight = use.one_of("post_transform", "NONE", POST), use.floats("coefficients")
    rows = len(labels)
    if len(labels) == 2 and len(use.floats("intercepts")) == 1:
        rows = 1
    weight = _rows(use, "coefficients", weight, rows)
    bias = _bias(use, rows)
    if rows < len(labels):
        weight, bias = np.concatenate([-weight, weight]), np.concatenate([-bias, bias])
        if post == "NONE":  # The score of the other class is then 1 - s.
            bias[0] += 1
    if post == "LOGISTIC" and rows and len(labels) == 2 and _are_opposite(weight, bias):
        # One row alone is trained, so that the two probabilities go on adding up to 1.
        score = _product(use, weight[1:], bias[1:], "")
        scores = use.emit("Concat", use.emit("Neg", score), score, axis=1)
    else:
        scores = _product(use, weight, bias, "" if post != "NONE" else use.y(1))
    _answer(use, _post(use, scores, post, use.y(1)), post)


def _bias(use: Use, rows: int) -> Floats:
    """The intercepts, which are zeros where they are left out."""
    return use.floats("intercepts", rows) if use.has("intercepts") else np.zeros(rows, np.float32)


def _are_opposite(weight: Floats, bias: Floats) -> bool:
    return np.array_equal(weight[0], -weight[1]) and bias[0] == -bias[1]


def linear_regressor(use: Use) -> None:
    """A number for each target."""
    targets = use.integer("targets", 1)
    if not 0 < targets < 2**31:
        use.fail(f"attribute 'targets' must be a number of targets, not {targets}")
    post = use.one_of("post_transform", "NONE", POST)
    weight = _rows(use, "coefficients", use.floats("coefficients"), targets)
    bias = _bias(use, targets)
    scores = _product(use, weight, bias, "" if post != "NONE" else use.y())
    _post(use, scores, post, use.y())


def svm_regressor(use: Use) -> None:
    """Of a linear kernel, the sum over the support vectors is one product: w = Σ c·v."""
    _linear_kernel(use)
    use.one_of("post_transform", "NONE", ("NONE",))
    if use.integer("one_class", 0):
        use.refuse("one_class is not supported: its answer is a sign, which no gradient trains")
    weight, count = use.floats("coefficients"), use.integer("n_supports", 0)
    bias = use.floats("rho", 1)
    if count:
        vectors = _rows(use, "support_vectors", use.floats("support_vectors"), count)
        factors = use.floats("coefficients", count)
        weight = _total(factors, vectors)
        _note_condition(use, [weight], [_total(np.abs(factors), np.abs(vectors))], vectors)
    _product(use, _rows(use, "coefficients", weight, 1), bias, use.y())


def svm_classifier(use: Use) -> None:
    """Of a linear kernel, each pair of classes has one product: w = Σ c·v over the vectors of both."""
    _linear_kernel(use)
    use.one_of("post_transform", "NONE", ("NONE",))
    labels = use.classes()
    counts = use.ints("vectors_per_class")
    if not counts:
        use.fail("it has no support vectors; LinearClassifier is what is meant for that")
    if len(counts) != len(labels) or min(counts) < 0 or not sum(counts):
        use.fail(f"attribute 'vectors_per_class' is {counts}, for {len(labels)} classes")
    if len(labels) < 2:
        use.fail("it has one class, and nothing to tell apart")
    if use.has("prob_a"):
        use.refuse(
            "its probabilities are found by an iteration that stops early, which is not supported: without "
            "probability=True its scores are read, and LogisticRegression has probabilities"
        )
    weight, bias = _pairs(use, counts)
    if use.y(0) and use.is_read(use.y(0)):
        use.refuse("its label is found by votes, which is not supported; the scores are")
    if len(labels) == 2:
        _product(use, np.concatenate([-weight, weight]), np.concatenate([-bias, bias]), use.y(1))
    else:
        _product(use, weight, bias, use.y(1))


def _pairs(use: Use, counts: list[int]) -> tuple[Floats, Floats]:
    """The weight and the bias of each pair of classes (i < j), in order."""
    total, classes = sum(counts), len(counts)
    vectors = _rows(use, "support_vectors", use.floats("support_vectors"), total)
    factors = use.floats("coefficients", total * (classes - 1)).reshape(classes - 1, total)
    bias = use.floats("rho", classes * (classes - 1) // 2)
    ends = np.cumsum(counts)
    parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]

    def rows(factors: Floats, vectors: Floats) -> list[Floats]:
        return [
            _total(factors[j - 1, parts[i]], vectors[parts[i]]) + _total(factors[i, parts[j]], vectors[parts[j]])
            for i, j in combinations(range(classes), 2)
        ]

    weights = rows(factors, vectors)
    _note_condition(use, weights, rows(np.abs(factors), np.abs(vectors)), vectors)
    return np.array(weights, np.float32), bias


def _linear_kernel(use: Use) -> None:
    use.one_of("kernel_type", "LINEAR", ("LINEAR",), ": what it computes is no layer")


def _note_condition(use: Use, weights: Sequence[Floats], terms: Sequence[Floats], vectors: Floats) -> None:
    """Note how much larger the terms of the sums over support vectors are than these, and that roundings add up.

    So many times more than here, where w = Σ c·v is found at once, are float32's roundings in the file's own form:
    those of n numbers are a random walk, √n.
    """
    steps = sum(vectors.shape) ** 0.5
    pairs = zip(weights, terms, strict=True)
    found = [steps * float(each.sum() / max(np.abs(total).sum(), 1e-30)) for total, each in pairs]
    use.make.condition = max(use.make.condition, *found)


def _total(factors: Floats, vectors: Floats) -> Floats:
    """Σ c·v, in float64."""
    return np.asarray(factors.astype(np.float64) @ vectors.astype(np.float64), np.float32)


def _rows(use: Use, name: str, values: Floats, rows: int) -> Floats:
    """``values`` as rows, of which each has the same number of features."""
    if not len(values) or len(values) % rows:
        use.fail(f"attribute '{name}' has {len(values)} numbers, which are no {rows} rows of features")
    return values.reshape(rows, -1)


def _product(use: Use, weight: Floats, bias: Floats, output: str) -> str:
    """x·Wᵀ + b."""
    found = use.weight("weight", weight), use.weight("bias", bias)
    return use.emit("Gemm", use.x, *found, output=output, transB=1)


def _post(use: Use, scores: str, post: str, output: str) -> str:
    if post == "NONE":
        return scores
    if post == "SOFTMAX":
        found = use.emit("Softmax", scores, output=output, role="probabilities", axis=1)
        use.make.shares.add(found)
        return found
    return use.emit("Sigmoid", scores, output=output, role="probabilities")


def _answer(use: Use, scores: str, post: str) -> None:
    """The number of the label with the largest score, where a node reads it."""
    if not (name := use.y(0)) or not use.is_read(name):
        return
    if use.has("classlabels_strings"):
        use.refuse("its labels are strings, which a node of the model reads: that is not supported")
    make = use.make
    place = make.node("ArgMax", scores, name=f"{use.name}.place", axis=1, keepdims=0)
    numbers = [int(each) for each in use.classes()]
    known = make.array(f"{use.name}.labels", numbers, "int64")
    make.node("Gather", known, place, name=f"{use.name}.label", output=name, axis=0)
