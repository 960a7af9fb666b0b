"""What commands that convert have in common: the options of the proof, sizes as they are written, tables of errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from portable_nn.core.errors import UsageError
from portable_nn.core.text import table

if TYPE_CHECKING:
    from portable_nn.onnx.verify import Difference

NoVerify: TypeAlias = Annotated[bool, typer.Option("--no-verify", help="Do not run both sides first.")]
Atol: TypeAlias = Annotated[
    float | None, typer.Option("--atol", metavar="X", help="How far apart two numbers may be (1e-5),")
]
Rtol: TypeAlias = Annotated[
    float | None,
    typer.Option("--rtol", metavar="X", help="and in addition, as a part of the largest in the output (1e-5)."),
]
Seed: TypeAlias = Annotated[
    int, typer.Option("--seed", metavar="N", help="What the inputs that both sides run on are drawn from.")
]
Io: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--io",
        metavar="FILE.npz",
        help="Inputs and outputs, by name, that another program has recorded: both sides must give these outputs too.",
    ),
]

UNITS: Final[Mapping[str, int]] = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def check_proof(no_verify: bool, io: Path | None) -> None:
    """Raise ``UsageError`` where a comparison is asked for and left out."""
    if no_verify and io is not None:
        raise UsageError("--no-verify leaves out the comparison with --io: give one of them")


def tolerances(atol: float | None, rtol: float | None) -> dict[str, float]:
    """Those that are given, as arguments."""
    return {name: value for name, value in (("atol", atol), ("rtol", rtol)) if value is not None}


def bytes_in(text: str, option: str) -> int:
    """A number of bytes as people write it: ``500kB``, ``1.5 GB``, ``64MiB``, ``0``. Raises ``UsageError``."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)", text.strip())
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise UsageError(f"{option} needs a number of bytes such as 500kB, 100MB or 0, not '{text}'")
    return int(float(found[1]) * unit)


def sizes_in(pairs: Sequence[str], option: str) -> dict[str, int]:
    """The sizes that are given as ``NAME=SIZE``. Raises ``UsageError``."""
    found: dict[str, int] = {}
    for text in pairs:
        name, sign, size = text.rpartition("=")
        if not (name and sign and size.isascii() and size.isdecimal()):
            raise UsageError(f"{option} needs NAME=SIZE, such as height=224, not '{text}'")
        if found.setdefault(name, int(size)) != int(size):
            raise UsageError(f"{option}: '{name}' is given twice, as {found[name]} and {size}")
    return found


def differences_as_text(outputs: Mapping[str, Difference], heading: str = "output") -> str:
    """A table of how far apart two sides are; empty where nothing was compared."""
    rows = [(name, f"{found.max_abs_error:.1e}", f"{found.max_rel_error:.1e}") for name, found in outputs.items()]
    return table((heading, ">largest error", ">relative"), rows) + "\n" if rows else ""


def differences_as_json(outputs: Mapping[str, Difference]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [{"output": name, **_finite(found)} for name, found in outputs.items()]


def _finite(found: Difference) -> dict[str, float | None]:
    """JSON has no infinity."""
    return {name: value if value < float("inf") else None for name, value in found._asdict().items()}


def recorded_as_text(recorded: Mapping[str, Difference], io: Path | None) -> str:
    """A table of how far both sides are from what is recorded in ``io``."""
    return differences_as_text(recorded, f"as in {io}")
