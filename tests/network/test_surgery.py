"""Freezing parts of a network, cutting it, and putting something new on what is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.core.errors import GraphError, PortableNNError, UsageError
from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.operators.registry import Array
from portable_nn.preprocessing.defaults import DIGIT

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 3, 8, 8)).astype("float32")
Y = np.arange(24) % 4


def classifier(*, seed: int = 0) -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(3, 8, 8, name="image"),
        pnn.Conv2d(4, 3, name="features.conv"),
        pnn.BatchNorm2d(name="features.norm"),
        pnn.ReLU(name="features.relu"),
        pnn.GlobalAvgPool(name="pool"),
        pnn.Flatten(name="flat"),
        pnn.Dense(6, name="hidden"),
        pnn.Dense(4, name="head"),
        seed=seed,
    )


def changed_by_fit(network: pnn.Network, **options: object) -> set[str]:
    before = {name: array.tobytes() for name, array in network.parameters.items()}
    network.fit(X, Y, epochs=2, batch_size=8, **options)
    return {name for name, array in network.parameters.items() if array.tobytes() != before[name]}


ALL = {
    "features.conv.weight", "features.conv.bias", "features.norm.weight", "features.norm.bias",
    "features.norm.running_mean", "features.norm.running_var", "hidden.weight", "hidden.bias", "head.weight",
    "head.bias",
}  # fmt: skip
BODY = {name for name in ALL if name.startswith("features.")}
NORM = {name for name in ALL if name.startswith("features.norm.")}


# -- freezing


@pytest.mark.parametrize(
    ("patterns", "still"),
    [
        (["features.*"], BODY),
        (["features"], BODY),
        (["features.norm"], NORM),
        (["features.norm.weight", "features.norm.bias"], NORM),
        (["features.norm.weight"], {"features.norm.weight"}),
        (["*.bias"], {"features.conv.bias", "features.norm.bias", "hidden.bias", "head.bias"}),
        (["h*.weight", "head.bia?"], {"hidden.weight", "head.weight", "head.bias"}),
        (["h[ei]*"], {"hidden.weight", "hidden.bias", "head.weight", "head.bias"}),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
@pytest.mark.parametrize(
    "optimizer", [pnn.SGD(0.1, momentum=0.9, weight_decay=0.1), pnn.AdamW(0.1)], ids=["sgd", "adamw"]
)
def test_what_is_frozen_stays_to_the_last_bit(patterns: list[str], still: set[str], optimizer: object) -> None:
    network = classifier()
    named = network.freeze(*patterns)
    assert set(named) == {name for name in still if "running" not in name}
    assert changed_by_fit(network, optimizer=optimizer) == ALL - still


def test_a_frozen_body_gives_the_same_while_the_head_learns() -> None:
    network = classifier()
    network.freeze("features")
    before = network.until("pool").predict(X)
    network.fit(X, Y, epochs=2, batch_size=8)
    np.testing.assert_array_equal(network.until("pool").predict(X), before)


def test_a_frozen_normalisation_takes_the_running_statistics() -> None:
    """With them, the loss of a training step is that of the outputs that ``predict`` gives."""
    network = classifier()
    network.load_weights({**network.parameters, "features.norm.running_mean": np.full(4, 0.5)})
    logits = network.predict(X).astype("float64")
    expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(24), Y])
    network.freeze("*")
    network.unfreeze("head")
    history = network.fit(X, Y, optimizer=pnn.SGD(1e-9), epochs=1, batch_size=24)
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_unfreeze() -> None:
    network = classifier()
    network.freeze("*")
    assert set(network.unfreeze("head", "*.norm")) == {
        "head.weight",
        "head.bias",
        "features.norm.weight",
        "features.norm.bias",
    }
    assert changed_by_fit(network, optimizer="adam") == {"head.weight", "head.bias"} | NORM
    network.unfreeze("*")
    assert network.graph == classifier().graph


def test_a_node_stands_for_the_parameters_that_it_reads() -> None:
    """As exporters name them: what a weight is called says nothing, but the node does."""
    graph = Graph(
        (Value("x", "float32", ("N", 3)),),
        ("y",),
        (Parameter("onnx::MatMul_7", "float32", (3, 4)), Parameter("onnx::MatMul_8", "float32", (4, 2))),
        (
            Node("/encoder/fc/MatMul", "MatMul", ("x", "onnx::MatMul_7"), ("h",)),
            Node("/head/MatMul", "MatMul", ("h", "onnx::MatMul_8"), ("y",)),
        ),
    )
    weights = {"onnx::MatMul_7": np.ones((3, 4)), "onnx::MatMul_8": np.ones((4, 2))}
    network = pnn.Network.from_graph(graph, weights)
    assert network.freeze("/encoder") == ("onnx::MatMul_7",)
    assert network.freeze("/head/MatMul") == ("onnx::MatMul_8",)
    assert network.unfreeze("/*/MatMul") == ("onnx::MatMul_7", "onnx::MatMul_8")


@pytest.mark.parametrize("suffix", [".safetensors", ".h5", ".onnx"])
def test_files_keep_what_is_frozen(tmp_path: Path, suffix: str) -> None:
    network = classifier()
    network.freeze("features.*")
    path = tmp_path / f"m{suffix}"
    if suffix == ".onnx":
        export_onnx(network, path)
        loaded = import_onnx(path)
    else:
        network.save(path)
        loaded = pnn.load(path)
    assert loaded.graph == network.graph
    assert changed_by_fit(loaded) == ALL - BODY


def test_training_with_another_part_frozen_is_another_training(tmp_path: Path) -> None:
    network = classifier()
    network.freeze("features")
    network.fit(X, Y, epochs=1, optimizer="sgd", checkpoint=tmp_path / "run")
    message = "the training cannot go on with another network, other data or other settings"
    with pytest.raises(UsageError, match=message):
        classifier().fit(X, Y, epochs=2, optimizer="sgd", checkpoint=tmp_path / "run", resume=True)
    again = classifier(seed=1)
    again.freeze("features")
    again.fit(X, Y, epochs=2, optimizer="sgd", checkpoint=tmp_path / "run", resume=True)
    network.fit(X, Y, epochs=1, optimizer="sgd")
    assert again.parameters["head.weight"].tobytes() == network.parameters["head.weight"].tobytes()


def test_everything_frozen() -> None:
    network = classifier()
    network.freeze("*")
    with pytest.raises(UsageError, match=r"^nothing can be trained: no gradient reaches a trainable parameter"):
        network.fit(X, Y)


RUNNING = (
    "matches nothing that a gradient trains: 'features.norm.running_mean' is a running statistic, which is frozen "
    "with the weight and bias of its normalisation"
)


LAST = "the last of 7 nodes are flat, hidden, head; -1 is for the input of the last linear layer"
TAKES = "'network' (network): it takes image: float32(batch, 3, 8, 8), not"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: n.freeze(), "freeze needs a pattern of parameter names, such as 'features.*'; '*' is for all"),
        (
            lambda n: n.freeze("feature.norm*"),
            "freeze: no parameter matches 'feature.norm*': did you mean 'features.norm'?",
        ),
        (
            lambda n: n.freeze("Head"),
            "freeze: no parameter matches 'Head': did you mean 'head', 'head.bias' or 'head.weight'?",
        ),
        (
            lambda n: n.unfreeze("zzz", "hiden"),
            "unfreeze: 2 faults\n"
            "  no parameter matches 'zzz': there are features.conv.weight, features.conv.bias, "
            "features.norm.weight, … (10 parameters)\n"
            "  no parameter matches 'hiden': did you mean 'hidden'?",
        ),
        (lambda n: n.freeze("*running*"), f"freeze: '*running*' {RUNNING}"),
        (lambda n: n.unfreeze("*running_mean"), f"unfreeze: '*running_mean' {RUNNING}"),
        (
            lambda n: pnn.Sequential(pnn.Input(3), pnn.ReLU()).freeze("a"),
            "freeze: no parameter matches 'a': the network has no parameters",
        ),
        (lambda n: n.until(), "until: it needs the name of a value or node"),
        (lambda n: n.until("pol"), "until: no value and no node is called 'pol': did you mean 'pool'?"),
        (lambda n: n.until("conv"), "until: no value and no node is called 'conv': did you mean 'features.conv'?"),
        (lambda n: n.until("zzz"), f"until: no value and no node is called 'zzz': {LAST}"),
        (lambda n: n.until("image"), f"until: no value and no node is called 'image': {LAST}"),
        (
            lambda n: n.until("relu", "pol"),
            "until: 2 faults\n"
            "  no value and no node is called 'relu': did you mean 'features.relu'?\n"
            "  no value and no node is called 'pol': did you mean 'pool'?",
        ),
        (lambda n: n(pnn.Input(3, 9, 8)), f"{TAKES} float32 (batch, 3, 9, 8)"),
        (lambda n: n(pnn.Input(3, 8)), f"{TAKES} float32 (batch, 3, 8)"),
        (lambda n: n(pnn.Input(3, 8, 8, dtype="float64")), f"{TAKES} float64 (batch, 3, 8, 8)"),
        (lambda n: n(), "'network' (network): it takes 1 input (image), not 0"),
        (
            lambda n: pnn.Sequential(n.until("flat", "pool"), pnn.ReLU()),
            "Sequential takes networks with one input and one output; this has 1 input and 2 outputs: call it",
        ),
    ],
)
def test_messages(call: Callable[[pnn.Network], object], message: str) -> None:
    with pytest.raises(PortableNNError, match=f"^{re.escape(message)}$") as raised:
        call(classifier())
    assert isinstance(raised.value, GraphError if "(network)" in message else UsageError)


def test_whole_numbers_are_not_trained() -> None:
    graph = Graph(
        (Value("x", "int64", ("N", 3)),),
        ("y",),
        (Parameter("k", "int64", (3,), trainable=False),),
        (Node("add", "Add", ("x", "k"), ("y",)),),
    )
    network = pnn.Network.from_graph(graph, {"k": np.arange(3)})
    with pytest.raises(UsageError, match=r"^unfreeze: 'k' matches nothing that a gradient trains: 'k' holds int64$"):
        network.unfreeze("k")


# -- cutting


def by_hand(network: pnn.Network, x: Array) -> Array:
    """What is made of the pooled features."""
    p = network.parameters
    hidden = x.reshape(len(x), -1) @ p["hidden.weight"].T + p["hidden.bias"]
    return np.asarray(hidden @ p["head.weight"].T + p["head.bias"])


def test_until_a_value() -> None:
    network = classifier()
    body = network.until("pool")
    assert body.graph.outputs == ("pool",)
    assert set(body.parameters) == BODY
    np.testing.assert_allclose(by_hand(network, body.predict(X)), network.predict(X), rtol=1e-5, atol=1e-6)
    network.fit(X, Y, epochs=1)
    assert not np.array_equal(body.parameters["features.conv.weight"], network.parameters["features.conv.weight"])


def test_until_several_values_and_what_they_need() -> None:
    a, b = pnn.Input(4, name="a"), pnn.Input(4, name="b")
    h, g = pnn.Dense(3, name="h")(a), pnn.Dense(3, name="g")(b)
    network = pnn.Network([a, b], pnn.Softmax(name="p")(h + g), labels="xyz", metadata={"by": "me"})
    x = RNG.normal(size=(5, 4)).astype("float32")
    part = network.until("h")
    assert [value.name for value in part.graph.inputs] == ["a"]
    np.testing.assert_array_equal(part.predict(x), x @ network.parameters["h.weight"].T + 0)
    both = network.until("g", "h", "g")
    assert both.graph.outputs == ("g", "h")
    assert both.metadata == {"by": "me"}
    assert both.predict({"a": x, "b": x}).keys() == {"g", "h"}
    assert network.until("p").outputs == network.outputs
    assert network.until("h").outputs[0].kind == "values"
    assert pnn.Sequential(pnn.Input(3), pnn.Sigmoid(), pnn.ReLU()).until("sigmoid_1").outputs[0].kind == "probabilities"


def test_a_node_whose_value_has_another_name() -> None:
    graph = Graph(
        (Value("x", "float32", ("N", 3)),),
        ("y",),
        (),
        (Node("first", "Relu", ("x",), ("17",)), Node("17", "Tanh", ("17",), ("y",))),
    )
    network = pnn.Network.from_graph(graph, {})
    assert network.until("first").graph.outputs == ("17",)
    assert network.until("17").graph.outputs == ("17",)  # A value goes before a node of the same name.


def test_what_depends_on_no_input() -> None:
    network = pnn.Network.from_graph(
        Graph(
            (Value("x", "float32", ("N", 3)),),
            ("y",),
            (Parameter("w", "float32", (3,)),),
            (Node("r", "Relu", ("w",), ("r",)), Node("y", "Add", ("x", "r"), ("y",))),
        ),
        {"w": np.ones(3)},
    )
    with pytest.raises(UsageError, match=r"^until: r does not depend on any input$"):
        network.until("r")


# -- joining


def test_a_new_head() -> None:
    trained = classifier()
    trained.freeze("features")
    network = pnn.Sequential(trained.until("pool"), pnn.Flatten(), pnn.Dense(5), labels="abcde", seed=3)
    fresh = pnn.Sequential(pnn.Input(4, 1, 1), pnn.Flatten(), pnn.Dense(5), seed=3)
    assert [node.name for node in network.graph.nodes][-3:] == ["pool", "flatten_1", "dense_1"]
    for name in BODY:
        np.testing.assert_array_equal(network.parameters[name], trained.parameters[name])
    np.testing.assert_array_equal(network.parameters["dense_1.weight"], fresh.parameters["dense_1.weight"])
    np.testing.assert_allclose(
        network.predict(X), fresh.predict(trained.until("pool").predict(X)), rtol=1e-6, atol=1e-6
    )
    assert changed_by_fit(network) == {"dense_1.weight", "dense_1.bias"}
    assert network.labels == tuple("abcde")


def test_names_keep_clear_of_those_of_the_body() -> None:
    body = pnn.Sequential(pnn.Input(3), pnn.Dense(4), pnn.ReLU())
    network = pnn.Sequential(body, pnn.Dense(2))
    assert [node.name for node in network.graph.nodes] == ["dense_1", "relu_1", "dense_2"]
    assert list(network.parameters) == ["dense_1.weight", "dense_1.bias", "dense_2.weight", "dense_2.bias"]


def test_what_goes_in_comes_with_the_body() -> None:
    network = pnn.Sequential(
        pnn.Input(784, name="picture"),
        pnn.Dense(8),
        pnn.ReLU(),
        pnn.Dense(10),
        preprocessing=DIGIT,
        metadata={"by": "me"},
        name="digits",
    )
    new = pnn.Sequential(network.until("relu_1"), pnn.Dense(3))
    assert new.inputs == network.inputs
    assert (new.metadata, new.graph.name) == ({"by": "me"}, "digits")
    other = pnn.Sequential(network.until("relu_1"), pnn.Dense(3), preprocessing=(), metadata={}, name="new")
    assert (other.inputs[0].kind, other.metadata, other.graph.name) == ("tensor", {}, "new")


def test_a_network_as_a_layer_among_others() -> None:
    inner = pnn.Sequential(pnn.Input(4), pnn.Dense(5, name="inner"), pnn.Tanh(name="t"))
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(4), inner, pnn.Dense(2), seed=0)
    x = RNG.normal(size=(6, 3)).astype("float32")
    p = network.parameters
    hidden = np.tanh((x @ p["dense_1.weight"].T) @ inner.parameters["inner.weight"].T)
    np.testing.assert_allclose(network.predict(x), hidden @ p["dense_2.weight"].T, rtol=1e-5, atol=1e-6)


def test_called_twice_it_has_its_parameters_once() -> None:
    tower = pnn.Sequential(pnn.Input(4), pnn.Dense(3, name="tower"))
    a, b = pnn.Input(4, name="a"), pnn.Input(4, name="b")
    network = pnn.Network([a, b], tower(a) - tower(b), name="siamese")
    assert list(network.parameters) == ["tower.weight", "tower.bias"]
    assert [node.name for node in network.graph.nodes] == ["tower", "tower_2", "sub_1"]
    x, y = RNG.normal(size=(2, 5, 4)).astype("float32")
    expected = (x - y) @ tower.parameters["tower.weight"].T
    np.testing.assert_allclose(network.predict({"a": x, "b": y})["sub_1"], expected, rtol=1e-5, atol=1e-5)


def test_called_on_a_part_with_several_outputs() -> None:
    network = classifier()
    image = pnn.Input(3, 8, 8, name="picture")
    pooled, flat = network.until("pool", "flat")(image)
    joined = pnn.Network(image, pnn.Dense(2)(pnn.concatenate(pnn.Flatten()(pooled), flat)))
    assert joined.predict(X).shape == (24, 2)


def test_every_type_comes_along_to_the_last_bit() -> None:
    values = {
        "i": np.array([2**62 + 1, -5, 0]),
        "b": np.array([True, False, True]),
        "h": np.array([0.1, 6e-8, 65504], "float16"),
        "d": np.array([0.1, 1e-300, np.pi]),
    }
    nodes = [Node(f"add_{name}", "Identity", (name,), (f"out_{name}",)) for name in values]
    graph = Graph(
        (Value("x", "float32", ("N", 3)),),
        ("y", *(f"out_{name}" for name in values)),
        tuple(Parameter(name, array.dtype.name, array.shape, trainable=False) for name, array in values.items()),
        (Node("y", "Relu", ("x",), ("y",)), *nodes),
    )
    x = pnn.Input(3)
    again = pnn.Network(x, list(pnn.Network.from_graph(graph, values)(x)))
    assert {name: array.tobytes() for name, array in again.parameters.items()} == {
        name: array.tobytes() for name, array in values.items()
    }


def test_same_seed_same_bytes() -> None:
    def made() -> pnn.Network:
        network = pnn.Sequential(classifier().until("flat"), pnn.Dropout(0.5), pnn.Dense(4), seed=1)
        network.fit(X, Y, epochs=2)
        return network

    assert made().parameters["dense_1.weight"].tobytes() == made().parameters["dense_1.weight"].tobytes()


def test_an_imported_model_gets_a_new_head_is_saved_resumed_and_exported(tmp_path: Path) -> None:
    export_onnx(classifier(), tmp_path / "theirs.onnx")
    trained = import_onnx(tmp_path / "theirs.onnx")
    trained.freeze("features.*")

    def make() -> pnn.Network:
        return pnn.Sequential(trained.until("flat"), pnn.Dense(2, name="new"), labels="ab", seed=0)

    options = {"batch_size": 8, "optimizer": pnn.Adam(0.01)}
    network, once = make(), make()
    network.fit(X, Y % 2, epochs=2, checkpoint=tmp_path / "run", **options)
    again = pnn.load(max((tmp_path / "run").iterdir()))
    again.fit(X, Y % 2, epochs=4, checkpoint=tmp_path / "run", resume=True, **options)
    once.fit(X, Y % 2, epochs=4, **options)
    assert again.parameters["new.weight"].tobytes() == once.parameters["new.weight"].tobytes()
    again.save(tmp_path / "mine.safetensors")
    loaded = pnn.load(tmp_path / "mine.safetensors")
    assert export_onnx(loaded, tmp_path / "mine.onnx").max_abs_error < 1e-5
    assert import_onnx(tmp_path / "mine.onnx").labels == ("a", "b")
