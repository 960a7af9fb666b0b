"""What people meet in modules of PyTorch: each comes in and computes the same, or is refused with what to try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import portable_nn as pnn
from portable_nn.converters.torch import load_state, read_torch, to_torch
from portable_nn.core.errors import UsageError

torch: Any = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = pytest.mark.filterwarnings("ignore")


class Of(nn.Module):  # type: ignore[misc]
    """A module from a function of itself and the inputs, with parts."""

    def __init__(self, function: Any, **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


class Nested(nn.Module):  # type: ignore[misc]
    """Dicts and tuples of tensors, and an output that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, given: Any) -> Any:
        return {"class": self.layer(given["a.b"]), "none": None, "both": (given["c"][0] + 1, given["c"][1] * 2)}


def frozen_in_part() -> Any:
    module = nn.Linear(4, 3)
    module.weight = nn.Parameter(torch.randn(4, 3).t())
    module.bias = nn.Parameter(torch.randn(1).expand(3))
    module.register_forward_hook(lambda module, given, made: made * 2)
    return module


def twice() -> Any:
    layer = nn.Linear(4, 4)
    return nn.Sequential(layer, nn.ReLU(), layer)


X, PICTURE = torch.randn(2, 4), torch.randn(2, 3, 7, 5)

COMES_IN: dict[str, Callable[[], tuple[Any, Any]]] = {
    "weight_norm": lambda: (nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), X),
    "the older weight_norm": lambda: (nn.Sequential(nn.utils.weight_norm(nn.Conv2d(3, 2, 3))), PICTURE),
    "hooks and strides": lambda: (frozen_in_part(), X),
    "a layer used twice": lambda: (twice(), X),
    "dicts, tuples and None": lambda: (Nested(), ({"a.b": X, "c": (X, X)},)),
    "a keyword as a name": lambda: (Of(lambda m, x: m.get_submodule("class")(x), **{"class": nn.Linear(4, 3)}), X),
    "a norm kept from training": lambda: (nn.Sequential(nn.BatchNorm1d(4).eval(), nn.Linear(4, 3)), X),
    "bfloat16": lambda: (nn.Linear(4, 3).bfloat16(), X.bfloat16()),
    "nothing inside": lambda: (nn.Sequential(), X),
    "a mask that fills": lambda: (Of(lambda m, x: m.l(x).masked_fill(x > 0, -1.0), l=nn.Linear(4, 4)), X),
}


@pytest.mark.long
@pytest.mark.parametrize("name", COMES_IN)
def test_it_comes_in_and_goes_out_again(name: str) -> None:
    torch.manual_seed(0)
    module, example = COMES_IN[name]()
    found = read_torch(module, example, prove_training=True)
    made = to_torch(found.network, prove_training=True)
    there, back = ({key for key in each.state_dict() if "num_batches" not in key} for each in (module, made))
    assert there == back


@pytest.mark.long
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_to_an_open_size(mode: str) -> None:
    module = Of(lambda m, x: F.interpolate(x, size=(x.shape[2] * 3 // 2, x.shape[3] + 3), mode=mode))
    network = read_torch(module, PICTURE, dynamic={"x": {2: "h", 3: "w"}}).network
    for height, width in ((4, 3), (31, 17), (64, 49)):
        x = torch.randn(1, 3, height, width)
        np.testing.assert_array_equal(network.predict(x.numpy()), module(x).numpy())


REFUSED: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "places by a mask": (lambda: (Of(lambda m, x: x[x.sum(1) > 0]), X), "a mask, whose number depends on the data"),
    "no tensor": (lambda: (Of(lambda m, x: 3), X), "returns no tensor"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_reason(name: str) -> None:
    make, reason = REFUSED[name]
    module, example = make()
    with pytest.raises(UsageError, match=reason):
        read_torch(module, example)


def test_state_dicts_of_bfloat16_are_read_as_float32() -> None:
    network = pnn.Sequential(pnn.Input(4), pnn.Dense(3, name="d"))
    weight = torch.randn(3, 4).bfloat16()
    load_state(network, {"d.weight": weight, "d.bias": torch.zeros(3).bfloat16()})
    np.testing.assert_array_equal(network.parameters["d.weight"], weight.float().numpy())
