"""``from_torch`` and ``read_torch``: a module as a network, proved against the module."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from portable_nn.converters.conversion import Imported, Training, accepted
from portable_nn.converters.torch.aten.rows import Stated
from portable_nn.converters.torch.backwards import drops_always, hooked
from portable_nn.converters.torch.program import (
    Dynamic,
    Program,
    arguments_of,
    branches,
    called,
    doubled,
    export,
    quiet,
)
from portable_nn.converters.torch.proof import Theirs, compare_training, compare_with_module
from portable_nn.converters.torch.translation import Translation, translated
from portable_nn.core.arguments import check_kinds
from portable_nn.core.dims import evaluated
from portable_nn.core.errors import PortableNNError, UsageError, VerificationError
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.network.classes import declare_classes
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import FLOATS, Array, NamedArrays

__all__ = ["from_torch", "read_torch"]


@check_kinds
def from_torch(
    module: Any,
    example: Any = None,
    *,
    labels: Sequence[str] = (),
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
    return read_torch(**locals()).network


@check_kinds
def read_torch(
    module: Any,
    example: Any = None,
    *,
    labels: Sequence[str] = (),
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
        labels: the names of the classes, in the order of the output's numbers.
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
    if isinstance(module, torch.export.ExportedProgram):
        raise UsageError(
            "expected a torch.nn.Module, not an ExportedProgram: give the module that was exported, or import the file "
            "that torch.onnx.export(program, f='model.onnx') writes"
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
        declare_classes(made.network, labels)
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
    return Theirs(module, partial(called, program), admit=partial(admitted, made.network, made.stated))


def _in_float64(module: Any, program: Program, seed: int | None) -> tuple[Network, Theirs]:
    """Both sides in float64."""
    other = copy.deepcopy(module).double()
    double = export(other, doubled(program.example), program.dynamic, training=program.trains)
    made = translated(other, double, seed)
    return made.network, theirs_of(other, double, made)


_QUANTIZED: Final = re.compile(r"torch\.(ao\.)?nn\.(intrinsic\.)?quantized\b")
"""The places of PyTorch's modules whose weights are whole numbers."""


def check_convertible(module: Any, example: Any) -> None:
    """Refuse a missing example, compiled and quantized modules, and tensors without numbers or of complex ones.

    Raises ``UsageError`` that names the part, what was expected, and what to do.
    """
    import torch
    from torch.utils import _pytree

    if example is None:
        raise UsageError(
            "an example is missing: a module does not say which inputs it takes, and PyTorch follows an example "
            "through it. from_torch(module, torch.zeros(2, 3, 224, 224)) is for two pictures of 3 channels; a tuple is "
            "for several inputs"
        )
    for path, part in module.named_modules():
        name = f"'{path}'" if path else "the module"
        kind = type(part)
        if isinstance(part, torch.jit.ScriptModule):
            raise UsageError(
                f"{name} is a {kind.__name__}, which is compiled already: expected the torch.nn.Module that it was "
                "made of; build that, and load this one's state_dict() into it"
            )
        if _QUANTIZED.match(kind.__module__):
            raise UsageError(
                f"{name} is quantized ({kind.__module__}.{kind.__name__}): expected layers of floats; convert the "
                "module as it was before quantize_dynamic or convert"
            )
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in state.items():
        _check(f"'{name}'", tensor, "module.to_empty(device='cpu'), and load_state_dict fills it")
    arguments = arguments_of(example)
    packed = torch.nn.utils.rnn.PackedSequence
    if any(
        isinstance(each, packed)
        for each in _pytree.tree_leaves(arguments, is_leaf=lambda each: isinstance(each, packed))
    ):
        raise UsageError(
            "the example has a PackedSequence, which is no tensor: give the padded tensor and the lengths, and let "
            "forward pack them (pack_padded_sequence)"
        )
    for leaf in _pytree.tree_leaves(arguments):
        if isinstance(leaf, torch.Tensor):
            _check("a tensor of the example", leaf, "torch.zeros_like(x, device='cpu') is one that has")


def _check(name: str, tensor: Any, filling: str) -> None:
    """Refuse a tensor that holds no numbers that a network can."""
    if tensor.is_meta:
        raise UsageError(f"{name} is on the meta device, and has no numbers: {filling}")
    if tensor.is_complex():
        raise UsageError(
            f"{name} holds complex numbers ({tensor.dtype}), which networks do not have: give real and imaginary part "
            "as an axis of size 2, which torch.view_as_real makes"
        )


def admitted(network: Network, stated: Mapping[str, Stated], feeds: NamedArrays) -> dict[str, Array]:
    """Drawn inputs, made such as PyTorch takes them: lengths within the steps, and the like."""
    sizes = {
        dim: size
        for value in network.graph.inputs
        for dim, size in zip(value.shape, feeds[value.name].shape, strict=True)
        if isinstance(dim, str)
    }
    found = dict(feeds)
    for name, (make, dim) in stated.items():
        size = evaluated(dim, sizes)
        found[name] = feeds[name] if size is None else make(feeds[name], size)
    return found


Wide: TypeAlias = Literal["float32", "float16"]
"""The type that bfloat16 is read as."""


def without_bfloat16(module: Any, example: Any, instead: Wide) -> tuple[Any, Any, tuple[str, ...]]:
    """Both with another type in place of bfloat16; and a note on it. The module is a copy then.

    Raises ``UsageError`` for numbers that float16 does not have.
    """
    import torch
    from torch.utils import _pytree

    dtype = getattr(torch, instead)

    def wide(each: Any) -> Any:
        return each.to(dtype) if getattr(each, "dtype", None) is torch.bfloat16 else each

    example = _pytree.tree_map(wide, example)
    state = dict([*module.named_parameters(), *module.named_buffers()])
    narrow = {name: each for name, each in state.items() if each.dtype is torch.bfloat16}
    if not narrow:
        return module, example, ()
    if large := [name for name, each in narrow.items() if instead == "float16" and not each.half().isfinite().all()]:
        raise UsageError(f"'{large[0]}' holds numbers beyond 65504, the largest of float16: read bfloat16 as float32")
    loses = "which loses nothing" if instead == "float32" else "in which numbers below 6e-5 are rounded more coarsely"
    return copy.deepcopy(module)._apply(wide), example, (f"bfloat16 is read as {instead}, {loses}",)


SHARE: Final = 0.1
"""PyTorch's usual momentum."""


def without_whole_averages(module: Any) -> tuple[Any, tuple[str, ...]]:
    """The module with the usual momentum in norms that average over all batches so far; and notes. A copy then."""
    import torch

    kinds = (torch.nn.modules.batchnorm._NormBase,)
    names = [path for path, part in module.named_modules() if isinstance(part, kinds) and part.momentum is None]
    if not names:
        return module, ()
    whole = copy.deepcopy(module)
    for name in names:
        whole.get_submodule(name).momentum = SHARE
    shown = [f"'{name}'" if name else "the module" for name in names]
    return whole, tuple(
        f"{each} ({type(whole.get_submodule(name)).__name__}) has momentum=None, the average over all batches so far: "
        f"here, running statistics follow the latest ones, with momentum={SHARE}"
        for each, name in zip(shown, names, strict=True)
    )


_AS_COMPUTED: Final = ("_SpectralNorm", "_Orthogonal")
"""Parametrizations of PyTorch that have no counterpart in training here."""


def without_norms(module: Any) -> tuple[Any, tuple[str, ...]]:
    """The module with weights as spectral norms and orthogonal maps have made them; and notes. It is a copy then."""
    import torch
    from torch.nn.utils import parametrize
    from torch.nn.utils.spectral_norm import SpectralNorm

    def found(whole: Any) -> list[tuple[str, Any, str, bool]]:
        rows = []
        for path, part in whole.named_modules():
            hooks = [hook for hook in part._forward_pre_hooks.values() if isinstance(hook, SpectralNorm)]
            rows += [(path, part, hook.name, True) for hook in hooks]
            lists = part.parametrizations if parametrize.is_parametrized(part) else {}
            kinds = {name: {type(each).__name__ for each in each_list} for name, each_list in lists.items()}
            rows += [(path, part, name, False) for name, kind in kinds.items() if kind & {*_AS_COMPUTED}]
        return rows

    if not found(module):
        return module, ()
    whole, notes = copy.deepcopy(module).eval(), []
    for path, part, name, old in found(whole):
        with torch.no_grad(), quiet():
            if old:
                torch.nn.utils.remove_spectral_norm(part, name)
            else:
                kind = type(part)  # A copy has the class of its original, which must keep what is removed here.
                held = {key: each for key, each in vars(kind).items() if key not in ("__dict__", "__weakref__")}
                part.__class__ = type(kind.__name__, kind.__bases__, held)
                parametrize.remove_parametrizations(part, name, leave_parametrized=True)
        full = f"{path}.{name}" if path else name
        notes.append(f"'{full}' is the weight as its parametrization has made it, and trains without it")
    return whole.train(module.training), tuple(notes)
