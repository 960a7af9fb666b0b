"""Models that end the process in which the onnx library looks at them: ours goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from converters.onnx import import_onnx
from portable_nn.core.errors import FormatError
from portable_nn.onnx.library.isolated import LibraryError, infer_shapes, inline_standard_function
from portable_nn.onnx.session import Session
from portable_nn.outputs.reports import inspect


def model(*nodes: onnx.NodeProto, shape: tuple[int | str, ...] = (2, 3)) -> onnx.ModelProto:
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    graph = helper.make_graph(nodes, "g", [given], [onnx.ValueInfoProto(name="y")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


RELU = helper.make_node("Relu", ["x"], ["y"])


def backwards(axis: int, size: int) -> list[onnx.NodeProto]:
    """A slice of the last axis whose steps go back."""
    numbers = {"start": [size - 1], "end": [-size - 1], "axes": [axis], "step": [-1]}
    constants = [
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, TensorProto.INT64, [1], value))
        for name, value in numbers.items()
    ]
    return [*constants, helper.make_node("Slice", ["x", "start", "end", "axes", "step"], ["y"], "back")]


ENDS = model(*backwards(1, 4), shape=(2, -1))
"""The code of most builds of the library has an assertion that the size is not negative (onnx 1.23)."""


def shape_of(found: onnx.ModelProto) -> list[int]:
    return [dim.dim_value for dim in found.graph.output[0].type.tensor_type.shape.dim]


def test_answers_are_those_of_the_library() -> None:
    assert infer_shapes(model(RELU)) == onnx.shape_inference.infer_shapes(model(RELU))
    assert shape_of(infer_shapes(model(*backwards(1, 3)), strict=True)) == [2, 3]


def test_what_the_library_says_is_reported() -> None:
    with pytest.raises(LibraryError, match=r"(?s)ShapeInferenceError.*Flatten"):
        infer_shapes(model(helper.make_node("Flatten", ["x"], ["y"], axis=7)), strict=True)


def test_a_definition_of_the_standard() -> None:
    found = inline_standard_function(model(helper.make_node("Softplus", ["x"], ["y"])), "", "Softplus")
    assert [node.op_type for node in found.graph.node] == ["Exp", "Constant", "CastLike", "Add", "Log"]


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs the timers of Unix")
def test_a_model_on_which_the_library_never_ends() -> None:
    """It looks for the next letter of this equation forever (onnx 1.23)."""
    with pytest.raises(LibraryError, match=r"^it took more than 5 s$"):
        infer_shapes(model(helper.make_node("Einsum", ["x"], ["y"], equation="b.b")))
    assert shape_of(infer_shapes(model(RELU))) == [2, 3]


@pytest.mark.parametrize("equation", ["b.b", "b.b->b", "ij\0", "ij->i\t.", "ab..->t", ">C...,C..."])
def test_equations_on_which_libraries_never_end_are_refused(tmp_path: Path, equation: str) -> None:
    inside = helper.make_graph(
        [helper.make_node("Einsum", ["x"], ["a"], "sum", equation=equation)],
        "branch",
        [],
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, None)],
    )
    condition = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    for number, nodes in enumerate(
        [
            [helper.make_node("Einsum", ["x"], ["y"], "sum", equation=equation)],
            [condition, helper.make_node("If", ["c"], ["y"], then_branch=inside, else_branch=inside)],
        ]
    ):
        path = tmp_path / f"{number}.onnx"
        onnx.save(model(*nodes), path)
        for read in (Session, import_onnx, inspect):
            with pytest.raises(FormatError, match=r"'sum' \(Einsum\): equation .* which is not letters and at most"):
                read(path)


@pytest.mark.parametrize("is_default", [False, True])
def test_neither_does_a_function_get_one(tmp_path: Path, is_default: bool) -> None:
    """The equation is an attribute of a function that another one calls, under another name each time."""
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    einsum, inner = helper.make_node("Einsum", ["x"], ["y"]), helper.make_node("Inner", ["x"], ["y"], domain="own")
    for node, own, name in ((einsum, "equation", "a"), (inner, "a", "b")):
        node.attribute.add(name=own, type=onnx.AttributeProto.STRING, ref_attr_name=name)
    defaults = [helper.make_attribute("b", "b.b")] if is_default else []
    functions = [
        helper.make_function("own", "Inner", ["x"], ["y"], [einsum], domains, ["a"]),
        helper.make_function("own", "Outer", ["x"], ["y"], [inner], domains, [] if is_default else ["b"], defaults),
    ]
    called = helper.make_node("Outer", ["x"], ["y"], "sum", domain="own", **({} if is_default else {"b": "b.b"}))
    whole = model(called)
    whole.opset_import.add(domain="own", version=1)
    whole.functions.extend(functions)
    onnx.save(whole, tmp_path / "m.onnx")
    for read in (Session, import_onnx, inspect):
        with pytest.raises(FormatError, match=r"\(Einsum\): equation 'b\.b' has the term"):
            read(tmp_path / "m.onnx")


def test_an_einsum_of_another_domain_may_have_any_equation(tmp_path: Path) -> None:
    onnx.save(model(helper.make_node("Einsum", ["x"], ["y"], domain="own", equation="b.b")), tmp_path / "m.onnx")
    assert inspect(tmp_path / "m.onnx").nodes[0].operator == "own.Einsum"


@pytest.mark.long
def test_a_model_that_ends_the_process_is_no_end_of_this_one() -> None:
    for _ in range(2):
        with suppress(LibraryError):
            infer_shapes(ENDS)
        assert shape_of(infer_shapes(model(RELU))) == [2, 3]


@pytest.mark.long
@pytest.mark.parametrize("command", [["import"], ["inspect"], ["check"], ["size", "net"]])
def test_commands_tell_of_such_a_model(tmp_path: Path, command: list[str]) -> None:
    """The operator that nobody knows makes that the library is asked."""
    unheard = helper.make_node("Unheard", ["x"], ["z"], domain="some")
    onnx.save(model(unheard, *backwards(1, 4), shape=(2, -1)), tmp_path / "m.onnx")
    out = ["out.h5"] if command == ["import"] else []
    found = subprocess.run(
        [sys.executable, "-m", "portable_nn", *command, "m.onnx", *out],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == {"import": 3, "inspect": 0, "check": 1, "size": 0}[command[0]], found.stderr
    assert "Unheard" in found.stdout + found.stderr
    assert "Traceback" not in found.stderr
