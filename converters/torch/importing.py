"""``from_torch`` and ``read_torch``: a module as a network, proved against the module."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from portable_nn.converters.conversion import Imported, Training, accepted
from portable_nn.converters.torch.admission import check_convertible
from portable_nn.converters.torch.backwards import drops_always, hooked
from portable_nn.converters.torch.examples import admitted
from portable_nn.converters.torch.prepared import Wide, without_bfloat16, without_norms, without_whole_averages
from portable_nn.converters.torch.program import Dynamic, Program, branches, called, doubled, export
from portable_nn.converters.torch.proof import Theirs, compare_training, compare_with_module
from portable_nn.converters.torch.translation import Translation, translated
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import PortableNNError, UsageError, VerificationError
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import FLOATS

__all__ = ["from_torch", "read_torch"]


@check_kinds
def from_torch(
    module: Any,
    example: Any,
    *,
    dynamic: Dynamic | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    prove_training: bool = False,
    seed: int | None = None,
    bfloat16: Wide = "float32",
    training: Training = "same",
) -> Network:
    """The network that a PyTorch module is, with its weights; see ``read_torch``, which also says what it found."""
    options: dict[str, Any] = {"verify": verify, "atol": atol, "rtol": rtol, "prove_training": prove_training}
    options |= {"bfloat16": bfloat16, "training": training}
    return read_torch(module, example, dynamic=dynamic, seed=seed, **options).network


@check_kinds
def read_torch(
    module: Any,
    example: Any,
    *,
    dynamic: Dynamic | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    prove_training: bool = False,
    seed: int | None = None,
    bfloat16: Wide = "float32",
    training: Training = "same",
) -> Imported:
    """Make a network of a PyTorch module through ``torch.export``, and prove that both compute the same.

    The network predicts like ``module.eval()`` and trains like ``module.train()``: dropout drops, batch normalisation
    uses the statistics of the batch, parameters without ``requires_grad`` are frozen. Parameters and buffers have the
    names and layouts of ``state_dict``; tied weights are one parameter. Outputs have the keys of a dict or the
    fields of a class, or are ``output``, or ``output_0``, ``output_1``, … The module stays as it is. Weights that a
    spectral norm or an orthogonal map makes are kept as they are, without it, and a note says so.

    Args:
        module: the module, on any device.
        example: what it is called with: a tensor or array, a tuple of positional arguments, a dict of named ones, or
            both as a pair of a tuple and a dict. Their numbers do not matter, their types and fixed sizes do.
        dynamic: names of open sizes by input and axis, ``{"x": {0: "batch", 1: "length"}}``. The first axis of each
            input is ``batch`` unless it is named otherwise, or ``None`` for a size that is fixed.
        verify: whether both sides run on the same inputs, at two batch sizes and three numbers for any other open size.
        atol: the allowed absolute difference.
        rtol: the allowed difference relative to the largest magnitude of an output.
        prove_training: whether both sides are also trained for five steps from the same weights on the same batches,
            dropout off, and must have the same parameters then: to 1e-5, in float64 to 1e-8.
        seed: the seed of the network's shuffling and dropout, and of the inputs of the proof.
        bfloat16: what bfloat16 becomes in the network, and in the copy of the module that it is compared with:
            ``"float32"``, which loses nothing, or ``"float16"``, which is as small.
        training: ``"same"`` refuses a module that would train otherwise here: one with a backward of its own
            (``autograd.Function``, hooks), or that can be converted in evaluation mode alone; ``"evaluation"`` takes it
            as it is in evaluation, and notes what trains otherwise.

    Returns the network, the proof, and notes on what could not be kept.

    Raises:
        UsageError: the example does not fit, PyTorch cannot export the module, or operators have no counterpart: all of
            them are listed, with where in the module they are.
        VerificationError: both sides do not agree.
    """
    import torch

    if isinstance(module, Mapping):
        raise UsageError(
            "a state dict holds weights, and no layers that use them: expected the torch.nn.Module, or a network that "
            "is built like it, for load_state(network, state)"
        )
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"expected a torch.nn.Module, not a {type(module).__module__}.{type(module).__qualname__}")
    check_convertible(module, example)
    tolerance = Tolerance(atol, rtol)
    module, example, widened = without_bfloat16(module, example, bfloat16)
    module, computed = without_norms(module)
    module, averaged = without_whole_averages(module)
    first: PortableNNError | None = None
    for trains in (True, False):
        try:
            program = export(module, example, dynamic, training=trains)
            differs = [*hooked(module), *program.differs]
            accepted(differs, training)
            made = translated(module, program, seed)
            proof = _proof(module, program, made, verify, tolerance, seed or 0)
        except (UsageError, VerificationError) as error:
            if first is not None:
                if isinstance(first, VerificationError) and (always := drops_always(program)):
                    raise UsageError(always) from None
                raise first from None
            first = error
            continue
        if first is not None:
            differs.append(f"taken in evaluation mode, for in training mode: {first}")
        notes = (*made.notes, *widened, *computed, *averaged, *proof.notes, *accepted(differs, training))
        if prove_training:
            theirs, wide = theirs_of(module, program, made), partial(_in_float64, module, program, seed)
            try:
                notes = (*notes, compare_training(made.network, theirs, wide, seed or 0))
            except VerificationError as error:
                raise VerificationError("\n".join([str(error), *(f"noted: {note}" for note in notes)])) from error
        return Imported(made.network, proof, notes)
    raise AssertionError("unreachable")


def _proof(module: Any, program: Program, made: Translation, verify: bool, tolerance: Tolerance, seed: int) -> Proof:
    if not verify:
        return Proof(made.network.graph.outputs)
    try:
        return compare_with_module(theirs_of(module, program, made), made.network, tolerance, seed)
    except VerificationError as error:
        if proof := _roundings(module, program, made, tolerance, seed):
            return proof
        if not (found := branches(program.exported)):
            raise
        raise VerificationError(
            f"{error}\nthe module branches on sizes, and the network is the branch where {' and '.join(found[:3])}: "
            "compute the same at every size, or keep the size of the example with dynamic={name: {axis: None}}"
        ) from error


def _roundings(module: Any, program: Program, made: Translation, tolerance: Tolerance, seed: int) -> Proof | None:
    """The proof where both sides in float64 show that roundings are all that they differ by, and not by much."""
    if any(value.dtype != "float32" for value in made.network.graph.parameters if value.dtype in FLOATS):
        return None
    try:
        wide, theirs = _in_float64(module, program, seed)
        exact = compare_with_module(theirs, wide, Tolerance(_EXACT, _EXACT), seed)
        loose = Tolerance(tolerance.atol * _ROUNDED, tolerance.rtol * _ROUNDED)
        found = compare_with_module(theirs_of(module, program, made), made.network, loose, seed)
    except (PortableNNError, RuntimeError):
        return None
    apart = max((each.max_abs_error for each in exact.values()), default=0.0)
    found.notes += (
        f"outputs differ by more than is allowed, and in float64 by at most {apart:.1e}: roundings are the reason",
    )
    return found


_EXACT: Final = 1e-9
"""The largest difference of both sides in float64, absolutely and relative to the largest magnitude of an output."""

_ROUNDED: Final = 100
"""The multiple of the usual difference that is allowed in float32 then."""


def theirs_of(module: Any, program: Program, made: Translation) -> Theirs:
    """The module as the other side of a proof."""
    return Theirs(module, partial(called, program), admit=admitted(made.network, made.stated))


def _in_float64(module: Any, program: Program, seed: int | None) -> tuple[Network, Theirs]:
    """Both sides in float64."""
    other = copy.deepcopy(module).double()
    double = export(other, doubled(program.example), program.dynamic, training=program.trains)
    made = translated(other, double, seed)
    return made.network, theirs_of(other, double, made)
