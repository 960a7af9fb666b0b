"""Networks as modules of PyTorch: outputs, gradients, training, state dicts, sources."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.torch.module import to_torch, write_torch
from portable_nn.converters.torch.source import source_of
from portable_nn.core.errors import UsageError, VerificationError
from portable_nn.operators import constant, emit, integers

torch: Any = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings(
    "ignore:The tensor attributes:UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)


def picture_net(dtype: str = "float32") -> pnn.Network:
    return pnn.Sequential(
        pnn.Input(3, "h", "w", dtype=dtype),
        pnn.Conv2d(4, 3, padding=1, name="stem.conv"),
        pnn.BatchNorm2d(name="stem.bn"),
        pnn.ReLU(),
        pnn.GlobalAvgPool(),
        pnn.Flatten(),
        pnn.Dropout(0.3),
        pnn.Dense(5, name="head.0"),
        seed=0,
    )


def sequence_net(kind: Any, **options: Any) -> pnn.Network:
    return pnn.Sequential(pnn.Input("steps", 4), kind(6, name="rnn", **options), pnn.Dense(3, name="out"), seed=0)


def test_layers_have_the_names_and_shapes_of_the_parameters() -> None:
    net = picture_net()
    module = to_torch(net)
    assert isinstance(module.get_submodule("stem.conv"), torch.nn.Conv2d)
    assert isinstance(module.get_submodule("stem.bn"), torch.nn.BatchNorm2d)
    assert isinstance(module.get_submodule("head.0"), torch.nn.Linear)
    state = {name: each for name, each in module.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert {name: tuple(each.shape) for name, each in state.items()} == {n: a.shape for n, a in net.parameters.items()}
    assert all(np.array_equal(each.numpy(), net.parameters[name]) for name, each in state.items())


def test_the_module_has_memory_of_its_own() -> None:
    net = picture_net()
    before = net.parameters["head.0.weight"].copy()
    module = to_torch(net, verify=False)
    with torch.no_grad():
        module.get_submodule("head.0").weight.zero_()
    np.testing.assert_array_equal(net.parameters["head.0.weight"], before)


def test_training_mode_is_that_of_the_layers() -> None:
    module = to_torch(picture_net()).train()
    x = torch.randn(8, 3, 5, 5)
    before = module.stem.bn.running_mean.clone()
    assert not torch.equal(module(x), module(x))
    assert not torch.equal(before, module.stem.bn.running_mean)


def test_what_is_frozen_requires_no_gradient() -> None:
    net = picture_net()
    net.freeze("stem.*")
    net.freeze("head.0.bias")
    module = to_torch(net)
    assert {name for name, each in module.named_parameters() if each.requires_grad} == {"head.0.weight"}
    before = module.stem["bn"].running_mean.clone()
    module.train()(torch.randn(8, 3, 5, 5))
    assert torch.equal(before, module.stem["bn"].running_mean)  # Frozen as a whole, as fit has it.


@pytest.mark.parametrize("kind", [pnn.LSTM, pnn.GRU, pnn.RNN])
@pytest.mark.parametrize("options", [{}, {"layers": 2, "bidirectional": True}, {"bias": False, "last": True}])
def test_gates_are_in_the_order_of_pytorch(kind: Any, options: dict[str, Any]) -> None:
    """A layer that PyTorch itself makes, with the state dict, gives the same."""
    net = sequence_net(kind, **options)
    state = to_torch(net).state_dict()
    renamed = {"num_layers": options.get("layers", 1), "bias": options.get("bias", True)}
    layer = getattr(torch.nn, kind.__name__)(
        4, 6, batch_first=True, bidirectional=options.get("bidirectional", False), **renamed
    )
    layer.load_state_dict({name.removeprefix("rnn."): each for name, each in state.items() if name.startswith("rnn.")})
    x = np.random.default_rng(0).normal(size=(3, 7, 4)).astype("float32")
    with torch.no_grad():
        y = layer(torch.from_numpy(x))[0]
        y = y[:, -1] if options.get("last") else y
        theirs = torch.nn.functional.linear(y, state["out.weight"], state["out.bias"])
    np.testing.assert_allclose(net.predict(x), theirs.numpy(), atol=1e-6)


def test_attention_is_pytorchs_layer() -> None:
    net = pnn.Sequential(pnn.Input("steps", 8), pnn.MultiHeadAttention(2, causal=True, name="att"), seed=0)
    module = to_torch(net)
    assert isinstance(module.att, torch.nn.MultiheadAttention)
    assert set(module.state_dict()) == {
        "att.in_proj_weight", "att.in_proj_bias", "att.out_proj.weight", "att.out_proj.bias"
    }  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("length", [9, 12], ids=["recurrent", "pictures"])
def test_modules_can_be_exported_with_open_sizes(length: int) -> None:
    """PyTorch's export fixes the number of steps of its own recurrent layers."""
    net = picture_net() if length == 12 else sequence_net(pnn.LSTM, layers=2)
    module = to_torch(net)
    [value] = net.graph.inputs
    sizes = [torch.export.Dim.AUTO if isinstance(dim, str) else None for dim in value.shape]
    shape = [3 if dim == "batch" else 9 if isinstance(dim, str) else dim for dim in value.shape]
    exported = torch.export.export(module, (torch.randn(shape),), dynamic_shapes=[sizes])
    other = torch.randn([5 if dim == "batch" else length if isinstance(dim, str) else dim for dim in value.shape])
    with torch.no_grad():
        np.testing.assert_allclose(exported.module()(other).numpy(), net.predict(other.numpy()), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_goes_the_same_way(dtype: str) -> None:
    to_torch(picture_net(dtype), prove_training=True)


def test_a_module_that_computes_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from portable_nn.converters.torch import module

    real = module.executed

    def wrong(source: Any, network: Any) -> Any:
        made = real(source, network)
        with torch.no_grad():
            made.get_submodule("head.0").bias.add_(0.1)
        return made

    monkeypatch.setattr(module, "executed", wrong)
    with pytest.raises(VerificationError, match="differs by"):
        to_torch(picture_net())


def test_all_that_pytorch_cannot_express_is_listed() -> None:
    x = pnn.Input(2, 5, 5)
    y = emit("AveragePool", x, kernel_shape=[2, 2], dilations=[2, 1], name="one")
    z = emit("AveragePool", y, kernel_shape=[2, 2], dilations=[1, 2], name="two")
    with pytest.raises(UsageError, match=r"(?s)'one' \(AveragePool\): a dilated average.*'two'"):
        to_torch(pnn.Network(x, z))


@pytest.mark.long
def test_the_source_is_a_module_that_needs_pytorch_alone(tmp_path: Path) -> None:
    net = picture_net()
    written = write_torch(net, tmp_path / "mine.py")
    assert [written.path.name, *(each.name for each in written.beside)] == ["mine.py", "mine.safetensors"]
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    program = (
        "import sys, numpy, torch, mine; assert 'portable_nn' not in sys.modules; "
        "numpy.save('y.npy', mine.load()(torch.from_numpy(numpy.load('x.npy'))).detach().numpy())"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env={"PATH": ""}, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), net.predict(x), atol=1e-6)


def test_names_that_a_module_cannot_have_get_another_one() -> None:
    x = pnn.Input(3)
    net = pnn.Network(x, pnn.Dense(2, name="type")(pnn.Dense(3, name="a b/c")(x)), seed=0)
    module = to_torch(net)
    assert {"type_.weight", "a b/c.weight"} <= set(module.state_dict())


@pytest.mark.parametrize("name", ["cut", "hidden", "top_k"])
def test_no_variable_hides_a_function_of_the_source(name: str) -> None:
    x = pnn.Input(4, name="x")
    backwards = [integers([number]) for number in (-1, -9, 1, -1)]
    y = emit("Slice", pnn.Dense(3, name=name)(x), *backwards)
    module = to_torch(pnn.Network(x, y, seed=0))
    given = torch.randn(2, 4)
    torch.testing.assert_close(module(given), module.get_submodule(name)(given).flip(1))


def test_a_layer_that_is_used_twice_is_one_layer() -> None:
    x, layer = pnn.Input(3), pnn.Dense(3, name="twice")
    module = to_torch(pnn.Network(x, layer(layer(x)), seed=0), prove_training=True)
    assert set(module.state_dict()) == {"twice.weight", "twice.bias"}


@pytest.mark.parametrize(
    ("start", "end", "flips"), [(-1, -(2**31), True), (2, -4, True), (2, -3, False), (1, -9, False)]
)
def test_a_slice_from_the_last_entry_to_the_first_is_a_flip(start: int, end: int, flips: bool) -> None:
    x = pnn.Input("steps", 3)
    network = pnn.Network(x, emit("Slice", x, *map(integers, ([start], [end], [2], [-1]))), seed=0)
    pictures = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    module = to_torch(network)
    np.testing.assert_array_equal(module(torch.from_numpy(pictures)).numpy(), pictures[:, :, start:end:-1])
    assert ("torch.flip(" in source_of(network).text) == flips


def test_helpers_of_a_source_have_types() -> None:
    x = pnn.Input(8, 4, 4)
    made = emit("LpNormalization", emit("DepthToSpace", x, blocksize=2), axis=1)
    text = source_of(pnn.Network(x, emit("CumSum", made, constant(1, "int64"), reverse=1), seed=0)).text
    tree = ast.parse(text)
    functions = [each for each in tree.body if isinstance(each, ast.FunctionDef)]
    assert {each.name for each in functions} > {"depth_to_space", "divided_by_length", "cumulative_sum"}
    assert all(each.returns and all(one.annotation for one in each.args.args) for each in functions)
