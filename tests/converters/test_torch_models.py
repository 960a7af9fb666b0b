"""Models of torchvision, timm, transformers and PyTorch come in with open lengths, and train as there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from portable_nn.converters.torch import read_torch

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.long, pytest.mark.minutes, pytest.mark.filterwarnings("ignore")]

OPEN = {0: "batch", 1: "length"}
IDS = torch.randint(1, 30, (2, 7))


class Tagger(nn.Module):  # type: ignore[misc]
    """A tag for each word."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 8, padding_idx=0)
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True, dropout=0.2)
        self.tags = nn.Linear(12, 5)

    def forward(self, ids: Any) -> Any:
        return self.tags(self.lstm(self.words(ids))[0])


class Classifier(nn.Module):  # type: ignore[misc]
    """Scores of a sequence, and its states."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.gru, self.scores = nn.Embedding(30, 8), nn.GRU(8, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, ids: Any) -> Any:
        states, last = self.gru(self.words(ids))
        return {"scores": self.scores(last[-1]), "states": states}


class Encoder(nn.Module):  # type: ignore[misc]
    """A transformer encoder with a mask of padding."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.1)
        self.words, self.encoder, self.scores = nn.Embedding(30, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

    def forward(self, ids: Any, mask: Any) -> Any:
        return self.scores(self.encoder(self.words(ids), src_key_padding_mask=mask).mean(1))


def _torchvision(name: str, size: int) -> Any:
    models = pytest.importorskip("torchvision").models
    return getattr(models, name)(num_classes=10), torch.randn(1, 3, size, size), None


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


MODELS: dict[str, tuple[Callable[[], Any], bool]] = {
    "an LSTM tagger": (lambda: (Tagger(), IDS, {"ids": OPEN}), True),
    "a GRU classifier": (lambda: (Classifier(), IDS, {"ids": OPEN}), True),
    "a transformer encoder": (lambda: (Encoder(), (IDS, IDS == 0), {"ids": OPEN, "mask": OPEN}), True),
    "resnet18": (lambda: _torchvision("resnet18", 64), True),
    "mobilenet_v3_small": (lambda: _torchvision("mobilenet_v3_small", 64), True),
    "vit_b_16": (lambda: _torchvision("vit_b_16", 224), False),
    "swin_t": (lambda: _torchvision("swin_t", 224), False),
    "efficientnet_b0": (lambda: _timm("efficientnet_b0"), True),
    "convnextv2_atto": (lambda: _timm("convnextv2_atto"), True),
    "BERT": (lambda: _transformers("bert"), True),
    "GPT-2": (lambda: _transformers("gpt2"), True),
    "ViT": (lambda: _transformers("vit"), True),
    "Whisper": (lambda: _transformers("whisper"), True),
}
"""Makes a model, an example and its open sizes; and whether training is compared, too."""


@pytest.mark.parametrize("name", MODELS)
def test_a_model_computes_and_trains_as_in_pytorch(name: str) -> None:
    make, training = MODELS[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module, example, dynamic = make()
    for weight in module.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.02)  # Zeros, such as those of a head, would hide a difference.
    found = read_torch(module, example, dynamic=dynamic, prove_training=training, seed=0)
    assert max(each.max_rel_error for each in found.outputs.values()) <= 2e-5
    state = {**dict(module.named_buffers()), **module.state_dict()}  # Buffers that are not kept there as well.
    for key, array in found.network.parameters.items():
        np.testing.assert_array_equal(array, state[key].detach().numpy())
    assert not [note for note in found.notes if "evaluation mode" in note]
    assert any("5 steps" in note for note in found.notes) is training
