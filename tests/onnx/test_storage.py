"""Models whose tensors stay in the file until they are needed; the onnx package, which reads all, is the other side."""

from __future__ import annotations

import itertools
import os
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from bounded import bounded
from onnx import ModelProto, TensorProto, helper, numpy_helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import FormatError, PortableNNError, UnsupportedError, VerificationError
from portable_nn.onnx.storage.files import opening_model
from portable_nn.onnx.storage.tensors import from_tensor
from portable_nn.onnx.storage.wire import GroupError, WireError, without_data

RNG = np.random.default_rng(0)
DTYPES = ("float32", "float64", "float16", "int8", "int64", "uint16", "bool")


def dense(sizes: list[int], *, constants: bool = False) -> ModelProto:
    """A chain of MatMul and Tanh, its weights as initializers or as Constant nodes."""
    pairs = list(pairwise(sizes))
    tensors = [
        numpy_helper.from_array(RNG.normal(0, m**-0.5, (m, n)).astype(np.float32), f"w{i}")
        for i, (m, n) in enumerate(pairs)
    ]
    nodes = [helper.make_node("Constant", [], [each.name], value=each) for each in tensors] if constants else []
    value = "x"
    for place, tensor in enumerate(tensors):
        nodes += [helper.make_node("MatMul", [value, tensor.name], [f"h{place}"])]
        nodes += [helper.make_node("Tanh", [f"h{place}"], [value := f"t{place}"])]
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", sizes[0]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["batch", sizes[-1]])],
        [] if constants else tensors,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def in_branch(model: ModelProto) -> ModelProto:
    """The graph of ``model``, with its weights, inside an ``If``."""
    branches = {name: onnx.GraphProto() for name in ("then_branch", "else_branch")}
    for branch in branches.values():
        branch.CopyFrom(model.graph)
        del branch.input[:]
    inputs = [*model.graph.input, helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([helper.make_node("If", ["c"], ["y"], **branches)], "if", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def filled(model: ModelProto, data: bytes) -> ModelProto:
    """``model`` with the bytes in place of the references to them, by a walk over all messages that knows no format."""

    def walk(message: object) -> None:
        if isinstance(message, TensorProto) and message.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in message.external_data}
            assert entries["location"] == "own"
            start = int(entries["offset"])
            message.ClearField("external_data")
            message.ClearField("data_location")
            message.raw_data = data[start : start + int(entries["length"])]
        for field, value in message.ListFields():  # type: ignore[attr-defined]
            if field.message_type:
                for each in [value] if hasattr(value, "ListFields") else value:
                    walk(each)

    walk(model)
    return model


@pytest.mark.parametrize("make", [lambda m: m, in_branch], ids=["initializers", "a branch"])
@pytest.mark.parametrize("constants", [False, True])
def test_a_light_model_is_the_model_without_its_bytes(make: object, constants: bool) -> None:
    model = make(dense([64, 3, 64, 128, 10], constants=constants))
    data = model.SerializeToString()
    light = without_data(lambda start, stop: data[start:stop], len(data), "own")
    assert len(light) < len(data) / 2
    assert filled(ModelProto.FromString(light), data) == model


@pytest.mark.parametrize("entry", [True, False])
def test_a_tensor_that_says_where_its_bytes_are_stays_as_it_is(entry: bool) -> None:
    model = dense([64, 64])
    for tensor in model.graph.initializer:
        if entry:
            tensor.external_data.add(key="offset", value="7")
        else:
            tensor.data_location = TensorProto.DEFAULT
    data = model.SerializeToString()
    assert without_data(lambda start, stop: data[start:stop], len(data), "own") == data


def test_models_of_the_onnx_package_are_the_same_without_their_bytes() -> None:
    folder = Path(onnx.__file__).parent / "backend" / "test" / "data"
    paths = [*folder.glob("light/*.onnx"), *sorted(folder.glob("simple/*/model.onnx"))]
    assert len(paths) > 20
    for path in paths:
        data = path.read_bytes()
        light = without_data(lambda start, stop: data[start:stop], len(data), "own")  # noqa: B023
        assert filled(ModelProto.FromString(light), data) == onnx.load(path)


def test_damaged_bytes_give_one_of_two_errors_or_what_the_parser_accepts() -> None:
    data, rng = dense([40, 40, 40]).SerializeToString(), random.Random(0)
    for _ in range(2000):
        bad = bytearray(data[: rng.randrange(len(data))] if rng.random() < 0.5 else data)
        for _ in range(rng.randrange(3)):
            bad[rng.randrange(len(bad)) if bad else 0 : 1] = bytes([rng.randrange(256)])
        given = bytes(bad)
        try:
            light = without_data(lambda start, stop: given[start:stop], len(given), "own")  # noqa: B023
        except GroupError:
            continue
        except WireError:
            with pytest.raises(Exception, match=r"Error parsing|decode|DecodeError"):
                ModelProto.FromString(given)
            continue
        try:
            model = ModelProto.FromString(given)
        except Exception:  # The parser looks into small fields as well.
            continue
        assert filled(ModelProto.FromString(light), given) == model


@pytest.mark.parametrize("dtype", DTYPES)
def test_tensors_are_read_when_they_are_needed(tmp_path: Path, dtype: str) -> None:
    arrays = {str(size): RNG.integers(0, 2, (size, 7)).astype(dtype) for size in (1, 600, 1000, 5000)}
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value], tensors)
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph), path)
    (tmp_path / "link.onnx").symlink_to(path)
    for name in ("m.onnx", "link.onnx"):
        with opening_model(tmp_path / name) as model:
            for tensor in model.graph.initializer:
                array = from_tensor(tensor, "")
                np.testing.assert_array_equal(array, arrays[tensor.name], strict=True)
                assert array.flags.c_contiguous
    with pytest.raises(UnsupportedError, match="tensor '5000' lies in another file: import the model by its path"):
        from_tensor(model.graph.initializer[-1], "m.onnx")  # The file is closed.


@pytest.mark.parametrize("constants", [False, True])
def test_import_by_path_and_by_model_are_the_same(tmp_path: Path, constants: bool) -> None:
    model = dense([64, 128, 32, 10], constants=constants)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    ours, theirs = read_onnx(tmp_path / "m.onnx"), read_onnx(model)
    assert ours.network.graph == theirs.network.graph
    assert ours.notes == theirs.notes
    for name, array in theirs.network.parameters.items():
        np.testing.assert_array_equal(ours.network.parameters[name], array, strict=True)
        assert ours.network.parameters[name].ctypes.data % 64 == 0
        assert ours.network.parameters[name].flags.writeable


def test_a_reference_to_its_own_file_is_no_other_file(tmp_path: Path) -> None:
    """What the standard means by the name of the model itself: bytes of the model, checked as those of any file."""
    model = dense([64, 64])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": "m.onnx", "offset": "0", "length": str(64 * 64 * 4)}.items():
        tensor.external_data.add(key=key, value=text)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=r"cannot be read from 'm.onnx': it needs bytes 0 to 16384, and the file has"):
        import_onnx(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("dims", "reason"), [((65, 64), "16384 bytes in './m.onnx'.*need 16640"), ((-1, 9), "invalid")]
)
def test_a_shape_that_does_not_fit_the_bytes(tmp_path: Path, dims: tuple[int, ...], reason: str) -> None:
    model = dense([64, 64])
    model.graph.initializer[0].dims[:] = dims
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(FormatError, match=reason):
        import_onnx(tmp_path / "m.onnx")


@pytest.mark.long
def test_a_sparse_file_of_a_terabyte(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.write(dense([4, 4]).SerializeToString())
        file.truncate(2**40)
    found = bounded(f"portable_nn.converters.onnx.import_onnx({str(path)!r})")
    assert found.text == (
        f"FormatError: {path}: has 1.1 TB: an ONNX file has at most 2.1 GB, as larger weights are in files beside it"
    )
    assert found.bytes < 50e6


@pytest.mark.long
@pytest.mark.parametrize("command", ["converters.onnx.import_onnx", "check", "inspect"])
def test_a_sparse_file_beside_the_model(tmp_path: Path, command: str) -> None:
    model = dense([4, 4])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [2**38]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="m.data")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with (tmp_path / "m.data").open("wb") as file:
        file.truncate(2**40)
    found = bounded(f"print(portable_nn.{command}({str(tmp_path / 'm.onnx')!r}))")
    assert "takes 1.1 TB of memory, with 0 B stored; at most 1.1 GB unless PORTABLE_NN_MEMORY=1024G" in found.text
    assert found.bytes < 60e6


WIDE = [1024] * 7
"""The sizes of a chain whose weights have 25 MB."""


@pytest.mark.long
@pytest.mark.parametrize("constants", [False, True])
def test_an_import_takes_little_more_than_the_weights(tmp_path: Path, constants: bool) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(dense(WIDE, constants=constants).SerializeToString())
    found = bounded(f"portable_nn.converters.onnx.import_onnx({str(path)!r}, verify=False)")
    assert found.bytes < 1.5 * path.stat().st_size


@pytest.mark.long
@pytest.mark.parametrize(("make", "constants"), list(itertools.product([lambda m: m, in_branch], [False, True])))
def test_what_is_not_supported_is_refused_before_weights_are_read(
    tmp_path: Path, make: object, constants: bool
) -> None:
    model, path = make(dense(WIDE, constants=constants)), tmp_path / "m.onnx"
    model.graph.node.append(helper.make_node("Bernoulli", ["x"], ["drawn"]))  # The standard defines it by others.
    path.write_bytes(model.SerializeToString())
    found = bounded(f"portable_nn.converters.onnx.import_onnx({str(path)!r})")
    assert "not supported" in found.text
    assert "Bernoulli" in found.text
    assert found.bytes < 0.7 * path.stat().st_size


def test_a_file_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    """The weights are those of the file that was opened."""
    path, model = tmp_path / "m.onnx", dense([64, 64])
    path.write_bytes(model.SerializeToString())
    with opening_model(path) as opened:
        (tmp_path / "other").write_bytes(bytes(path.stat().st_size))
        (tmp_path / "other").replace(path)
        array = from_tensor(opened.graph.initializer[0], "")
    np.testing.assert_array_equal(array, numpy_helper.to_array(model.graph.initializer[0]))


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(dense([64, 64]).SerializeToString())
    with opening_model(path) as opened:
        os.truncate(path, 1000)
        with pytest.raises(PortableNNError, match=r"it needs bytes \d+ to \d+, and the file has 1000"):
            from_tensor(opened.graph.initializer[0], "")


@pytest.mark.parametrize("opset", [13, 21])
def test_what_is_written_piece_by_piece_is_what_protobuf_writes(tmp_path: Path, opset: int) -> None:
    net = pnn.Sequential(
        pnn.Input(3, 8, 8), pnn.Conv2d(16, kernel=3), pnn.Flatten(), pnn.Dense(64), pnn.Dense(3), seed=0
    )
    net.metadata["author"] = "somebody"
    path = tmp_path / "m.onnx"
    report = export_onnx(net, path, opset=opset)
    data = path.read_bytes()
    model = onnx.load(path)
    assert data == model.SerializeToString(deterministic=True)
    assert report.bytes == len(data)
    assert {tensor.name: tensor.raw_data for tensor in model.graph.initializer} == {
        name: array.tobytes() for name, array in net.parameters.items()
    }


@pytest.mark.long
def test_an_export_takes_little_beside_the_network(tmp_path: Path) -> None:
    code = f"""
net = portable_nn.Sequential(portable_nn.Input(1024), *(portable_nn.Dense(1024) for _ in range(6)), seed=0)
before = peak()
portable_nn.converters.onnx.export_onnx(net, {str(tmp_path / "m.onnx")!r}, verify=False)
portable_nn.converters.onnx.export_onnx(net, {str(tmp_path / "m.onnx")!r}, verify=False)
print(peak() - before)
"""
    assert int(bounded(code).text) < 0.5 * 6 * 4 * 2**20


def test_a_failing_export_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, path = pnn.Sequential(pnn.Input(64), pnn.Dense(64), seed=0), tmp_path / "m.onnx"
    path.write_bytes(b"old")

    def fail(*_: object, **__: object) -> None:
        raise VerificationError("they do not agree")

    monkeypatch.setattr("portable_nn.converters.onnx.exporting.compare", fail)
    with pytest.raises(VerificationError, match="they do not agree"):
        export_onnx(net, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
