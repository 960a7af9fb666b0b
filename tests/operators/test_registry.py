"""A walk of the registry: nothing is missing, and its signatures are the standard's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from cases import CASES, Case
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import defs, helper
from onnx.defs import OpSchema

from portable_nn.core.errors import GraphError
from portable_nn.core.graph import INTERNAL, OPSET, Graph, Tensor
from portable_nn.operators import FLOATS, REGISTRY, Leaf, Operator, Symbol, Type, constant, emit_all
from portable_nn.operators.registry import ONNX_DTYPES, REQUIRED, register
from portable_nn.operators.symbols import plain_float

STRAIGHT_THROUGH = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul",
    "QLinearConv",
}  # fmt: skip
"""Their gradients are not those of differences: test_quantised_torch.py has them."""

NOT_DIFFERENTIABLE = {
    "Sign", "Floor", "Ceil", "Round", "OneHot", "Hardmax", "Momentum", "RMSProp", "Adam", "EyeLike", "Range", "Unique",
}  # fmt: skip
"""The operators without a gradient that make floats of floats."""

UNSUPPORTED = {"Constant": {"sparse_value", "value_string", "value_strings"}}
"""Attributes of the standard that are left out on purpose: there are no sparse or string tensors here."""

KINDS = {"INT": int, "FLOAT": float, "STRING": str, "INTS": tuple, "FLOATS": tuple, "STRINGS": tuple, "TENSOR": Tensor}
KINDS |= {"GRAPH": tuple}
ITEMS = {"FLOATS": float, "STRINGS": str, "GRAPH": Graph}
SUFFIXES = {
    OpSchema.FormalParameterOption.Single: "",
    OpSchema.FormalParameterOption.Optional: "?",
    OpSchema.FormalParameterOption.Variadic: "*",
}

OPERATORS = [pytest.param(operator, id=operator.name) for operator in REGISTRY.values()]
STANDARD = [pytest.param(operator, id=operator.name) for operator in REGISTRY.values() if not operator.domain]


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("operator", OPERATORS)
def test_operator_is_complete(operator: Operator) -> None:
    rows = [case for case in CASES if (case.domain, case.operator) == (operator.domain, operator.name)]
    assert rows, "add a row to tests/cases"
    has_gradient = any(map(of_floats, rows)) and operator.name not in NOT_DIFFERENTIABLE
    assert (operator.gradient is not None) == (has_gradient or operator.name in STRAIGHT_THROUGH)
    differentiated = has_gradient and operator.name not in {"StopGradient", *STRAIGHT_THROUGH}
    assert any(case.wrt for case in rows) == differentiated
    assert operator.lowering is not None or is_old(operator), "say it in operators of opset 13"
    assert operator.domain in {"", INTERNAL}


def of_floats(case: Case) -> bool:
    """Whether the first output is of floats, and an input, too."""
    _, (output, *_) = case.build("float32")
    return output.dtype in FLOATS and any(x is not None and x.dtype.kind == "f" for x in case.inputs)


def is_old(operator: Operator) -> bool:
    """Whether the standard had the operator at opset 13 already."""
    schemas = (schema for schema in defs.get_all_schemas_with_history() if schema.domain == operator.domain == "")
    return any(schema.name == operator.name and schema.since_version <= 13 for schema in schemas)


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("operator", STANDARD)
def test_signature_is_the_standards(operator: Operator) -> None:
    schema = defs.get_schema(operator.name, OPSET)
    # What a body reads from outside is an input here; it follows other inputs of any number without a name of its own.
    inputs = tuple(formal.name + SUFFIXES[formal.option] for formal in schema.inputs)
    assert operator.inputs == (*inputs, *["captured*"] * (operator.name == "If"))
    repeats = OpSchema.FormalParameterOption.Variadic
    assert operator.outputs == tuple(formal.name + "*" * (formal.option == repeats) for formal in schema.outputs)


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("operator", STANDARD)
def test_attributes_are_the_standards(operator: Operator) -> None:
    schema = defs.get_schema(operator.name, OPSET)
    wanted = {n: a for n, a in schema.attributes.items() if n not in UNSUPPORTED.get(operator.name, ())}
    assert set(operator.attributes) == set(wanted)
    for name, ours in operator.attributes.items():
        theirs = wanted[name]
        assert (ours.kind, ours.item) == (KINDS[theirs.type.name], ITEMS.get(theirs.type.name, int))
        assert (ours.default is REQUIRED) == theirs.required
        if not theirs.required:
            assert ours.default == standard_default(theirs)


def standard_default(attribute: OpSchema.Attribute) -> object:
    if not attribute.default_value.type:
        return None
    value = helper.get_attribute_value(attribute.default_value)
    if isinstance(value, list):
        return tuple(item.decode() if isinstance(item, bytes) else item for item in value)
    if isinstance(value, bytes):
        return value.decode()
    return plain_float(value) if isinstance(value, float) else value


def standard_name(dtype: str) -> str:
    return f"tensor({ {'float32': 'float', 'float64': 'double'}.get(dtype, dtype) })"


HOLDS = {"DequantizeLinear": "float32"}
"""Operators that take a type for it holds the numbers of one that numpy lacks; they are written as others."""


@pytest.mark.quick("Conv", "Gemm", "Softmax", "LSTM", "Slice", "MaxPool", "LayerNormalization", "Where")
@pytest.mark.parametrize("operator", STANDARD)
def test_no_element_type_is_taken_that_the_standard_refuses(operator: Operator) -> None:
    """A graph that the shape rules accept must be a valid ONNX model."""
    schema = defs.get_schema(operator.name, OPSET)
    case = max((case for case in CASES if case.operator == operator.name), key=lambda case: len(case.inputs))
    constraints = {c.type_param_str: set(c.allowed_type_strs) for c in schema.type_constraints}
    for parameter in {formal.type_str for formal in schema.inputs}:
        allowed = constraints.get(parameter, {parameter})
        places = [index for index, x in enumerate(case.inputs) if x is not None and type_of(schema, index) == parameter]
        allowed = allowed | {standard_name(HOLDS[operator.name])} if operator.name in HOLDS else allowed
        refused = [dtype for dtype in ONNX_DTYPES.values() if standard_name(dtype) not in allowed]
        for dtype in refused if places else []:
            with pytest.raises(GraphError):
                emit_as(case, places, dtype)


def type_of(schema: OpSchema, index: int) -> str:
    return schema.inputs[min(index, len(schema.inputs) - 1)].type_str


def emit_as(case: Case, places: list[int], dtype: str) -> None:
    """The case with ``dtype`` for some of its inputs."""
    symbols: list[Symbol | None] = []
    for index, x in enumerate(case.inputs):
        kind = dtype if index in places or x is None else x.dtype.name
        literal = index in case.constants
        with np.errstate(over="ignore"):
            small = x if x is None or kind == x.dtype.name else np.clip(x, -99, 99)  # What every type can hold.
            symbols.append(None if x is None else constant(small, kind) if literal else Leaf(None, kind, x.shape))
    emit_all(case.operator, *symbols, outputs=case.outputs, **case.attributes)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match=r"^operator Relu is registered twice$"):
        register(dataclasses.replace(REGISTRY["", "Relu"]))


SIZES = st.integers(0, 3) | st.just("batch")
INTS = st.lists(st.integers(-3, 4) | st.sampled_from([2**31 - 1, -(2**63)]), max_size=3).map(tuple)
TENSORS = st.builds(
    Tensor,
    st.sampled_from([*ONNX_DTYPES.values(), "object", "complex64"]),
    st.lists(st.integers(-2, 2), max_size=2).map(tuple),
    st.lists(st.integers(-1, 300) | st.just(1.5), max_size=4).map(tuple),
)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-4, 12),
    float: st.floats(-2, 2),
    str: st.sampled_from(["constant", "mean", "none", "edge", ""]),
    tuple: INTS,
    Tensor: TENSORS,
}


@st.composite
def inputs(draw: st.DrawFn) -> Symbol | None:
    kind = draw(st.sampled_from(["array", "array", "array", "constant", "absent"]))
    if kind == "absent":
        return None
    if kind == "constant":
        return constant(draw(INTS), "int64")
    dtype = draw(st.sampled_from(["float32", "float32", "float32", "int64", "bool", "float16"]))
    return Leaf(None, dtype, tuple(draw(st.lists(SIZES, max_size=3))))


@pytest.mark.long
@pytest.mark.parametrize("examples", [200, pytest.param(1500, marks=pytest.mark.long)])
def test_a_shape_rule_gives_types_or_says_what_does_not_fit(examples: int) -> None:
    """No graph, however odd, makes a rule fail in another way."""
    settings(max_examples=examples, deadline=None)(given(st.data())(an_odd_node))()


def an_odd_node(data: st.DataObject) -> None:
    operator = data.draw(st.sampled_from(list(REGISTRY.values())))
    symbols = data.draw(st.lists(inputs(), max_size=len(operator.inputs) + 1))
    names = data.draw(st.lists(st.sampled_from([*operator.attributes] or ["axis"]), unique=True, max_size=2))
    attributes = {
        name: data.draw(VALUES[operator.attributes[name].kind] if name in operator.attributes else st.just(1))
        for name in names
    }
    outputs = data.draw(st.integers(0, len(operator.outputs) + 1))
    try:
        made = emit_all(operator.name, *symbols, outputs=outputs, domain=operator.domain, **attributes)
    except GraphError as error:
        [fault] = error.faults
        assert fault.message
    else:
        assert len(made) == outputs
        for symbol in made:
            assert isinstance(symbol.type, Type)
            assert symbol.dtype in ONNX_DTYPES.values()
            assert all(isinstance(dim, str) or (isinstance(dim, int) and dim >= 0) for dim in symbol.shape)
            np.dtype(symbol.dtype)
