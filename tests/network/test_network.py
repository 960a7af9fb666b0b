"""What a network is: its names, its arrays, what it takes and gives, and that a file holds all of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

import portable_nn as pnn
from portable_nn.core.errors import FormatError, GraphError, PortableNNError, ShapeError, UsageError
from portable_nn.core.names import MOST_AT_ONCE
from portable_nn.engines.plan import KEPT, MOST
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.defaults import DIGIT

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4)).astype("float32")
ENGINES = ["numpy", "onnxruntime"]


def mlp(*, seed: int = 0, hidden: int = 5, **options: Any) -> pnn.Network:
    return pnn.Sequential(pnn.Input(4), pnn.Dense(hidden), pnn.Tanh(), pnn.Dense(3), seed=seed, **options)


def by_hand(network: pnn.Network, x: Array) -> Array:
    p = network.parameters
    h = np.tanh(x @ p["dense_1.weight"].T + p["dense_1.bias"])
    return np.asarray(h @ p["dense_2.weight"].T + p["dense_2.bias"])


def two_inputs() -> pnn.Network:
    a, b = pnn.Input(4, name="a"), pnn.Input(4, name="b")
    return pnn.Network([a, b], [pnn.Dense(2, name="y")(a * b), pnn.Tanh(name="z")(a + b)], seed=0)


# -- names


def test_unnamed_layers_are_numbered_and_parameters_have_torchs_names() -> None:
    network = mlp()
    assert [value.name for value in network.graph.inputs] == ["input"]
    assert [node.name for node in network.graph.nodes] == ["dense_1", "tanh_1", "dense_2"]
    assert network.graph.outputs == ("dense_2",)
    assert {name: array.shape for name, array in network.parameters.items()} == {
        "dense_1.weight": (5, 4),
        "dense_1.bias": (5,),
        "dense_2.weight": (3, 5),
        "dense_2.bias": (3,),
    }


def test_names_that_are_given_are_kept_and_the_others_keep_clear_of_them() -> None:
    network = pnn.Sequential(
        pnn.Input(4, name="image"), pnn.Dense(5, name="hidden"), pnn.Dense(3), pnn.Dense(2, name="dense_1")
    )
    assert [node.name for node in network.graph.nodes] == ["hidden", "dense_2", "dense_1"]
    assert list(network.parameters)[:3] == ["hidden.weight", "hidden.bias", "dense_2.weight"]
    assert network.graph.inputs[0].name == "image"


def test_two_unnamed_inputs_have_two_names() -> None:
    a, b = pnn.Input(4), pnn.Input(4)
    assert [value.name for value in pnn.Network([a, b], a + b).graph.inputs] == ["input", "input_2"]


def test_what_leads_to_no_output_is_left_out() -> None:
    x = pnn.Input(4)
    pnn.Dense(9)(x)
    assert list(pnn.Network(x, pnn.Dense(2)(x)).parameters) == ["dense_1.weight", "dense_1.bias"]


def test_a_name_that_is_given_twice() -> None:
    with pytest.raises(GraphError, match=r"the name 'hidden' was given twice"):
        pnn.Sequential(pnn.Input(4), pnn.Dense(4, name="hidden"), pnn.ReLU(name="hidden"))
    x = pnn.Input(4, name="x"), pnn.Input(4, name="x")
    with pytest.raises(GraphError, match=r"the name 'x' was given twice"):
        pnn.Network(x, x[0] + x[1])


def test_an_input_that_is_not_listed() -> None:
    a, b = pnn.Input(4, name="a"), pnn.Input(4, name="b")
    message = r"^the outputs need <b: float32 \(batch, 4\)>, which is not among the inputs$"
    with pytest.raises(GraphError, match=message):
        pnn.Network(a, a + b)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pnn.Network([], []), "a network needs at least one input and one output"),
        (lambda: pnn.Sequential(pnn.Dense(3)), "Sequential begins with Input(…), or with a network"),
        (lambda: pnn.Sequential(), "Sequential begins with Input(…), or with a network"),
        (
            lambda: pnn.Sequential(pnn.Input(4), pnn.Input(4)),
            "Sequential has one Input, its first layer; use Network for several",
        ),
        (
            lambda: pnn.Sequential(pnn.Input(4), pnn.Dense),  # type: ignore[arg-type]
            f"Sequential is made of layers such as ReLU() or Dense(10), not of {pnn.Dense!r}",
        ),
        (lambda: mlp(labels="ab"), "output 'dense_2' has 2 labels, but its shape is (batch, 3)"),
        (lambda: mlp(labels=["a", "b", "c", "d"]), "output 'dense_2' has 4 labels, but its shape is (batch, 3)"),
    ],
)
def test_networks_that_cannot_be(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        make()


def test_what_the_output_is_follows_from_its_layer_and_labels() -> None:
    assert mlp().outputs[0].kind == "values"
    assert mlp(labels="abc").outputs[0].kind == "logits"
    x = pnn.Input(4)
    network = pnn.Network(x, [pnn.Softmax()(x), pnn.Sigmoid()(x), pnn.Tanh()(x)], labels="abcd")
    assert [info.kind for info in network.outputs] == ["probabilities", "probabilities", "values"]
    assert network.labels == ("a", "b", "c", "d")
    assert network.outputs[1].labels == ()


def test_repr() -> None:
    assert repr(mlp(labels="abc")).splitlines() == [
        "Network 'network': 3 nodes, 43 parameters (172 B)",
        "  input input: float32(batch, 4)",
        "  output dense_2: float32(batch, 3), logits",
    ]


# -- predict


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("given", [X, X.astype("float64"), X.tolist(), (X * 3).astype("int64"), X[:1], X[:0]])
def test_predict_is_the_arithmetic_of_the_layers(given: Any, engine: Any) -> None:
    network = mlp()
    for _ in range(2):  # The second time the numpy engine has a plan already.
        found = network.predict(given, engine=engine)
        wanted = by_hand(network, np.asarray(given, "float32"))
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_results_are_the_callers_own() -> None:
    network = mlp()
    first = network.predict(X)
    kept = first.copy()
    network.predict(-X)
    np.testing.assert_array_equal(first, kept)
    first[...] = 0
    np.testing.assert_array_equal(network.predict(X), kept)


@pytest.mark.parametrize("engine", ENGINES)
def test_dicts_in_and_out(engine: Any) -> None:
    found = mlp().predict({"input": X}, engine=engine)
    assert list(found) == ["dense_2"]
    np.testing.assert_allclose(found["dense_2"], by_hand(mlp(), X), rtol=1e-5, atol=1e-6)
    network, x = two_inputs(), {"b": X + 1, "a": X}
    found = network.predict(x, engine=engine)
    w, b = network.parameters["y.weight"], network.parameters["y.bias"]
    np.testing.assert_allclose(found["y"], (X * (X + 1)) @ w.T + b, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["z"], np.tanh(X + X + 1), rtol=1e-5, atol=1e-6)


def test_several_outputs_of_one_array() -> None:
    x = pnn.Input(4)
    found = pnn.Network(x, [pnn.Tanh(name="t")(x), pnn.ReLU(name="r")(x)]).predict(X)
    assert list(found) == ["t", "r"]
    np.testing.assert_array_equal(found["r"], np.maximum(X, 0))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1, 7, 512, 5000])
def test_parts_make_the_whole(size: int, engine: Any) -> None:
    network, x = mlp(), np.random.default_rng(1).normal(size=(2 * MOST_AT_ONCE + 3, 4)).astype("float32")
    whole = by_hand(network, x)
    x = x[: 3 * size + 1]
    found = network.predict(x, engine=engine, batch_size=size)
    np.testing.assert_allclose(found, whole[: len(x)], rtol=1e-5, atol=1e-5)
    both = two_inputs().predict({"a": x, "b": x}, engine=engine, batch_size=size)
    np.testing.assert_allclose(both["z"], np.tanh(x + x), rtol=1e-5, atol=1e-6)


def test_memory_is_bounded_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    network = mlp()
    network.predict(np.zeros((10 * MOST_AT_ONCE, 4)))
    assert max(shape[0] for [shape] in network._execution.plans.kept) == MOST_AT_ONCE
    for size in range(1, 3 * MOST):
        network.predict(np.zeros((size, 4)))
    assert len(network._execution.plans.kept) <= MOST
    monkeypatch.setattr("portable_nn.engines.plan.MEMORY", 0)
    network.predict(np.zeros((3 * MOST, 4)))
    assert len(network._execution.plans.kept) <= KEPT


def test_large_values_are_computed_a_few_examples_at_a_time() -> None:
    """A convolution at 256x256 makes 8 MiB an example."""
    network = pnn.Sequential(pnn.Input(1, 256, 256), pnn.Conv2d(32, 1), pnn.GlobalAvgPool(), seed=0)
    x = np.random.default_rng(2).normal(size=(11, 1, 256, 256)).astype("float32")
    weight, bias = network.parameters.values()
    wanted = x.mean((2, 3)) @ weight.reshape(32, 1).T + bias
    np.testing.assert_allclose(network.predict(x)[:, :, 0, 0], wanted, atol=1e-5)
    assert {shape[0] for [shape] in network._execution.plans.kept} == {4, 3}


def test_a_fixed_batch() -> None:
    network = pnn.Sequential(pnn.Input(4, batch=6), pnn.Dense(3, bias=False, weight_initial="ones"))
    np.testing.assert_allclose(network.predict(X, batch_size=2), X.sum(1, keepdims=True).repeat(3, 1), rtol=1e-5)
    with pytest.raises(ShapeError, match=r"^input 'input' needs \(6, 4\), not \(5, 4\)$"):
        network.predict(X[:5])


def test_sizes_with_names() -> None:
    network = pnn.Sequential(pnn.Input("time", 4), pnn.Dense(1, bias=False, weight_initial="ones"))
    for time in (1, 5, 2):
        x = np.random.default_rng(time).normal(size=(3, time, 4)).astype("float32")
        np.testing.assert_allclose(network.predict(x), x.sum(2, keepdims=True), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(network.predict(x), network.predict(x, engine="onnxruntime"), atol=1e-5)


def test_float64_networks_compute_in_float64() -> None:
    network = pnn.Sequential(pnn.Input(4, dtype="float64"), pnn.Dense(5), pnn.Tanh(), pnn.Dense(3), seed=0)
    x = np.random.default_rng(1).normal(size=(6, 4))
    for engine in ENGINES:
        found = network.predict(x, engine=engine)  # type: ignore[call-overload]
        assert found.dtype == "float64"
        np.testing.assert_allclose(found, by_hand(network, x), rtol=1e-12)
    assert all(array.dtype == "float64" for array in network.parameters.values())


def test_dropout_is_nothing_outside_training() -> None:
    network = pnn.Sequential(pnn.Input(4), pnn.Dropout(0.9))
    np.testing.assert_array_equal(network.predict(X), X)
    np.testing.assert_array_equal(network.predict(X, engine="onnxruntime"), X)


def test_an_input_can_be_an_output() -> None:
    x = pnn.Input(4, name="x")
    found = pnn.Network(x, [x, pnn.Tanh(name="y")(x)]).predict(X)
    np.testing.assert_array_equal(found["x"], X)


NO_NUMBERS = "input 'input' must be an array of numbers, but holds {}"
AS_TEXT = f"numbers as text, such as '{X.astype('U8')[0, 0]}': np.array(x, np.float64) reads them"
AS_OBJECTS = "numbers as Python objects: np.array(x, np.float64) has them as numbers"
MISSING = (
    "input 'input' is missing in a dict of {}, which holds an array for each input; "
    "pnn.prepare(network, columns) makes one of the columns of a table"
)


@pytest.mark.parametrize("seen", [False, True], ids=["new", "seen"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[:, :3], ShapeError, "input 'input' needs (batch, 4), not (6, 3)"),
        (X[:, None], ShapeError, "input 'input' needs (batch, 4), not (6, 1, 4)"),
        (X[0], ShapeError, "input 'input' needs (batch, 4), not (4,): one example alone is x[np.newaxis]"),
        (1.0, ShapeError, "input 'input' needs (batch, 4), not ()"),
        (X + 1j, UsageError, NO_NUMBERS.format("complex numbers: np.abs(x), x.real and x.imag are real")),
        (X.astype("U8"), UsageError, NO_NUMBERS.format(AS_TEXT)),
        (X.astype(object), UsageError, NO_NUMBERS.format(AS_OBJECTS)),
        ({"image": X}, ShapeError, MISSING.format("image")),
        ({"input": X, "image": X}, ShapeError, "'image' is not one of the inputs input"),
        ({}, ShapeError, MISSING.format("nothing")),
    ],
)
def test_inputs_that_do_not_fit(x: Any, error: type[PortableNNError], message: str, engine: Any, seen: bool) -> None:
    network = mlp()
    if seen:
        network.predict(X)
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        network.predict(x, engine=engine)


def test_the_inputs_of_one_batch_are_as_many() -> None:
    message = "input 'b' needs (batch, 4) where batch is 6 by 'a', not (5, 4)"
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        two_inputs().predict({"a": X, "b": X[:5]})


def test_several_inputs_need_names() -> None:
    with pytest.raises(UsageError, match=r"^the network has the inputs a, b: give a dict of arrays by name$"):
        two_inputs().predict(X)


@pytest.mark.parametrize("seen", [False, True], ids=["new", "seen"])
@pytest.mark.parametrize("size", [0, -1])
def test_batch_size_is_one_at_least(size: int, seen: bool) -> None:
    network = mlp()
    if seen:
        network.predict(X)
    with pytest.raises(UsageError, match=rf"^batch_size must be a whole number from 1, not {size}$"):
        network.predict(X, batch_size=size)


def test_an_unknown_engine() -> None:
    with pytest.raises(UsageError, match=r"^engine must be 'numpy' or 'onnxruntime', not 'torch'$"):
        mlp().predict(X, engine="torch")  # type: ignore[call-overload]


def test_threads_predict_at_the_same_time() -> None:
    """Plans are shared and memory is reused: each caller still gets its own numbers."""
    network, start = mlp(hidden=64), threading.Barrier(8)
    batches = [np.random.default_rng(i).normal(size=(1 + i % 5 * 100, 4)).astype("float32") for i in range(16)]
    wanted = [by_hand(network, x) for x in batches]

    def work(first: int) -> float:
        start.wait()
        places = [(first + step) % 16 for step in range(60)]
        return max(float(np.abs(network.predict(batches[i]) - wanted[i]).max()) for i in places)

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(work, range(8))) < 1e-5


# -- parameters


@pytest.mark.parametrize("engine", ENGINES)
def test_predict_sees_what_is_written_into_the_parameters(engine: Any) -> None:
    network = mlp()
    before = network.predict(X, engine=engine)
    network.parameters["dense_2.weight"][...] *= 2
    network.parameters["dense_2.bias"][1] = 7
    np.testing.assert_allclose(network.predict(X, engine=engine), before * 2 + np.array([0, 7, 0]), rtol=1e-5)


def test_the_mapping_of_the_parameters_is_fixed() -> None:
    network = mlp()
    with pytest.raises(TypeError, match="does not support item assignment"):
        network.parameters["dense_1.weight"] = np.zeros((5, 4))  # type: ignore[index]
    with pytest.raises(AttributeError):
        network.parameters = {}  # type: ignore[misc]


def test_networks_of_the_same_seed_have_the_same_weights_each_its_own() -> None:
    one, two, other = mlp(seed=1), mlp(seed=1), mlp(seed=2)
    np.testing.assert_array_equal(one.parameters["dense_1.weight"], two.parameters["dense_1.weight"])
    assert (one.parameters["dense_1.weight"] != other.parameters["dense_1.weight"]).any()
    assert not np.shares_memory(one.parameters["dense_1.weight"], two.parameters["dense_1.weight"])


def test_from_graph_copies_what_it_is_given() -> None:
    source = mlp()
    arrays = {name: np.asfortranarray(array, "float64") for name, array in source.parameters.items()}
    network = pnn.Network.from_graph(source.graph, arrays)
    np.testing.assert_array_equal(network.predict(X), source.predict(X))
    arrays["dense_1.weight"][...] = 0
    np.testing.assert_array_equal(network.predict(X), source.predict(X))
    assert all(array.flags.c_contiguous and array.dtype == "float32" for array in network.parameters.values())


def test_from_graph_refuses_what_does_not_fit() -> None:
    source = mlp()
    with pytest.raises(
        ShapeError, match=r"^the parameters do not fit the graph: tensor 'dense_1.bias' \(5,\) is missing$"
    ):
        pnn.Network.from_graph(
            source.graph, {name: array for name, array in source.parameters.items() if name != "dense_1.bias"}
        )
    broken = replace(source.graph, outputs=("nowhere",))
    with pytest.raises(GraphError, match=r"^output 'nowhere' is made by no node$"):
        pnn.Network.from_graph(broken, source.parameters)


# -- files


def full() -> pnn.Network:
    """Everything that a file holds."""
    x = pnn.Input(784, name="image")
    h = pnn.Dropout(0.25)(pnn.Tanh()(pnn.Dense(6, name="hidden")(x)))
    h = pnn.concatenate(h, pnn.LeakyReLU(0.1)(h))
    outputs = [pnn.Dense(10, name="digit")(h), pnn.Softmax(name="kind")(pnn.Dense(2)(h))]
    return pnn.Network(
        x,
        outputs,
        labels="0123456789",
        preprocessing=DIGIT,
        metadata={"author": "Zoë", "note": "line\nbreak"},
        seed=1,
        name="zahlen",
    )


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    network, path = full(), tmp_path / "full.safetensors"
    network.save(path)
    loaded = pnn.load(path)
    assert loaded.graph == network.graph
    assert loaded.inputs == network.inputs
    assert loaded.inputs[0].preprocessing == DIGIT
    assert loaded.outputs == network.outputs
    assert [info.kind for info in loaded.outputs] == ["logits", "probabilities"]
    assert loaded.labels == tuple("0123456789")
    assert loaded.metadata == {"author": "Zoë", "note": "line\nbreak"}
    assert list(loaded.parameters) == list(network.parameters)
    for name, array in network.parameters.items():
        assert loaded.parameters[name].tobytes() == array.tobytes()
        assert loaded.parameters[name].flags.writeable
    x = np.random.default_rng(2).normal(size=(3, 784)).astype("float32")
    for name, array in network.predict({"image": x}).items():
        np.testing.assert_array_equal(loaded.predict({"image": x})[name], array)
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()


def test_any_safetensors_reader_finds_the_weights(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    network = mlp()
    network.save(tmp_path / "net.safetensors")
    found = safetensors.load_file(tmp_path / "net.safetensors")
    assert set(found) == set(network.parameters)
    for name, array in network.parameters.items():
        np.testing.assert_array_equal(found[name], array)


def test_a_loaded_network_can_be_trained(tmp_path: Path) -> None:
    mlp().save(tmp_path / "net.safetensors")
    network = pnn.load(tmp_path / "net.safetensors")
    history = network.fit(X, np.arange(6) % 3, optimizer="adam", epochs=5, batch_size=6)
    assert history["loss"][-1] < history["loss"][0]
    network.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(pnn.load(tmp_path / "net.safetensors").predict(X), network.predict(X))


@pytest.mark.parametrize("as_text", [False, True])
def test_load_weights_from_a_file(tmp_path: Path, as_text: bool) -> None:
    path = tmp_path / "net.safetensors"
    mlp(seed=1).save(path)
    network = mlp(seed=2)
    network.predict(X)
    array = network.parameters["dense_1.weight"]
    network.load_weights(str(path) if as_text else path)
    np.testing.assert_array_equal(network.predict(X), mlp(seed=1).predict(X))
    assert network.parameters["dense_1.weight"] is array


def test_load_weights_from_a_mapping() -> None:
    source, network = mlp(seed=1), mlp(seed=2)
    network.load_weights({name: array.astype("float64") for name, array in source.parameters.items()})
    np.testing.assert_array_equal(network.predict(X), source.predict(X))
    source.parameters["dense_1.weight"][...] = 0
    assert network.parameters["dense_1.weight"].any()


MISFITS = """: the weights do not fit this network: 4 faults
  tensor 'dense_1.weight' must have shape (5, 4), not (7, 4)
  tensor 'dense_1.bias' must have shape (5,), not (7,)
  tensor 'dense_2.weight' must have shape (3, 5), not (3, 7)
  tensor 'dense_3.bias' belongs to no node"""


def test_load_weights_names_every_tensor_that_differs_and_changes_nothing(tmp_path: Path) -> None:
    source, network, path = mlp(seed=1, hidden=7), mlp(seed=2), tmp_path / "net.safetensors"
    before = network.predict(X)
    arrays = {**source.parameters, "dense_3.bias": np.zeros(2)}
    with pytest.raises(ShapeError, match=f"^{re.escape(MISFITS[2:])}$"):
        network.load_weights(arrays)
    source.save(path)
    without_last = MISFITS.replace("4 faults", "3 faults").rsplit("\n", 1)[0]
    with pytest.raises(ShapeError, match=f"^{re.escape(str(path) + without_last)}$"):
        network.load_weights(path)
    np.testing.assert_array_equal(network.predict(X), before)


def test_load_weights_refuses_what_is_missing_or_of_another_kind() -> None:
    network = mlp()
    arrays: dict[str, Any] = {**network.parameters, "dense_1.bias": np.zeros(5, complex)}
    del arrays["dense_2.bias"]
    with pytest.raises(ShapeError) as caught:
        network.load_weights(arrays)
    assert str(caught.value) == (
        "the weights do not fit this network: 2 faults\n"
        "  tensor 'dense_1.bias' must be an array of numbers, but holds complex numbers: np.abs(x), x.real and x.imag "
        "are real\n"
        "  tensor 'dense_2.bias' (3,) is missing"
    )


def test_load_weights_from_a_damaged_file_changes_nothing(tmp_path: Path) -> None:
    network, path = mlp(seed=2), tmp_path / "net.safetensors"
    mlp(seed=1).save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    before = network.predict(X)
    with pytest.raises(FormatError, match=rf"^{re.escape(str(path))}: tensor '\w+.\w+'"):
        network.load_weights(path)
    np.testing.assert_array_equal(network.predict(X), before)


def test_parameters_lie_where_vector_units_like_it(tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(5), pnn.Dense(3), pnn.Dense(2), seed=0)
    network.save(tmp_path / "n.safetensors")
    for each in (network, pnn.load(tmp_path / "n.safetensors")):
        assert all(array.ctypes.data % 64 == 0 and array.flags.c_contiguous for array in each.parameters.values())


def test_load_knows_the_names_of_shipped_models() -> None:
    for name in ("digits", "digits-mlp"):
        assert pnn.load(name).graph == pnn.load_model(name).graph
    with pytest.raises(UsageError, match=r"^digits-mpl: the name of a weight file ends in"):
        pnn.load("digits-mpl")
    with pytest.raises(UsageError, match=r"not in '\.onnx'; pnn.import_onnx reads such a file"):
        pnn.load("digits.onnx")
