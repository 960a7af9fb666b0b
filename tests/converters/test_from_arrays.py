"""Networks from arrays that somebody trained by hand."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import pairwise

import h5py
import numpy as np
import onnxruntime
import pytest
import safetensors.numpy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import portable_nn as pnn
from portable_nn.catalog import find_model
from portable_nn.converters.arrays import FORMULAS, import_arrays
from portable_nn.core.errors import UsageError, VerificationError
from portable_nn.core.names import FUNCTIONS as NAMES

FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: x * (x > 0),
    "softmax": lambda x: np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True),
    "identity": lambda x: x,
}
RNG = np.random.default_rng(5)


def numbers(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape)


@pytest.mark.long
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(2, 6), min_size=2, max_size=5),
    st.booleans(),
    st.sampled_from(["none", "flat", "row", "column"]),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(sorted(FUNCTIONS)),
    st.sampled_from(sorted(FUNCTIONS)),
)
def test_the_network_is_the_formula(sizes, turned, biases, dtype, activation, last):
    """Both orders of weights, all shapes of biases."""
    assume(len(sizes) > 2 or biases in ("none", "flat"))  # ... else the bias may be a layer.
    rng = np.random.default_rng(0)
    x = expected = rng.normal(size=(7, sizes[0])).astype(dtype)
    arrays = []
    for place, (taken, made) in enumerate(pairwise(sizes)):
        weight, bias = rng.normal(size=(taken, made)).astype(dtype), rng.normal(size=made).astype(dtype)
        expected = expected.astype(np.float64) @ weight + (0 if biases == "none" else bias)
        expected = FUNCTIONS[last if place == len(sizes) - 2 else activation](expected)
        shape = {"flat": (made,), "row": (1, made), "column": (made, 1)}.get(biases)
        arrays += [weight.T if turned else weight, *([bias.reshape(shape)] if shape else [])]
    rows = "outputs" if turned else "inputs"
    network = pnn.from_arrays(arrays, activation=[activation, last], rows=rows)
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-5 if dtype == "float32" else 1e-9, atol=1e-5)
    with suppress(UsageError):  # The shapes alone may not tell.
        seen = pnn.from_arrays(arrays, activation=[activation, last])
        np.testing.assert_array_equal(seen.predict(x), network.predict(x))


def test_saved_exported_and_trained_further(tmp_path):
    arrays = dict(zip("abcd", [numbers(4, 16), numbers(16), numbers(16, 3), numbers(3)], strict=True))
    network = pnn.from_arrays(arrays, activation="tanh", labels=["x", "y", "z"])
    network.save(tmp_path / "net.safetensors")
    x = numbers(6, 4)
    expected = np.tanh(x @ arrays["a"] + arrays["b"]) @ arrays["c"] + arrays["d"]
    np.testing.assert_allclose(pnn.load(tmp_path / "net.safetensors").predict(x), expected, rtol=1e-12)
    from portable_nn.converters.onnx import export_onnx

    export_onnx(network, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    [found] = session.run(None, {"input": x.astype(np.float32)})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    before = network.predict(x)
    network.fit(x, np.arange(6) % 3, loss="cross_entropy", epochs=2, progress=False)
    assert not np.array_equal(network.predict(x), before)


def test_the_arrays_are_copied():
    weight = numbers(4, 3)
    network = pnn.from_arrays([weight], activation="relu", rows="inputs")
    kept = network.parameters["dense_1.weight"].copy()
    weight += 1
    np.testing.assert_array_equal(network.parameters["dense_1.weight"], kept)


def test_a_bias_of_one_output_is_no_layer():
    network = pnn.from_arrays([numbers(4, 5), numbers(1, 5), numbers(5, 1), numbers(1, 1)], activation="relu")
    assert [value.shape for value in network.graph.parameters] == [(5, 4), (5,), (1, 5), (1,)]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "a network needs at least one weight, and there are no arrays"),
        (
            [numbers(4, 4), numbers(4)],
            "these weights fit both ways, as x @ W and as W @ x: array 1 (4, 4), array 2 (4,)",
        ),
        ([numbers(4, 1), numbers(1, 1)], "an array may be a weight or a bias here: array 1 (4, 1), array 2 (1, 1)"),
        ([numbers(4, 5), numbers(6, 2)], "these arrays are no dense layers one after another, as x @ W + b"),
        (
            [numbers(5), numbers(5, 2)],
            "A bias comes after its weight, or all after all weights if their sizes or the numbers in",
        ),
        ([numbers(3, 2, 1, 1)], "these arrays are no dense layers one after another"),
        ([np.ones((2, 3), int)], "array 1 is int64; weights are float64, float32, float16"),
        ({"W": numbers(2, 3), "b": np.float32([1, 2, 3])}, "all arrays must have one type, and these have several: W"),
        ([numbers(2, 3), [1.0, np.nan, 2.0]], "array 2 holds NaN or infinity"),
        ([np.ones((1, 1))] * 40, "these weights fit both ways"),
        (["weights.npz"], "array 1 must be an array of numbers, not a path"),
    ],
)
def test_what_does_not_fit_is_named(arrays, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        pnn.from_arrays(arrays, activation="tanh")


@pytest.mark.parametrize("rows", ["input", "x @ W", 1, True])
def test_rows_that_are_neither(rows):
    """Square weights would be taken for those of the other order without a word."""
    with pytest.raises(UsageError, match="rows must be 'inputs', 'outputs' or None, not "):
        pnn.from_arrays([np.eye(3)], activation="tanh", rows=rows)


@pytest.mark.parametrize("biases_first", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1), (1, -1)])
def test_weights_and_biases_in_two_lists(biases_first, turned, shape):
    """As M. Nielsen's network.py has them, whose weights are (outputs, inputs) and biases columns."""
    sizes = [(7, 5), (5, 6), (6, 3)]
    weights = [numbers(*each) for each in sizes]
    biases = [numbers(made).reshape(shape) for _, made in sizes]
    expected = x = numbers(4, 7)
    for weight, bias in zip(weights, biases, strict=True):
        expected = FUNCTIONS["sigmoid"](expected @ weight + bias.ravel())
    parts = [weight.T if turned else weight for weight in weights], biases
    first, second = parts[::-1] if biases_first else parts
    network = pnn.from_arrays([*first, *second], activation=["sigmoid", "sigmoid"])
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-12)


def test_biases_of_one_size_belong_to_the_weights_of_their_numbers():
    """Where the names say no more than the order, either bias may be that of either layer."""
    arrays = [numbers(4, 4), numbers(4, 4), numbers(4), numbers(4)]
    x, (w1, w2, b1, b2) = numbers(3, 4), arrays
    named = dict(zip(["w0", "w1", "b0", "b1"], arrays, strict=True))
    found = pnn.from_arrays(named, activation="tanh", rows="inputs").predict(x)
    np.testing.assert_allclose(found, np.tanh(x @ w1 + b1) @ w2 + b2, rtol=1e-12)
    for names in (["w0", "w1", "b1", "b0"], ["wa", "wb", "ba", "bb"], ["arr_0", "arr_1", "arr_2", "arr_3"]):
        with pytest.raises(UsageError, match="their sizes or the numbers in their names tell them apart"):
            pnn.from_arrays(dict(zip(names, arrays, strict=True)), activation="tanh", rows="inputs")


def test_a_function_for_the_last_layer_or_for_each():
    weights = [numbers(4, 6), numbers(6, 5), numbers(5, 3)]
    x, (w1, w2, w3) = numbers(3, 4), weights
    tanh, softmax = np.tanh, FUNCTIONS["softmax"]
    for activation, expected in (
        ("tanh", tanh(tanh(x @ w1) @ w2) @ w3),
        (["tanh"], tanh(tanh(x @ w1) @ w2) @ w3),
        (["tanh", "softmax"], softmax(tanh(tanh(x @ w1) @ w2) @ w3)),
        (["tanh", "relu", "softmax"], softmax(np.maximum(tanh(x @ w1) @ w2, 0) @ w3)),
    ):
        network = pnn.from_arrays(weights, activation=activation)
        np.testing.assert_allclose(network.predict(x), expected, rtol=1e-12)
    for activation in ([], ["tanh"] * 4):
        with pytest.raises(
            UsageError, match=r"a function for each of 3 layers, or two, .* as in relu,softmax .*; found (none|4)"
        ):
            pnn.from_arrays(weights, activation=activation)


def test_a_network_of_digits_takes_pixels_and_photographs():
    weights, biases = [numbers(30, 784) / 28, numbers(10, 30)], [numbers(30, 1), numbers(10, 1)]
    network = pnn.from_arrays([*weights, *biases], activation=["sigmoid"] * 2, preprocess="digits")
    pixels = RNG.integers(0, 256, (5, 784))
    column = pixels.T / 255
    for weight, bias in zip(weights, biases, strict=True):
        column = FUNCTIONS["sigmoid"](weight @ column + bias)
    np.testing.assert_allclose(network.predict(pixels), column.T, rtol=1e-10)
    assert network.labels == tuple("0123456789")
    found = [each.label for each in pnn.predict(network, find_model("digits").samples / "digit-3.png")]
    assert len(found) == 1
    assert found[0] in network.labels
    with pytest.raises(UsageError, match="is for 784 inputs, the pixels of a digit, not 4"):
        pnn.from_arrays([numbers(4, 16), numbers(16)], activation="relu", preprocess="digits")
    with pytest.raises(UsageError, match="preprocess must be 'digits' or 'none', not 'digit'"):
        pnn.from_arrays([*weights, *biases], activation="sigmoid", preprocess="digit")


def test_an_activation_that_is_none_of_them():
    with pytest.raises(
        UsageError, match="activation must be one of sigmoid, tanh, relu, softmax, identity, not 'gelu'"
    ):
        pnn.from_arrays([numbers(2, 3), numbers(3)], activation="gelu")


def test_the_names_of_activations_are_those_of_the_command_line():
    assert (*FORMULAS,) == NAMES


def by_hand(path, **arrays):
    np.savez(path, **arrays)
    return path


W1, B1, W2, B2 = numbers(4, 16), numbers(16), numbers(16, 3), numbers(3)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".h5"])
def test_a_file_of_arrays(suffix, tmp_path):
    """In the order of the file, or in any order by their names, also transposed."""
    x = numbers(5, 4)
    expected = np.tanh(x @ W1 + B1) @ W2 + B2
    path = tmp_path / f"mine{suffix}"
    names = {"a": W2.T.copy(), "b": B1, "c": W1, "d": B2, "e": np.zeros((7, 7))}
    if suffix == ".npz":
        np.savez(path, **names)
    elif suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in names.items():
                file[name] = array
    else:
        safetensors.numpy.save_file(names, path)
    roles = {"a": "dense_2.weight", "b": "dense_1.bias", "c": "dense_1.weight.T", "d": "dense_2.bias", "e": ""}
    found = import_arrays(path, activation="tanh", layers=[4, 16, 3], rename=roles)
    np.testing.assert_allclose(found.network.predict(x), expected, rtol=1e-9)
    assert [*found.outputs] == [*found.network.graph.outputs]


def test_arrays_that_are_left_out_leave_the_order_of_the_others(tmp_path):
    path = by_hand(tmp_path / "mine.npz", rate=np.float64(0.1), W1=W1, b1=B1, losses=numbers(9), W2=W2, b2=B2)
    network = import_arrays(path, activation="tanh", rename={"rate": "", "losses": ""}).network
    x = numbers(5, 4)
    np.testing.assert_allclose(network.predict(x), np.tanh(x @ W1 + B1) @ W2 + B2, rtol=1e-9)


def test_a_file_in_order_and_recorded_values(tmp_path):
    path = by_hand(tmp_path / "mine.npz", W1=W1, b1=B1, W2=W2, b2=B2)
    network = import_arrays(path, activation=["relu", "softmax"]).network
    x = numbers(5, 4)
    logits = np.maximum(x @ W1 + B1, 0) @ W2 + B2
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(network.predict(x), expected, rtol=1e-9)
    recorded = {network.graph.inputs[0].name: x, network.graph.outputs[0]: expected}
    np.savez(tmp_path / "io.npz", **recorded)
    import_arrays(path, activation=["relu", "softmax"], io=tmp_path / "io.npz")
    with pytest.raises(VerificationError):
        import_arrays(path, activation=["tanh", "softmax"], io=tmp_path / "io.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected a function for each of 2 layers, or two, the second for the last layer"),
        ({"activation": "tanh", "layers": [4, 8, 3]}, "expected layers of 4-8-3, found arrays of 4-16-3"),
        ({"activation": "tanh", "rename": {"W": "dense_1.weight"}}, "there is no array 'W' to rename; it has W1, b1"),
        ({"activation": "tanh", "rename": {"W1": "layer1"}}, "'W1=layer1': expected dense_N.weight, dense_N.weight.T"),
        ({"activation": "tanh", "rename": {"W1": "dense_1.weight.T"}}, "b1, W2, b2 is no part of a layer yet"),
        ({"activation": "tanh", "rename": {"W1": ""}}, "mine.npz: these arrays are no dense layers one after another"),
        (
            {"activation": "tanh", "rename": {"W1": ""}},
            "--against MODEL takes the weights of a network with the same architecture",
        ),
        (
            {"activation": "tanh", "rename": {"W1": "dense_1.weight.T", "W2": "dense_1.weight"}},
            "'W2' and 'W1' would both be dense_1.weight",
        ),
        (
            {
                "activation": "tanh",
                "rename": {"W1": "dense_1.weight", "b1": "dense_1.bias", "W2": "dense_2.weight", "b2": "dense_2.bias"},
            },
            "these arrays are no dense layers one after another, as W @ x + b",
        ),
    ],
)
def test_what_a_file_lacks_is_named(options, message, tmp_path):
    path = by_hand(tmp_path / "mine.npz", W1=W1, b1=B1, W2=W2, b2=B2)
    with pytest.raises(UsageError, match=re.escape(message)):
        import_arrays(path, **options)


@pytest.mark.parametrize("suffix", [".safetensors", ".h5"])
@pytest.mark.parametrize(
    "names", [[f"l{n}.{kind}" for n in range(12) for kind in "Wb"], ["in.W", "in.b", "deep.W", "deep.b"]]
)
def test_an_order_that_only_the_alphabet_gives_is_refused(names, suffix, tmp_path):
    """All layers have one size: the shapes would let in any order."""
    arrays = {name: numbers(5, 5) if name.endswith("W") else numbers(5) for name in names}
    path = tmp_path / f"mine{suffix}"
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        safetensors.numpy.save_file(arrays, path)
    with pytest.raises(UsageError, match=r"has its arrays by the alphabet, .* --rename .rename. says which is which"):
        import_arrays(path, activation="tanh")


def test_numbers_in_all_names_say_the_order(tmp_path):
    first = {"l0.W": W1, "l0.b": B1, "l1.W": W2, "l1.b": B2}
    safetensors.numpy.save_file(first, tmp_path / "mine.safetensors")
    x = numbers(5, 4)
    found = import_arrays(tmp_path / "mine.safetensors", activation="tanh").network.predict(x)
    np.testing.assert_allclose(found, np.tanh(x @ W1 + B1) @ W2 + B2, rtol=1e-9)


def test_pytorch_computes_the_same():
    torch = pytest.importorskip("torch")
    made = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).double()
    arrays = {name: value.detach().numpy() for name, value in made.state_dict().items()}
    x = numbers(9, 5)
    expected = made(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(pnn.from_arrays(arrays, activation="relu").predict(x), expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("whole", [False, True])
def test_a_file_of_pytorch_that_is_no_dense_layers_is_told_the_way_by_the_module(tmp_path, whole):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    torch.save(module if whole else module.state_dict(), tmp_path / "theirs.pt")
    with pytest.raises(UsageError, match=r"theirs.pt: this is a PyTorch state dict \(or a pickled.*read_torch") as told:
        import_arrays(tmp_path / "theirs.pt")
    assert "dense layers" not in str(told.value)  # There are kernels.
    torch.jit.script(module).save(tmp_path / "theirs.pt")
    with pytest.raises(UsageError, match=r"theirs.pt: is a compiled PyTorch module, .*torch\.onnx\.export"):
        import_arrays(tmp_path / "theirs.pt")


def test_layers_may_be_pairs() -> None:
    rng = np.random.default_rng(0)
    layers = [(rng.normal(size=(4, 6)), rng.normal(size=6)), (rng.normal(size=(6, 3)), rng.normal(size=3))]
    network = pnn.from_arrays(layers, activation="tanh")
    x = rng.normal(size=(5, 4))
    (w1, b1), (w2, b2) = layers
    np.testing.assert_allclose(network.predict(x), np.tanh(x @ w1 + b1) @ w2 + b2, rtol=1e-12)


def test_lists_that_numpy_saved_as_objects_are_refused_with_what_to_do(tmp_path):
    weights = np.empty(2, object)
    weights[:] = [W1, W2]
    path = by_hand(tmp_path / "mine.npz", weights=weights)
    with pytest.raises(
        UsageError, match=r"never loaded\. Lists .*np\.load\('mine.npz', allow_pickle=True\)\['weights'\]"
    ):
        import_arrays(path, activation="tanh")
    again = by_hand(
        tmp_path / "again.npz", **{f"W{n}": each for n, each in enumerate(np.load(path, allow_pickle=True)["weights"])}
    )
    assert import_arrays(again, activation="tanh").network.parameters
