"""Networks as modules of PyTorch, and as the source of such a module."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn.converters.conversion import Written
from portable_nn.converters.torch.execution import executed, tensor
from portable_nn.converters.torch.proof import Theirs, compare_training, compare_with_module
from portable_nn.converters.torch.source import source_of
from portable_nn.converters.training import plain
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import all_or_none, write_whole
from portable_nn.core.errors import UsageError
from portable_nn.core.packages import need
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance
from portable_nn.operators import NamedArrays

__all__ = ["to_torch", "write_torch"]


@check_kinds
def to_torch(
    network: Network,
    *,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
) -> Any:
    """A network as an ``nn.Module`` of PyTorch's own layers, to train, export or read.

    Its state dict has the names of the network's parameters; where a layer of PyTorch has other ones, or another
    layout, as ``LSTM`` has, it has those. What is frozen here does not require gradients there. The module is in
    evaluation mode, as ``eval()`` makes it. Its attribute ``source`` is the source that it was made by executing;
    ``notes`` says what differs from the network.

    Args:
        network: the network.
        verify: whether both run on the same inputs before the module is returned.
        atol, rtol: the tolerances of that: absolute, and relative to the largest magnitude of an output.
        seed: the seed of the inputs.
        prove_training: whether both are trained for five steps as well, and must still agree.

    Raises:
        UsageError: PyTorch cannot express the network: every node that it cannot is listed.
        VerificationError: the module computes something else.
        MissingPackageError: PyTorch is not installed.

    >>> import portable_nn as pnn
    >>> net = pnn.Sequential(pnn.Input(4), pnn.Dense(3), pnn.Tanh(), pnn.Dense(2), seed=0)
    >>> to_torch(net)
    Network(
      (dense_1): Linear(in_features=4, out_features=3, bias=True)
      (dense_2): Linear(in_features=3, out_features=2, bias=True)
    )
    """
    need("a PyTorch module", "torch", "torch")
    found = source_of(network)
    module = executed(found, network)
    if verify:
        _, more = prove(network, module, Tolerance(atol, rtol), seed, prove_training=prove_training)
        module.notes += more
    return module


def theirs_of(network: Network, module: Any) -> Theirs:
    """A module that was made of a network as the other side of a proof."""

    def call(module: Any, feeds: NamedArrays) -> dict[str, Any]:
        found = module(*(tensor(feeds[value.name]) for value in network.graph.inputs))
        results = found if isinstance(found, tuple) else (found,)
        return dict(zip(network.graph.outputs, results, strict=True))

    def to_train() -> Any:
        ours = plain(network)
        return executed(source_of(ours), ours)

    return Theirs(module, call, lambda state: source_of(network).parameters(state, network), to_train)


def _in_float64(network: Network) -> tuple[Network, Theirs]:
    """Both sides in float64."""
    made = plain(network, wide=True)
    return made, theirs_of(made, executed(source_of(made), made))


def prove(
    network: Network, module: Any, tolerance: Tolerance, seed: int, *, prove_training: bool
) -> tuple[Proof, tuple[str, ...]]:
    """Run both sides, and with ``prove_training`` train both; with notes on the training.

    Raises ``VerificationError`` where they part.
    """
    theirs = theirs_of(network, module)
    proof = compare_with_module(theirs, network, tolerance, seed)
    if not prove_training:
        return proof, ()
    return proof, (compare_training(network, theirs, partial(_in_float64, network), seed),)


@check_kinds
def write_torch(
    network: Network,
    path: str | Path,
    *,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
) -> Written:
    """Write a network as a readable module of PyTorch, ``FILE.py``, and its weights beside it, ``FILE.safetensors``.

    The module needs PyTorch alone; its function ``load`` reads the weights with the package safetensors. What is
    written is what is executed to verify it. Both files are written whole, or none is.

    Args:
        network: the network.
        path: the file to write, whose name ends in ``.py``.
        verify, atol, rtol, seed, prove_training: as for ``to_torch``.

    Raises:
        UsageError: another ending, or a network that PyTorch cannot express.
        VerificationError: the module computes something else.
        FileError: a file cannot be written.
        MissingPackageError: PyTorch or safetensors is not installed.
    """
    target = Path(path)
    if target.suffix != ".py":
        raise UsageError(f"{target}: the name of a module's source ends in .py")
    need("writing a PyTorch module", "torch", "torch", "safetensors")
    import safetensors.numpy

    found, proof, more = source_of(network), Proof(), tuple[str, ...]()
    if verify:
        module = executed(found, network)
        proof, more = prove(network, module, Tolerance(atol, rtol), seed, prove_training=prove_training)
    state = {key: np.ascontiguousarray(array) for key, array in found.state(network.parameters.arrays).items()}
    beside = target.with_suffix(".safetensors")
    with all_or_none():
        for file, data in ((target, found.text.encode()), (beside, safetensors.numpy.save(state))):
            write_whole(file, data)
    return Written(target, target.stat().st_size, proof, (*found.notes, *more), (beside,))
