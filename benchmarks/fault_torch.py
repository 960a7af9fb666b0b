"""Models of ``faults.py`` that PyTorch exports: small modules, and small ones of torchvision, timm and transformers.

Their weights are drawn: of a scale that keeps the spread of values through the layers, biases and statistics that are
not 0 or 1.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import onnx
import torch
from torch import nn

OPSET = 18
TOKENS = 16
"""Whole numbers that a model is given are below this."""


class Residual(nn.Module):
    """The sum, or what another function makes, of an input and of modules after it."""

    def __init__(self, *inner: nn.Module, join: Callable[..., Any] = torch.add) -> None:
        super().__init__()
        self.inner, self.join = nn.Sequential(*inner), join

    def forward(self, x: Any) -> Any:
        return self.join(x, self.inner(x))


class Through(nn.Module):
    """A function as a module, of modules before it."""

    def __init__(self, function: Callable[..., Any], *modules: nn.Module) -> None:
        super().__init__()
        self.function, self.inner = function, nn.ModuleList(modules)

    def forward(self, *x: Any) -> Any:
        return self.function(*self.inner, *x)


def drawn(module: Any) -> Any:
    """The module with other weights: of variance 2/fan-in, scales about 1, biases and means about 0."""
    generator = torch.Generator().manual_seed(0)
    learned = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    for name, value in module.state_dict().items():
        if not value.is_floating_point() or not (name in learned or "running" in name):
            continue
        normal = torch.randn(value.shape, generator=generator)
        if "running_var" in name:
            value.copy_(0.5 + normal.abs())
        elif value.ndim > 1:
            value.copy_(normal * (2 / value[0].numel()) ** 0.5)
        else:
            value.copy_(0.3 * normal + ("bias" not in name and "running" not in name))
    return module.eval()


class Source(NamedTuple):
    """A module, what it is exported with, and by which exporter."""

    make: Callable[[], Any]
    given: Callable[[], tuple[Any, ...]]
    dynamo: bool = True

    def program(self) -> Any:
        """The export by the newer exporter, with the program that it was made of."""
        return torch.onnx.export(drawn(self.make()), self.given(), dynamo=True, opset_version=OPSET, verbose=False)

    def model(self) -> onnx.ModelProto:
        """The exported model; the older exporter folds no normalisation, so that there are some."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.dynamo:
                found: onnx.ModelProto = self.program().model_proto
                return found
            file = io.BytesIO()
            torch.onnx.export(
                drawn(self.make()),
                self.given(),
                file,
                dynamo=False,
                opset_version=OPSET,
                training=torch.onnx.TrainingMode.PRESERVE,
            )
        return onnx.load_model_from_string(file.getvalue())


def normal(*shape: int) -> Callable[[], tuple[Any, ...]]:
    return lambda: (torch.randn(shape, generator=torch.Generator().manual_seed(0)),)


def tokens(*shape: int) -> Callable[[], tuple[Any, ...]]:
    return lambda: (torch.randint(TOKENS, shape, generator=torch.Generator().manual_seed(0)),)


def convolution(before: int, after: int, **options: Any) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1, **options), nn.BatchNorm2d(after), nn.ReLU())


def depthwise(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        convolution(before, before, groups=before, stride=stride),
        nn.Conv2d(before, after, 1),
        nn.BatchNorm2d(after),
        nn.Hardswish(),
    )


def unet(depth: int = 2, width: int = 8) -> nn.Module:
    """Two poolings, and two enlargements that are joined with what was before."""
    inner: nn.Module = convolution(width << depth, width << depth)
    for level in range(depth, 0, -1):
        here = width << level - 1
        down, up = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="nearest" if level == 1 else "bilinear")
        joined = Residual(down, convolution(here, 2 * here), inner, up, join=lambda *both: torch.cat(both, 1))
        inner = nn.Sequential(joined, convolution(3 * here, here))
    return nn.Sequential(convolution(3, width), inner, nn.Conv2d(width, 4, 1))


def mixer(side: int = 16) -> nn.Module:
    """Layers across tokens and across channels; there are as many of both."""

    def layers() -> nn.Module:
        return nn.Sequential(nn.Linear(side, 32), nn.GELU(), nn.Linear(32, side))

    def across(inner: nn.Module, x: Any) -> Any:
        return inner(x.transpose(1, 2)).transpose(1, 2)

    blocks = [Residual(nn.LayerNorm(side), each) for _ in range(2) for each in (Through(across, layers()), layers())]
    return nn.Sequential(*blocks, nn.LayerNorm(side), nn.Linear(side, 10))


def arithmetic(layer: Any, other: Any, x: Any) -> Any:
    """Operators of which most models have none: floors, extremes, divisions, comparisons."""
    y, z = layer(x), other(x)
    low, high = torch.minimum(y, z), torch.maximum(y, z)
    steps = torch.floor(4 * low) / 4 + torch.round(3 * high) / 3 - torch.ceil(2 * y) / 2
    chosen = torch.where(y > z, torch.exp(-high.abs()), torch.sqrt(1 + low**2))
    return torch.log_softmax(steps.clamp(-2, 2), -1), chosen.cumsum(-1) / (1 + chosen.sum(-1, keepdim=True)), steps @ z


def activations() -> nn.Module:
    kinds = (nn.ReLU(), nn.LeakyReLU(0.1), nn.ELU(0.8), nn.Sigmoid(), nn.Softplus(), nn.SELU(), nn.PReLU(24), nn.Mish())
    return nn.Sequential(nn.Linear(12, 24), *(each for kind in kinds for each in (kind, nn.Linear(24, 24))))


def gated(one: Any, other: Any, last: Any, x: Any) -> Any:
    return last(torch.tanh(one(x)) * torch.sigmoid(other(x)))


def heads(body: Any, boxes: Any, scores: Any, x: Any) -> Any:
    """Corners of boxes and scores of classes for each cell, as detectors have them."""
    features = body(x)
    centre, size = boxes(features).flatten(2).transpose(1, 2).split(2, -1)
    half = torch.exp(size.clamp(max=3)) / 2
    return torch.cat([torch.sigmoid(centre) - half, torch.sigmoid(centre) + half], -1), scores(features).flatten(2)


def torchvision(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from torchvision.models import get_model

        return get_model(name, weights=None, num_classes=10, **options)

    return make


def timm(name: str, **options: Any) -> Callable[[], Any]:
    def make() -> Any:
        from timm import create_model

        return create_model(name, pretrained=False, num_classes=10, **options)

    return make


def transformer(name: str, **options: Any) -> Callable[[], Any]:
    """A model of transformers with a tiny configuration; its first output."""

    def make() -> Any:
        import transformers

        config = getattr(transformers, f"{name}Config")(
            **{"vocab_size": TOKENS, "attn_implementation": "eager", "use_cache": False, **options}
        )
        return Through(lambda model, x: model(x)[0], getattr(transformers, f"{name}Model")(config))

    return make


ENCODER = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
SMALL = normal(2, 3, 16, 16)

SOURCES = {
    "mlp": Source(
        lambda: nn.Sequential(
            nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 8), nn.Softmax(-1)
        ),
        normal(4, 16),
    ),
    "activations": Source(activations, normal(4, 12), dynamo=False),
    "arithmetic": Source(lambda: Through(arithmetic, nn.Linear(8, 8), nn.Linear(8, 8)), normal(8, 8)),
    "cnn": Source(
        lambda: nn.Sequential(
            convolution(3, 8), convolution(8, 16, stride=2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 10)
        ),
        SMALL,
        dynamo=False,
    ),
    "cnn-folded": Source(
        lambda: nn.Sequential(
            convolution(3, 8), nn.MaxPool2d(2), convolution(8, 16), nn.Flatten(), nn.Linear(1024, 10)
        ),
        SMALL,
    ),
    "residual": Source(
        lambda: nn.Sequential(
            convolution(3, 8),
            Residual(convolution(8, 8)),
            nn.ReLU(),
            Residual(convolution(8, 8)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        ),
        SMALL,
        dynamo=False,
    ),
    "depthwise": Source(
        lambda: nn.Sequential(
            convolution(3, 8),
            depthwise(8, 16, 2),
            depthwise(16, 16),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 10),
        ),
        SMALL,
        dynamo=False,
    ),
    "unet": Source(unet, SMALL, dynamo=False),
    "unet-dynamo": Source(unet, SMALL),
    "group-norm": Source(
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3),
            nn.GroupNorm(2, 8),
            nn.SiLU(),
            nn.Conv2d(8, 8, 3),
            nn.InstanceNorm2d(8, affine=True),
            nn.GELU("tanh"),
            nn.Flatten(),
            nn.Linear(1152, 10),
        ),
        SMALL,
    ),
    "upscaling": Source(
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.PReLU(16),
            nn.PixelShuffle(2),
            nn.ConvTranspose2d(4, 8, 4, 2, 1),
            nn.ReLU6(),
            nn.Upsample(scale_factor=1.5),
            nn.Conv2d(8, 3, 1),
        ),
        normal(1, 3, 8, 8),
        dynamo=False,
    ),
    "gated-sequence": Source(
        lambda: nn.Sequential(
            *(
                Through(
                    gated,
                    nn.Conv1d(8, 8, 3, padding=d, dilation=d),
                    nn.Conv1d(8, 8, 3, padding=d, dilation=d),
                    nn.Conv1d(8, 8, 1),
                )
                for d in (1, 2, 4)
            )
        ),
        normal(2, 8, 24),
    ),
    "mixer": Source(mixer, normal(2, 16, 16), dynamo=False),
    "mixer-dynamo": Source(mixer, normal(2, 16, 16)),
    "lstm": Source(
        lambda: Through(lambda cell, last, x: last(cell(x)[0]), nn.LSTM(8, 12, 2, batch_first=True), nn.Linear(12, 4)),
        normal(2, 6, 8),
        dynamo=False,
    ),
    "gru": Source(
        lambda: Through(lambda cell, last, x: last(cell(x)[0]), nn.GRU(8, 12, bidirectional=True), nn.Linear(24, 4)),
        normal(6, 2, 8),
        dynamo=False,
    ),
    "encoder": Source(
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2, enable_nested_tensor=False
        ),
        normal(2, 4, 16),
    ),
    "detector-heads": Source(
        lambda: Through(
            heads,
            nn.Sequential(convolution(3, 8, stride=2), convolution(8, 16, stride=2)),
            nn.Conv2d(16, 4, 1),
            nn.Conv2d(16, 5, 3, padding=1),
        ),
        normal(1, 3, 32, 32),
        dynamo=False,
    ),
    "squeezenet": Source(torchvision("squeezenet1_1"), normal(1, 3, 64, 64)),
    "shufflenet": Source(torchvision("shufflenet_v2_x0_5"), normal(1, 3, 64, 64), dynamo=False),
    "mobilenet": Source(torchvision("mobilenet_v3_small", width_mult=0.25), normal(1, 3, 64, 64)),
    "timm-resnet": Source(timm("test_resnet"), normal(1, 3, 64, 64), dynamo=False),
    "timm-efficientnet": Source(timm("test_efficientnet"), normal(1, 3, 64, 64)),
    "timm-vit": Source(timm("test_vit", img_size=64), normal(1, 3, 64, 64)),
    "timm-convnext": Source(timm("test_convnext"), normal(1, 3, 64, 64), dynamo=False),
    "bert": Source(transformer("Bert", **ENCODER), tokens(2, 8)),
    "gpt2": Source(transformer("GPT2", n_embd=32, n_layer=2, n_head=4, n_positions=16), tokens(2, 8)),
    "llama": Source(transformer("Llama", **ENCODER, num_key_value_heads=2), tokens(2, 8)),
    "distilbert": Source(
        transformer("DistilBert", dim=32, n_layers=2, n_heads=4, hidden_dim=64), tokens(2, 8), dynamo=False
    ),
}
