"""Infinities and NaN as numbers of a module: every file holds the network, and every way brings the same back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_functions import Of

import portable_nn as pnn
from portable_nn.converters.onnx import export_onnx, import_onnx
from portable_nn.converters.torch import from_torch, load_state, to_torch
from portable_nn.operators import constant, emit

torch: Any = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


X, MASK = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4, dtype=torch.bool)


def causal(self: Any, x: Any) -> Any:
    steps = x.shape[1]
    mask = torch.full((steps, steps), float("-inf")).triu(1)
    return self.layer(x, src_mask=mask)


def attended(self: Any, x: Any, m: Any) -> Any:
    return self.layer(x, x, x, key_padding_mask=m[:, 0], need_weights=False)[0]


CASES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "masked_fill": (lambda: Of(lambda self, x, m: x.masked_fill(m, -math.inf).softmax(-1)), (X, MASK)),
    "triu": (lambda: Of(lambda self, x: (x + torch.full((4, 4), -math.inf).triu(1)).softmax(-1)), (X,)),
    "where": (lambda: Of(lambda self, x, m: torch.where(m, math.inf, x).amin(-1)), (X, MASK)),
    "nan": (lambda: Of(lambda self, x, m: torch.where(m, torch.nan, x).nan_to_num(0.5)), (X, MASK)),
    "logaddexp": (lambda: Of(lambda self, x: torch.logaddexp(x, x.sin())), (X,)),
    "atan2": (lambda: Of(lambda self, x: torch.atan2(x, x.sin() + 0.1)), (X,)),
    "xlogy": (lambda: Of(lambda self, x: torch.xlogy(x.abs(), x.abs() + 1)), (X,)),
    "padding mask": (lambda: Of(attended, layer=nn.MultiheadAttention(4, 2, batch_first=True)), (X, MASK)),
    "bias_kv": (
        lambda: Of(attended, layer=nn.MultiheadAttention(4, 2, batch_first=True, add_bias_kv=True)),
        (X, MASK),
    ),
    "causal encoder": (
        lambda: Of(causal, layer=nn.TransformerEncoderLayer(4, 2, 7, 0.0, batch_first=True)),
        (X,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_network_with_infinities_is_saved_exported_and_brought_back(name: str, tmp_path: Path) -> None:
    """Three carriers, ONNX in onnxruntime, the network from ONNX, and PyTorch compute what the module does."""
    torch.manual_seed(0)
    make, example = CASES[name]
    module = make().eval()
    network = from_torch(module, example, prove_training=bool(list(module.parameters())))
    rng = np.random.default_rng(1)
    given = [rng.standard_normal((3, 4, 4)).astype(np.float32), rng.random((3, 4, 4)) < 0.4][: len(example)]
    if len(given) == 2:
        given[1][..., 0] = False
    feeds = dict(zip([value.name for value in network.graph.inputs], given, strict=True))
    with torch.no_grad():
        wanted = module(*map(torch.from_numpy, given)).numpy()
    found = {
        "itself": network.predict(feeds)["output"],
        "onnxruntime": network.predict(feeds, engine="onnxruntime")["output"],
    }
    for ending in (".safetensors", ".h5", ".npz"):
        network.save(tmp_path / f"net{ending}")
        found[ending] = pnn.load(tmp_path / f"net{ending}").predict(feeds)["output"]
    export_onnx(network, tmp_path / "net.onnx")
    found["ONNX"] = import_onnx(tmp_path / "net.onnx").predict(feeds)["output"]
    back = to_torch(pnn.load(tmp_path / "net.npz"), prove_training=bool(list(module.parameters())))
    with torch.no_grad():
        found["PyTorch"] = back(*map(torch.from_numpy, given)).numpy()
    for way, each in found.items():
        np.testing.assert_allclose(each, wanted, rtol=1e-5, atol=1e-5, err_msg=way)
    assert back.state_dict().keys() == module.state_dict().keys()
    load_state(network, module.state_dict())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_constant_that_is_not_finite_is_a_frozen_parameter_of_its_name(dtype: str, tmp_path: Path) -> None:
    """Whoever makes the network; the same bytes when the file is written again."""
    x = pnn.Input(4, name="x", dtype=dtype)
    masked = emit("Where", emit("Greater", x, constant(0, dtype)), x, constant(-math.inf, dtype))
    network = pnn.Network(x, emit("Max", masked, constant([math.nan, -math.inf, math.inf, 1.5], dtype)), seed=0)
    frozen = [value for value in network.graph.parameters if not value.trainable]
    assert [(value.shape, value.dtype) for value in frozen] == [((), dtype), ((4,), dtype)]
    given = np.array([[1, -1, 2, 3], [-1, -2, -3, -4]], dtype)
    network.save(tmp_path / "a.npz")
    loaded = pnn.load(tmp_path / "a.npz")
    loaded.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    wanted = np.array([[np.nan, -np.inf, np.inf, 3], [np.nan, -np.inf, np.inf, 1.5]], dtype)
    np.testing.assert_array_equal(loaded.predict(given), wanted)
    np.testing.assert_array_equal(network.predict(given), wanted)
