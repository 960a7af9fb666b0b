"""``from_torch``: small modules of every family come in, predict and train as in PyTorch, and keep their names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.registry import from_object
from portable_nn.converters.torch import from_torch, read_torch
from portable_nn.core.errors import UsageError

torch = pytest.importorskip("torch")
nn = torch.nn
F = nn.functional


class Of(nn.Module):  # type: ignore[misc]
    """A module from a function of itself and the inputs, with parts."""

    def __init__(self, function: Any, **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


@pytest.mark.long
def test_names_values_and_frozen_parameters_are_those_of_state_dict() -> None:
    module = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
    module[0].weight.requires_grad_(False)
    network = from_torch(module, torch.randn(1, 4))
    assert set(network.parameters) == set(module.state_dict())
    for name, tensor in module.state_dict().items():
        np.testing.assert_array_equal(network.parameters[name], tensor.numpy())
    assert {each.name for each in network.graph.parameters if not each.trainable} == {"0.weight"}
    assert network.graph.inputs[0].shape == ("batch", 4)
    assert [node.operator for node in network.graph.nodes] == ["Gemm", "Relu", "Constant", "Dropout", "Gemm"]
    assert module.training


@pytest.mark.long
def test_a_network_predicts_like_eval_and_trains_like_train_whatever_the_mode_of_the_module() -> None:
    torch.manual_seed(0)
    for training in (True, False):
        for dtype in (torch.float32, torch.float64):
            module = nn.Sequential(
                nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.4),
                nn.Flatten(), nn.Linear(64, 5),
            ).to(dtype).train(training)  # fmt: skip
            x = torch.randn(6, 3, 8, 8, dtype=dtype)
            found = read_torch(module, x[:1], prove_training=True)
            assert module.training is training
            with torch.no_grad():
                expected = module.eval()(x).numpy()
            np.testing.assert_allclose(found.network.predict(x.numpy()), expected, atol=1e-5, rtol=1e-5)
            assert "8 parameters differ by at most" in found.notes[-1]
            assert any("n - 1" in note for note in found.notes)


@pytest.mark.long
def test_five_steps_of_adam_are_those_of_pytorch() -> None:
    torch.manual_seed(1)
    module = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Tanh(), nn.Linear(7, 2)).double()
    network = from_torch(module, np.zeros((1, 5)))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 2))
    network.fit(
        x, y, loss="mean_squared_error", optimizer=pnn.Adam(1e-3), epochs=5, batch_size=8, shuffle=False, progress=False
    )
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        F.mse_loss(module(torch.as_tensor(x)), torch.as_tensor(y)).backward()
        optimizer.step()
    for name, tensor in module.named_parameters():
        np.testing.assert_allclose(network.parameters[name], tensor.detach().numpy(), atol=1e-8)


def test_objects_are_found_by_the_table_of_converters() -> None:
    assert from_object(nn.Linear(2, 3), example=torch.zeros(1, 2)).graph.outputs == ("output",)


@pytest.mark.long
def test_operators_without_a_counterpart_are_all_listed_with_their_places() -> None:
    inner = Of(lambda self, x: torch.linalg.svd(x)[1])
    module = Of(lambda self, x: self.inner(x) + torch.special.bessel_j0(x)[..., 0], inner=inner)
    with pytest.raises(UsageError, match="cannot be converted") as caught:
        from_torch(module, torch.randn(2, 3, 3))
    assert "svd" in str(caught.value)
    assert "'inner'" in str(caught.value)
    assert "bessel_j0" in str(caught.value)


def test_what_pytorch_says_itself_is_said_once_and_briefly(capfd: Any) -> None:
    for module in (nn.Linear(4, 3), Of(lambda self, x: x if x.sum() > 0 else -x)):
        with pytest.raises(UsageError, match=r"torch.export cannot export the module: \w+: ") as refused:
            from_torch(module, torch.zeros(1, 9))
        assert len(str(refused.value)) < 500
    assert capfd.readouterr() == ("", "")


def test_a_module_without_an_example_is_answered_with_one() -> None:
    for call in (from_torch, read_torch):
        with pytest.raises(UsageError, match=r"an example is missing: .* from_torch\(module, torch.zeros\(2, 3, 224"):
            call(nn.Linear(4, 3))


def test_a_state_dict_is_no_module() -> None:
    with pytest.raises(UsageError, match=r"a state dict holds weights, .* load_state\(network, state\)"):
        from_torch(nn.Linear(4, 3).state_dict(), torch.zeros(1, 4))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_queries_that_see_no_key_are_zeros_and_train(kind: str, dropout: float) -> None:
    def attend(self: Any, x: Any) -> Any:
        seen = (x[..., 0] > 0)[:, None, None, :].expand(-1, 1, 3, -1)
        mask = seen if kind == "bool" else torch.zeros(seen.shape).masked_fill(~seen, -torch.inf)
        q = self.linear(x).unflatten(-1, (2, 2)).transpose(1, 2)
        return F.scaled_dot_product_attention(q, q, q, mask, dropout_p=dropout if self.training else 0.0)

    torch.manual_seed(0)
    module = Of(attend, linear=nn.Linear(4, 4))
    found = read_torch(module, torch.randn(2, 3, 4), prove_training=True)
    x = torch.randn(3, 3, 4)
    x[1, :, 0] = -1
    with torch.no_grad():
        wanted = module.eval()(x).numpy()
    assert not wanted[1].any()
    np.testing.assert_allclose(found.network.predict(x.numpy()), wanted, atol=1e-6)
