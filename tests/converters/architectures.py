"""Networks of timm and transformers with random weights, as both exporters of PyTorch write them.

As these libraries initialise a network, much of it is zero, one, or equal to other tensors; ``changed`` makes more so.
Sizes are fixed but the batch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

Array = np.ndarray[Any, Any]

TIMM: Mapping[str, Mapping[str, Any]] = {
    "resnet10t": {},
    "seresnet18": {},
    "resnetv2_18": {},
    "mobilenetv2_035": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "efficientnet_b0": {},
    "tf_efficientnetv2_b0": {},
    "ghostnet_050": {},
    "lcnet_035": {},
    "convnext_atto": {},
    "convnextv2_atto": {},
    "edgenext_xx_small": {},
    "levit_128s": {"size": 224},
    "mobilevit_xxs": {},
    "mobilevitv2_050": {},
    "swin_tiny_patch4_window7_224": {"size": 56, "img_size": 56, "depths": (1, 2, 1), "num_heads": (3, 6, 12)},
    "swinv2_tiny_window8_256": {"size": 64, "img_size": 64, "depths": (1, 2, 1), "num_heads": (3, 6, 12)},
    "vit_tiny_patch16_224": {"size": 64, "img_size": 64},
    "deit3_small_patch16_224": {"size": 64, "img_size": 64, "depth": 4},
    "eva02_tiny_patch14_224": {"size": 56, "img_size": 56},
    "mixer_s32_224": {"size": 224},
    "gmlp_ti16_224": {"size": 64, "img_size": 64},
    "densenet121": {},
    "regnetx_002": {},
    "regnety_002": {},
    "repvgg_a0": {},
    "xcit_nano_12_p16_224": {},
    "cait_xxs24_224": {"size": 64, "img_size": 64, "depth": 6},
    "poolformer_s12": {},
    "maxvit_rmlp_pico_rw_256": {"size": 64, "img_size": 64},
    "coatnet_pico_rw_224": {"size": 64, "img_size": 64},
    "pvt_v2_b0": {},
    "fastvit_t8": {"size": 64},
    "efficientformer_l1": {"size": 224},
    "repvit_m0_9": {},
    "inception_next_atto": {},
    "mambaout_femto": {},
    "nfnet_l0": {},
    "skresnet18": {},
}
"""The networks, with their options; ``size`` is the height and width of the pictures, 64 unless it is given."""

_LENGTH, _WORDS = 7, 99
_TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37}
_VOCABULARY = {"vocab_size": _WORDS, "max_position_embeddings": 64, "pad_token_id": 0}
_ENDS = {"bos_token_id": 97, "eos_token_id": 98}
_MASKED = ("input_ids", "attention_mask")


class Made(NamedTuple):
    """How a network of transformers is made: its classes, the options of its configuration, and what goes in."""

    model: str
    config: str
    options: Mapping[str, Any]
    inputs: tuple[str, ...]


TRANSFORMERS: Mapping[str, Made] = {
    "bert": Made("BertModel", "BertConfig", _TEXT | _VOCABULARY, (*_MASKED, "token_type_ids")),
    "distilbert": Made(
        "DistilBertModel", "DistilBertConfig",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 37, **_VOCABULARY}, _MASKED,
    ),
    "roberta": Made("RobertaModel", "RobertaConfig", _TEXT | _VOCABULARY | {"pad_token_id": 1}, _MASKED),
    "albert": Made("AlbertModel", "AlbertConfig", _TEXT | _VOCABULARY | {"embedding_size": 16}, _MASKED),
    "electra": Made("ElectraModel", "ElectraConfig", _TEXT | _VOCABULARY | {"embedding_size": 16}, _MASKED),
    "gpt2": Made(
        "GPT2Model", "GPT2Config",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": _WORDS, "n_positions": 64, "use_cache": False} | _ENDS,
        _MASKED,
    ),
    "llama": Made(
        "LlamaModel", "LlamaConfig",
        _TEXT | _VOCABULARY | _ENDS | {"num_key_value_heads": 2, "use_cache": False}, ("input_ids",),
    ),
    "clip-vision": Made(
        "CLIPVisionModel", "CLIPVisionConfig", _TEXT | {"image_size": 32, "patch_size": 8}, ("pixel_values",)
    ),
    "vit": Made("ViTModel", "ViTConfig", _TEXT | {"image_size": 32, "patch_size": 8}, ("pixel_values",)),
    "whisper-encoder": Made(
        "WhisperModel", "WhisperConfig",
        {
            "d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4,
            "decoder_attention_heads": 4, "encoder_ffn_dim": 37, "decoder_ffn_dim": 37, "num_mel_bins": 20,
            "max_source_positions": 30, "vocab_size": _WORDS, "pad_token_id": 0, "decoder_start_token_id": 1,
        } | _ENDS,
        ("input_features",),
    ),
    "t5-encoder": Made(
        "T5EncoderModel", "T5Config",
        {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4, "vocab_size": _WORDS}, _MASKED,
    ),
    "wav2vec2": Made(
        "Wav2Vec2Model", "Wav2Vec2Config",
        _TEXT | {
            "conv_dim": (16, 16, 16), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 3), "num_feat_extract_layers": 3,
            "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "mask_time_prob": 0.0,
        },
        ("input_values",),
    ),
}  # fmt: skip

NAMES = (*TIMM, *TRANSFORMERS)
EXPORTERS = ("old", "new")


def module(name: str, seed: int = 0) -> Any:
    """The network as its library initialises it, which gives one tensor."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    if name in TIMM:
        timm = pytest.importorskip("timm")
        options = {key: value for key, value in TIMM[name].items() if key != "size"}
        return timm.create_model(name, pretrained=False, num_classes=10, **options).eval()
    transformers = pytest.importorskip("transformers")
    made = TRANSFORMERS[name]
    inner = getattr(transformers, made.model)(getattr(transformers, made.config)(**made.options))

    class Wrapped(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner.encoder if name == "whisper-encoder" else inner

        def forward(self, *given: Any) -> Any:
            return self.inner(**dict(zip(made.inputs, given, strict=True)), return_dict=True).last_hidden_state

    return Wrapped().eval()


def inputs(name: str, batch: int, seed: int = 0) -> dict[str, Array]:
    """Inputs by name, in order."""
    rng = np.random.default_rng(seed)
    if name in TIMM:
        size = TIMM[name].get("size", 64)
        return {"x": rng.standard_normal((batch, 3, size, size), np.float32)}
    mask = np.ones((batch, _LENGTH), np.int64)
    mask[-1, _LENGTH - 2 :] = 0
    every: Mapping[str, Callable[[], Array]] = {
        "input_ids": lambda: rng.integers(2, 97, (batch, _LENGTH)),
        "attention_mask": lambda: mask,
        "token_type_ids": lambda: rng.integers(0, 2, (batch, _LENGTH)),
        "pixel_values": lambda: rng.standard_normal((batch, 3, 32, 32), np.float32),
        "input_features": lambda: rng.standard_normal((batch, 20, 60), np.float32),
        "input_values": lambda: rng.standard_normal((batch, 400), np.float32),
    }
    return {key: every[key]() for key in TRANSFORMERS[name].inputs}


def export(network: Any, given: Mapping[str, Array], exporter: str, path: Path) -> None:
    """Write an ONNX file by the old or the new exporter of PyTorch."""
    torch = pytest.importorskip("torch")
    names: dict[str, Any] = {"input_names": list(given), "output_names": ["output"]}
    tensors = tuple(torch.from_numpy(array) for array in given.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "old":
            axes = {name: {0: "batch"} for name in (*given, "output")}
            torch.onnx.export(network, tensors, path, dynamo=False, dynamic_axes=axes, opset_version=17, **names)
        else:
            pytest.importorskip("onnxscript")
            batch = torch.export.Dim("batch", min=1, max=64)
            shapes: Any = tuple({0: batch} for _ in tensors)
            if not isinstance(network, torch.nn.Module) or _takes_any_number(network):
                shapes = (shapes,)
            torch.onnx.export(
                network, tensors, path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False, **names
            )


def _takes_any_number(network: Any) -> bool:
    import inspect

    return any(each.kind is each.VAR_POSITIONAL for each in inspect.signature(network.forward).parameters.values())


def changed(network: Any, seed: int) -> list[str]:
    """Make random subsets of the parameters zero, one, or equal to others, and the statistics random; what was done."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    told = []
    with torch.no_grad():
        for kind, choose in _CHANGES.items():
            if rng.random() < 0.5:
                share = rng.choice([0.05, 0.2, 0.5])
                told += [f"{kind} {key}" for key in choose(network, rng, share)]
        for key, buffer in network.named_buffers():
            if key.endswith("running_mean"):
                buffer.normal_(0, 0.3, generator=_generator(rng))
            elif key.endswith("running_var"):
                buffer.uniform_(0.5, 2.0, generator=_generator(rng))
    return told


def _generator(rng: np.random.Generator) -> Any:
    torch = pytest.importorskip("torch")
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


def _some(found: Iterator[tuple[str, Any]], rng: np.random.Generator, share: float) -> list[tuple[str, Any]]:
    return [each for each in found if rng.random() < share]


def _filled(suffix: str, value: float, dimensions: Sequence[int]) -> Callable[..., Iterator[str]]:
    def fill(network: Any, rng: np.random.Generator, share: float) -> Iterator[str]:
        for key, weight in _some(network.named_parameters(), rng, share):
            if key.rsplit(".", 1)[-1].startswith(suffix) and weight.ndim in dimensions:
                weight.fill_(value)
                yield key

    return fill


def _branches(network: Any, rng: np.random.Generator, share: float) -> Iterator[str]:
    """Matrices and kernels that are zero altogether, few of them: behind one, nothing varies."""
    for key, weight in _some(network.named_parameters(), rng, 0.1 * share):
        if weight.ndim > 1:
            weight.zero_()
            yield key


def _equal(network: Any, rng: np.random.Generator, share: float) -> Iterator[str]:
    """Tensors equal to an earlier one of their shape."""
    first: dict[tuple[int, ...], Any] = {}
    for key, weight in _some(network.named_parameters(), rng, share):
        if weight is not first.setdefault(tuple(weight.shape), weight):
            weight.copy_(first[tuple(weight.shape)])
            yield key


def _rows(network: Any, rng: np.random.Generator, share: float) -> Iterator[str]:
    """Channels that are zero, as pruning leaves them."""
    for key, weight in _some(network.named_parameters(), rng, share):
        if weight.ndim > 1:
            weight[_rows_of(rng, len(weight))] = 0
            yield key


def _rows_of(rng: np.random.Generator, count: int) -> Any:
    torch = pytest.importorskip("torch")
    return torch.from_numpy(np.flatnonzero(rng.random(count) < 0.3))


_CHANGES: Mapping[str, Callable[..., Iterator[str]]] = {
    "zero gamma": _filled("weight", 0.0, (1,)),
    "zero bias": _filled("bias", 0.0, (1,)),
    "layer scale": _filled("gamma", 0.0, (1, 3)),
    "zero branch": _branches,
    "zero rows": _rows,
    "equal": _equal,
}
