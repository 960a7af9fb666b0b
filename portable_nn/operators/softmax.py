"""The softmax family, and the loss that belongs to it."""

from __future__ import annotations

from functools import partial

import numpy as np

from portable_nn.graph import Dim, format_shape
from portable_nn.operators.elementwise import check_dtype
from portable_nn.operators.registry import FLOATS, Array, Attr, Backward, Bound, Operator, Step, Type, Use, register
from portable_nn.operators.symbols import Symbol, cast, emit, integers


def _type(use: Use) -> Type:
    check_dtype(use, use.type().dtype, FLOATS)
    use.axis(use.int("axis"), len(use.type().shape))
    return Type(use.type().dtype, use.type().shape)


def _shifted(n: Bound, x: Array, out: Array) -> tuple[Array, Array, list[Step]]:
    """Steps that put x - max(x) over the axis into work memory whose first axis is the reduced one.

    numpy reduces the first axis of an array several times faster than a short last one.
    """
    axis = n.axis(n.int("axis") if "axis" in n.operator.attributes else 1, x.ndim)
    source, target = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    work = n.scratch(source.shape, x.dtype)
    row = n.scratch((1, *source.shape[1:]), x.dtype)
    steps: list[Step] = [
        partial(np.copyto, work, source),
        partial(np.maximum.reduce, work, axis=0, out=row, keepdims=True, initial=-np.inf),
        partial(np.subtract, work, row, out=work),
    ]
    return work, target, steps


def _softmax(n: Bound) -> list[Step]:
    work, target, steps = _shifted(n, n.x[0], n.out())
    row = n.scratch((1, *work.shape[1:]), work.dtype)
    return [
        *steps,
        partial(np.exp, work, out=work),
        partial(np.add.reduce, work, axis=0, out=row, keepdims=True),
        partial(np.divide, work, row, out=target),
    ]


def _log_softmax_steps(n: Bound, x: Array, out: Array) -> list[Step]:
    work, target, steps = _shifted(n, x, out)
    row, exponentials = n.scratch((1, *work.shape[1:]), work.dtype), n.scratch(work.shape, work.dtype)
    return [
        *steps,
        partial(np.exp, work, out=exponentials),
        partial(np.add.reduce, exponentials, axis=0, out=row, keepdims=True),
        partial(np.log, row, out=row),
        partial(np.subtract, work, row, out=target),
    ]


def _log_softmax(n: Bound) -> list[Step]:
    return _log_softmax_steps(n, n.x[0], n.out())


def _hardmax(n: Bound) -> list[Step]:
    axis = n.axis(n.int("axis"), n.x[0].ndim)

    def run(x: Array, out: Array) -> None:
        out.fill(0)
        np.put_along_axis(out, np.expand_dims(np.argmax(x, axis), axis), 1, axis)

    x, out = n.x[0], n.out()
    return [partial(run, x, out)] if x.size else []


def _softmax_gradient(n: Backward) -> Symbol:
    axis = integers([n.axis(n.int("axis"), len(n.x[0].shape))])
    weighted = n.dy * n.y[0]
    return weighted - n.y[0] * emit("ReduceSum", weighted, axis, keepdims=1)


def _log_softmax_gradient(n: Backward) -> Symbol:
    axis = integers([n.axis(n.int("axis"), len(n.x[0].shape))])
    return n.dy - emit("Exp", n.y[0]) * emit("ReduceSum", n.dy, axis, keepdims=1)


def _loss_type(use: Use) -> tuple[Type, Type]:
    scores, labels = use.type(0), use.type(1)
    check_dtype(use, scores.dtype, FLOATS)
    if labels.dtype not in {"int32", "int64"}:
        use.fail(f"labels must be int32 or int64, not {labels.dtype}")
    if len(scores.shape) < 2:
        use.fail(f"scores must have at least 2 dimensions, not {format_shape(scores.shape)}")
    rest: tuple[Dim, ...] = (scores.shape[0], *scores.shape[2:])
    if labels.shape != rest:
        use.fail(
            f"scores {format_shape(scores.shape)} need labels {format_shape(rest)}, not {format_shape(labels.shape)}"
        )
    if use.has(2) and use.type(2) != (wanted := Type(scores.dtype, (scores.shape[1],))):
        use.fail(f"weights must be {wanted}, not {use.type(2)}")
    if use.string("reduction") not in {"none", "mean", "sum"}:
        use.fail(f"reduction must be none, mean or sum, not '{use.string('reduction')}'")
    loss: tuple[Dim, ...] = rest if use.string("reduction") == "none" else ()
    return Type(scores.dtype, loss), Type(scores.dtype, scores.shape)


def _loss(n: Bound) -> list[Step]:
    """-log softmax at the label, weighted by class, ignored at ``ignore_index``; the log-probabilities beside it."""
    scores, labels, out, log_prob = n.x[0], n.x[1], n.out(0), n.out(1)
    classes = np.moveaxis(log_prob, 1, -1)
    ignored, reduction = n.attributes.get("ignore_index"), n.string("reduction")
    weights = n.x[2] if n.has(2) else None
    grid: tuple[Array, ...] = tuple(np.indices(labels.shape, sparse=True))

    def run() -> None:
        kept = labels if ignored is None else np.where(labels == ignored, 0, labels)
        picked = classes[(*grid, kept)]
        scale = np.ones(labels.shape, scores.dtype) if weights is None else weights[kept]
        if ignored is not None:
            scale = np.where(labels == ignored, scores.dtype.type(0), scale)
        values = -picked * scale
        if reduction == "none":
            out[...] = values
        else:
            np.divide(values.sum(), scale.sum() if reduction == "mean" else 1, out=out)

    def run_mean() -> None:
        np.divide(-classes[(*grid, labels)].sum(), labels.size, out=out)

    plain = weights is None and ignored is None and reduction == "mean"
    return [*_log_softmax_steps(n, scores, log_prob), run_mean if plain else run]


def _loss_gradient(n: Backward) -> list[Symbol | None]:
    """(softmax - one-hot) · weight, divided by the sum of the weights for the mean."""
    if len(n.y) < 2:
        n.fail("its gradient needs its second output, log_prob")
    # onnxruntime has no OneHot of int32.
    labels, log_prob = cast(n.x[1], "int64"), n.y[1]
    dtype = log_prob.dtype
    ignored = n.attributes.get("ignore_index")
    kept: Symbol | None = None
    if ignored is not None:
        same = emit("Equal", labels, labels * 0 + int(ignored))  # type: ignore[arg-type]
        kept = cast(emit("Not", same), dtype)
        labels = emit("Where", same, labels * 0, labels)
    depth = log_prob.shape[1]
    if not isinstance(depth, int):
        n.fail("its gradient needs a known number of classes")
    one_hot = cast(emit("OneHot", labels, integers([depth]), integers([0, 1]), axis=1), dtype)
    weight = kept
    if n.has(2):
        shape = [1, depth] + [1] * (len(log_prob.shape) - 2)
        by_class = emit("ReduceSum", one_hot * emit("Reshape", n.x[2], integers(shape)), integers([1]), keepdims=0)
        weight = by_class if kept is None else by_class * kept
    reduction = n.string("reduction")
    scale = n.dy if weight is None else n.dy * weight
    if reduction == "mean":
        total = emit("ReduceSum", weight, keepdims=0) if weight is not None else cast(emit("Size", labels), dtype)
        scale = scale / total
    if scale.shape:
        scale = emit("Unsqueeze", scale, integers([1]))
    return [(emit("Exp", log_prob) - one_hot) * scale, None, None]


register(Operator("Softmax", ("input",), _type, _softmax, _softmax_gradient, {"axis": Attr(int, -1)}))
register(Operator("LogSoftmax", ("input",), _type, _log_softmax, _log_softmax_gradient, {"axis": Attr(int, -1)}))
register(Operator("Hardmax", ("input",), _type, _hardmax, None, {"axis": Attr(int, -1)}))
register(
    Operator(
        "SoftmaxCrossEntropyLoss", ("scores", "labels", "weights?"), _loss_type, _loss, _loss_gradient,
        {"ignore_index": Attr(int), "reduction": Attr(str, "mean")}, outputs=("output", "log_prob"),
    )
)  # fmt: skip
