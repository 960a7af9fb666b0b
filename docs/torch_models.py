"""Models of PyTorch, here and back: ``python docs/torch_models.py [MODEL]…`` measures and writes torch-models.md.

Without names, all models are measured; with names, these alone, and the rows of the others stay. ``table`` prints what
was measured, which is kept in ``torch-models.json``. Weights are random; the models have the sizes of their makers but
for those of transformers, which are small.
"""

from __future__ import annotations

import copy
import json
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253 - what this program measures
from torch import nn  # noqa: TID253
from torch.utils import _pytree  # noqa: TID253

from portable_nn.converters.onnx import read_onnx
from portable_nn.converters.torch import read_torch, to_torch
from portable_nn.converters.torch.examples import without_dropout
from portable_nn.converters.torch.proof import Apart, Theirs, computed_by, drawn, train_both
from portable_nn.converters.torch.training import trained
from portable_nn.core.errors import PortableNNError
from portable_nn.network import Network

HERE = Path(__file__).parent
PAGE, MEASURED = HERE / "torch-models.md", HERE / "torch-models.json"


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
WAYS = ("from_torch", "dynamo", "torchscript")


class Named(nn.Module):  # type: ignore[misc]
    """A model that takes its inputs one after the other, and returns its tensors so: the exporters need that."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *given: Any) -> Any:
        """The tensors of what the model returns."""
        return tuple(tensors_of(self.model(**dict(zip(self.names, given, strict=True)))))


def tensors_of(made: Any) -> list[Any]:
    """The tensors in what a module returns."""
    return [each for each in _pytree.tree_leaves(made) if isinstance(each, torch.Tensor)]


def built(model: Model) -> Any:
    """The module; none of its weights is all zeros, which would hide differences."""
    torch.manual_seed(0)
    module = model.make()
    for weight in module.parameters():
        if not weight.any():
            nn.init.normal_(weight, std=0.02)
    return module.eval()


def imported(way: str, model: Model, module: Any, inputs: dict[str, Any]) -> tuple[Network, Theirs]:
    """The network that a module is, and the module as the other side."""
    names = tuple(inputs)
    if way == "from_torch":
        network = read_torch(module, inputs, dynamic=dict.fromkeys(names, model.axes), verify=False).network
        return network, Theirs(module, partial(called, network, by_name=True))
    wrapped = Named(module, names).eval()
    outputs = [f"output_{place}" for place in range(len(wrapped(*inputs.values())))]
    options: dict[str, Any] = {"input_names": [*names], "output_names": outputs}
    if way == "dynamo":
        axes = {axis: torch.export.Dim(name, min=1, max=4096) for axis, name in model.axes.items()}
        options |= {"dynamic_shapes": (tuple(axes for _ in names),), "external_data": False, "optimize": False}
    else:
        mode = torch.onnx.TrainingMode.PRESERVE
        options |= {"dynamic_axes": {name: dict(model.axes) for name in names}, "training": mode}
        options |= {"do_constant_folding": False, "opset_version": 18}
    frozen = [name for name, each in wrapped.named_parameters() if not each.requires_grad]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        torch.onnx.export(wrapped, tuple(inputs.values()), str(path), dynamo=way == "dynamo", verbose=False, **options)
        network = read_onnx(path, verify=False).network
    if frozen:
        network.freeze(*frozen)
    return network, Theirs(wrapped, partial(called, network, by_name=False))


def called(network: Network, module: Any, feeds: Mapping[str, Any], *, by_name: bool) -> dict[str, Any]:
    """The tensors that a module makes of arrays, by the names of the network's outputs."""
    given = {name: torch.as_tensor(np.array(array)) for name, array in feeds.items()}
    made = module(**given) if by_name else module(*(given[value.name] for value in network.graph.inputs))
    return dict(zip(network.graph.outputs, tensors_of(made), strict=True))


def apart(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> float:
    """The largest difference, relative to the largest magnitude of its output, or to 1."""
    return max(float(np.abs(ours[name] - theirs[name]).max() / max(1.0, np.abs(theirs[name]).max())) for name in theirs)


def measured(way: str, model: Model) -> dict[str, Any]:
    """What is kept of one way of one model."""
    module = built(model)
    network, theirs = imported(way, model, module, model.inputs(*model.sizes[1]))
    back = to_torch(network, verify=False)
    is_open = all(isinstance(value.shape[axis], str) for value in network.graph.inputs for axis in model.axes)
    sizes = model.sizes if is_open else [(batch, model.sizes[1][1]) for batch, _ in model.sizes]
    feeds = [{name: each.numpy() for name, each in model.inputs(*size).items()} for size in sizes]
    wanted = [computed_by(theirs)(each) for each in feeds]
    found = [network.compute("numpy", each) for each in feeds]
    again = [computed_by(Theirs(back, partial(called, network, by_name=False)))(each) for each in feeds]
    here, there = shapes(back), shapes(theirs.module)
    steps = train_both(network, replace(theirs, admit=seeing), 0)
    cell: dict[str, Any] = {
        "open": [*model.axes.values()] if is_open else ["batch"],
        "outputs": max(map(apart, found, wanted)),
        "back": max(map(apart, again, wanted)),
        "keys": len(there),
        "missing": [name for name in there if here.get(name) != there[name]],
        "more": [name for name in here if there.get(name) != here[name]],
        "steps": {**summary(steps), "far": len(steps.far)},
    }
    return cell


def in_float64(way: str, model: Model) -> dict[str, Any]:
    """Five steps in float64."""
    inputs = model.inputs(*model.sizes[1])
    double = {name: each.double() if each.is_floating_point() else each for name, each in inputs.items()}
    network, theirs = imported(way, model, built(model).double(), double)
    return summary(train_both(network, replace(theirs, admit=seeing), 0))


def rounding(way: str, model: Model) -> dict[str, Any]:
    """How far PyTorch in float32, with oneDNN and without, is from PyTorch in float64 after the same steps."""
    module = built(model)
    network, theirs = imported(way, model, module, model.inputs(*model.sizes[1]))
    feeds, targets = drawn(without_dropout(network), 0, seeing)
    with torch.backends.mkldnn.flags(enabled=False):
        plain, _ = trained(theirs.module, theirs.call, feeds, targets)
    single, _ = trained(theirs.module, theirs.call, feeds, targets)
    double, _ = trained(copy.deepcopy(theirs.module).double(), theirs.call, in_double(feeds), in_double(targets))
    floats = [name for name, array in double.items() if array.dtype == np.float64]
    far = [max(apart({name: each[name]}, {name: double[name]}) for name in floats) for each in (single, plain)]
    return dict(zip(("apart", "plain"), far, strict=True))


def in_double(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays with their floats in float64."""
    return {name: each.astype(np.float64) if each.dtype.kind == "f" else each for name, each in arrays.items()}


def seeing(feeds: Mapping[str, Any]) -> dict[str, Any]:
    """Examples in which every query sees a key: what the exporters write of others has another gradient, or NaN."""
    if "attention_mask" in feeds:
        feeds["attention_mask"][:, 0] = 1
    return dict(feeds)


CELLS = {"row": measured, "float64": in_float64, "rounding": rounding}
"""What a process of its own measures, by its first word."""


def summary(steps: Apart) -> dict[str, Any]:
    """What is kept of five steps."""
    return {"apart": max(steps.largest.values()), "moved": steps.moved, "parameters": len(steps.largest)}


def shapes(module: Any) -> dict[str, tuple[int, ...]]:
    """The state dict."""
    return {name: tuple(each.shape) for name, each in module.state_dict().items()}


def refresh() -> None:
    """Write the page of what was measured."""
    kept = json.loads(MEASURED.read_bytes())
    PAGE.write_text(INTRODUCTION.lstrip().replace("TABLE", table(kept)), encoding="utf-8")


def alone(*words: str) -> dict[str, Any]:
    """What a process of its own prints: a second export of one process may fail where the first did not."""
    done = subprocess.run([sys.executable, __file__, *words], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return {"refused": f"ended by {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # PyTorch prints graphs that it cannot export.
    return found


def printed(function: Callable[[str, Model], dict[str, Any]], name: str, way: str) -> None:
    """Print what was measured, or why it could not be."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr):
            cell = function(way, MODELS[name])
    except Exception as error:
        said = str(error) if isinstance(error, PortableNNError) else f"{type(error).__name__}: {error}"
        cell = {"refused": " ".join(said.split())[-300:]}
    print(json.dumps(cell))


def measure(names: list[str]) -> dict[str, Any]:
    """The rows of some models, added to what was measured before."""
    kept: dict[str, Any] = json.loads(MEASURED.read_bytes()) if MEASURED.exists() else {}
    for name in names:
        for way in WAYS:
            begin, cell = time.monotonic(), alone("row", name, way)
            if "refused" not in cell:
                cell["steps64"] = alone("float64", name, way)
                if cell["steps"]["far"]:
                    cell["rounding"] = alone("rounding", name, way)
            about = {"seconds": round(time.monotonic() - begin), "date": time.strftime("%Y-%m-%d")}
            kept[f"{name}|{way}"] = {**cell, **about, "torch": torch.__version__}
            MEASURED.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(f"{name}, {way}: {cell}", file=sys.stderr, flush=True)
    return kept


WHY = {
    "ValueError: Unsupported type for attn_mask: 7": (
        "in float64: the exporter refuses it, `Unsupported type for attn_mask: 7`; it writes masks of "
        "`scaled_dot_product_attention` of booleans and of at most 32 bits, and 7 is its number of float64"
    )
}
"""What a word of an exporter means."""


def table(kept: Mapping[str, Any]) -> str:
    """One row a model and way, and below it the names that differ, and why something was refused."""
    lines = [
        "| model | way | open | outputs | back | state dict | five steps | in float64 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes: dict[str, list[str]] = {}
    for key in (f"{name}|{way}" for name in MODELS for way in WAYS):
        cell = kept.get(key)
        if cell is None:
            lines.append(f"| {key.replace('|', ' | ')} | **not measured** | | | | | |")
            continue
        title = key.replace("|", " | ")
        if "refused" in cell:
            lines.append(f"| {title} | **refused** | | | | | |")
            notes.setdefault(cell["refused"].replace("|", "/"), []).append(key.replace("|", ", "))
            continue
        double = cell.get("steps64", {})
        exact = number(double["apart"], 1e-8) if "apart" in double else "**refused**" if double else "not measured"
        steps = number(cell["steps"]["apart"], 1e-5)
        same = "same" if not cell["missing"] and not cell["more"] else differing(cell)
        numbers = f"{number(cell['outputs'], 1e-5)} | {number(cell['back'], 1e-5)}"
        lines.append(
            f"| {title} | {', '.join(cell['open'])} | {numbers} | {cell['keys']} keys, {same} | {steps} | {exact} |"
        )
        if "refused" in double:
            note = f"in float64: {double['refused'].replace('|', '/')}"
            notes.setdefault(WHY.get(double["refused"], note), []).append(key.replace("|", ", "))
        if "apart" in cell.get("rounding", {}):
            far = " and without by ".join(f"{cell['rounding'][each]:.0e}" for each in ("apart", "plain"))
            note = f"five steps of PyTorch in float32 differ from those of PyTorch in float64 with oneDNN by {far}"
            notes.setdefault(note, []).append(key.replace("|", ", "))
        for what, word in (("missing", "not there"), ("more", "more")):
            if cell[what]:
                shown = ", ".join(f"`{name}`" for name in cell[what][:3])
                shown += f" and {len(cell[what]) - 3} more" if len(cell[what]) > 3 else ""
                notes.setdefault(f"{word}: {shown}", []).append(key.replace("|", ", "))
    return "\n".join([*lines, "", *(f"- {'; '.join(which)}: {note}" for note, which in notes.items())]).rstrip()


def differing(cell: Mapping[str, Any]) -> str:
    """How many names differ."""
    parts = [f"{len(cell[what])} {word}" for what, word in (("missing", "missing"), ("more", "more")) if cell[what]]
    return ", ".join(parts)


def number(value: float, allowed: float) -> str:
    """A difference, in bold where it is larger than it may be."""
    return f"{value:.0e}" if value <= allowed else f"**{value:.0e}**"


INTRODUCTION = """
# Models of PyTorch, here and back

Models of torchvision, timm and transformers, and small ones of recurrent layers, come in by `from_torch` and from the
files of both ONNX exporters of PyTorch, and go back by `to_torch`. `outputs` compares the network with the module, and
`back` the module that it becomes, at three lengths, at three sizes of pictures, or at three batches where nothing else
is open: the largest difference, relative to the largest magnitude of an output, or to 1. `state dict` compares names
and shapes. `five steps` trains network and module from the same weights on the same batch, without dropout, and
compares all parameters and running statistics; `in float64`, both sides in double precision. 1e-5 is allowed, and 1e-8
in double precision; what is larger is bold. In single precision the steps of deep networks round differently:
double precision shows that this is the reason. PyTorch's own steps in single precision differ from its own in double
precision, too, by how much depends on how its convolutions add up: it stands below the table.

The exporters are called so that they leave the weights as they are: `optimize=False` with `dynamo=True`; without it,
`do_constant_folding=False` and `training=torch.onnx.TrainingMode.PRESERVE`. By default they fold batch norms into
convolutions, transpose weights and name them anew, and networks from their files compute the same, but have other
parameters. ONNX has no `padding_idx` of an embedding, whose vector would be trained; these models have none. Nor does
it say what is frozen: `freeze` does, as here for the positions of Whisper's encoder. What the older exporter writes of
`nn.TransformerEncoder` has the length of its example as a number. The page is written by `python docs/torch_models.py`.

<!-- $ python torch_models.py table -->

TABLE

<!-- end -->

What remains: a query that sees no key, as in sequences that are padded on the left, is zeros in PyTorch and in networks
of `from_torch`, and trains so; what the exporters write of it has another gradient, or NaN, so that GPT-2 is trained on
masks that show the first word. One of the two names of its tied weight is gone there, as ONNX has one. Scalars and
positions that the exporters write as tensors of their own are buffers more.
"""

if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        print(table(json.loads(MEASURED.read_bytes())))
    elif sys.argv[1:2] in ([name] for name in CELLS):
        printed(CELLS[sys.argv[1]], *sys.argv[2:4])
    else:
        measure(sys.argv[1:] or [*MODELS])
        refresh()
