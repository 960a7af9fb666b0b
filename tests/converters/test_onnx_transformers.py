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
    assert len(proof.sizes) == 1  # The new exporter has a name for each length.
    assert len({value.shape[1] for value in network.graph.inputs if value.name != "pixel_values"}) == 1
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


# -- with a cache

_LAYERS, _HEAD = 2, 8


def _gpt2_decoder() -> tuple[Any, int]:
    options = {"n_embd": 32, "n_layer": _LAYERS, "n_head": 4, "vocab_size": 99, "n_positions": 64}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**options, **ENDS)), 4


def _llama_decoder() -> tuple[Any, int]:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(num_key_value_heads=2, **TEXT, **ENDS)), 2


def _opt_decoder() -> tuple[Any, int]:
    """Its mask is added to scores, so that its length is known to be that of the cache and the words."""
    options = {key: value for key, value in TEXT.items() if key != "intermediate_size"}
    config = transformers.OPTConfig(ffn_dim=37, word_embed_proj_dim=32, **options, **ENDS)
    return transformers.OPTForCausalLM(config), 4


DECODERS = {"gpt2": _gpt2_decoder, "llama": _llama_decoder, "opt": _opt_decoder}
PAST = tuple(f"past.{layer}.{kind}" for layer in range(_LAYERS) for kind in ("key", "value"))


def _cached(heads: int, batch: int, past: int, new: int) -> dict[str, Array]:
    rng = np.random.default_rng(past)
    mask = np.ones((batch, past + new), np.int64)
    mask[-1, :2] = 0
    found = {"input_ids": rng.integers(1, 97, (batch, new)), "attention_mask": mask}
    shape = (batch, heads, past, _HEAD)
    return found | {name: rng.normal(size=shape).astype(np.float32) for name in PAST}


def _export_decoder(kind: str, path: Path, *, dynamo: bool) -> int:
    """Write a decoder whose keys and values of earlier words are inputs; return its number of heads."""
    torch.manual_seed(0)
    model, heads = DECODERS[kind]()

    class Wrapped(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, words: Any, mask: Any, *past: Any) -> tuple[Any, ...]:
            cache = transformers.DynamicCache()
            for layer in range(_LAYERS):
                cache.update(past[2 * layer], past[2 * layer + 1], layer)
            found = self.model(input_ids=words, attention_mask=mask, past_key_values=cache, use_cache=True)
            kept = (each for layer in found.past_key_values.layers for each in (layer.keys, layer.values))
            return (found.logits, *kept)

    names = [*WORDS, *PAST]
    outputs = ["logits", *(name.replace("past", "present") for name in PAST)]
    given = tuple(torch.from_numpy(array) for array in _cached(heads, 2, 5, 3).values())
    options: dict[str, Any] = {"input_names": names, "output_names": outputs, "dynamo": dynamo}
    if dynamo:
        size = torch.export.Dim.DYNAMIC
        words = {0: size, 1: size}
        options |= {"dynamic_shapes": (words, words, ({0: size, 2: size},) * len(PAST)), "external_data": False}
        options["verbose"] = False
    else:
        axes = {"input_ids": {0: "batch", 1: "new"}, "attention_mask": {0: "batch", 1: "total"}}
        options |= {"dynamic_axes": axes | {name: {0: "batch", 2: "past"} for name in PAST}, "opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Wrapped().eval(), given, str(path), **options)
    return heads


@pytest.mark.parametrize("dynamo", [False, True], ids=["old", "new"])
@pytest.mark.parametrize("kind", DECODERS)
def test_decoders_with_a_cache(kind: str, dynamo: bool, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    heads = _export_decoder(kind, path, dynamo=dynamo)
    network, proof, _ = read_onnx(path)
    new, total = network.graph.inputs[0].shape[1], network.graph.inputs[1].shape[1]
    [past] = {value.shape[2] for value in network.graph.inputs[2:]}  # The new exporter has a name for each.
    assert {new, past} < {*proof.sizes} | {total}
    if kind == "opt":
        assert total == "+".join(sorted(map(str, (new, past))))
    session = onnxruntime.InferenceSession(path)
    recording = dict[str, Array]()
    for batch, before, words in ((1, 4, 1), (2, 9, 3), (3, 1, 31)):
        feeds = _cached(heads, batch, before, words)
        expected = dict(zip(network.graph.outputs, session.run(None, feeds), strict=True))
        found = network.predict(feeds)
        for name, theirs in expected.items():
            np.testing.assert_allclose(found[name], theirs, rtol=1e-5, atol=1e-5)
        recording = feeds | expected
    np.savez(tmp_path / "io.npz", **recording)
    recorded = read_onnx(path, io=tmp_path / "io.npz").outputs.recorded
    assert recorded.keys() == {*network.graph.outputs}


@pytest.mark.parametrize("part", ["encoder", "both"])
def test_whisper_trains_as_it_is_exported(part: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=37, decoder_ffn_dim=37, num_mel_bins=20, max_source_positions=50, vocab_size=99,
        decoder_start_token_id=1, **ENDS,
    )  # fmt: skip
    inner = transformers.WhisperModel(config).eval()

    class Wrapped(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner if part == "both" else inner.encoder

        def forward(self, sound: Any, *words: Any) -> Any:
            more = {"decoder_input_ids": words[0], "use_cache": False} if words else {}
            return self.inner(input_features=sound, **more).last_hidden_state

    rng, size = np.random.default_rng(0), torch.export.Dim.DYNAMIC
    x = {"sound": rng.normal(size=(4, 20, 100)).astype(np.float32), "words": rng.integers(1, 97, (4, 5))}
    axes: list[Any] = [{0: size}, ({0: size, 1: size},)]
    if part == "encoder":
        del x["words"], axes[1]
    path = tmp_path / "m.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Wrapped().eval(), tuple(map(torch.from_numpy, x.values())), str(path), input_names=[*x], dynamo=True,
            output_names=["y"], dynamic_shapes=tuple(axes), external_data=False, verbose=False,
        )  # fmt: skip
    network = read_onnx(path).network
    y = rng.normal(size=(4, 5 if part == "both" else 50, 32)).astype(np.float32)
    expected = float(((onnxruntime.InferenceSession(path).run(None, x)[0] - y) ** 2).mean())
    found = network.fit(x, y, loss="mean_squared_error", epochs=1, batch_size=4)["loss"]
    np.testing.assert_allclose(found, [expected], rtol=1e-5)
