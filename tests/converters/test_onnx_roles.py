"""Which initializers of another program's model train: those that are weights in the program that exported it."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign import FLOAT, write
from onnx import helper

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx, read_onnx
from portable_nn.core.errors import UsageError
from portable_nn.onnx.roles import counted

node = helper.make_node
RNG = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def trained(path: Path, **options: Any) -> dict[str, bool]:
    network = import_onnx(path, **options)
    return {value.name: value.trainable for value in network.graph.parameters}


# -- by use and name


@pytest.mark.parametrize(
    ("name", "array", "operator", "trains"),
    [
        ("onnx::MatMul_12", normal(4, 4), "MatMul", True),  # A transposed weight.
        ("val_3", normal(4, 4), "MatMul", True),
        ("inv_freq", normal(4, 4), "MatMul", False),
        ("zeros", np.zeros((4, 4), np.float32), "MatMul", False),  # What a loop begins with.
        ("layers.0.attn.scale", np.float32(2), "Mul", True),
        ("logit_scale", np.float32(2), "Mul", True),
        ("gate", np.float32(2), "Mul", True),
        ("blocks.0.gamma_1", normal(4), "Mul", True),
        ("model/layer_norm/gamma:0", normal(4), "Mul", True),
        ("val_68", np.float32([0.5]), "Mul", False),  # The scale of attention.
        ("scalar_tensor_default_2", np.float32(0.5), "Mul", False),
        ("/attn/Constant_output_0", np.float32(0.5), "Div", False),
        ("const_fold_opt__37", np.float32(0.5), "Add", False),
        ("expand", normal(1, 4), "Add", False),
        ("attn_mask", normal(1, 4), "Add", False),
        ("layers.0.attn_mask", normal(1, 4), "Add", False),
        ("bias_of_attention", np.float32([[0, -1e4, 0, -1e4]]), "Add", False),
        ("h0", normal(1, 4), "Add", False),
        ("initial_state", normal(1, 4), "Add", False),
        ("pos_embedding", normal(1, 4), "Add", True),
        ("slope", normal(4), "PRelu", True),
        ("5", normal(4), "PRelu", True),
        ("limit", normal(1, 4), "Less", False),
    ],
)
def test_what_reads_an_array_and_its_name_decide(
    tmp_path: Path, name: str, array: Any, operator: str, trains: bool
) -> None:
    made = [node(operator, ["x", name], ["z" if operator == "Less" else "y"])]
    made += [node("Cast", ["z"], ["y"], to=FLOAT)] if operator == "Less" else []
    path = write(tmp_path / "m.onnx", made, {"x": (FLOAT, [3, 4])}, {"y": (FLOAT, [3, 4])}, {name: array})
    found = {value.name: value.trainable for value in import_onnx(path).graph.parameters}
    assert found.get(name, False) is trains


def test_a_weight_that_a_node_reads_many_times_has_one_role(tmp_path: Path) -> None:
    """In proportion to their number: looked up each for each, these would take minutes."""
    made = [node("Concat", ["x", *["layer.weight"] * 30_000], ["y"], axis=0)]
    path = write(
        tmp_path / "m.onnx", made, {"x": (FLOAT, [3, 4])}, {"y": (FLOAT, [30_003, 4])}, {"layer.weight": normal(1, 4)}
    )
    assert trained(path, verify=False) == {"layer.weight": True}


def test_embeddings_train_and_a_weight_that_is_turned_first(tmp_path: Path) -> None:
    nodes = [
        node("ArgMax", ["x"], ["ids"], axis=1, keepdims=0),
        node("Gather", ["words.table", "ids"], ["e"]),
        node("Transpose", ["turned"], ["t"], perm=[1, 0]),
        node("Mul", ["t", "val_9"], ["s"]),
        node("MatMul", ["e", "t"], ["h"]),
        node("Add", ["h", "onnx::Add_8"], ["a"]),
        node("Add", ["a", "s"], ["y"]),
    ]
    weights = {"words.table": normal(4, 5), "turned": normal(3, 5), "val_9": np.float32(2), "onnx::Add_8": normal(3)}
    weights["turned"] = normal(5, 5)
    weights["onnx::Add_8"] = normal(5)
    path = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [5, 4])}, {"y": (FLOAT, [5, 5])}, weights)
    assert trained(path) == {"words.table": True, "turned": True, "val_9": False, "onnx::Add_8": True}


def test_a_number_that_fills_an_array_is_none_that_trains(tmp_path: Path) -> None:
    """PyTorch writes ``torch.zeros(batch, 4)`` as an expanded zero, also where a cell multiplies it by a weight."""
    nodes = [
        node("Shape", ["x"], ["sizes"]),
        node("Expand", ["val_3", "sizes"], ["zeros"]),
        node("Gemm", ["zeros", "cell.weight"], ["h"]),
        node("Gemm", ["x", "val_5"], ["w"]),  # The folded weight of a layer of one unit.
        node("Add", ["h", "w"], ["y"]),
    ]
    weights = {"val_3": np.float32(0), "cell.weight": normal(1, 4), "val_5": normal(1, 1)}
    path = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [3, 1])}, {"y": (FLOAT, [3, 4])}, weights)
    assert trained(path) == {"val_3": False, "cell.weight": True, "val_5": True}


def test_what_is_bounded_is_no_bound(tmp_path: Path) -> None:
    """The learned scale of attention in Swin 2 is clamped before it is used."""
    nodes = [node("Clip", ["attn.logit_scale", "", "attn.most"], ["c"]), node("Mul", ["x", "c"], ["y"])]
    weights = {"attn.logit_scale": np.float32(2), "attn.most": np.float32(4)}
    path = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [3, 4])}, {"y": (FLOAT, [3, 4])}, weights)
    assert trained(path)["attn.logit_scale"]
    assert not trained(path).get("attn.most", False)


def test_what_was_frozen_stays_so_where_another_program_has_changed_the_rest(tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(4), pnn.Dense(2), seed=0)
    network.freeze("dense_1.weight")
    export_onnx(network, tmp_path / "m.onnx", verify=False)
    model = onnx.load(tmp_path / "m.onnx")
    model.graph.node[0].name, model.graph.node[1].name = "their_first", "their_second"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.warns(pnn.EditedWarning, match="and 1 other part"):
        kept = [name for name, trains in trained(tmp_path / "m.onnx").items() if not trains]
    assert kept == ["dense_1.weight"]


def test_patterns_decide_otherwise_and_the_doubtful_is_listed(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Mul", ["r", "expand"], ["m"])]
    nodes += [node("Add", ["m", "b2"], ["n"]), node("Mul", ["n", "val_2"], ["y"])]
    weights = {"expand": normal(3, 4), "b2": normal(1, 4), "val_2": np.float32(0.5)}
    path = write(tmp_path / "m.onnx", nodes, {"x": (FLOAT, [3, 4])}, {"y": (FLOAT, [3, 4])}, weights)
    found = read_onnx(path)
    assert str(counted(found.network.graph)) == "1 weight trains, 2 constants are kept"
    trains, kept = found.notes
    assert (trains.startswith("trained, though they may be constants"), "'b2'" in trains) == (True, True)
    assert (kept.startswith("kept, though they may be weights"), "'expand'" in kept) == (True, True)
    assert trained(path, train=["expand"], freeze=["b*"]) == {"expand": True, "b2": False, "val_2": False}
    assert trained(path, train=["*"], freeze=["val_*"]) == {"expand": True, "b2": True, "val_2": False}
    with pytest.raises(UsageError, match="nothing"):
        import_onnx(path, train=["nothing"])


def test_what_is_frozen_comes_back_so_and_patterns_decide_there_too(tmp_path: Path) -> None:
    network = pnn.Sequential(pnn.Input(3), pnn.Dense(4), pnn.Dense(2), seed=0)
    network.freeze("dense_1")
    path = tmp_path / "m.onnx"
    export_onnx(network, path, verify=False)
    assert not any(trained(path)[name] for name in ("dense_1.weight", "dense_1.bias"))
    assert trained(path, train=["dense_1.bias"], freeze=["dense_2.*"]) == {
        "dense_1.weight": False,
        "dense_1.bias": True,
        "dense_2.weight": False,
        "dense_2.bias": False,
    }


# -- networks of PyTorch


def encoder() -> tuple[Any, tuple[int, ...]]:
    from torch import nn

    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    stack = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    return nn.Sequential(stack, nn.Flatten(), nn.Linear(6 * 16, 4)), (2, 6, 16)


def vit() -> tuple[Any, tuple[int, ...]]:
    from torchvision.models.vision_transformer import VisionTransformer

    sizes = {"image_size": 16, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return VisionTransformer(**sizes, num_classes=4), (2, 3, 16, 16)


def swin() -> tuple[Any, tuple[int, ...]]:
    from torchvision.models.swin_transformer import SwinTransformer

    sizes = {"patch_size": [2, 2], "embed_dim": 8, "depths": [2, 2], "num_heads": [2, 2], "window_size": [2, 2]}
    return SwinTransformer(**sizes, stochastic_depth_prob=0.0, num_classes=4), (2, 3, 16, 16)


UNFOLDED: Mapping[bool, Mapping[str, bool]] = {True: {"optimize": False}, False: {"do_constant_folding": False}}
"""What keeps every parameter as it is, by whether it is the newer exporter."""


def exported(
    make: Callable[[], tuple[Any, tuple[int, ...]]], path: Path, *, dynamo: bool, folded: bool
) -> tuple[Any, tuple[int, ...]]:
    """A module in float64, no weight of which is zero, and the shape of its input."""
    torch = pytest.importorskip("torch")
    if dynamo:
        pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module, shape = make()
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    options = {} if folded else UNFOLDED[dynamo]
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with warnings.catch_warnings(), quiet[0], quiet[1]:
        warnings.simplefilter("ignore")
        example = torch.randn(shape, dtype=torch.float64)
        version = 18 if dynamo else 17
        torch.onnx.export(
            module,
            (example,),
            str(path),
            dynamo=dynamo,
            opset_version=version,
            input_names=["x"],
            output_names=["y"],
            **options,
        )
    return module, shape


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "dynamo", "folded"),
    [
        (encoder, True, True),
        (encoder, False, True),
        (vit, False, True),
        *((make, dynamo, False) for make in (encoder, vit, swin) for dynamo in (True, False)),
    ],
)
def test_ten_steps_are_those_of_pytorch(
    tmp_path: Path, make: Callable[[], tuple[Any, tuple[int, ...]]], dynamo: bool, folded: bool
) -> None:
    torch = pytest.importorskip("torch")
    if make is not encoder:
        pytest.importorskip("torchvision")
    module, shape = exported(make, tmp_path / "m.onnx", dynamo=dynamo, folded=folded)
    network = import_onnx(tmp_path / "m.onnx", verify=False)  # onnxruntime has no convolution of float64.
    assert counted(network.graph).weights == len(list(module.parameters()))
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=shape), rng.normal(size=(2, 4))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    for _ in range(10):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(module(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    adam = pnn.Adam(1e-3)
    network.fit(x, y, loss="mean_squared_error", optimizer=adam, epochs=10, batch_size=2, shuffle=False)
    theirs = module(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(network.predict(x), theirs, atol=1e-6, rtol=0)
    for name, parameter in module.named_parameters():
        if name in network.parameters and network.parameters[name].shape == tuple(parameter.shape):
            np.testing.assert_allclose(network.parameters[name], parameter.detach().numpy(), atol=1e-6, rtol=0)


@pytest.mark.long
@pytest.mark.parametrize("dynamo", [True, False])
def test_folded_batch_normalisation_is_told_and_how_to_keep_it(tmp_path: Path, dynamo: bool) -> None:
    def make() -> tuple[Any, tuple[int, ...]]:
        from torch import nn

        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), (2, 1, 8, 8)

    exported(make, tmp_path / "folded.onnx", dynamo=dynamo, folded=True)
    [note] = [text for text in read_onnx(tmp_path / "folded.onnx", verify=False).notes if "batch normalisation" in text]
    assert note.startswith("batch normalisation is folded into the weights of nodes, to train it, export with ")
    assert "do_constant_folding=False" in note
    assert "optimize=False" in note
    module, _ = exported(make, tmp_path / "kept.onnx", dynamo=dynamo, folded=False)
    found = read_onnx(tmp_path / "kept.onnx", verify=False)
    assert not [text for text in found.notes if "batch normalisation" in text]
    assert "BatchNormalization" in [each.operator for each in found.network.graph.nodes]
    assert counted(found.network.graph) == (len(list(module.parameters())), 0)
