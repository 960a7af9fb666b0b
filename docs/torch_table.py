"""The page of what ``torch_models.py`` has measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_measuring import WAYS
from torch_modules import MODELS

HERE = Path(__file__).parent
PAGE, MEASURED = HERE / "torch-models.md", HERE / "torch-models.json"

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
masks that show the first word. One of the two names of its tied weight is gone there, as ONNX has one, and `load_state`
takes states by either. Scalars and positions that the exporters write as tensors of their own are buffers more.
"""

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


def refresh() -> None:
    """Write the page of what was measured."""
    kept = json.loads(MEASURED.read_bytes())
    PAGE.write_text(INTRODUCTION.lstrip().replace("TABLE", table(kept)), encoding="utf-8")
