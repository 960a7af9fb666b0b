"""The class of the book's notebooks: the same numbers as the notebook's own code, step by step."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from test_book import BookNetwork

import portable_nn as pnn
from portable_nn.converters.book import neuralNetwork, read_book
from portable_nn.converters.onnx import export_onnx
from portable_nn.core.errors import FileError, FormatError, PortableNNError, ShapeError, UsageError


def pair(inputs: int, hidden: int, outputs: int) -> tuple[neuralNetwork, BookNetwork]:
    """Both with the same first weights."""
    ours, theirs = neuralNetwork(inputs, hidden, outputs, 0.1), BookNetwork(inputs, hidden, outputs)
    ours.wih, ours.who = theirs.wih, theirs.who
    return ours, theirs


def examples(inputs: int, outputs: int, count: int):
    rng = np.random.default_rng(1)
    targets = np.where(np.arange(outputs) == rng.integers(0, outputs, count)[:, None], 0.99, 0.01)
    return rng.uniform(0.01, 1, (count, inputs)), targets


@pytest.mark.parametrize("sizes", [(784, 100, 10), (3, 3, 3), (1, 5, 2), (5, 1, 1)])
def test_hundreds_of_steps_give_the_numbers_of_the_book(sizes):
    inputs, _, outputs = sizes
    ours, theirs = pair(*sizes)
    for x, targets in zip(*examples(inputs, outputs, 500), strict=True):
        ours.train(x, targets)
        theirs.train(x, targets, 0.1)
    assert np.abs(theirs.wih - BookNetwork(*sizes).wih).max() > 1e-3
    np.testing.assert_allclose(ours.wih, theirs.wih, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.who, theirs.who, rtol=0, atol=1e-12)
    x, _ = examples(inputs, outputs, 9)
    found = ours.query(x[0])
    assert found.shape == (outputs, 1)
    np.testing.assert_allclose(found, theirs.query(x[:1]).T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.query(x), theirs.query(x).T, rtol=0, atol=1e-12)


def test_several_examples_are_one_step_on_their_sum():
    ours, theirs = pair(6, 5, 4)
    x, targets = examples(6, 4, 7)
    for _ in range(200):
        ours.train(x, targets)
        theirs.train(x, targets, 0.1)
    np.testing.assert_allclose(ours.wih, theirs.wih, rtol=0, atol=1e-12)
    np.testing.assert_allclose(ours.who, theirs.who, rtol=0, atol=1e-12)


def test_the_first_weights_are_those_that_numpy_draws():
    np.random.seed(3)
    ours = neuralNetwork(7, 4, 2, 0.3)
    np.random.seed(3)
    np.testing.assert_array_equal(ours.wih, np.random.normal(0.0, 7**-0.5, (4, 7)), strict=True)
    np.testing.assert_array_equal(ours.who, np.random.normal(0.0, 4**-0.5, (2, 4)), strict=True)
    assert (ours.inodes, ours.hnodes, ours.onodes, ours.lr) == (7, 4, 2, 0.3)


def test_what_is_written_into_weights_and_rate_is_used():
    ours, theirs = pair(4, 3, 2)
    [x], [targets] = examples(4, 2, 1)
    ours.query(x), ours.train(x, targets)
    ours.wih[0, 1] = 2.0
    ours.who = np.asfortranarray(theirs.who.astype(np.float32))
    ours.wih[1:] = theirs.wih[1:]
    theirs.wih[0] = ours.wih[0]
    theirs.who = theirs.who.astype(np.float32).astype(float)
    ours.lr = 0.7
    ours.train(list(x), list(targets))
    theirs.train(x, targets, 0.7)
    np.testing.assert_allclose(ours.wih, theirs.wih, rtol=0, atol=1e-15)
    np.testing.assert_allclose(ours.query(x), theirs.query(x).T, rtol=0, atol=1e-15)
    np.testing.assert_allclose(ours.network.predict([x]), theirs.query(x), rtol=0, atol=1e-15)


@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".npz"])
def test_saved_and_loaded_it_learns_on_as_if_never_stopped(tmp_path, suffix):
    ours, theirs = pair(784, 6, 10)
    x, targets = examples(784, 10, 40)
    for step in range(20):
        ours.train(x[step], targets[step])
    ours.save(tmp_path / f"mine{suffix}")
    again = neuralNetwork(784, 6, 10, 0.1)
    again.load(tmp_path / f"mine{suffix}")
    np.testing.assert_array_equal(again.wih, ours.wih, strict=True)
    for step in range(40):
        theirs.train(x[step], targets[step], 0.1)
        if step >= 20:
            again.train(x[step], targets[step])
    np.testing.assert_allclose(again.who, theirs.who, rtol=0, atol=1e-12)


def test_the_arrays_of_a_notebook_are_loaded(tmp_path):
    _, theirs = pair(5, 4, 3)
    files = theirs.save(tmp_path)
    for paths in (files, [tmp_path]):
        ours = neuralNetwork(5, 4, 3, 0.1)
        ours.load(*paths)
        np.testing.assert_array_equal(ours.wih, theirs.wih)
        np.testing.assert_array_equal(ours.who, theirs.who)


def test_the_file_is_that_of_the_import(tmp_path):
    ours, theirs = pair(784, 6, 10)
    assert ours.save(tmp_path / "mine.h5") == read_book(*theirs.save(tmp_path)).save(tmp_path / "theirs.h5")
    export_onnx(pnn.load(tmp_path / "mine.h5"), tmp_path / "mine.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 784))
    session = onnxruntime.InferenceSession(tmp_path / "mine.onnx", providers=["CPUExecutionProvider"])
    [found] = session.run(None, {"inputs": pixels.astype(np.float32)})
    np.testing.assert_allclose(found, ours.query(pixels / 255 * 0.99 + 0.01).T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_a_copy_learns_on_its_own(copied):
    ours, theirs = pair(4, 3, 2)
    x, targets = examples(4, 2, 30)
    ours.train(x[0], targets[0])
    theirs.train(x[0], targets[0], 0.1)
    other, wih = copied(ours), ours.wih.copy()
    for step in range(1, 30):
        other.train(x[step], targets[step])
        theirs.train(x[step], targets[step], 0.1)
    np.testing.assert_array_equal(ours.wih, wih)
    np.testing.assert_allclose(other.wih, theirs.wih, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.query(x[0]), theirs.query(x[:1]).T, rtol=0, atol=1e-12)


def test_the_network_of_it_is_a_copy():
    ours, theirs = pair(4, 3, 2)
    x, targets = examples(4, 2, 30)
    ours.network.fit(x, targets, optimizer=pnn.SGD(1.0), epochs=1, progress=False)
    np.testing.assert_array_equal(ours.wih, theirs.wih)


def test_what_it_has_in_mind_goes_back_through_logit_and_transposed_weights():
    logit = pytest.importorskip("scipy.special").logit
    ours, theirs = pair(6, 5, 4)
    targets = np.array([0.01, 0.99, 0.01, 0.01])
    hidden = theirs.who.T @ logit(targets)
    hidden = np.interp(hidden, [hidden.min(), hidden.max()], [0.01, 0.99])
    expected = theirs.wih.T @ logit(hidden)
    expected = np.interp(expected, [expected.min(), expected.max()], [0.01, 0.99])
    np.testing.assert_allclose(ours.backquery(targets), expected[:, None], rtol=0, atol=1e-12)
    with pytest.raises(UsageError, match="above 0 and below 1"):
        ours.backquery([0, 1, 0, 0])


def test_a_frozen_network_is_loaded_and_one_with_another_scaling_is_not(tmp_path):
    ours, theirs = pair(784, 3, 10)
    network = ours.network
    network.freeze("hidden")
    network.save(tmp_path / "frozen.h5")
    again = neuralNetwork(784, 3, 10, 0.1)
    again.load(tmp_path / "frozen.h5")
    np.testing.assert_array_equal(again.wih, theirs.wih)
    network.parameters["rescaling_1.offset"][...] = 0
    network.save(tmp_path / "scaled.h5")
    with pytest.raises(UsageError, match=r"scaled\.h5: is no network of the book"):
        again.load(tmp_path / "scaled.h5")


# -- what is refused, and leaves the weights as they are

CALLS = {
    "a picture too small": (
        lambda n: n.query(np.ones(783)), ShapeError, r"inputs_list must have shape \(4,\) or \(n, 4\), not \(783,\)",
    ),
    "a column": (lambda n: n.query(np.ones((4, 1))), ShapeError, r"inputs_list must have shape .*, not \(4, 1\)$"),
    "none": (lambda n: n.train(np.ones((0, 4)), np.ones((0, 2))), ShapeError, r"inputs_list must .* not \(0, 4\)$"),
    "targets": (lambda n: n.train(np.ones(4), np.ones(3)), ShapeError, r"targets_list must .* not \(3,\)$"),
    "fewer targets": (
        lambda n: n.train(np.ones((3, 4)), np.ones((1, 2))), ShapeError,
        "inputs_list has 3 examples, and targets_list 1$",
    ),
    "no number": (lambda n: n.train([1, 2, np.nan, 4], [0, 1]), UsageError, "holds NaN or infinite values$"),
    "no target": (lambda n: n.train([1, 2, 3, 4], [0, -np.inf]), UsageError, "holds NaN or infinite values$"),
    "text": (lambda n: n.query(["a", "b", "c", "d"]), UsageError, "inputs_list"),
    "swapped": (
        lambda n: setattr(n, "wih", n.who), ShapeError,
        r"wih must have shape \(3, 4\), \(hidden nodes, inputs\), not \(2, 3\)$",
    ),
    "complex": (lambda n: setattr(n, "who", np.ones((2, 3), complex)), UsageError, "who"),
    "NaN in weights": (lambda n: setattr(n, "who", np.full((2, 3), np.nan)), UsageError, "who holds NaN or infinite"),
    "objects": (lambda n: setattr(n, "who", np.full((2, 3), None)), UsageError, "who"),
    "rate": (lambda n: setattr(n, "lr", "0.1"), UsageError, "the learning rate must be a number from 0, not '0.1'$"),
    "no path": (lambda n: n.load(3), UsageError, "3"),
    "ONNX": (lambda n: n.save("mine.onnx"), PortableNNError, "mine.onnx"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CALLS)
def test_calls_that_do_not_fit_are_refused(kind):
    call, error, message = CALLS[kind]
    ours, theirs = pair(4, 3, 2)
    with pytest.raises(error, match=message):
        call(ours)
    np.testing.assert_array_equal(ours.wih, theirs.wih)
    np.testing.assert_array_equal(ours.who, theirs.who)
    assert ours.lr == 0.1


@pytest.mark.parametrize(
    "options", [(0, 3, 2, 0.1), (4, 2.5, 2, 0.1), (4, 3, True, 0.1), (4, 3, 2, -0.1), (4, 3, 2, np.nan), ("4", 3, 2, 0)]
)
def test_sizes_and_rates_that_are_none_are_refused(options):
    with pytest.raises(UsageError):
        neuralNetwork(*options)


def other_files(folder: Path) -> dict[str, tuple[list[Path], type[PortableNNError], str]]:
    BookNetwork(4, 5, 2).save(folder)
    read_book(folder / "wih.npy", folder / "who.npy").save(folder / "wide.h5")
    single, leaf = folder / "single.h5", pnn.Input(4, name="inputs", dtype="float64")
    layers = pnn.Dense(3, bias=False, name="hidden"), pnn.ReLU(), pnn.Dense(2, bias=False, name="output"), pnn.Sigmoid()
    pnn.Sequential(leaf, *layers, seed=0).save(single)
    pnn.Sequential(pnn.Input(4), pnn.Dense(2), seed=0).save(folder / "dense.npz")
    np.savez(folder / "arrays.npz", wih=np.ones((3, 4)), who=np.ones((2, 3)))
    (folder / "text.safetensors").write_text("no weights")
    return {
        "hidden nodes": (
            [folder / "wide.h5"],
            ShapeError,
            r"wide\.h5: wih must have shape \(3, 4\), .*, not \(5, 4\)$",
        ),
        "arrays": ([folder], ShapeError, r"wih must have shape \(3, 4\), .*, not \(5, 4\)$"),
        "swapped": ([folder / "who.npy", folder / "wih.npy"], FormatError, "the two are swapped"),
        "ReLU": ([single], UsageError, r"single\.h5: is no network of the book"),
        "one layer": ([folder / "dense.npz"], UsageError, r"dense\.npz: is no network of the book"),
        "savez": ([folder / "arrays.npz"], FormatError, r"arrays\.npz"),
        "text": ([folder / "text.safetensors"], FormatError, r"text\.safetensors"),
        "none": ([folder / "none.h5"], FileError, r"none\.h5"),
        "one array": ([folder / "wih.npy"], UsageError, "the book's network is in two files"),
        "nothing": ([], UsageError, "the book's network is in two files"),
        "other name": ([folder / "mine.txt"], PortableNNError, r"mine\.txt"),
    }


@pytest.mark.parametrize(
    "kind",
    ["hidden nodes", "arrays", "swapped", "ReLU", "one layer", "savez", "text", "none", "one array", "nothing",
     "other name"],
)  # fmt: skip
def test_files_of_others_are_refused(tmp_path, kind):
    paths, error, message = other_files(tmp_path)[kind]
    ours, theirs = pair(4, 3, 2)
    with pytest.raises(error, match=message):
        ours.load(*paths)
    np.testing.assert_array_equal(ours.wih, theirs.wih)
    np.testing.assert_array_equal(ours.who, theirs.who)


def test_a_network_is_saved_and_exported_again_and_again(tmp_path: Path) -> None:
    """Each file has the same bytes, and can be loaded; the names of values stay as they are."""
    n = neuralNetwork(784, 5, 10, 0.1)
    digests = [n.save(tmp_path / f"{time}.safetensors") for time in range(3)]
    assert len(set(digests)) == 1
    for time in range(3):
        n.load(tmp_path / f"{time}.safetensors")
        assert n.network.graph.outputs == ("final_outputs",)
    with pytest.raises(
        UsageError, match=r"network must be .*Network, not neuralNetwork\(784, 5, 10, 0\.1\): give its network$"
    ):
        pnn.export_onnx(n, tmp_path / "net.onnx")  # type: ignore[arg-type]
