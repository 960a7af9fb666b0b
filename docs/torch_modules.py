"""The models that ``torch_models.py`` measures, and what they are called with.

Weights are random; the models have the sizes of their makers but for those of transformers, which are small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch  # noqa: TID253 - what is measured
from torch import nn  # noqa: TID253


class Tagger(nn.Module):  # type: ignore[misc]
    """A tag for each word.

    Args:
        padding: the word that is no word, if there is one.
        dropout: the share that is dropped between the layers.
    """

    def __init__(self, padding: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.words = nn.Embedding(30, 8, padding_idx=padding)
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, bidirectional=True, dropout=dropout)
        self.tags = nn.Linear(12, 5)

    def forward(self, ids: Any) -> Any:
        """(batch, length) → (batch, length, 5)."""
        return self.tags(self.lstm(self.words(ids))[0])


class Classifier(nn.Module):  # type: ignore[misc]
    """Scores of a sequence, and its states."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.gru, self.scores = nn.Embedding(30, 8), nn.GRU(8, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, ids: Any) -> Any:
        """(batch, length) → (batch, 5) and (batch, length, 6)."""
        states, last = self.gru(self.words(ids))
        return {"scores": self.scores(last[-1]), "states": states}


class Encoder(nn.Module):  # type: ignore[misc]
    """A transformer encoder with a mask of padding."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.words, self.encoder, self.scores = nn.Embedding(30, 16), nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

    def forward(self, ids: Any, mask: Any) -> Any:
        """(batch, length) twice → (batch, 3)."""
        return self.scores(self.encoder(self.words(ids), src_key_padding_mask=mask).mean(1))


@dataclass(frozen=True)
class Model:
    """A model to measure.

    Attributes:
        make: makes the module.
        inputs: makes its inputs, of a batch and a length, or a height and width.
        axes: the names of the open sizes of each input.
        sizes: batches and lengths at which outputs are compared.
    """

    make: Callable[[], Any]
    inputs: Callable[[int, int], dict[str, Any]]
    axes: Mapping[int, str]
    sizes: tuple[tuple[int, int], ...]


def words(batch: int, length: int) -> dict[str, Any]:
    """Numbers of words."""
    return {"ids": torch.randint(1, 30, (batch, length))}


def masked_words(batch: int, length: int) -> dict[str, Any]:
    """Numbers of words, and what hides the last word of all sequences but the first."""
    mask = torch.zeros((batch, length), dtype=torch.bool)
    mask[1:, -1] = True
    return {**words(batch, length), "mask": mask}


def tokens(batch: int, length: int) -> dict[str, Any]:
    """What transformers are called with."""
    mask = torch.ones((batch, length), dtype=torch.int64)
    mask[1:, -1] = 0
    return {"input_ids": torch.randint(1, 30, (batch, length)), "attention_mask": mask}


def pictures(name: str, channels: int, batch: int, size: int) -> dict[str, Any]:
    """Noise."""
    return {name: torch.randn(batch, channels, size, size)}


def frames(batch: int, size: int) -> dict[str, Any]:
    """The spectrum of a sound, of a fixed length."""
    return {"input_features": torch.randn(batch, 8, size)}


def torchvision(name: str) -> Any:
    """A model of torchvision."""
    import torchvision as library

    return getattr(library.models, name)(num_classes=10)


def timm(name: str) -> Any:
    """A model of timm."""
    import timm as library

    return library.create_model(name, num_classes=10)


def transformers(kind: str) -> Any:
    """A small model of transformers."""
    import transformers as library
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    layers = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    if kind == "BERT":
        return library.BertModel(library.BertConfig(vocab_size=50, pad_token_id=None, **layers))
    if kind == "GPT-2":
        options = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 50, "use_cache": False}
        return library.GPT2LMHeadModel(library.GPT2Config(**options, bos_token_id=1, eos_token_id=1))
    if kind == "ViT":
        return library.ViTModel(library.ViTConfig(image_size=32, patch_size=8, **layers))
    sizes = {"encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 64, "max_source_positions": 16}
    return WhisperEncoder(library.WhisperConfig(d_model=32, num_mel_bins=8, **sizes))


SEQUENCE, PICTURE, BATCH = {0: "batch", 1: "length"}, {0: "batch", 2: "height", 3: "width"}, {0: "batch"}
LENGTHS, OPEN = ((1, 5), (2, 9), (3, 31)), ((1, 64), (2, 96), (3, 128))
RGB = partial(pictures, "x", 3)

MODELS: dict[str, Model] = {
    "LSTM tagger": Model(Tagger, words, SEQUENCE, LENGTHS),
    "GRU classifier": Model(Classifier, words, SEQUENCE, LENGTHS),
    "transformer encoder": Model(Encoder, masked_words, SEQUENCE, LENGTHS),
    "BERT": Model(partial(transformers, "BERT"), tokens, SEQUENCE, LENGTHS),
    "GPT-2": Model(partial(transformers, "GPT-2"), tokens, SEQUENCE, LENGTHS),
    "Whisper encoder": Model(partial(transformers, "Whisper"), frames, BATCH, ((1, 32), (2, 32), (5, 32))),
    "ViT": Model(
        partial(transformers, "ViT"), partial(pictures, "pixel_values", 3), BATCH, ((1, 32), (2, 32), (5, 32))
    ),
    "resnet18": Model(partial(torchvision, "resnet18"), RGB, PICTURE, OPEN),
    "mobilenet_v3_small": Model(partial(torchvision, "mobilenet_v3_small"), RGB, PICTURE, OPEN),
    "efficientnet_b0": Model(partial(timm, "efficientnet_b0"), RGB, PICTURE, OPEN),
    "convnextv2_atto": Model(partial(timm, "convnextv2_atto"), RGB, PICTURE, OPEN),
    "swin_t": Model(partial(torchvision, "swin_t"), RGB, BATCH, ((1, 64), (2, 64), (5, 64))),
    "vit_b_16": Model(partial(torchvision, "vit_b_16"), RGB, BATCH, ((1, 224), (2, 224), (3, 224))),
}


def built(model: Model) -> Any:
    """The module; none of its weights is all zeros, which would hide differences."""
    torch.manual_seed(0)
    module = model.make()
    for weight in module.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.02)
    return module.eval()
