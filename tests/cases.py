"""The table of cases: for every registered operator, uses of it that the tests compute, differentiate and compare.

To add an operator, add a row. Arrays are drawn away from kinks (0 for Relu) and ties (for Max), so that central
differences can check the gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from portable_nn.graph import INTERNAL, Shape, Tensor
from portable_nn.operators import Leaf, Symbol, constant, emit_all
from portable_nn.operators.registry import DTYPE_CODES, Array

_rng = np.random.default_rng(20)


@dataclass(frozen=True)
class Case:
    """One use of an operator.

    ``inputs`` are arrays, or ``None`` where an optional one is absent. Those in ``constants`` enter as Constant nodes,
    those in ``wrt`` are differentiated, and the first axis of those in ``batched`` may be of an unknown size.
    """

    operator: str
    inputs: tuple[Array | None, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    wrt: tuple[int, ...] = ()
    constants: tuple[int, ...] = ()
    batched: tuple[int, ...] = ()
    outputs: int = 1
    domain: str = ""

    def __str__(self) -> str:
        shapes = " ".join("-" if x is None else "x".join(map(str, x.shape)) or "scalar" for x in self.inputs)
        options = ",".join(f"{name}={value}" for name, value in self.attributes.items() if name != "value")
        return f"{self.operator} {shapes} {options}".replace(" ", "_").rstrip("_")

    def cast(self, dtype: str) -> tuple[Array | None, ...]:
        """The inputs with ``dtype`` for every float."""
        floats = [x is not None and x.dtype.kind == "f" for x in self.inputs]
        return tuple(
            x.astype(dtype) if x is not None and is_float else x
            for x, is_float in zip(self.inputs, floats, strict=True)
        )

    def build(self, dtype: str, batch: str | None = None) -> tuple[list[Leaf], tuple[Symbol, ...]]:
        """The leaves ``x0``, ``x1``, … of the inputs that are no constants, and the outputs of the node."""
        symbols = [
            None if x is None else constant(x, x.dtype.name) if index in self.constants else self._leaf(index, x, batch)
            for index, x in enumerate(self.cast(dtype))
        ]
        outputs = emit_all(
            self.operator, *symbols, outputs=self.outputs, name="node", domain=self.domain, **self.attributes
        )
        return [symbol for symbol in symbols if isinstance(symbol, Leaf)], outputs

    def _leaf(self, index: int, x: Array, batch: str | None) -> Leaf:
        shape: Shape = (batch, *x.shape[1:]) if batch and index in self.batched else x.shape
        return Leaf(f"x{index}", x.dtype.name, shape)

    def feeds(self, dtype: str) -> dict[str, Array]:
        """The arrays of those leaves."""
        return {f"x{i}": x for i, x in enumerate(self.cast(dtype)) if x is not None and i not in self.constants}


def real(*shape: int) -> Array:
    """Numbers of both signs, none near 0 and no two near each other."""
    return np.asarray(positive(*shape) * _rng.choice([-1.0, 1.0], shape))


def positive(*shape: int) -> Array:
    """Numbers from 0.3 to 1.8, no two near each other."""
    size = int(np.prod(shape))
    apart = (_rng.permutation(size) + _rng.uniform(0.1, 0.9, size)) / max(size, 1)
    return np.asarray(apart.reshape(shape) * 1.5 + 0.3)


def whole(*shape: int, low: int = -9, high: int = 10, dtype: str = "int64") -> Array:
    return _rng.integers(low, high, shape).astype(dtype)


def truth(*shape: int) -> Array:
    return _rng.random(shape) < 0.5


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def floats(*values: float) -> Array:
    return np.array(values)


def scalar(value: Any, dtype: str = "float64") -> Array:
    return np.array(value, dtype)


def _unary() -> list[Case]:
    anywhere = ("Neg", "Abs", "Exp", "Reciprocal", "Sin", "Cos", "Relu", "Sigmoid", "Tanh", "Softplus", "LeakyRelu")
    flat = ("Sign", "Floor", "Ceil", "Round", "IsNaN")
    return [
        *(Case(name, (real(3, 4),), wrt=(0,), batched=(0,)) for name in (*anywhere, "Identity")),
        *(Case(name, (positive(3, 4),), wrt=(0,), batched=(0,)) for name in ("Log", "Sqrt")),
        *(Case(name, (real(3, 4) * 3,), batched=(0,)) for name in flat),
        *(Case(name, (real(),), wrt=(0,)) for name in ("Tanh", "Softplus")),
        *(Case(name, (whole(2, 5, dtype="int32"),)) for name in ("Neg", "Abs", "Sign")),
        Case("LeakyRelu", (real(2, 3, 4),), {"alpha": 0.3}, wrt=(0,), batched=(0,)),
        Case("Round", (floats(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5),)),
        Case("IsNaN", (floats(0, np.nan, np.inf),)),
        Case("Not", (truth(3, 4),), batched=(0,)),
    ]


BROADCASTS = (
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((1, 4), (3, 1)),
    ((2, 3, 4), (3, 1)),
    ((1,), (2, 1, 3)),
    ((3, 4), ()),
    ((), (3, 4)),
    ((), ()),
)


def _binary() -> list[Case]:
    rows = [
        Case(name, (real(*a), positive(*b) if name == "Div" else real(*b)), wrt=(0, 1))
        for name in ("Add", "Sub", "Mul", "Div")
        for a, b in BROADCASTS
    ]
    rows += [Case(name, (real(3, 4), positive(4)), wrt=(0, 1), batched=(0,)) for name in ("Add", "Sub", "Mul", "Div")]
    rows += [Case(name, (real(3, 4), positive(3, 4)), wrt=(0, 1), batched=(0, 1)) for name in ("Mul", "Div")]
    for name in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        rows.append(Case(name, (whole(3, 4, low=0, high=3), whole(4, low=0, high=3)), batched=(0,)))
        rows.append(Case(name, (real(3, 1), real(1, 4))))
    for name in ("And", "Or", "Xor"):
        rows.append(Case(name, (truth(3, 4), truth(3, 4)), batched=(0, 1)))
        rows.append(Case(name, (truth(4), truth(3, 1))))
    rows.append(Case("Equal", (truth(3, 4), truth(4))))
    rows.append(Case("Mul", (whole(3, 4), whole(4))))
    for dtype in ("int32", "int64"):
        divisors = np.array([-7, -3, -2, -1, 1, 2, 3, 7], dtype)
        rows.append(Case("Div", (whole(5, 8, low=-40, high=40, dtype=dtype), divisors)))
    return rows


def _variadic() -> list[Case]:
    rows = []
    for name in ("Sum", "Mean", "Max", "Min"):
        apart = real(2, 3, 4)
        rows += [
            Case(name, (real(3, 4),), wrt=(0,), batched=(0,)),
            Case(name, (apart, real(3, 1) + 0.017), wrt=(0, 1), batched=(0,)),
            Case(name, (real(3, 1), real(1), apart), wrt=(0, 1, 2)),
            Case(name, (real(3, 4), real(3, 4), real(4)), wrt=(0, 1, 2), batched=(0, 1)),
        ]
    return rows


def _others_by_element() -> list[Case]:
    return [
        Case("Pow", (positive(3, 4), real(3, 4)), wrt=(0, 1), batched=(0, 1)),
        Case("Pow", (positive(3, 4), real(4)), wrt=(0, 1), batched=(0,)),
        Case("Pow", (positive(4), real(3, 1)), wrt=(0, 1)),
        Case("Pow", (real(3, 4), scalar(2.0)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Pow", (real(3, 4), scalar(3, "int64")), wrt=(0,), constants=(1,)),
        Case("Pow", (whole(3, 4), scalar(2, "int64"))),
        Case("Where", (truth(3, 4), real(3, 4), real(3, 4)), wrt=(1, 2), batched=(0, 1, 2)),
        Case("Where", (truth(3, 1), real(4), real(2, 1, 1)), wrt=(1, 2)),
        Case("Where", (truth(4), real(3, 4), scalar(0.5)), wrt=(1, 2)),
        Case("Where", (truth(4), whole(4), whole(3, 1))),
        Case("Cast", (real(3, 4),), {"to": DTYPE_CODES["float64"]}, wrt=(0,), batched=(0,)),
        Case("Cast", (real(3, 4) * 5,), {"to": DTYPE_CODES["int64"]}, batched=(0,)),
        Case("Cast", (floats(0.0, -0.0, 0.5, -3.0),), {"to": DTYPE_CODES["bool"]}),
        Case("Cast", (truth(3, 4),), {"to": DTYPE_CODES["float32"]}),
        Case("Cast", (whole(3, 4),), {"to": DTYPE_CODES["int64"]}),
    ]


def _linear() -> list[Case]:
    rows = []
    for trans_a in (0, 1):
        for trans_b in (0, 1):
            a, b = real(*((4, 3) if trans_a else (3, 4))), real(*((5, 4) if trans_b else (4, 5)))
            batched = () if trans_a else (0,)
            flags = {"transA": trans_a, "transB": trans_b}
            rows.append(Case("Gemm", (a, b), flags, wrt=(0, 1), batched=batched))
            rows.append(Case("Gemm", (a, b, real(5)), flags | {"alpha": 0.5, "beta": 2.0}, (0, 1, 2), batched=batched))
    for shape in ((), (1,), (1, 5), (3, 1), (3, 5)):
        rows.append(Case("Gemm", (real(3, 4), real(4, 5), real(*shape)), wrt=(0, 1, 2)))
        rows.append(Case("Gemm", (real(3, 4), real(4, 5), real(*shape)), {"beta": -1.5}, wrt=(0, 1, 2)))
    for a, b in (
        ((4,), (4,)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (4,)),
        ((4,), (2, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 2)),
        ((2, 3, 3, 4), (2, 3, 4, 2)),
    ):
        rows.append(Case("MatMul", (real(*a), real(*b)), wrt=(0, 1)))
    rows += [
        Case("Gemm", (whole(3, 4, dtype="int32"), whole(4, 2, dtype="int32"))),
        Case("MatMul", (real(3, 4), real(4, 5)), wrt=(0, 1), batched=(0,)),
        Case("MatMul", (real(2, 3, 4), real(4, 5)), wrt=(0, 1), batched=(0,)),
        Case("MatMul", (real(2, 3, 4), real(2, 4, 2)), wrt=(0, 1), batched=(0, 1)),
        Case("MatMul", (real(2, 3, 3, 4), real(4, 2)), wrt=(0, 1), batched=(0,)),
        Case("MatMul", (whole(3, 4), whole(4, 2))),
    ]
    return rows


def _reductions() -> list[Case]:
    rows = []
    of_any_sign = ("ReduceSum", "ReduceMean", "ReduceProd", "ReduceMax", "ReduceMin", "ReduceSumSquare", "ReduceL1")
    for name in (*of_any_sign, "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"):
        draw = positive if name == "ReduceLogSum" else real
        for axes, keepdims in (((0,), 1), ((0,), 0), ((-1,), 0), ((1, 2), 1), ((-1, 0), 0)):
            inputs = (draw(2, 3, 4), ints(*axes))
            rows.append(Case(name, inputs, {"keepdims": keepdims}, wrt=(0,), constants=(1,), batched=(0,)))
        rows += [
            Case(name, (draw(3, 4), ints(0)), {"keepdims": 0}, wrt=(0,), constants=(1,), batched=(0,)),
            Case(name, (draw(3, 4),), {"keepdims": 0}, wrt=(0,), batched=(0,)),
            Case(name, (draw(3, 4),), wrt=(0,), batched=(0,)),
            Case(name, (draw(3, 4),), {"noop_with_empty_axes": 1}, wrt=(0,), batched=(0,)),
            Case(name, (draw(3, 4), ints()), wrt=(0,), constants=(1,)),
        ]
    zeros = real(3, 4)
    zeros[0, 1] = zeros[1, 0] = zeros[1, 3] = 0
    rows.append(Case("ReduceProd", (zeros, ints(1)), {"keepdims": 0}, wrt=(0,), constants=(1,)))
    rows += [Case(name, (whole(3, 4), ints(1)), constants=(1,)) for name in ("ReduceSum", "ReduceProd", "ReduceMax")]
    for name in ("ArgMax", "ArgMin"):
        tied = np.array([[1.0, 3, 3, 1], [2, 2, 2, 2], [4, 0, 0, 4]])
        rows += [
            Case(name, (real(3, 4),), batched=(0,)),
            Case(name, (real(2, 3, 4),), {"axis": -1, "keepdims": 0}, batched=(0,)),
            Case(name, (tied,), {"axis": 1}),
            Case(name, (tied,), {"axis": 1, "select_last_index": 1}),
            Case(name, (tied,), {"axis": 0, "keepdims": 0, "select_last_index": 1}),
        ]
    return rows


def _shapes() -> list[Case]:
    rows = [
        Case("Reshape", (real(2, 3, 4), ints(*shape)), wrt=(0,), constants=(1,), batched=(0,))
        for shape in ((0, -1), (-1, 4), (0, 4, 3), (-1, 1, 12))
    ]
    rows += [
        Case("Reshape", (real(2, 3, 4), ints(24)), wrt=(0,), constants=(1,)),
        Case("Reshape", (real(1, 1), ints()), wrt=(0,), constants=(1,)),
        Case("Reshape", (real(0, 3), ints(3, 0)), {"allowzero": 1}, constants=(1,)),
        *(Case("Flatten", (real(2, 3, 4),), {"axis": axis}, wrt=(0,), batched=(0,)) for axis in (0, 1, 2, 3, -1)),
        Case("Flatten", (real(2, 3, 4),), wrt=(0,), batched=(0,)),
        Case("Squeeze", (real(3, 1, 4, 1),), wrt=(0,), batched=(0,)),
        Case("Squeeze", (real(3, 1, 4, 1), ints(-1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Squeeze", (real(3, 1, 4, 1), ints(3, 1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Unsqueeze", (real(3, 4), ints(1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Unsqueeze", (real(3, 4), ints(0, -1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Unsqueeze", (real(3, 4), ints(3, 1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Transpose", (real(2, 3, 4),), wrt=(0,), batched=(0,)),
        Case("Transpose", (real(2, 3, 4),), {"perm": (1, 2, 0)}, wrt=(0,), batched=(0,)),
        Case("Transpose", (real(2, 3, 4),), {"perm": (0, 2, 1)}, wrt=(0,), batched=(0,)),
        Case("Expand", (real(3, 1), ints(2, 1, 4)), wrt=(0,), constants=(1,)),
        Case("Expand", (real(3, 4), ints(1)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Expand", (real(3, 1), ints(1, 4)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Expand", (real(), ints(2, 3)), wrt=(0,), constants=(1,)),
        Case("Shape", (real(2, 3, 4),)),
        *(Case("Shape", (real(2, 3, 4),), {"start": a, "end": b}) for a, b in ((1, 2), (-2, 9), (-9, -1), (2, 1))),
        Case("Size", (real(2, 3, 4),)),
        Case("Concat", (real(2, 3), real(2, 1)), {"axis": 1}, wrt=(0, 1), batched=(0, 1)),
        Case("Concat", (real(2, 3), real(1, 3), real(4, 3)), {"axis": 0}, wrt=(0, 1, 2)),
        Case("Concat", (real(2, 3, 2), real(2, 3, 5)), {"axis": -1}, wrt=(0, 1), batched=(0, 1)),
        Case("Concat", (real(2, 3),), {"axis": -2}, wrt=(0,)),
        Case("Concat", (whole(2), whole(3)), {"axis": 0}),
    ]
    return rows


def _slices_and_pads() -> list[Case]:
    end, front = 2**31 - 1, -(2**31)
    rows = [
        Case("Slice", (real(5, 7), *map(np.array, parameters)), wrt=(0,), constants=(1, 2, 3, 4)[: len(parameters)])
        for parameters in (
            ([1], [3]),
            ([1, 2], [4, 6]),
            ([1, -5], [end, -1], [0, 1]),
            ([2], [5], [-1]),
            ([0], [end], [1], [2]),
            ([1, 0], [6, 5], [1, 0], [3, 2]),
            ([-1], [front], [1], [-1]),
            ([5], [0], [1], [-2]),
            ([-1, 6], [front, 1], [0, 1], [-1, -2]),
            ([-10], [-20], [1], [-1]),
            ([4], [1], [1], [1]),
            ([20], [30], [1], [1]),
            ([2], [3], [1], [4]),
            ([0], [4], [1], [-1]),
        )
    ]
    rows += [
        Case("Slice", (real(3, 7), ints(2), ints(5), ints(1)), wrt=(0,), constants=(1, 2, 3), batched=(0,)),
        Case(
            "Slice",
            (real(3, 7, 2), ints(6), ints(0), ints(1), ints(-2)),
            wrt=(0,),
            constants=(1, 2, 3, 4),
            batched=(0,),
        ),
        Case("Slice", (whole(6), ints(1), ints(4)), constants=(1, 2)),
        Case("Pad", (real(3, 4), ints(0, 1, 0, 2)), wrt=(0,), constants=(1,), batched=(0,)),
        Case("Pad", (real(3, 4), ints(1, 0, 2, 0)), {"mode": "constant"}, wrt=(0,), constants=(1,)),
        Case("Pad", (real(3, 4), ints(1, 2, 3, 0), scalar(0.7)), wrt=(0, 2), constants=(1,)),
        Case("Pad", (real(2, 3, 4), ints(1, 2), None, ints(-1)), wrt=(0,), constants=(1, 3), batched=(0,)),
        Case("Pad", (real(2, 3, 4), ints(1, 0, 0, 2), scalar(-1.0), ints(2, 1)), wrt=(0, 2), constants=(1, 3)),
        Case("Pad", (whole(3, 2), ints(1, 1, 1, 1)), constants=(1,)),
    ]
    return rows


def _constants() -> list[Case]:
    values: list[Mapping[str, Any]] = [
        {"value": Tensor("float32", (2, 2), (1.5, -2.0, 0.25, 3.0))},
        {"value": Tensor("bool", (3,), (1, 0, 1))},
        {"value": Tensor("int64", (), (-7,))},
        {"value_int": 3},
        {"value_ints": (1, -2)},
        {"value_float": 0.1},
        {"value_floats": (0.1, 2.0)},
    ]
    return [Case("Constant", (), value) for value in values]


def _one_hot() -> list[Case]:
    values, depth = floats(-0.5, 2.0), scalar(5, "int64")
    inside, outside = ints(0, 4, 2), np.array([[0, 4, -1], [-5, -6, 5]])
    return [
        Case("OneHot", (inside, depth, values), constants=(1,), batched=(0,)),
        Case("OneHot", (outside, depth, values), constants=(1,), batched=(0,)),
        *(Case("OneHot", (outside, depth, values), {"axis": axis}, constants=(1,)) for axis in (0, 1, -1, -2)),
        Case("OneHot", (inside, ints(5), ints(0, 1)), constants=(1, 2)),
    ]


def _softmax() -> list[Case]:
    rows = []
    for name in ("Softmax", "LogSoftmax", "Hardmax"):
        wrt = () if name == "Hardmax" else (0,)
        rows.append(Case(name, (real(3, 5),), wrt=wrt, batched=(0,)))
        rows += [Case(name, (real(2, 3, 4),), {"axis": axis}, wrt=wrt, batched=(0,)) for axis in (0, 1, 2, -2)]
        rows.append(Case(name, (real(2, 3, 2, 3),), {"axis": 1}, wrt=wrt, batched=(0,)))
    rows.append(Case("Hardmax", (np.array([[2.0, 2, 1], [0, 3, 3]]),)))
    return rows


def _losses() -> list[Case]:
    rows = []
    for shape in ((4, 5), (2, 5, 3), (2, 5, 2, 3)):
        labels = whole(shape[0], *shape[2:], low=0, high=5)
        for reduction in ("mean", "sum", "none"):
            for weights in (None, positive(5)):
                for ignored in (None, -1, 2):
                    hidden = (
                        labels
                        if ignored != -1
                        else np.where(np.arange(labels.size).reshape(labels.shape) % 3, labels, -1)
                    )
                    inputs = (real(*shape), hidden) if weights is None else (real(*shape), hidden, weights)
                    options = {"reduction": reduction} | ({} if ignored is None else {"ignore_index": ignored})
                    rows.append(Case("SoftmaxCrossEntropyLoss", inputs, options, (0,), batched=(0, 1), outputs=2))
    inputs = (real(4, 5), whole(4, low=0, high=5, dtype="int32"))
    return [*rows, Case("SoftmaxCrossEntropyLoss", inputs, wrt=(0,), outputs=2)]


def _dropout() -> list[Case]:
    return [
        Case("Dropout", (real(3, 4),), wrt=(0,), batched=(0,)),
        Case("Dropout", (real(3, 4),), wrt=(0,), batched=(0,), outputs=2),
        Case("Dropout", (real(3, 4), scalar(0.3)), wrt=(0,), constants=(1,), batched=(0,), outputs=2),
        Case("Dropout", (real(3, 4), scalar(0.3), scalar(False, "bool")), {"seed": 3}, (0,), (1, 2), (0,), outputs=2),
    ]


def _internal() -> list[Case]:
    rate = scalar(0.1)
    shapes = ((3, 4), ())
    rows = [Case("ReluGrad", (real(3, 4), np.maximum(real(3, 4), 0)), wrt=(0,), batched=(0, 1), domain=INTERNAL)]
    for shape in shapes:
        weight, gradient, mean, square = real(*shape), real(*shape), real(*shape), positive(*shape)
        momenta: list[Mapping[str, Any]] = [{}, {"nesterov": 1}, {"momentum": 0.5}]
        rows += [
            Case("Momentum", (weight, gradient, mean, rate), options, outputs=2, domain=INTERNAL) for options in momenta
        ]
        rows += [
            Case("RMSProp", (weight, gradient, square, rate), outputs=2, domain=INTERNAL),
            Case(
                "RMSProp", (weight, gradient, square, rate), {"alpha": 0.5, "epsilon": 0.01}, outputs=2, domain=INTERNAL
            ),
        ]
        adam = (weight, gradient, mean, square, rate, scalar(1e-3))
        rows += [
            Case("Adam", adam, outputs=3, domain=INTERNAL),
            Case("Adam", (*adam, scalar(0.99)), {"beta1": 0.5, "beta2": 0.75}, outputs=3, domain=INTERNAL),
        ]
    return rows


CASES: tuple[Case, ...] = (
    *_unary(), *_binary(), *_variadic(), *_others_by_element(), *_linear(), *_reductions(), *_shapes(),
    *_slices_and_pads(), *_constants(), *_one_hot(), *_softmax(), *_losses(), *_dropout(), *_internal(),
)  # fmt: skip
