"""Every layer in every runtime: ``python docs/conformance.py [RUNTIME]…`` writes the tables of conformance.md.

Without names, all that are installed run; with names, these alone run again, and the columns of the others stay.
``tables`` prints what was measured, which is kept in ``conformance.json``. Each row is a layer with its options, as
Python, in a network of its own.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from refresh import write_table

import portable_nn as pnn
from portable_nn.catalog import CALLED
from portable_nn.format.meaning import Column
from portable_nn.onnx.verification.differences import Tolerance
from portable_nn.runtimes.checking import Limits, Trial, trial_of, verdicts_of
from portable_nn.runtimes.report import RuntimeRow
from portable_nn.runtimes.table import RUNTIMES

HERE = Path(__file__).parent
PAGE, MEASURED = HERE / "conformance.md", HERE / "conformance.json"
LIMITS = Limits(Tolerance(1e-6, 1e-4), 120, 8 * 2**30)

VECTORS = {"avx512f": ", AVX-512", "avx2": ", AVX2"}
"""Names of sets of vector instructions, by the flags of the kernel."""

ROW, IMAGE, SEQUENCE = (5,), (4, 8, 6), (6, 8)
SPATIAL = {1: (4, 9), 2: (4, 8, 6), 3: (4, 4, 5, 6)}
TABLE = [Column("a"), Column("b", categories=("x", "y")), Column("c", missing="mean"), Column("d"), Column("e")]
ROWS = np.arange(20).reshape(4, 5) % 7

WINDOWS = (
    "Conv{}d(6, 3)",
    "Conv{}d(6, 3, stride=2, padding=1, groups=2)",
    "Conv{}d(4, 3, groups=4, padding=1)",
    "Conv{}d(3, 2, dilation=2, padding='same')",
    "ConvTranspose{}d(6, 2, stride=2)",
    "ConvTranspose{}d(6, 3, stride=2, padding=1, output_padding=1, groups=2)",
    "MaxPool{}d(2)",
    "MaxPool{}d(3, stride=2, padding=1)",
    "MaxPool{}d(2, stride=3, ceil_mode=True)",
    "AvgPool{}d(2)",
    "AvgPool{}d(3, stride=2, padding=1)",
    "AvgPool{}d(2, stride=3, ceil_mode=True, count_include_pad=False)",
    "LPPool{}d(2, 2)",
    "BatchNorm{}d()",
)
OF_ROWS = (
    "Dense(3)", "Dense(3, bias=False)", "Dropout(0.5)", "CELU()", "Clip(-0.5, 0.5)", "ELU()", "GELU()",
    "GELU(approximate='tanh')", "Hardshrink()", "Hardsigmoid()", "Hardswish()", "Hardtanh()", "LeakyReLU()",
    "LogSoftmax()", "Mish()", "PReLU()", "ReLU()", "ReLU6()", "SELU()", "SiLU()", "Sigmoid()", "Softmax()",
    "Softplus()", "Softshrink()", "Softsign()", "Tanh()", "ThresholdedReLU()", "LayerNorm()", "RMSNorm()",
    "Normalization(None, mean=1, std=2)", "Rescaling(0.5, -1)", "Columns(TABLE, ROWS)",
    "Columns(TABLE, ROWS, embedding=2)", "Looked()",
)  # fmt: skip
OF_IMAGES = (
    "Dense(3)", "Flatten()", "GlobalAvgPool()", "GlobalLPPool()", "GlobalMaxPool()", "GroupNorm(2)",
    "InstanceNorm(affine=True)", "LayerNorm(axis=1)", "LocalResponseNorm(3)", "Pad(1)", "Pad(1, mode='reflect')",
    "Pad(1, mode='replicate')", "Pad(1, mode='circular')", "PixelShuffle(2)", "PixelUnshuffle(2)",
    "Normalization(mean=[1, 2, 3, 4], std=[1, 2, 3, 4])", "Rescaling(0.5)", "Reshape(-1, 6)", "Softmax(axis=1)",
    "Upsample(scale_factor=2, mode='nearest')", "Upsample(size=(5, 9), mode='bilinear')",
    "Upsample(scale_factor=2, mode='bicubic', align_corners=True)",
)  # fmt: skip
OF_SEQUENCES = (
    "LearnedPositions(9)", "SinusoidalPositions(9)", "MultiHeadAttention(2)", "MultiHeadAttention(4, causal=True)",
    "TransformerEncoderLayer(2, units=16)", "Conv1d(4, 3, causal=True)",
)  # fmt: skip
RECURRENT = (
    "{}(4)", "{}(4, last=True)", "{}(4, layers=2, dropout=0.2, bidirectional=True)",
)  # fmt: skip


class Looked(pnn.Layer):
    """An Embedding of whole numbers made of floats."""

    def __call__(self, x: pnn.Symbol) -> pnn.Symbol:
        """The vectors."""
        return pnn.Embedding(9, 3, name="vectors")(pnn.emit("Cast", pnn.emit("Abs", x), to=7))


def cases() -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """The group, the layer as Python, and the shape of an example."""
    for axes, shape in SPATIAL.items():
        yield from ((f"Convolutions and pools in {axes}-D", each.format(axes), shape) for each in WINDOWS)
    yield from (("Rows of numbers", each, ROW) for each in OF_ROWS)
    yield from (("Pictures", each, IMAGE) for each in OF_IMAGES)
    yield from (("Sequences", each, SEQUENCE) for each in OF_SEQUENCES)
    recurrent = [each.format(name) for name in ("GRU", "LSTM", "RNN") for each in RECURRENT]
    yield from (("Sequences of any length", each, ("steps", 8)) for each in recurrent)


def network(layer: str, shape: tuple[Any, ...]) -> pnn.Network:
    """A network of one layer."""
    names = {"TABLE": TABLE, "ROWS": ROWS, "Looked": Looked}
    made = eval(layer, {name: getattr(pnn, name) for name in pnn.layers.__all__} | names)
    return pnn.Sequential(pnn.Input(*shape), made, seed=0)


def trials() -> dict[str, Trial]:
    """All that runs, by its group and name."""
    found = {f"Shipped models|{name}": trial_of(name, 0) for name in sorted({*CALLED} - {"digits", "digits-cnn"})}
    found["Shipped models|digits-cnn"] = trial_of("digits-cnn", 0)
    return found | {f"{group}|{layer}": trial_of(network(layer, shape), 0) for group, layer, shape in cases()}


def measure(names: list[str]) -> dict[str, Any]:
    """The cells of some runtimes, added to what was measured before."""
    kept: dict[str, Any] = json.loads(MEASURED.read_bytes()) if MEASURED.exists() else {}
    listed = trials()
    for name in names:
        begin = time.monotonic()
        rows = [each.row for each in verdicts_of(name, [*listed.values()], LIMITS)]
        if rows[0].version is None:
            continue
        cells = {key: cell_of(row) for key, row in zip(listed, rows, strict=True)}
        where = {"version": rows[0].version, "date": time.strftime("%Y-%m-%d"), "processor": processor()}
        kept[name] = where | {"cells": cells}
        MEASURED.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{name}: {time.monotonic() - begin:.0f} s", file=sys.stderr)
    return kept


def processor() -> str:
    """The processor, and the widest vectors that it computes with: some runtimes have kernels of their own for each."""
    found = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    lines = dict(line.split("\t", 1) for line in found.splitlines() if "\t" in line)
    name = next((text.strip(": \t") for key, text in lines.items() if key == "model name"), platform.machine())
    widest = next((title for flag, title in VECTORS.items() if f" {flag}" in found), "")
    return f"{name}{widest}"


def cell_of(row: RuntimeRow) -> dict[str, Any]:
    """What is kept of a row."""
    error = row.error.max_rel_error if row.outputs else float("inf")
    shown = float(f"{error:.1e}") if error < float("inf") else None
    return {"state": row.state, "error": shown, "sizes": row.sizes, "reason": row.reason}


def tables(measured: Mapping[str, Any]) -> str:
    """The summary, then one table a group, and below it why runtimes do not agree."""
    names = [name for name in RUNTIMES if name in measured]
    keys = dict.fromkeys(key for name in names for key in measured[name]["cells"])
    lines = [summary(measured)]
    for group in dict.fromkeys(key.partition("|")[0] for key in keys):
        mine = [key for key in keys if key.partition("|")[0] == group]
        lines += ["", f"## {group}", "", "| | " + " | ".join(RUNTIMES[name].title for name in names) + " |"]
        lines.append("|---" * (len(names) + 1) + "|")
        for key in mine:
            shown = (cell(measured[name]["cells"].get(key)) for name in names)
            lines.append(f"| `{key.partition('|')[2]}` | {' | '.join(shown)} |")
        lines += reasons(measured, names, mine)
    return "\n".join(lines)


def summary(measured: Mapping[str, Any]) -> str:
    """How many rows each runtime agrees on, with its version, the date and the processor."""
    lines = ["| runtime | version | measured | on | agree | of |", "|---|---|---|---|---|---|"]
    for name in (name for name in RUNTIMES if name in measured):
        found, cells = measured[name], measured[name]["cells"].values()
        agree = sum(cell["state"] == "agrees" for cell in cells)
        where = f"{found['version']} | {found['date']} | {found.get('processor', '')}"
        lines.append(f"| {RUNTIMES[name].title} | {where} | {agree} | {len(cells)} |")
    return "\n".join(lines)


def cell(found: Mapping[str, Any] | None) -> str:
    """A cell of a table."""
    if found is None:
        return ""
    if found["state"] == "agrees":
        return "✓" if found["sizes"] == "open" else "✓ fixed"
    return f"**{found['error']:.0e}**" if found["state"] == "differs" and found["error"] else f"**{found['state']}**"


def reasons(measured: Mapping[str, Any], names: list[str], keys: list[str]) -> list[str]:
    """Why runtimes do not agree: each reason once, with the layers."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in names:
        for key in keys:
            each = measured[name]["cells"].get(key)
            if each and each["state"] != "agrees":
                why = each["reason"] or "other numbers"
                found.setdefault((name, why), []).append(key.partition("|")[2])
    rows = [
        f"- {RUNTIMES[name].title}, {', '.join(f'`{each}`' for each in layers)}: {plain(why)}"
        for (name, why), layers in found.items()
    ]
    return ["", *rows] if rows else []


def plain(text: str) -> str:
    """A message of a runtime as Markdown that shows it as it is."""
    return f"`{text.replace('`', chr(39)).replace('|', '/')}`"


if __name__ == "__main__":
    if sys.argv[1:] == ["tables"]:
        print(tables(json.loads(MEASURED.read_bytes())))
    else:
        measured = measure(sys.argv[1:] or [*RUNTIMES])
        write_table(PAGE, tables(measured))
