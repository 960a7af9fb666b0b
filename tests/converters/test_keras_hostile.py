"""Damaged and hostile ``.keras`` files: refused by name, and nothing in them runs."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from portable_nn.converters.keras import read_keras
from portable_nn.core.errors import FormatError, PortableNNError, UnsupportedError

CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def dense(units: int = 2, **options: Any) -> dict[str, Any]:
    config = {"name": "d", "trainable": True, "dtype": "float32", "units": units, "activation": "linear",
              "use_bias": True, **options}  # fmt: skip
    return {"module": "keras.layers", "class_name": "Dense", "config": config, "registered_name": None}


def model(*layers: dict[str, Any]) -> dict[str, Any]:
    first = {"module": "keras.layers", "class_name": "InputLayer", "registered_name": None,
             "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "x"}}  # fmt: skip
    return {"module": "keras", "class_name": "Sequential", "registered_name": None,
            "config": {"name": "m", "layers": [first, *layers]}}  # fmt: skip


def weights(change: Callable[[Any], object] | None = None, **arrays: Any) -> bytes:
    """An HDF5 file with the weights of ``dense``."""
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        group = file.create_group("layers/dense/vars")
        group["0"] = arrays.get("kernel", np.arange(6, dtype="float32").reshape(3, 2))
        group["1"] = arrays.get("bias", np.zeros(2, "float32"))
        if change:
            change(file)
    return target.getvalue()


def written(path: Path, config: Any = None, h5: bytes | None = None, **more: bytes) -> Path:
    file = path / "m.keras"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.9.0", "date_saved": "today"}')
        text = config if isinstance(config, str) else json.dumps(model(dense()) if config is None else config)
        archive.writestr(CONFIG, text)
        archive.writestr(WEIGHTS, weights() if h5 is None else h5)
        for name, data in more.items():
            archive.writestr(name, data)
    return file


def test_the_file_that_the_others_vary_is_read(tmp_path: Path) -> None:
    network = read_keras(written(tmp_path), verify=False).network
    x = np.array([[1, 2, 3]], "float32")
    np.testing.assert_array_equal(network.predict(x), x @ np.arange(6, dtype="float32").reshape(3, 2))


def layer(
    kind: str, module: str | None = "keras.layers", registered: str | None = None, **config: Any
) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": {"name": "bad", **config}, "registered_name": registered}


CODE = layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None}})
OBJECTS = {
    "lambda": (CODE, r"'bad' \(Lambda\) holds code"),
    "custom": (layer("Mine", None, "pkg>Mine"), r"'bad' \(Mine\) is an object of its own \('pkg>Mine'\)"),
    "registered": (layer("Dense", "keras.layers", "pkg>Dense"), "is an object of its own"),
    "module": (layer("system", "os"), r"is an object of its own \('os'\)"),
    "function": (layer("run", "subprocess"), "is an object of its own"),
    "near": (layer("Dense", "keras.layers.evil.os"), None),
    "unknown": (layer("Magic"), r"'bad' \(Magic\) has no counterpart here"),
    "torch": (layer("TorchModuleWrapper", module="keras.src.utils.torch_utils"), "is an object of its own"),
    "operation": (layer("Custom", "keras.src.ops.numpy"), "is an operation that has no counterpart"),
    "activation": (dense(activation="eval"), r"activation 'eval' is none"),
    "own activation": (
        dense(activation={"module": "builtins", "class_name": "function", "config": "f", "registered_name": "p>f"}),
        "is an object of its own",
    ),
    "nested": (
        layer("TimeDistributed", layer=CODE), r"'bad' \(Lambda\) holds code"
    ),
    "deep model": ({**model(CODE), "name": "deep"}, r"\(Lambda\) holds code"),
    "hidden in a type": (
        dense(dtype={"module": "os", "class_name": "DTypePolicy", "config": {"name": "float32"}}), "object of its own"
    ),
    "hidden in a wrapper": (
        layer("Bidirectional", layer=layer("LSTM", "evil", units=2), merge_mode="concat"), "object of its own"
    ),
    "hidden in an option that nobody reads": (
        dense(quantization_config={"module": "evil", "class_name": "Q", "config": {}}), "object of its own"
    ),
    "hidden in a cell": (layer("RNN", cell=layer("LSTMCell", "evil", units=2)), "object of its own"),
    "units": (dense(units=-1), "units must be a whole number from 1"),
    "many units": (dense(units=2**40), "units must be a whole number"),
    "text units": (dense(units="2"), "units must be a whole number"),  # type: ignore[arg-type]
    "truth": (dense(use_bias=1), "use_bias must be true or false"),
    "option": (dense(secret=[1]), r"its secret=\[1\] is not known here"),
    "quantized": (dense(dtype={"class_name": "DTypePolicy", "config": {"name": "int8_from_float32"}}), "int8_from"),
    "half": (dense(dtype="mixed_float16"), "it computes in mixed_float16"),
}  # fmt: skip


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_and_options_that_are_none_of_keras_are_refused(name: str, tmp_path: Path) -> None:
    bad, pattern = OBJECTS[name]
    with pytest.raises(PortableNNError, match=pattern):
        read_keras(written(tmp_path, model(bad)), verify=False)


def test_all_faults_are_listed(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="3 faults") as caught:
        read_keras(written(tmp_path, model(CODE, layer("Magic"), layer("x", "os"))), verify=False)
    assert all(word in str(caught.value) for word in ("Lambda", "Magic", "'os'"))


TEXTS = {
    "deep lists": '{"class_name": ' + "[" * 200 + "]" * 200 + "}",
    "deeper lists": '{"class_name": ' + "[" * 200_000 + "]" * 200_000 + "}",
    "a list": "[]",
    "nothing": "",
    "no json": "{",
    "twice": '{"class_name": "Sequential", "class_name": "Functional", "config": {}}',
    "nan": '{"class_name": "Sequential", "config": {"a": NaN}}',
    "no layers": '{"class_name": "Sequential", "config": {"layers": []}}',
    "layers that are none": '{"class_name": "Sequential", "config": {"layers": [3, "x", null]}}',
    "no config": '{"class_name": "Sequential"}',
    "a null": "null",
    "bytes": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts_that_describe_no_model_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(PortableNNError, match=r"m\.keras"):
        read_keras(written(tmp_path, TEXTS[name]), verify=False)


def functional(**changes: Any) -> dict[str, Any]:
    def node(name: str, index: int = 0) -> list[Any]:
        tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [name, index, 0]}}
        return [{"args": [tensor], "kwargs": {}}]

    first = {**model()["config"]["layers"][0], "name": "x", "inbound_nodes": []}
    config = {
        "name": "m",
        "layers": [first, {**dense(), "name": "d", "inbound_nodes": changes.pop("nodes", node("x"))}],
        "input_layers": [["x", 0, 0]],
        "output_layers": [["d", 0, 0]],
        **changes,
    }
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": None,
    }


def tensor(*history: Any) -> list[Any]:
    return [{"args": [{"class_name": "__keras_tensor__", "config": {"keras_history": list(history)}}], "kwargs": {}}]


GRAPHS: dict[str, dict[str, Any]] = {
    "circle": {"nodes": tensor("d", 0, 0)},
    "missing": {"nodes": tensor("y", 0, 0)},
    "no history": {"nodes": tensor("x")},
    "negative": {"nodes": tensor("x", -1, 0)},
    "beyond": {"nodes": tensor("x", 0, 7)},
    "no list": {"nodes": 3},
    "odd node": {"nodes": [3]},
    "odd arguments": {"nodes": [{**tensor("x", 0, 0)[0], "args": tensor("x", 0, 0)[0]["args"][0]}]},
    "object": {"nodes": [{"args": [{"class_name": "os.system", "config": {"command": "true"}}], "kwargs": {}}]},
    "no outputs": {"output_layers": []},
    "other outputs": {"output_layers": [["y", 0, 0]]},
    "far outputs": {"output_layers": [["d", 5, 0]]},
    "odd outputs": {"output_layers": 3},
    "odd inputs": {"input_layers": "x"},
}


def test_a_functional_file_is_read(tmp_path: Path) -> None:
    assert read_keras(written(tmp_path, functional()), verify=False).network.graph.outputs == ("d",)


def test_a_call_of_an_input_is_none(tmp_path: Path) -> None:
    """What it would read is made later."""
    found = functional()
    found["config"]["layers"][0]["inbound_nodes"] = tensor("d", 0, 0)
    assert read_keras(written(tmp_path, found), verify=False).network.graph.outputs == ("d",)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_that_contradict_themselves_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(PortableNNError, match=r"m\.keras"):
        read_keras(written(tmp_path, functional(**GRAPHS[name])), verify=False)


def _link(file: Any) -> None:
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/hostname", "/x")


def _soft(file: Any) -> None:
    file["other"] = np.zeros((3, 2), "float32")
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.SoftLink("/other")


def _bomb(file: Any) -> None:
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", (3, 2**30), "float32", chunks=(3, 2**20), compression="gzip")


def _virtual(file: Any) -> None:
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 2))
    del file["layers/dense/vars/0"]
    file.create_virtual_dataset("layers/dense/vars/0", layout)


HDF5 = {
    "external link": (_link, "external link"),
    "soft link": (_soft, "soft link"),
    "bomb": (_bomb, WEIGHTS),
    "virtual": (_virtual, "virtual"),
    "extra": (lambda file: file.create_dataset("layers/spy/vars/0", data=np.zeros(3)), "belong to no layer"),
    "missing": (lambda file: file.__delitem__("layers/dense/vars/1"), "'layers/dense/vars/1' is missing"),
    "text": (lambda file: file.create_dataset("layers/dense/vars/2", data="x"), WEIGHTS),
}


@pytest.mark.parametrize("name", HDF5)
def test_hostile_weights_are_refused(name: str, tmp_path: Path) -> None:
    change, pattern = HDF5[name]
    with pytest.raises(PortableNNError, match=pattern):
        read_keras(written(tmp_path, h5=weights(change)), verify=False)


def test_weights_of_another_model_are_refused_with_what_differs(tmp_path: Path) -> None:
    turned = weights(kernel=np.zeros((2, 3), "float32"))
    with pytest.raises(FormatError, match=r"'d' \(Dense\): its weight 0 is \(2, 3\), not \(3, 2\): it is transposed"):
        read_keras(written(tmp_path, h5=turned), verify=False)
    with pytest.raises(FormatError, match="is float16"):
        read_keras(written(tmp_path, h5=weights(kernel=np.zeros((3, 2), "float16"))), verify=False)
    with pytest.raises(FormatError, match="NaN or infinite"):
        read_keras(written(tmp_path, h5=weights(bias=np.array([0, np.nan], "float32"))), verify=False)
    with pytest.raises(FormatError, match=WEIGHTS):
        read_keras(written(tmp_path, h5=b"no HDF5"), verify=False)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\\..\\..\\x", "C:/x", "other.py", "assets/../../x"])
def test_members_outside_of_the_archive_are_refused(name: str, tmp_path: Path) -> None:
    file = written(tmp_path, **{name: b"x"})
    with pytest.raises(FormatError, match=r"names a place outside|is none of"):
        read_keras(file, verify=False)
    assert [each.name for each in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_with_twins_bombs_or_damage_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(CONFIG, "{}")
    with pytest.raises(FormatError, match=r"'config\.json' stands 2 times"):
        read_keras(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(CONFIG, " " * 2**27)
    with pytest.raises(FormatError, match=r"config\.json' has 134217728 bytes"):
        read_keras(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr(CONFIG, "{}")
    with pytest.raises(FormatError, match="compressed by method 12"):
        read_keras(file)
    whole = written(tmp_path).read_bytes()
    for cut in range(0, len(whole), max(1, len(whole) // 40)):
        file.write_bytes(whole[:cut])
        with pytest.raises(PortableNNError):
            read_keras(file, verify=False)
    file.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(UnsupportedError, match="is an HDF5 file"):
        read_keras(file)
    with pytest.raises(UnsupportedError, match="SavedModel"):
        read_keras(tmp_path)
    with pytest.raises(PortableNNError, match="does not exist"):
        read_keras(tmp_path / "none.keras")


@pytest.mark.long
def test_changed_bytes_give_an_error_or_a_network(tmp_path: Path) -> None:
    file = written(tmp_path, functional())
    whole, rng = file.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(whole)
        for at in rng.integers(0, len(whole), 3):
            changed[at] = rng.integers(0, 256)
        file.write_bytes(changed)
        try:
            read_keras(file, verify=False)
        except PortableNNError as error:
            assert "m.keras" in str(error)  # noqa: PT017


@pytest.mark.long
def test_changed_configurations_give_an_error_or_a_network(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values: list[Any] = [None, True, -1, 0, 2**40, 1.5, "x", "", [], {}, [1], {"class_name": "x"}, [[None]]]

    def mutate(value: Any) -> Any:
        if isinstance(value, dict) and value:
            key = list(value)[rng.integers(len(value))]
            if rng.random() < 0.15:
                return {name: each for name, each in value.items() if name != key}
            return {name: mutate(each) if name == key else each for name, each in value.items()}
        if isinstance(value, list) and value:
            at = int(rng.integers(len(value)))
            return [mutate(each) if place == at else each for place, each in enumerate(value)]
        return values[rng.integers(len(values))]

    for round_ in range(600):
        config = (
            functional() if round_ % 2 else model(dense(), layer("LSTM", units=2), layer("Reshape", target_shape=[2]))
        )
        try:
            read_keras(written(tmp_path, mutate(config)), verify=False)
        except PortableNNError as error:
            assert "m.keras" in str(error)  # noqa: PT017


def _doubling(levels: int) -> dict[str, Any]:
    """Models in models, each of which calls the one in it twice: 2^levels calls."""

    def called(name: str) -> list[Any]:
        return tensor(name, 0, 0)

    first = {**model()["config"]["layers"][0], "name": "x", "inbound_nodes": []}
    inner = {**layer("Activation", activation="relu"), "name": "d"}
    for _ in range(levels):
        inner = {**inner, "inbound_nodes": [*called("x"), *tensor("d", 0, 0)], "name": "d"}
        config = {"name": "d", "layers": [first, inner], "input_layers": [["x", 0, 0]],
                  "output_layers": [["d", 1 if inner["class_name"] != "Functional" else 2, 0]]}  # fmt: skip
        inner = {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": None,
                 "config": config}  # fmt: skip
    return inner


HUGE = 2**31 - 1


def _wide(*layers: dict[str, Any]) -> dict[str, Any]:
    found = model(*layers)
    found["config"]["layers"][0]["config"]["batch_shape"] = [None, HUGE]
    return found


BOMBS = {
    "calls": (_doubling(18), "called more than 10000 times"),
    "batch": (_wide(layer("BatchNormalization", scale=False, center=False)), "which no weight has"),
    "layer": (_wide(layer("LayerNormalization", scale=False, center=False)), "which no weight has"),
    "numbers": (_wide(layer("Normalization", mean=0.0, variance=1.0)), "which no weight has"),
    "units": (model(dense(HUGE)), "its weight 0 is"),
}


@pytest.mark.parametrize("name", [pytest.param("calls", marks=pytest.mark.long), *[*BOMBS][1:]])
def test_what_would_grow_beyond_its_file_is_refused_at_once(name: str, tmp_path: Path) -> None:
    config, pattern = BOMBS[name]
    with pytest.raises(PortableNNError, match=pattern):  # Otherwise it would not end, or fill the memory.
        read_keras(written(tmp_path, config), verify=False)


@pytest.mark.parametrize(
    ("config", "h5", "reason"),
    [
        (model(dense(units=0)), None, r"'d' \(Dense\): its option units must be a whole number from 1, not 0$"),
        (None, weights(kernel=np.full((3, 2), np.nan, "float32")), "its weight 0 has values that are NaN or infinite$"),
        (None, weights(kernel=np.zeros((3, 2), "complex64")), "its weight 0 is complex64; float32 and float64 are"),
    ],
)
def test_a_fault_of_a_layer_brings_no_second_one_about_its_options(
    tmp_path: Path, config: Any, h5: bytes | None, reason: str
) -> None:
    with pytest.raises(PortableNNError, match=reason) as caught:
        read_keras(written(tmp_path, config, h5), verify=False)
    assert "is not known here" not in str(caught.value)
