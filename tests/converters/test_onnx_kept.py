"""Nothing is lost between two ONNX files: whatever a file of another tool says is there again, or listed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import Message
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.format import Documentation, ModelOrigin, Remark, ValueRemark
from portable_nn.onnx.remarks import documentation as collecting
from portable_nn.opening.convert import convert

# -- comparing by reflection

BY_NAME = {
    "node": "name",
    "initializer": "name",
    "input": "name",
    "output": "name",
    "value_info": "name",
    "metadata_props": "key",
    "opset_import": "domain",
    "attribute": "name",
}
"""Lists whose order means nothing, or where an entry is better found by its name; and the field that names it."""

DATA = {field.name for field in TensorProto.DESCRIPTOR.fields} - {"name", "doc_string", "metadata_props", "segment"}


def differences(one: Message, other: Message, path: str = "") -> Iterator[str]:
    """Every field that differs, by its path. Of tensors, it is the bits that count and not the field they are in."""
    fields = [field for field in one.DESCRIPTOR.fields if not (isinstance(one, TensorProto) and field.name in DATA)]
    if isinstance(one, TensorProto) and bits(one) != bits(other):
        yield f"{path}.data"
    for field in fields:
        here = f"{path}.{field.name}" if path else field.name
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.message_type is None:
            if ours != theirs:
                yield here
        elif isinstance(ours, Message):
            if one.HasField(field.name) != other.HasField(field.name):
                yield here
            elif one.HasField(field.name):
                yield from differences(ours, theirs, here)
        elif field.name in BY_NAME:
            key = BY_NAME[field.name]
            mine, others = ({getattr(each, key): each for each in side} for side in (ours, theirs))
            yield from (f"{here}[{name}]" for name in sorted(mine.keys() ^ others.keys()))
            for name in sorted(mine.keys() & others.keys()):
                yield from differences(mine[name], others[name], f"{here}[{name}]")
        elif len(ours) != len(theirs):
            yield here
        else:
            for place, (mine, another) in enumerate(zip(ours, theirs, strict=True)):
                yield from differences(mine, another, f"{here}[{place}]")


def bits(tensor: TensorProto) -> tuple[Any, ...]:
    array = numpy_helper.to_array(tensor)
    return array.dtype, array.shape, array.tobytes()


OURS = {
    "ir_version", "opset_import[].version", "producer_name", "producer_version",
    "metadata_props[portable_nn]", "metadata_props[portable_nn.sha256]",
}  # fmt: skip
"""What is that of the file that was written, and not of the one that was read."""


def there_and_back(model: ModelProto, folder: Path, *suffixes: str) -> ModelProto:
    """``model`` read, kept in weight files of these kinds one after the other, and written again."""
    network = read_onnx(model, verify=False).network
    for suffix in suffixes:
        network.save(folder / f"kept{suffix}")
        network = pnn.load(folder / f"kept{suffix}")
    export_onnx(network, folder / "again.onnx", opset=model.opset_import[0].version, verify=False)
    return onnx.load(folder / "again.onnx")


def lost(one: ModelProto, other: ModelProto) -> set[str]:
    return set(differences(one, other)) - OURS


# -- a file with something everywhere


def says(proto: Any, what: str) -> Any:
    """``proto`` with documentation and metadata."""
    proto.doc_string = f"{what}:\n\t“documentation” \x1b[2J\x00é"
    helper.set_model_props(proto, {"tool.z": what, "a": "", "tool.namespace": f"{what}/b: {{}}"})
    return proto


def value(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> ValueInfoProto:
    return says(helper.make_tensor_value_info(name, kind, shape), f"value {name}")


def node(operator: str, inputs: list[str], outputs: list[str], name: str, **attributes: Any) -> NodeProto:
    return says(helper.make_node(operator, inputs, outputs, name, **attributes), f"node {name}")


def tensor(name: str, array: Any) -> TensorProto:
    return says(numpy_helper.from_array(np.asarray(array), name), f"tensor {name}")


MASK = np.frombuffer(bytes.fromhex("0100c07f 000080ff 00000080 ddccbbff"), "<f4")
"""A NaN with a payload, minus infinity, minus zero, and a signalling NaN."""


def rich() -> ModelProto:
    """Weights in several types and fields, sizes with names, and a remark on every part."""
    rng = np.random.default_rng(0)
    typed = helper.make_tensor("bias", TensorProto.FLOAT, [3], [0.5, -0.0, 1e-40])
    half = TensorProto(name="half", data_type=TensorProto.FLOAT16, dims=[3], int32_data=[0x8000, 0x0001, 0x3C00])
    nodes = [
        node("MatMul", ["x", "encoder/weight"], ["h:0"], "encoder/MatMul"),
        node("Add", ["h:0", "bias"], ["/act/out"], "encoder/Add"),
        node("Cast", ["half"], ["wide"], "cast", to=TensorProto.FLOAT),
        node("Add", ["/act/out", "wide"], ["sum"], "add"),
        node("Reshape", ["sum", "shape"], ["scores"], "reshape"),
        node("Max", ["m", "mask"], ["masked"], "max"),
    ]
    graph = helper.make_graph(
        nodes,
        "un graphe",
        [value("x", ["batch", 4]), value("m", ["time", 4])],
        [value("scores", ["rows", 3]), value("masked", ["time", 4])],
        [
            tensor("encoder/weight", rng.normal(size=(4, 3)).astype(np.float32)),
            says(typed, "bias"),
            says(half, "half"),
            tensor("shape", np.array([-1, 3])),
            tensor("mask", MASK),
        ],
        value_info=[value("sum", ["batch", 3]), value("h:0", ["N", 3])],
    )
    says(graph, "graph")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model.producer_name, model.producer_version, model.domain, model.model_version = "painter", "2.0", "org.x", 7
    return says(model, "model")


@pytest.mark.parametrize("suffixes", [(), (".safetensors",), (".h5",), (".h5", ".safetensors")], ids=str)
def test_a_file_with_something_everywhere_comes_back_field_by_field(tmp_path: Path, suffixes: tuple[str, ...]) -> None:
    model = rich()
    onnx.checker.check_model(model)
    assert read_onnx(model, verify=False).notes == ()
    assert lost(model, there_and_back(model, tmp_path, *suffixes)) == set()


def test_the_bits_of_what_is_no_number_are_kept(tmp_path: Path) -> None:
    again = there_and_back(rich(), tmp_path, ".safetensors")
    [mask] = [each for each in again.graph.initializer if each.name == "mask"]
    assert mask.raw_data == bytes.fromhex("0100c07f 000080ff 00000080 ddccbbff")
    network = import_onnx(rich(), verify=False)
    assert [each.name for each in network.graph.parameters if not each.trainable] == ["half", "mask"]


def test_what_the_network_knows_of_it() -> None:
    found = import_onnx(rich(), verify=False).documentation
    assert found.origin == ModelOrigin(
        producer="painter", producer_version="2.0", domain="org.x", model_version=7, ir_version=8, opset=17
    )
    assert found.nodes["add"].properties == {"tool.z": "node add", "a": "", "tool.namespace": "node add/b: {}"}
    assert found.values["shape"].doc.startswith("tensor shape:\n")
    assert (found.values["scores"].sizes, found.values["h:0"].sizes) == (("rows", ""), ("N", ""))
    assert found.initializers == ("shape",)
    assert found.graph is not None
    assert found.graph.doc.startswith("graph:")


def test_a_file_that_was_written_is_read_as_it_was_and_written_as_it_is(tmp_path: Path) -> None:
    there_and_back(rich(), tmp_path)
    found = read_onnx(tmp_path / "again.onnx", verify=False)
    assert found.notes == ()
    assert found.network.documentation == import_onnx(rich(), verify=False).documentation
    export_onnx(found.network, tmp_path / "third.onnx", verify=False)
    assert (tmp_path / "third.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: setattr(graph.node[0], "doc_string", "another"),
        lambda graph: setattr(graph.initializer[-1], "raw_data", np.array([0, 3]).tobytes()),
    ],
)
def test_a_remark_or_constant_that_was_changed_on_purpose_is_believed(
    tmp_path: Path, change: Callable[[Any], object]
) -> None:
    model = there_and_back(rich(), tmp_path)
    assert model.graph.initializer[-1].name == "shape"
    change(model.graph)
    with pytest.raises(FormatError, match="is damaged"):
        read_onnx(model, verify=False)
    export_onnx(import_onnx(model, verify=False, edited=True), tmp_path / "again.onnx", verify=False)
    again = onnx.load(tmp_path / "again.onnx")
    assert not {each for each in differences(model.graph, again.graph) if not each.startswith("output[scores].type")}


def test_a_remark_that_another_tool_added_is_kept_and_one_that_it_dropped_comes_back(tmp_path: Path) -> None:
    model = there_and_back(rich(), tmp_path)
    model.graph.initializer[0].metadata_props.add(key="k", value="v")
    [note, *_] = read_onnx(model, verify=False).notes
    assert "has documentation that was not written with it" in note
    again = there_and_back(model, tmp_path)
    assert not {each for each in differences(model.graph, again.graph) if not each.startswith("output[scores].type")}
    model = there_and_back(rich(), tmp_path)
    model.graph.node[0].doc_string = ""
    assert read_onnx(model, verify=False).network.documentation == import_onnx(rich(), verify=False).documentation


# -- any texts

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.mark.long
@settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(st.data())
def test_any_texts_come_back(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    model = rich()
    graph = model.graph
    for proto in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        proto.doc_string = data.draw(TEXTS)
        helper.set_model_props(proto, data.draw(st.dictionaries(TEXTS, TEXTS, max_size=2)))
    sizes = data.draw(st.lists(st.sampled_from(["batch", "N", "é", "2*batch", "a b"]), min_size=3, max_size=3))
    for each, name in zip((graph.output[0], *graph.value_info), sizes, strict=True):
        each.type.tensor_type.shape.dim[0].dim_param = name
    again = there_and_back(model, tmp_path_factory.mktemp("any"), ".safetensors")
    kept = {each.name for each in graph.value_info if each.doc_string or each.metadata_props}
    left = {f"graph.value_info[{each.name}]" for each in graph.value_info} - {f"graph.value_info[{n}]" for n in kept}
    assert lost(model, again) <= left


# -- what is dropped


def two_nodes(**options: Any) -> ModelProto:
    """y = relu(x) + 1, without a remark."""
    nodes = [helper.make_node("Relu", ["x"], ["h"], "relu"), helper.make_node("Add", ["h", "one"], ["y"], "add")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.ones(2, np.float32), "one")],
    )
    return helper.make_model(graph, **{"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8} | options)


Change = Callable[[ModelProto], object]

DROPPED: dict[str, tuple[Change, tuple[str, ...]]] = {
    "nothing": (lambda model: None, ()),
    "training": (lambda model: model.training_info.add(), ("dropped: training_info of the model",)),
    "devices": (
        lambda model: model.configuration.add(name="two", num_devices=2), ("dropped: configuration of the model",),
    ),
    "other domains": (
        lambda model: model.opset_import.extend([helper.make_opsetid("com.microsoft", 1)]),
        ("dropped: versions of operators, of which none is left (1): 'com.microsoft 1'",),
    ),
    "metadata twice": (
        lambda model: [model.metadata_props.add(key="k", value=text) for text in "ab"],
        ("dropped: entries of the metadata, as there is another one with their key (1): 'k'",),
    ),
    "a doc_string in the metadata": (
        lambda model: [model.metadata_props.add(key="doc_string", value="a"), setattr(model, "doc_string", "b")],
        ("dropped: doc_string of the model, as there is an entry of that name in its metadata",),
    ),
    "quantization": (
        lambda model: model.graph.quantization_annotation.add(tensor_name="h"),
        ("dropped: quantization_annotation of the graph",),
    ),
    "overload": (
        lambda model: setattr(model.graph.node[0], "overload", "o"), ("dropped: overload of nodes (1): 'relu'",),
    ),
    "devices of nodes": (
        lambda model: [node.device_configurations.add(configuration_id="c") for node in model.graph.node],
        ("dropped: device_configurations of nodes (2): 'relu', 'add'",),
    ),
    "documentation of attributes": (
        lambda model: model.graph.node.extend(
            [NodeProto(op_type="Elu", name="elu", input=["h"], output=["e"], attribute=[
                onnx.AttributeProto(name="alpha", type=onnx.AttributeProto.FLOAT, f=2, doc_string="d"),
            ])]
        ),
        ("dropped: doc_string of attributes (1): 'elu.alpha'",),
    ),
    "names of tensors in attributes": (
        lambda model: model.graph.node.extend(
            [helper.make_node("Constant", [], ["c"], "c", value=helper.make_tensor("t", TensorProto.FLOAT, [1], [1]))]
        ),
        ("dropped: name of tensors in attributes (1): 'c.value'",),
    ),
    "denotations": (
        lambda model: [
            setattr(model.graph.input[0].type, "denotation", "IMAGE"),
            setattr(model.graph.input[0].type.tensor_type.shape.dim[0], "denotation", "DATA_BATCH"),
        ],
        ("dropped: denotation of sizes of values (1): 'x'", "dropped: denotation of types of values (1): 'x'"),
    ),
    "types in between": (
        lambda model: model.graph.value_info.extend(
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("h", "nobody")]
        ),
        (
            "types of intermediate values are computed when the file is read, and not stored (1): 'h'",
            "dropped: types of values, which no node makes (1): 'nobody'",
        ),
    ),
    "initializers among the inputs": (
        lambda model: model.graph.input.append(helper.make_tensor_value_info("one", TensorProto.FLOAT, [2])),
        ("initializers that are no inputs any more (1): 'one'",),
    ),
    "two remarks on one value": (
        lambda model: [
            setattr(model.graph.output[0], "doc_string", "a"),
            model.graph.value_info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None, "b")),
        ],
        ("dropped: a second documentation of values (1): 'y'",),
    ),
    "two nodes of one name": (
        lambda model: setattr(model.graph.node[1], "name", "relu"),
        ("dropped: names of nodes, which several nodes have (1): 'relu'",),
    ),
    "another shape of an output": (
        lambda model: setattr(model.graph.output[0].type.tensor_type.shape.dim[0], "dim_value", 3),
        ("the shape of output 'y' is (n, 2), and not (3, 2) as the file says",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DROPPED)
def test_what_is_dropped_is_listed(case: str) -> None:
    change, expected = DROPPED[case]
    model = two_nodes()
    change(model)
    assert read_onnx(model, verify=False).notes == expected


def test_every_field_of_a_model_is_kept_or_listed() -> None:
    """The table that says so has no field that the standard lacks, and every message that it names is one."""
    from portable_nn.onnx.remarks.dropped import _KEPT

    kinds = {
        kind.DESCRIPTOR.name: kind
        for kind in (
            ModelProto,
            onnx.GraphProto,
            NodeProto,
            onnx.AttributeProto,
            TensorProto,
            ValueInfoProto,
            onnx.TypeProto,
            onnx.TypeProto.Tensor,
            onnx.TensorShapeProto,
            onnx.TensorShapeProto.Dimension,
        )
    }
    assert {name.removesuffix(" of an attribute") for name in _KEPT} == kinds.keys()
    for name, (_, kept) in _KEPT.items():
        assert kept <= {field.name for field in kinds[name.removesuffix(" of an attribute")].DESCRIPTOR.fields}


def test_nodes_that_are_computed_or_read_in_another_form_are_listed() -> None:
    nodes = [
        says(helper.make_node("Reshape", ["sizes", "two"], ["t"], "pair"), "pair"),
        says(helper.make_node("Reshape", ["t", "one"], ["u"], "flat"), "flat"),
        says(helper.make_node("Reshape", ["x", "u"], ["r"], "reshape"), "reshape"),
        says(helper.make_node("Softmax", ["r"], ["y"], "softmax"), "softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
        [
            numpy_helper.from_array(np.array(array), name)
            for name, array in [("sizes", [2, 3]), ("two", [1, 2]), ("one", [2])]
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    found = read_onnx(model)
    assert found.notes == (
        "nodes folded into constants (1): 'flat'",
        "dropped: nodes, as nothing needs them any more (1): 'pair'",
        "nodes converted from opset 11 (1): 'softmax'",
        "dropped: documentation of nodes, as they are not there any more (1): 'pair'",
        "dropped: values, as nothing needs them any more (4): 'sizes', 'two', 'one', 't'",
    )
    documented = found.network.documentation.nodes
    assert documented.keys() == {"flat", "reshape", "softmax"}


def test_labels_that_are_written_otherwise_are_listed() -> None:
    model = two_nodes()
    helper.set_model_props(model, {"labels": "cat,dog"})
    assert read_onnx(model, verify=False).notes == ("the labels in the metadata are written as a JSON list",)
    helper.set_model_props(model, {"labels": '["cat", "dog"]'})
    assert read_onnx(model, verify=False).notes == ()


def test_more_documentation_than_a_manifest_holds_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_nodes()
    says(model.graph.node[0], "relu")
    monkeypatch.setattr(collecting.collect, "__kwdefaults__", {"most": 10})
    found = read_onnx(model, verify=False)
    assert found.notes == (
        "dropped: documentation of the graph, its nodes and values, as it is longer than a manifest may be",
    )
    assert found.network.documentation.nodes == {}


# -- what is not written


def test_what_an_older_version_says_otherwise_is_listed(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.LayerNorm(), pnn.Dense(2), seed=0)
    name = net.graph.nodes[0].name
    net.documentation.nodes[name] = Remark("normalises")
    assert export_onnx(net, tmp_path / "17.onnx", opset=17).notes == ()
    report = export_onnx(net, tmp_path / "13.onnx", opset=13)
    assert report.notes == (f"written as other operators, which this opset has (1): '{name}'",)
    [described] = [each for each in onnx.load(tmp_path / "13.onnx").graph.node if each.name == name]
    assert described.doc_string == "normalises"


def test_where_a_network_comes_from_is_reported_when_it_is_written(tmp_path: Path) -> None:
    network = import_onnx(two_nodes(producer_name="painter"), verify=False)
    assert export_onnx(network, tmp_path / "a.onnx", opset=13).notes == (
        "the network comes from a file of opset 17 and IR version 8, written by painter: here they are 13 and 7",
    )
    plain = import_onnx(two_nodes(), verify=False)
    assert export_onnx(plain, tmp_path / "b.onnx").notes == ()


# -- networks of this package


def test_a_native_file_comes_back_byte_by_byte(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), pnn.ReLU(), pnn.Dense(2), labels=["a", "b"], seed=0)
    net.documentation.nodes["dense_1"] = Remark("first", {"author": "me"})
    net.documentation.values[net.graph.outputs[0]] = ValueRemark("scores", sizes=("examples", ""))
    for opset in (13, 17, 25):
        export_onnx(net, tmp_path / "a.onnx", opset=opset)
        found = read_onnx(tmp_path / "a.onnx")
        assert found.notes == ()
        assert export_onnx(found.network, tmp_path / "b.onnx", opset=opset).notes == ()
        assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    net.save(tmp_path / "a.safetensors")
    pnn.load(tmp_path / "a.safetensors").save(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


@pytest.mark.parametrize("suffix", ["safetensors", "h5", "npz", "onnx"])
def test_documentation_is_converted(tmp_path: Path, suffix: str) -> None:
    onnx.save(rich(), tmp_path / "a.onnx")
    found = convert(tmp_path / "a.onnx", tmp_path / f"b.{suffix}", verify=False)
    back = convert(found.target, tmp_path / "back.safetensors", verify=False)
    assert pnn.load(back.target).documentation == import_onnx(rich(), verify=False).documentation


def test_training_leaves_the_documentation_as_it_is(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    before = Documentation(graph=Remark("a graph"), nodes={net.graph.nodes[0].name: Remark("a layer")})
    net.documentation = before
    net.fit(np.zeros((4, 2), np.float32), np.zeros(4, int), epochs=1, optimizer=pnn.SGD(0.1), loss="cross_entropy")
    assert net.documentation == before
    net.save(tmp_path / "a.h5")
    assert pnn.load(tmp_path / "a.h5").documentation == before


def test_what_is_cut_off_takes_its_documentation_along() -> None:
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(3), pnn.ReLU(), pnn.Dense(2), seed=0)
    first, *_, last = (node.name for node in net.graph.nodes)
    net.documentation.nodes.update({first: Remark("stays"), last: Remark("goes")})
    assert net.until(first).documentation.nodes == {first: Remark("stays")}
    assert net.documentation.nodes.keys() == {first, last}


def test_documentation_of_nothing_cannot_be_saved(tmp_path: Path) -> None:
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    net.documentation.nodes["hiden"] = Remark("?")
    with pytest.raises(UsageError, match="the documentation has a node 'hiden', which the graph does not have"):
        net.save(tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_a_network_without_documentation_has_none_in_its_manifest() -> None:
    net = pnn.Sequential(pnn.Input(2), pnn.Dense(2), seed=0)
    assert net.documentation == Documentation()
    assert b"documentation" not in pnn.format.manifest.encode(net.manifest())


def test_commands_print_the_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from portable_nn.cli import main

    model = two_nodes(producer_name="painter")
    model.training_info.add()
    for place in range(200):
        model.graph.node.append(helper.make_node("Relu", ["x"], [f"r{place}"], f"r{place}"))
        model.graph.node[-1].overload = "o"
    onnx.save(model, tmp_path / "a.onnx")

    def call(*arguments: str) -> tuple[str, str]:
        assert main([*arguments, "--format", "json", "--verify", "none"]) == 0
        return capsys.readouterr()

    out, err = call("import", f"{tmp_path}/a.onnx", f"{tmp_path}/a.safetensors")
    assert "dropped: training_info of the model\n" in err
    assert "dropped: overload of nodes (200): 'r0', 'r1', " in err
    assert "… (all of it: --format json)\n" in err
    assert "'r199'" not in err
    [note] = [note for note in json.loads(out)["notes"] if "overload" in note]
    assert note.endswith("'r199'")
    out, err = call("export", f"{tmp_path}/a.safetensors", f"{tmp_path}/b.onnx", "--opset", "13")
    note = "the network comes from a file of opset 17 and IR version 8, written by painter: here they are 13 and 7"
    assert note in err
    assert note in json.loads(out)["notes"]
    out, err = call("convert", f"{tmp_path}/a.onnx", f"{tmp_path}/c.h5")
    assert "dropped: training_info of the model\n" in err
    assert "dropped: training_info of the model" in json.loads(out)["notes"]
