"""The results of conversions, and the comparison that each of them makes: both sides run on the same inputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from portable_nn.core.errors import UsageError, listed
from portable_nn.core.html import html_of, html_table
from portable_nn.core.text import size
from portable_nn.core.tolerances import WRITTEN
from portable_nn.engines.once import run_numpy
from portable_nn.network import Network
from portable_nn.onnx.samples import SIZES, meant, varied
from portable_nn.onnx.verification.drawing import batches_of
from portable_nn.onnx.verification.messages import compare_runs
from portable_nn.onnx.verify import Difference, Proof, Tolerance
from portable_nn.operators import NamedArrays

Side: TypeAlias = Callable[[NamedArrays], Mapping[str, Any]]
"""The function that runs the other side of a conversion: inputs by name → outputs by name, by the names that the
network has."""


Training: TypeAlias = Literal["same", "evaluation"]
"""The mode of a network that is read: it must train as the model does, or is taken as the model is in evaluation."""


KEPT: Final = "graph, labels and preprocessing are those of the network that it was read into"
"""The note on weights that were read into a network."""


def accepted(differences: Iterable[str], training: Training) -> tuple[str, ...]:
    """The ``differences`` in training as notes. Raises ``UsageError`` that lists them where it must be the same."""
    found = tuple(dict.fromkeys(differences))
    if found and training != "evaluation":
        advice = 'the network would train otherwise than the model; training="evaluation" takes it all the same'
        raise UsageError(listed(found, advice))
    return found


class Imported(NamedTuple):
    """A network that was read, or made from an object of another code base.

    Attributes:
        network: the network.
        outputs: the largest differences of both sides, by output, the fate of every weight, and what was not exercised;
            empty where nothing was verified.
        notes: what could not be kept, or was changed.
    """

    network: Network
    outputs: Proof
    notes: tuple[str, ...]

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the network, how far both sides are apart, and the notes."""
        return self.network._repr_html_() + _html(self.outputs, self.notes)


@dataclass(frozen=True)
class Written:
    """A file that a network was written to, for another code base.

    Attributes:
        path: the file.
        bytes: its size.
        outputs: as in ``Imported``.
        notes: what could not be kept, or was changed.
        beside: other files that belong to it, such as one with the weights.
    """

    path: Path
    bytes: int
    outputs: Proof
    notes: tuple[str, ...] = ()
    beside: tuple[Path, ...] = field(default=())

    def _repr_html_(self) -> str:
        """The HTML that a notebook shows: the files, how far both sides are apart, and the notes."""
        files = [(str(self.path), size(self.bytes)), *((str(path), size(path.stat().st_size)) for path in self.beside)]
        return html_table("Written and compared" if self.outputs else "Written", ("file", ">size"), files) + _html(
            self.outputs, self.notes
        )


def _html(outputs: Mapping[str, Difference], notes: Sequence[str]) -> str:
    """The differences of the outputs, where some were compared, and notes as paragraphs."""
    proof = outputs._repr_html_() if isinstance(outputs, Proof) and outputs else ""
    return proof + html_of(lambda: "\n".join(notes)) * bool(notes)


def check_proof(verify: bool, io: str | Path | None) -> None:
    """Raise ``UsageError`` for recorded values where nothing is verified."""
    if io is not None and not verify:
        raise UsageError(f"nothing is compared with {io} where nothing is verified: leave one of them out")


def written_tolerance(network: Network, atol: float | None, rtol: float | None) -> Tolerance:
    """The tolerance of a source or a formula: by default that of the least exact type of the network's numbers."""
    standard = max(WRITTEN.get(type.dtype, WRITTEN["float64"]) for type in network.types.values())
    return Tolerance.of(standard, atol, rtol)


def compare_sides(
    network: Network,
    run: Side,
    what: str,
    *,
    tolerance: Tolerance | None = None,
    seed: int = 0,
    admit: Callable[[NamedArrays], NamedArrays] = dict,
    sizes: Sequence[int] = SIZES,
    where: str = "",
) -> Proof:
    """The largest differences between a network in the numpy engine and what another code base computes.

    Both run on inputs of several kinds, at two batch sizes, and at three numbers for any other symbolic size.

    Args:
        network: the network.
        run: the other side.
        what: its name in messages, such as ``"the module"``.
        tolerance: how far an output may differ; by default 1e-5, absolute and relative to its largest magnitude.
        seed: that of the inputs.
        admit: makes of drawn inputs such that the other side takes, where it takes less than the network.
        sizes: the numbers that are tried for symbolic sizes other than the batch.
        where: how messages begin, such as with the name of a file.

    Raises:
        VerificationError: an output differs by more, or has another shape or type.
        UsageError: no inputs are found that fit the network.
    """
    begin, tolerance = time.perf_counter(), tolerance or Tolerance()
    graph, proof = network.graph, Proof()
    rounds = varied(graph, np.random.default_rng(seed), meant(graph, network.parameters, network.inputs), sizes)
    ours = partial(run_numpy, graph, network.parameters)
    proof |= compare_runs(map(admit, rounds), ours, run, "the network", what, tolerance, where)
    proof.batches = batches_of(rounds)
    proof.seconds = time.perf_counter() - begin
    return proof
