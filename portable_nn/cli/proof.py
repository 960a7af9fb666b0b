"""Shared by the commands that convert: options of the verification, sizes, and tables of differences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from portable_nn.cli.options import choice, listed, pairs_in
from portable_nn.core.errors import UsageError
from portable_nn.core.text import DIGITS, table

if TYPE_CHECKING:
    from portable_nn.onnx.verify import Difference, Proof

Dims: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--dim",
        metavar="NAME=SIZE,…",
        help="Set a symbolic size of the inputs to a number or to another size: h=224,w=h. For C, t=..100 sets the "
        "largest.",
        hidden=True,
    ),
]


Tolerances: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tolerance",
        metavar="REL[,ABS]",
        help="Relative tolerance (to the largest number of an output) and absolute tolerance; a single number sets "
        "both.  [default: 1e-5; of --runtimes 1e-4,1e-6]",
        hidden=True,
    ),
]


def tolerances_in(text: str | None) -> dict[str, float]:
    """``1e-4,1e-6`` as the arguments of the library. Raises ``UsageError``."""
    try:
        found = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        found = [math.nan]
    if len(found) > 2 or not all(map(math.isfinite, found)):
        raise UsageError(f"--tolerance must be a number, or two such as 1e-4,1e-6, not '{text}'")
    return {"rtol": found[0], "atol": found[-1]} if found else {}


OUTPUTS, TRAINING, NONE = "outputs", "training", "none"
"""The options of the comparison of a conversion."""


@dataclass(frozen=True)
class ProofOptions:
    """The verification of a conversion: both sides run on the same inputs, and their outputs are compared."""

    SUBJECT = "Verification"

    verify: Annotated[
        str,
        choice(
            "--verify", names=(OUTPUTS, NONE), help="Compare the outputs of both sides, or leave the comparison out."
        ),
    ] = OUTPUTS
    tolerance: Tolerances = None
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the random inputs that both sides run on.", hidden=True)
    ] = 0
    io: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Recorded inputs and outputs by name, which both sides must reproduce."),
    ] = None

    def options(self) -> dict[str, Any]:
        """The arguments of a conversion. Raises ``UsageError`` for a comparison that is asked for and left out."""
        if self.verify == NONE and self.io is not None:
            raise UsageError("--verify none leaves out the comparison with --io: give one of them")
        given = tolerances_in(self.tolerance)
        return {"verify": self.verify != NONE, "seed": self.seed, "io": self.io, **given}

    def given(self) -> dict[str, Any]:
        """The same without those that have their default."""
        default = ProofOptions().options()
        return {name: value for name, value in self.options().items() if value != default.get(name)}


@dataclass(frozen=True)
class ConversionProof(ProofOptions):
    """The same for other code bases, in which networks can be trained as well."""

    verify: Annotated[
        str,
        choice(
            "--verify",
            names=(OUTPUTS, TRAINING, NONE),
            help="Compare the outputs of both sides; with training, five steps of training as well; none compares "
            "nothing.",
        ),
    ] = OUTPUTS

    def options(self) -> dict[str, Any]:
        """The arguments of a conversion."""
        return super().options() | ({"prove_training": True} if self.verify == TRAINING else {})


def renames_in(texts: Sequence[str] | None) -> dict[str, str]:
    """New names of tensors by their old ones, of the values of --rename. Raises ``UsageError``."""
    return pairs_in("--rename", texts, "OLD=NEW", may_be_empty=True)


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
"""The number of bytes in each unit, in small letters."""


def bytes_in(text: str, option: str) -> int:
    """The number of bytes in a text: ``500kB``, ``1.5 GB``, ``64MiB``, ``0``. Raises ``UsageError``."""
    found = re.fullmatch(r"([0-9]{1,18}(?:\.[0-9]+)?) ?([A-Za-z]*)", text.strip())
    unit = UNITS.get(found[2].lower()) if found else None
    if found is None or unit is None:
        raise UsageError(f"{option} needs a number of bytes such as 500kB, 100MB or 0, not '{text}'")
    return int(float(found[1]) * unit)


def sizes_in(pairs: Sequence[str] | None) -> dict[str, int | str]:
    """The sizes that ``--dim NAME=SIZE`` gives, where a size may be a name. Raises ``UsageError``."""
    from portable_nn.core.dims import is_number

    found: dict[str, int | str] = {}
    for text in listed(pairs):
        name, sign, word = text.rpartition("=")
        is_size = word.isascii() and word.isdecimal() and len(word) < DIGITS
        if not (name and sign and word) or (is_number(word) and not is_size):
            raise UsageError(f"--dim needs NAME=SIZE, such as height=224 or height=width, not '{text}'")
        size = int(word) if is_size else word
        if found.setdefault(name, size) != size:
            raise UsageError(f"--dim: '{name}' is given twice, as {found[name]} and {size}")
    return found


def differences_as_text(outputs: Mapping[str, Difference], heading: str = "output") -> str:
    """A table of the largest differences of two sides; empty where nothing was compared."""
    rows = [(name, *found.cells()) for name, found in outputs.items()]
    return table((heading, ">largest error", ">relative"), rows) + "\n" if rows else ""


def differences_as_json(outputs: Mapping[str, Difference]) -> list[dict[str, Any]]:
    """The same for programs."""
    return [{"output": name, **found.as_json()} for name, found in outputs.items()]


def proof_as_text(proof: Proof, io: Path | None) -> str:
    """Tables of the differences between both sides, and to what is recorded in the file ``io``."""
    return differences_as_text(proof) + differences_as_text(proof.recorded, f"as in {io}")


def proof_fields(proof: Proof) -> list[tuple[str, str]]:
    """The values that were compared, and the seconds that it took, where they were measured."""
    time = [("time of the proof", f"{proof.seconds:.2g} s")] if proof.seconds else []
    return [*proof.in_words(), *time]


def proof_as_json(proof: Proof) -> dict[str, Any]:
    """The same for programs."""
    return {
        "verified": bool(proof),
        "seconds": proof.seconds or None,
        "outputs": differences_as_json(proof),
        "batches": list(proof.batches),
        **proof.as_json(),
        "recorded": differences_as_json(proof.recorded),
    }
