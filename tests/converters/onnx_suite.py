"""The test suite that the ``onnx`` package brings along, run natively: imported, computed, exported, computed again."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase

from portable_nn.converters.onnx import import_onnx
from portable_nn.core.errors import PortableNNError
from portable_nn.core.graph import OPSET
from portable_nn.network import Network
from portable_nn.onnx.opsets.support import opset_of
from portable_nn.onnx.session import Session
from portable_nn.onnx.writing import to_bytes, to_model
from portable_nn.operators import DTYPE_CODES
from portable_nn.operators.opaque.nodes import is_opaque

Array = np.ndarray[Any, Any]

RUN: Final = 17
"""The opset at which what was read is written again, unless the model is of a newer one."""


class Case(NamedTuple):
    """One test: a model, and what goes in and must come out, within tolerances."""

    name: str
    model: onnx.ModelProto
    sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float


class Result(NamedTuple):
    """Whether a case is right, whether it is right in onnxruntime after it was exported again; why not, in words; the
    way in which its nodes came in, of ``WAYS``; and whether all its inputs stayed inputs."""

    right: bool
    exported: bool
    reason: str = ""
    way: str = "refused"
    as_it_is: bool = False


WAYS: Final = ("own operator", "folded", "opaque", "refused")
"""A network computes a case, its import has computed it, onnxruntime runs a node of it, or none of these is right."""


def way_of(network: Network) -> str:
    """How the nodes of a file came into a network."""
    if any(map(is_opaque, network.graph.nodes)):
        return "opaque"
    return "folded" if all(node.operator == "Constant" for node in network.graph.nodes) else "own operator"


@cache
def cases(kind: str) -> tuple[Case, ...]:
    """All cases of one kind but for those whose operator is expanded into others."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, from the suite's own reference code.
        from onnx.backend.test.loader import load_model_tests

        found = load_model_tests(kind=kind)
    return tuple(_case(case) for case in sorted(found, key=lambda case: case.name) if "_expanded" not in case.name)


def _case(case: TestCase) -> Case:
    if case.model is not None:
        made = [([*map(_array, inputs)], [*map(_array, outputs)]) for inputs, outputs in case.data_sets or ()]
        return Case(case.name, case.model, made, case.rtol, case.atol)
    folder = Path(case.model_dir or "")
    model = onnx.load(folder / "model.onnx")
    sets = [(_stored(each, "input"), _stored(each, "output")) for each in sorted(folder.glob("test_data_set_*"))]
    return Case(case.name, model, sets, case.rtol, case.atol)


def _array(value: Any) -> Any:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _stored(folder: Path, kind: str) -> list[Array]:
    files = [folder / f"{kind}_{place}.pb" for place in range(len(list(folder.glob(f"{kind}_*.pb"))))]
    return [numpy_helper.to_array(onnx.load_tensor(file)) for file in files]


def is_of_tensors(case: Case) -> bool:
    """Whether all that goes in and comes out are arrays of numbers or truth values."""
    types = [value.type for value in (*case.model.graph.input, *case.model.graph.output)]
    types = [type.optional_type.elem_type if type.HasField("optional_type") else type for type in types]
    given = all(value is not None for inputs, _ in case.sets for value in inputs)
    return given and all(type.tensor_type.elem_type not in {0, onnx.TensorProto.STRING} for type in types)


def run(case: Case, *, verify: bool = True) -> Result:
    """Import a case as users do, or without verification, compute it in numpy, export it and compute it in onnxruntime.

    Inputs become weights where the model cannot be read otherwise: in turn none, the lists of whole numbers, all but
    the first, all but the last, and all.
    """
    if not is_of_tensors(case):
        return Result(False, False, "not all that goes in and comes out are arrays of numbers")
    results = [_run(case, list(inputs), list(outputs), verify=verify) for inputs, outputs in case.sets]
    wrong = next((result for result in results if not result.right), results[0])
    kept = all(result.as_it_is for result in results)
    return wrong._replace(exported=all(result.exported for result in results), as_it_is=kept)


def _run(case: Case, inputs: list[Any], outputs: list[Any], *, verify: bool) -> Result:
    stored = {tensor.name for tensor in case.model.graph.initializer}
    names = [value.name for value in case.model.graph.input]
    if len(names) != len(inputs):
        names = [name for name in names if name not in stored]
    values = dict(zip(names, inputs, strict=True))
    wanted = {value.name: np.asarray(y) for value, y in zip(case.model.graph.output, outputs, strict=True)}
    reason = ""
    for promoted in stored_names(values):
        feeds = {name: values[name] for name in names if name not in promoted}
        try:
            network = import_onnx(case.model, verify=verify, weights={name: values[name] for name in promoted})
            fault = _difference(network.predict(feeds), wanted, case)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        if not fault:
            found = _exported(network, feeds, wanted, case)
            return found._replace(way=way_of(network), as_it_is=not promoted)
        reason = fault
    return Result(False, False, reason)


def stored_names(values: dict[str, Any]) -> Iterator[list[str]]:
    """Inputs of a test that may be axes, sizes and weights: none, the lists of whole numbers, and more."""
    names = list(values)
    arrays = {name: np.asarray(value) for name, value in values.items()}
    lists = [name for name, array in arrays.items() if array.dtype.kind in "biu" and array.ndim <= 1]
    yield from ([], lists, names[1:], names[:-1], names)


def _exported(network: Network, feeds: dict[str, Array], wanted: dict[str, Array], case: Case) -> Result:
    opset = min(max(RUN, opset_of(case.model, case.name)), OPSET)
    try:
        session = Session(to_bytes(to_model(network.graph, network.parameters, opset=opset)))
        fault = _difference(session.run(feeds), wanted, case)
    except PortableNNError as error:
        fault = str(error)
    return Result(True, not fault, fault and f"exported: {fault}")


def _difference(found: dict[str, Array], wanted: dict[str, Array], case: Case) -> str:
    """What is wrong with outputs, if anything is."""
    for name, expected in wanted.items():
        array = np.asarray(found[name])
        if expected.dtype.name not in DTYPE_CODES:  # Of a type that numpy lacks.
            exact, expected = expected.dtype, expected.astype(array.dtype)
            array = array.astype(exact).astype(array.dtype) if exact.name == "bfloat16" else array
        if (array.dtype, array.shape) != (expected.dtype, expected.shape):
            return f"'{name}' is {array.dtype} {array.shape}, not {expected.dtype} {expected.shape}"
        if not np.allclose(array, expected, rtol=case.rtol, atol=case.atol, equal_nan=True):
            return f"'{name}' has other numbers"
    return ""


# -- the node tests by kind of operator

GROUPS: Final[dict[str, str]] = {
    "convolution": "Conv ConvTranspose",
    "pooling": "AveragePool GlobalAveragePool GlobalMaxPool LpPool MaxPool MaxUnpool",
    "normalisation": "BatchNormalization GroupNormalization InstanceNormalization LRN LayerNormalization "
    "LpNormalization MeanVarianceNormalization RMSNormalization",
    "dropout": "Dropout",
    "activation": "Celu Clip Elu Erf Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Shrink Sigmoid Softplus "
    "Softsign Swish Tanh ThresholdedRelu",
    "matrix product": "Einsum Gemm MatMul",
    "recurrent": "GRU LSTM RNN",
    "attention": "Attention RotaryEmbedding",
    "softmax": "Hardmax LogSoftmax Softmax",
    "loss": "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    "resizing, grids": "AffineGrid DepthToSpace GridSample Resize SpaceToDepth Upsample",
    "padding": "Pad",
    "concatenation, splitting, slicing": "Concat Slice Split",
    "reshaping": "Expand Flatten Identity Reshape Squeeze Tile Transpose Unsqueeze",
    "reduction": "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare",
    "arithmetic, comparison, logic": "Abs Add And Ceil Div Equal Exp Floor Greater GreaterOrEqual Less LessOrEqual Log "
    "Max Mean Min Mod Mul Neg Not Or Pow Reciprocal Round Sign Sqrt Sub Sum Where Xor",
    "trigonometry": "Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan",
    "bits": "BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor",
    "casting": "Cast CastLike",
    "gathering, scattering": "Gather GatherElements GatherND Scatter ScatterElements ScatterND TensorScatter",
    "picking, sorting": "ArgMax ArgMin Compress NonMaxSuppression NonZero TopK Unique",
    "making": "Bernoulli Constant ConstantOfShape EyeLike OneHot Range",
    "shapes, parts, sums": "CenterCropPad Col2Im CumProd CumSum Det IsInf IsNaN ReverseSequence Shape Size Trilu",
    "signals": "BlackmanWindow DFT HammingWindow HannWindow MelWeightMatrix STFT",
    "newer than opset 25": "CausalConvWithState FlexAttention LinearAttention SwiGLU",
    "quantised": "ConvInteger DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearConv QLinearMatMul "
    "QuantizeLinear",
    "detection": "DeformConv RoiAlign",
    "control flow": "If Loop Scan",
}  # fmt: skip
"""Operators of each kind; the rest is ``OTHERS``: text, pictures as files, sequences, trees, optimizers."""

OTHERS: Final = "text, files, sequences, trees, optimizers"


class Count(NamedTuple):
    """How many tests there are, how many came in each of ``WAYS``, how many of the first two as they are, without an
    input that became a weight, and how many are right again after export."""

    tests: int
    own: int
    folded: int
    opaque: int
    refused: int
    as_they_are: int
    exported: int


def groups() -> dict[str, list[Case]]:
    """The node tests of each group."""
    of = {operator: group for group, operators in GROUPS.items() for operator in operators.split()}
    result: dict[str, list[Case]] = {group: [] for group in (*GROUPS, OTHERS)}
    for case in cases("node"):
        result[of.get(case.model.graph.node[0].op_type, OTHERS)].append(case)
    return result


def count(found: Sequence[Case]) -> Count:
    """The figures of some cases."""
    results = [run(case, verify=False) for case in found]
    ways = Counter(each.way for each in results)
    kept = sum(each.as_it_is and each.way in WAYS[:2] for each in results)
    return Count(len(results), *(ways[way] for way in WAYS), kept, sum(each.exported for each in results))
