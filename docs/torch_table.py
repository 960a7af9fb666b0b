"""The table of what ``torch_models.py`` has measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refresh import write_table
from torch_measuring import WAYS
from torch_modules import MODELS

HERE = Path(__file__).parent
PAGE, MEASURED = HERE / "torch-models.md", HERE / "torch-models.json"

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
    """Write the table of what was measured into its page."""
    write_table(PAGE, table(json.loads(MEASURED.read_bytes())))
