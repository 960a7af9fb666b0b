"""Transformers of other people, with random weights, by both exporters of PyTorch, with an open batch and length."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from portable_nn.converters.onnx import export_onnx, read_onnx
from portable_nn.converters.torch import to_torch
from portable_nn.operators.registry import Array

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.long

TEXT = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37, "vocab_size": 99,
    "max_position_embeddings": 64,
}  # fmt: skip
ENDS = {"bos_token_id": 97, "eos_token_id": 98, "pad_token_id": 0}
WORDS = ("input_ids", "attention_mask")


def _bert() -> Any:
    return transformers.BertModel(transformers.BertConfig(**TEXT))


def _distilbert() -> Any:
    config = transformers.DistilBertConfig(
        dim=32, n_layers=2, n_heads=4, hidden_dim=37, vocab_size=99, max_position_embeddings=64
    )
    return transformers.DistilBertModel(config)


def _gpt2() -> Any:
    options = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 99, "n_positions": 64, "use_cache": False}
    return transformers.GPT2Model(transformers.GPT2Config(**options, **ENDS))


def _clip() -> Any:
    vision = {key: value for key, value in TEXT.items() if key.startswith(("hidden", "num", "inter"))}
    vision |= {"image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config={**TEXT, **ENDS}, vision_config=vision, projection_dim=16)
    return transformers.CLIPModel(config)


MODELS = {
    "bert": (_bert, (*WORDS, "token_type_ids"), ("last_hidden_state", "pooler_output")),
    "distilbert": (_distilbert, WORDS, ("last_hidden_state",)),
    "gpt2": (_gpt2, WORDS, ("last_hidden_state",)),
    "clip": (_clip, ("input_ids", "pixel_values", "attention_mask"), ("logits_per_image", "text_embeds")),
}


def _inputs(names: tuple[str, ...], batch: int, length: int) -> dict[str, Array]:
    rng = np.random.default_rng(length)
    mask = np.ones((batch, length), np.int64)
    mask[-1, length - 2 :] = 0
    every = {
        "input_ids": rng.integers(1, 97, (batch, length)),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, 2, (batch, length)),
        "pixel_values": rng.normal(size=(batch, 3, 32, 32)).astype(np.float32),
    }
    return {name: every[name] for name in names}


def _export(kind: str, path: Path, *, dynamo: bool) -> None:
    make, names, outputs = MODELS[kind]
    torch.manual_seed(0)
    model = make().eval()

    class Wrapped(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, *given: Any) -> tuple[Any, ...]:
            found = model(**dict(zip(names, given, strict=True)), return_dict=True)
            return tuple(getattr(found, name) for name in outputs)

    given = tuple(torch.from_numpy(array) for array in _inputs(names, 2, 7).values())
    options: dict[str, Any] = {"input_names": list(names), "output_names": list(outputs), "dynamo": dynamo}
    if dynamo:
        size = torch.export.Dim.DYNAMIC
        axes = ({0: size, 1: size} if array.ndim == 2 else {0: size} for array in given)
        options |= {"dynamic_shapes": (tuple(axes),), "external_data": False, "verbose": False}
    else:
        sizes = [{0: "batch", 1: "sequence"} if array.ndim == 2 else {0: "images"} for array in given]
        options |= {"dynamic_axes": dict(zip(names, sizes, strict=True)), "opset_version": 17}
    wrapped = Wrapped().eval()
    wrapped.model = model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(wrapped, given, str(path), **options)


@pytest.mark.parametrize("dynamo", [False, True], ids=["old", "new"])
@pytest.mark.parametrize("kind", MODELS)
def test_open_lengths(kind: str, dynamo: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    _export(kind, path, dynamo=dynamo)
    network, proof, _ = read_onnx(path)
    assert all(isinstance(dim, str) for value in network.graph.inputs for dim in value.shape if dim not in {3, 32})
    assert all(len(set(tried)) == 3 for tried in proof.sizes.values())
    assert proof.sizes
    export_onnx(network, tmp_path / "again.onnx")
    module = to_torch(network)
    for batch, length in ((1, 5), (2, 9), (3, 31)):
        feeds = _inputs(MODELS[kind][1], batch, length)
        expected = onnxruntime.InferenceSession(path).run(None, feeds)
        found = network.predict(feeds)
        again = onnxruntime.InferenceSession(tmp_path / "again.onnx").run(None, feeds)
        with torch.no_grad():
            made = module(*(torch.from_numpy(feeds[value.name]) for value in network.graph.inputs))
        back = made if isinstance(made, tuple) else (made,)
        for name, theirs, written, tensor in zip(network.graph.outputs, expected, again, back, strict=True):
            np.testing.assert_allclose(tensor.numpy(), theirs, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(found[name], theirs, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(written, theirs, rtol=1e-5, atol=1e-5)
