"""Models of torchvision, timm, transformers and PyTorch come in with open lengths, and train as there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portable_nn.converters.torch import read_torch, to_torch

torch = pytest.importorskip("torch")
nn = torch.nn

import torch_modules  # noqa: E402 - it needs PyTorch

pytestmark = [pytest.mark.long, pytest.mark.minutes, pytest.mark.filterwarnings("ignore")]

OPEN = {0: "batch", 1: "length"}
IDS = torch.randint(1, 30, (2, 7))


def _torchvision(name: str, size: int) -> Any:
    models = pytest.importorskip("torchvision").models
    return getattr(models, name)(num_classes=10), torch.randn(1, 3, size, size), None


def _small(name: str) -> Any:
    """Models of the same classes with fewer and smaller layers."""
    models = pytest.importorskip("torchvision").models
    if name == "vit_b_16":
        sizes = {"num_layers": 2, "num_heads": 4, "hidden_dim": 32, "mlp_dim": 64}
        module = models.VisionTransformer(image_size=32, patch_size=8, num_classes=10, **sizes)
    else:
        options = {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "stochastic_depth_prob": 0.0}
        module = models.SwinTransformer(patch_size=[4, 4], window_size=[4, 4], num_classes=10, **options)
    return module, torch.randn(1, 3, 32, 32), None


def _timm(name: str) -> Any:
    return pytest.importorskip("timm").create_model(name, num_classes=10), torch.randn(1, 3, 64, 64), None


def _transformers(kind: str) -> Any:
    transformers = pytest.importorskip("transformers")
    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if kind == "bert":
        model = transformers.BertModel(transformers.BertConfig(vocab_size=50, **layers))
        return (
            model,
            {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)},
            dict.fromkeys(("input_ids", "attention_mask"), OPEN),
        )
    if kind == "gpt2":
        config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=50, use_cache=False)
        return transformers.GPT2LMHeadModel(config), {"input_ids": IDS}, {"input_ids": OPEN}
    if kind == "vit":
        model = transformers.ViTModel(transformers.ViTConfig(image_size=32, patch_size=8, **layers))
        return model, {"pixel_values": torch.randn(1, 3, 32, 32)}, None
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    config = transformers.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=64,
        num_mel_bins=8,
        max_source_positions=16,
    )
    return WhisperEncoder(config), {"input_features": torch.randn(1, 8, 32)}, None


MODELS: dict[str, Callable[[], Any]] = {
    "an LSTM tagger": lambda: (torch_modules.Tagger(padding=0, dropout=0.2), IDS, {"ids": OPEN}),
    "a GRU classifier": lambda: (torch_modules.Classifier(), IDS, {"ids": OPEN}),
    "a transformer encoder": lambda: (torch_modules.Encoder(), (IDS, IDS == 0), {"ids": OPEN, "mask": OPEN}),
    "resnet18": lambda: _torchvision("resnet18", 64),
    "mobilenet_v3_small": lambda: _torchvision("mobilenet_v3_small", 64),
    "vit_b_16": lambda: _small("vit_b_16"),
    "swin_t": lambda: _small("swin_t"),
    "efficientnet_b0": lambda: _timm("efficientnet_b0"),
    "convnextv2_atto": lambda: _timm("convnextv2_atto"),
    "BERT": lambda: _transformers("bert"),
    "GPT-2": lambda: _transformers("gpt2"),
    "ViT": lambda: _transformers("vit"),
    "Whisper": lambda: _transformers("whisper"),
}
"""Makes a model, an example and its open sizes."""

WHOLE = ("vit_b_16", "swin_t")
"""Models in their real size: a proof of each takes minutes."""

MANY_LAYERS = ("resnet18", "efficientnet_b0")
"""Models of which the proof by training takes long."""


def _made(make: Callable[[], Any]) -> tuple[Any, Any, Any]:
    """A model whose zeros, such as those of a head, hide no difference; an example, and its open sizes."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, example, dynamic = make()
    for weight in module.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.02)
    return module, example, dynamic


def _shapes(module: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in module.state_dict().items()}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.sweep] * (name in MANY_LAYERS)) for name in MODELS]
)
def test_a_model_computes_and_trains_as_in_pytorch_and_comes_back(name: str) -> None:
    module, example, dynamic = _made(MODELS[name])
    found = read_torch(module, example, dynamic=dynamic, prove_training=True, seed=0)
    assert max(each.max_rel_error for each in found.outputs.values()) <= 2e-5
    state = {**dict(module.named_buffers()), **module.state_dict()}  # Buffers that are not kept there as well.
    for key, array in found.network.parameters.items():
        if key not in state:  # A mask of -inf, which no attribute of a node can hold.
            assert not np.isfinite(array).all()
            continue
        np.testing.assert_array_equal(array, state[key].detach().numpy())
    assert not [note for note in found.notes if "evaluation mode" in note]
    assert any("5 steps" in note for note in found.notes)
    back = to_torch(found.network, prove_training=True)
    assert _shapes(back) == _shapes(module)
    back.load_state_dict(module.state_dict())


@pytest.mark.sweep
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_computes_as_in_pytorch_and_comes_back(name: str) -> None:
    module, example, dynamic = _made(lambda: _torchvision(name, 224))
    found = read_torch(module, example, dynamic=dynamic, seed=0)
    assert _shapes(to_torch(found.network)) == _shapes(module)
