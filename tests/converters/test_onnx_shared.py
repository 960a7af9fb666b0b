"""What PyTorch's newer exporter leaves of a model: merged weights, stack traces, sequences; models without outputs."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import GraphProto, ModelProto, TensorProto, helper

from portable_nn.cli import main
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import FormatError, PortableNNError, UnsupportedError
from portable_nn.onnx.roles import shared


def exported(path: Path, *, optimize: bool, tied: bool = False) -> Path:
    """Two LayerNorms whose weights are all ones, between dense layers."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")

    class Model(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first, self.dense, self.last = torch.nn.LayerNorm(8), torch.nn.Linear(8, 8), torch.nn.LayerNorm(8)
            if tied:
                self.last = self.first

        def forward(self, x: Any) -> Any:
            return self.last(torch.relu(self.dense(self.first(x))))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Model().eval(), (torch.randn(2, 8),), dynamo=True, optimize=optimize, verbose=False).save(
            path
        )
    return path


def notes_on_shared(path: Path) -> list[str]:
    return [note for note in read_onnx(path).notes if "several nodes share" in note]


@pytest.mark.long
def test_merged_weights_are_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = exported(tmp_path / "merged.onnx", optimize=True)
    [note] = notes_on_shared(path)
    model = onnx.load(path)
    first, last = (node for node in model.graph.node if node.op_type == "LayerNormalization")
    assert list(first.input[1:]) == list(last.input[1:])  # The exporter has merged them.
    for name in first.input[1:]:
        assert f"'{name}' of '{first.name}' and '{last.name}'" in note
    assert "optimize=False" in note
    assert main(["import", str(path), str(tmp_path / "m.safetensors"), "--format", "json"]) == 0
    assert note in json.loads(capsys.readouterr().out)["notes"]


@pytest.mark.long
def test_weights_kept_apart_have_no_note_and_tied_ones_the_same(tmp_path: Path) -> None:
    assert notes_on_shared(exported(tmp_path / "apart.onnx", optimize=False)) == []
    assert len(notes_on_shared(exported(tmp_path / "tied.onnx", optimize=False, tied=True))) == 1


def test_a_weight_whose_shape_alone_another_node_reads_is_not_shared() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "dense"), helper.make_node("Shape", ["w"], ["n"], "shape")]
    graph = helper.make_graph(nodes, "g", [], [])
    assert [*shared(graph, {"w"})] == []
    graph.node.append(helper.make_node("MatMul", ["y", "w"], ["z"], "again"))
    assert ["'w' of 'dense' and 'again'" in note for note in shared(graph, {"w"})] == [True]


@pytest.mark.long
def test_stack_traces_stay_with_their_author(tmp_path: Path) -> None:
    path = exported(tmp_path / "traced.onnx", optimize=False)
    model = onnx.load(path)
    assert Path(__file__).name.encode() in path.read_bytes()  # The exporter wrote it.
    node = model.graph.node[0]
    node.doc_string = f"# {__file__}:12:0"
    onnx.save(model, path)
    network = import_onnx(path)
    network.save(tmp_path / "n.safetensors")
    export_onnx(network, tmp_path / "n.onnx")
    for name in ("n.safetensors", "n.onnx"):
        assert Path(__file__).name.encode() not in (tmp_path / name).read_bytes()
    kept = network.documentation.nodes[node.name].properties
    assert kept["pkg.torch.onnx.name_scopes"] == next(
        entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"
    )


def test_what_follows_from_an_unsupported_node_is_no_fault_of_its_own(tmp_path: Path) -> None:
    """A split into a sequence, of which an input says the part; its size is made up by inference."""
    nodes = [
        helper.make_node("SplitToSequence", ["x", "parts"], ["s"], name="split", axis=1),
        helper.make_node("SequenceAt", ["s", "i"], ["y"], name="at"),
        helper.make_node("Conv", ["y", "w"], ["z"], name="conv"),
    ]
    tensors = [
        helper.make_tensor("parts", TensorProto.INT64, [2], [2, 2]),
        helper.make_tensor("w", TensorProto.FLOAT, [1, 2, 1, 1], [1, 2]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 5, 5])
    i = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x, i], [z], tensors)), path)
    with pytest.raises(UnsupportedError) as error:
        read_onnx(path)
    assert "SplitToSequence" in str(error.value)
    assert "SequenceAt" in str(error.value)
    assert "Conv" not in str(error.value)


@pytest.mark.parametrize("sizes", [3, [1, 3, 4], [2, 2, 4]], ids=str)
def test_parts_of_a_split_into_a_sequence_are_slices(sizes: int | list[int], tmp_path: Path) -> None:
    """As onnxruntime computes them: parts of one size, of which the last is smaller, and parts of several sizes."""
    shape = [] if isinstance(sizes, int) else [len(sizes)]
    tensors = [helper.make_tensor("sizes", TensorProto.INT64, shape, [sizes] if isinstance(sizes, int) else sizes)]
    tensors += [helper.make_tensor(f"place_{place}", TensorProto.INT64, [], [place]) for place in range(3)]
    nodes = [helper.make_node("SplitToSequence", ["x", "sizes"], ["s"], name="split", axis=-1)]
    nodes += [helper.make_node("SequenceAt", ["s", f"place_{i}"], [f"y_{i}"], name=f"at_{i}") for i in range(3)]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])
    outputs = [helper.make_tensor_value_info(f"y_{i}", TensorProto.FLOAT, None) for i in range(3)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], outputs, tensors))
    model.opset_import[0].version, model.ir_version = 18, 9
    onnx.save(model, tmp_path / "m.onnx")
    found = read_onnx(tmp_path / "m.onnx")  # Compared with onnxruntime.
    assert [node.operator for node in found.network.graph.nodes if node.operator != "Constant"] == ["Slice"] * 3
    assert "sequences of tensors replaced by slices: s" in found.notes
    assert max(each.max_abs_error for each in found.outputs.values()) == 0


@pytest.mark.parametrize("kind", ["no outputs", "no inputs", "one input", "sizes that their shape does not hold"])
def test_damaged_parts_of_a_sequence_are_refused(kind: str) -> None:
    nodes = [
        helper.make_node("SplitToSequence", ["x", "sizes"], ["s"]),
        helper.make_node("SequenceAt", ["s", "i"], ["y"]),
    ]
    tensors = [helper.make_tensor(name, TensorProto.INT64, [], [1]) for name in ("sizes", "i")]
    if kind == "no outputs":
        del nodes[0].output[:]
    elif kind.startswith("sizes"):
        tensors[0].dims.append(2**62)
    else:
        del nodes[1].input[kind == "one input" :]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
    with pytest.raises(PortableNNError):
        import_onnx(helper.make_model(helper.make_graph(nodes, "g", [x], [y], tensors)), verify=False)


OPTIONAL = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 4]))
X, Y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
GET, HAS = "OptionalGetElement", "OptionalHasElement"


def branch(operator: str, read: str) -> GraphProto:
    result = helper.make_tensor_value_info(f"of{operator}", TensorProto.FLOAT, ["n", 4])
    return helper.make_graph([helper.make_node(operator, [read], [f"of{operator}"])], operator, [], [result])


def optionals(*nodes: Any, x: Any = X, y: Any = Y) -> ModelProto:
    """A model whose nodes are lists: an operator, what it reads, and what it makes; its attributes, if any."""
    made = [helper.make_node(name, of.split(), [to], **dict(*more)) for name, of, to, *more in nodes]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0])
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(helper.make_graph(made, "g", [x], [y], [zero]), opset_imports=opsets, ir_version=8)


EMPTY = ("Optional", "", "o", {"type": helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", 4])})
GIVEN, MADE = (helper.make_value_info(name, OPTIONAL) for name in "xy")


@pytest.mark.parametrize(
    ("model", "operators"),
    [
        (optionals((GET, "x", "y"), x=GIVEN), ["Identity"]),
        (optionals(("Neg", "x", "k"), ("Optional", "k", "y"), y=MADE), ["Neg", "Identity"]),
        (
            optionals(("Optional", "x", "o"), (HAS, "o", "c"), (GET, "o", "k"), ("Where", "c k zero", "y")),
            ["Identity", "Identity", "Where"],
        ),
        (optionals(EMPTY, (HAS, "o", "c"), ("Where", "c x zero", "y")), ["Where"]),
        (
            optionals(
                (HAS, "x", "c"),
                ("If", "c", "y", {"then_branch": branch(GET, "x"), "else_branch": branch("Neg", "zero")}),
                x=GIVEN,
            ),
            ["Identity"],
        ),
        (
            optionals(
                EMPTY, (HAS, "o", "c"),
                ("If", "c", "y", {"then_branch": branch(GET, "o"), "else_branch": branch("Neg", "x")}),
            ),
            ["Neg"],
        ),
    ],
    ids=["an input", "an output", "there", "not there", "a branch for what is there", "a branch for what is not there"],
)  # fmt: skip
def test_optionals_of_which_is_known_if_they_are_there(model: ModelProto, operators: list[str]) -> None:
    found = read_onnx(model)  # Compared with onnxruntime.
    assert [node.operator for node in found.network.graph.nodes if node.operator != "Constant"] == operators
    assert any("optional values" in note for note in found.notes)
    assert max(each.max_abs_error for each in found.outputs.values()) == 0


@pytest.mark.parametrize(
    "model",
    [
        optionals(EMPTY, (GET, "o", "y")),
        optionals(EMPTY, ("Identity", "o", "i"), (HAS, "i", "c"), ("Where", "c x zero", "y")),
        optionals(EMPTY, ("Identity", "o", "y")),
    ],
    ids=["the element of none", "one that is passed on", "an output"],
)
def test_an_optional_that_may_not_be_there_is_refused(model: ModelProto) -> None:
    with pytest.raises(UnsupportedError, match=r"operator 'Optional' .* in 1 node: o"):
        import_onnx(model, verify=False)


def test_a_model_without_outputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    model = helper.make_model(helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [x], []))
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    for verify in (True, False):
        with pytest.raises(FormatError, match="has no outputs"):
            import_onnx(path, verify=verify)
    assert main(["import", str(path), str(tmp_path / "m.safetensors")]) == 3
    assert "has no outputs" in capsys.readouterr().err
    assert not (tmp_path / "m.safetensors").exists()
