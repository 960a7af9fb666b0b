"""Networks as Keras models and ``.keras`` files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from portable_nn.converters.conversion import Side, Written, compare_sides
from portable_nn.converters.keras.installed import computing_in, keras, quiet
from portable_nn.converters.keras.rebuilding import Rebuilder, form_of, grouped
from portable_nn.converters.keras.side import run_model
from portable_nn.converters.keras.training import prove_training_there
from portable_nn.core.arguments import check_kinds
from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import RefusalError, UsageError, listed
from portable_nn.core.tensors import Array, NamedArrays
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance

__all__ = ["to_keras", "write_keras"]


@check_kinds
def to_keras(
    network: Network,
    *,
    channels_last: bool = False,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
) -> Any:
    """The Keras model that a network is: a functional model of ordinary layers with the names of the network's.

    Its attribute ``notes`` says what could not be kept.

    Args:
        network: the network.
        channels_last: whether pictures go in, and come out, with the channels last, (batch, height, width, channels);
            by default the model takes and gives the same arrays as the network. Inside, layers have the channels last
            in any case.
        verify: whether both sides run on the same inputs, and are compared.
        atol: the absolute tolerance of that.
        rtol: the tolerance relative to the largest magnitude in an output.
        seed: the seed of these inputs.
        prove_training: whether five steps of gradient descent on both sides must also give the same weights.

    Raises:
        UsageError: a node has no layer in Keras; all are listed.
        VerificationError: both sides do not compute the same.
        MissingPackageError: Keras is not installed.
    """
    model, _, notes = _made(**locals())
    model.notes = notes
    return model


@check_kinds
def write_keras(
    network: Network,
    path: str | Path,
    *,
    channels_last: bool = False,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
    prove_training: bool = False,
) -> Written:
    """Write a network into a ``.keras`` file, which ``keras.models.load_model`` opens. The options are ``to_keras``'s.

    Args:
        network: the network.
        path: the file, whose name ends in ``.keras``; one that is there is replaced.
        channels_last: as for ``to_keras``.
        verify: as for ``to_keras``.
        atol: as for ``to_keras``.
        rtol: as for ``to_keras``.
        seed: as for ``to_keras``.
        prove_training: as for ``to_keras``.

    Raises ``FileError`` where it cannot be written, and what ``to_keras`` raises.
    """
    if Path(path).suffix.lower() != ".keras":
        raise UsageError(f"{path}: the name of a Keras file ends in .keras")
    options = {"channels_last": channels_last, "verify": verify, "prove_training": prove_training}
    model, proof, notes = _made(network, **options, atol=atol, rtol=rtol, seed=seed)
    with tempfile.TemporaryDirectory(prefix="portable-nn-") as folder, atomic_write(path) as target:
        made = Path(folder) / "model.keras"
        with quiet():
            model.save(made)
        target.write(made.read_bytes())
    return Written(Path(path), Path(path).stat().st_size, proof, notes)


def _dtype(network: Network) -> str:
    """The type of numbers that the layers of a network compute in."""
    types = [value.dtype for value in (*network.graph.inputs, *network.graph.parameters)]
    return next((each for each in types if each.startswith("float")), "float32")


def _rebuilt(network: Network, *, channels_last: bool) -> tuple[Any, Rebuilder]:
    """The model, and what made it. Raises ``UsageError`` with all faults."""
    rebuilder = Rebuilder(network, grouped, form_of, channels_last=channels_last)
    try:
        with quiet(), computing_in(_dtype(network)):
            model = rebuilder.build()
    except RefusalError as error:
        rebuilder.faults.append(str(error))
    if rebuilder.faults:
        raise UsageError(listed(rebuilder.faults, "this network cannot be a Keras model"))
    return model, rebuilder


def _named(network: Network) -> tuple[Any, Mapping[str, str]]:
    model, rebuilder = _rebuilt(network, channels_last=False)
    return model, rebuilder.inputs


def _made(
    network: Network, *, channels_last: bool, verify: bool, prove_training: bool, atol: float, rtol: float, seed: int
) -> tuple[Any, Proof, tuple[str, ...]]:
    keras()
    model, rebuilder = _rebuilt(network, channels_last=channels_last)
    side, tolerance = partial(_side, model, network, rebuilder), Tolerance(atol, rtol)
    proof = compare_sides(network, side, "Keras's model", tolerance=tolerance, seed=seed) if verify else Proof()
    notes = list(rebuilder.notes)
    if prove_training:
        notes.append(prove_training_there(network, _named, seed))
    return model, proof, tuple(notes)


def runner(network: Network) -> Side:
    """Runs the model of a network on arrays as the network takes them. Raises as ``to_keras`` does."""
    keras()
    model, rebuilder = _rebuilt(network, channels_last=False)
    return partial(_side, model, network, rebuilder)


def _side(model: Any, network: Network, rebuilder: Rebuilder, feeds: NamedArrays) -> Mapping[str, Any]:
    def moved(array: Array, name: str, source: int, target: int) -> Array:
        return np.moveaxis(array, source, target) if name in rebuilder.turned else array

    given = {rebuilder.inputs[name]: moved(array, name, 1, -1) for name, array in feeds.items()}
    return {name: moved(array, name, -1, 1) for name, array in run_model(model, network, given).items()}
