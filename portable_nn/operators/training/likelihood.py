"""Negative log-likelihood losses of classifiers, with class weights and an ignored label."""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from portable_nn.operators.base import (
    FLOATS,
    Array,
    Attr,
    GradientContext,
    Interval,
    KernelContext,
    Operator,
    OperatorContext,
    Step,
    Symbol,
    Type,
    below,
    cast,
    emit,
    format_shape,
    integers,
    register,
)
from portable_nn.operators.normalization.softmax import log_softmax_steps


def _type(use: OperatorContext) -> Type:
    """The type of a loss of scores (batch, classes, …) at labels (batch, …)."""
    scores, labels = use.type(0), use.type(1)
    names = [use.operator.input_name(index) for index in range(2)]
    use.check_dtype(scores.dtype, FLOATS)
    if labels.dtype not in {"int32", "int64"}:
        use.fail(f"{names[1]} must be int32 or int64, not {labels.dtype}")
    if len(scores.shape) < 2:
        use.fail(f"{names[0]} must have at least 2 dimensions, not {format_shape(scores.shape)}")
    rest = (scores.shape[0], *scores.shape[2:])
    if labels.shape != rest:
        shapes = [format_shape(shape) for shape in (scores.shape, rest, labels.shape)]
        use.fail(f"{names[0]} {shapes[0]} need {names[1]} {shapes[1]}, not {shapes[2]}")
    if use.has(2):
        use.expect(2, use.like((scores.shape[1],)))
    return use.like(rest if use.choice("reduction", ("none", "mean", "sum")) == "none" else ())


def _picked(n: KernelContext, log_prob: Array) -> Step:
    """The step that writes the loss: minus the log-probability of each label, times its weight, summed or averaged."""
    labels, out, weights = n.x[1], n.out(), n.x[2] if n.has(2) else None
    classes, dtype = np.moveaxis(log_prob, 1, -1), log_prob.dtype.type
    ignored, reduction = n.attributes.get("ignore_index"), n.string("reduction")
    grid: tuple[Array, ...] = tuple(np.indices(labels.shape, sparse=True))

    def outside() -> NoReturn:
        wrong = (labels < 0) | (labels >= classes.shape[-1])
        first = int(labels[wrong if ignored is None else wrong & (labels != ignored)][0])
        n.fail(f"{n.operator.input_name(1)} {first} is outside the {classes.shape[-1]} classes")

    def pick(kept: Array) -> Array:
        # numpy raises an error for those that are too large, and counts negative ones from the end.
        if kept.size and np.minimum.reduce(kept, None) < 0:
            outside()
        try:
            found: Array = classes[(*grid, kept)]
        except IndexError:
            outside()
        return found

    def run() -> None:
        kept = labels if ignored is None else np.where(labels == ignored, 0, labels)
        values = -pick(kept)
        scale = np.ones(labels.shape, dtype) if weights is None else weights[kept]
        if ignored is not None:
            scale = np.where(labels == ignored, dtype(0), scale)
        values = values * scale
        if reduction == "none":
            out[...] = values
        else:
            np.divide(values.sum(), scale.sum() if reduction == "mean" else 1, out=out)

    def run_mean() -> None:
        np.divide(-pick(labels).sum(), labels.size, out=out)

    return run_mean if weights is None and ignored is None and reduction == "mean" else run


def _entropy(n: KernelContext) -> list[Step]:
    log_prob = n.out(1)
    return [*log_softmax_steps(n, n.x[0], log_prob), _picked(n, log_prob)]


def _one_hot(n: GradientContext) -> tuple[Symbol, Symbol]:
    """One-hot codes (batch, classes, …) of the labels, and the gradient of each of them (batch, 1, …).

    That is its weight, or 0 where it is ignored, divided by the sum of the weights for the mean.
    """
    # onnxruntime has no OneHot of int32.
    scores, labels, dtype = n.x[0], cast(n.x[1], "int64"), n.x[0].dtype
    ignored, kept = n.attributes.get("ignore_index"), None
    if ignored is not None:
        same = emit("Equal", labels, labels * 0 + int(ignored))  # type: ignore[arg-type]
        kept = cast(emit("Not", same), dtype)
        labels = emit("Where", same, labels * 0, labels)
    depth = scores.shape[1]
    if not isinstance(depth, int):
        n.fail("its gradient needs a known number of classes")
    one_hot = cast(emit("OneHot", labels, integers([depth]), integers([0, 1]), axis=1), dtype)
    weight = kept
    if n.has(2):
        shape = [1, depth] + [1] * (len(scores.shape) - 2)
        by_class = emit("ReduceSum", one_hot * emit("Reshape", n.x[2], integers(shape)), integers([1]), keepdims=0)
        weight = by_class if kept is None else by_class * kept
    scale = n.dy if weight is None else n.dy * weight
    if n.string("reduction") == "mean":
        total = emit("ReduceSum", weight, keepdims=0) if weight is not None else cast(emit("Size", labels), dtype)
        scale = scale / total
    return one_hot, emit("Unsqueeze", scale, integers([1])) if scale.shape else scale


def _likelihood_gradient(n: GradientContext) -> list[Symbol | None]:
    one_hot, scale = _one_hot(n)
    return [-one_hot * scale]


def _entropy_gradient(n: GradientContext) -> list[Symbol | None]:
    """(softmax - one-hot) · weight, and the gradient of the log-probabilities through them."""
    log_prob = n.y[1] if len(n.y) > 1 else emit("LogSoftmax", n.x[0], axis=1)
    probabilities, found = emit("Exp", log_prob), list[Symbol]()
    if n.back[0] is not None:
        one_hot, scale = _one_hot(n)
        found.append((probabilities - one_hot) * scale)
    flow = n.back[1] if len(n.back) > 1 else None
    if flow is not None:
        found.append(flow - probabilities * emit("ReduceSum", flow, integers([1]), keepdims=1))
    return [found[0] if len(found) == 1 else found[0] + found[1]]


def _classes(use: OperatorContext) -> Interval | None:
    return below(use.type().shape[1])


_ATTRIBUTES = {"ignore_index": Attr(int), "reduction": Attr(str, "mean")}

register(
    Operator(
        "NegativeLogLikelihoodLoss",
        ("input", "target", "weight?"),
        _type,
        lambda n: _picked(n, n.x[0]),
        _likelihood_gradient,
        _ATTRIBUTES,
        outputs=("loss",),
        family="reduction",
        samples={1: _classes},
    )
)
register(
    Operator(
        "SoftmaxCrossEntropyLoss",
        ("scores", "labels", "weights?"),
        lambda use: (_type(use), Type(use.type().dtype, use.type().shape)),
        _entropy,
        _entropy_gradient,
        _ATTRIBUTES,
        outputs=("output", "log_prob"),
        family="reduction",
        samples={1: _classes},
    )
)
