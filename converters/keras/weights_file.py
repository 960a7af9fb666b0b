"""Files of Keras weights, ``.weights.h5``, read into a network that is there already."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from portable_nn.converters.conversion import Imported, compare_sides
from portable_nn.converters.keras.archive import read_weights
from portable_nn.converters.keras.installed import installed, quiet
from portable_nn.converters.keras.placing import placed
from portable_nn.converters.keras.reading import NO_SIDE, from_keras
from portable_nn.converters.keras.side import run_model
from portable_nn.converters.keras.spec import Weights
from portable_nn.converters.keras.writing import to_keras
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import FormatError, RefusalError, UnsupportedError, UsageError
from portable_nn.core.tensors import Array
from portable_nn.core.tolerances import ATOL, RTOL
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance

__all__ = ["read_keras_weights"]


@check_kinds
def read_keras_weights(
    path: str | Path,
    *,
    into: Network | None = None,
    verify: bool = True,
    atol: float = ATOL,
    rtol: float = RTOL,
    seed: int = 0,
) -> Imported:
    """The network ``into`` with the weights of a ``.weights.h5`` file, as ``model.save_weights`` writes it.

    The file is checked as that in a ``.keras`` archive is. If Keras is installed, it reads the file into the model that
    the network is, as far as that has the layers of the file; the weights come back in the network's layouts, and both
    sides are compared. Otherwise the layers of
    each class in the file, which Keras numbers, are those of the network in their order: their shapes must fit, and a
    note says that nothing was compared.

    Args:
        path: the file.
        into: the network whose layers the weights are of; its weights are replaced, all of them or none.
        verify: whether both sides run on the same inputs, and are compared.
        atol: the absolute tolerance of that.
        rtol: the tolerance relative to the largest magnitude in an output.
        seed: the seed of these inputs.

    Raises:
        FileError: the file cannot be read.
        FormatError: it is damaged, hostile, or of other layers.
        UsageError: there is no network to read into.
        VerificationError: both sides do not compute the same; the network is then as it was.
    """
    if into is None:
        raise UsageError(f"{path}: holds weights alone: into= is the network that they are of")
    arrays = read_weights(Path(path), path)
    if not installed():
        return _placed(into, arrays, path, NO_SIDE)
    with quiet():
        try:
            model = to_keras(into, verify=False)
        except UsageError:
            return _placed(into, arrays, path, "nothing was compared: Keras has no layers for all of this network")
        try:
            model.load_weights(path)
        except (ValueError, KeyError, OSError):  # The network may have come from other layers than it goes to.
            return _placed(into, arrays, path, "nothing was compared: Keras has other layers for this network")
        if len(Weights(arrays).left()) != len(model.weights):  # Keras leaves aside what it has no layer for.
            return _placed(into, arrays, path, "nothing was compared: Keras has other layers for this network")
        try:
            found = from_keras(model, verify=False, seed=seed, training="evaluation")
        except UnsupportedError:
            return _placed(into, arrays, path, "nothing was compared: Keras has other layers for this network")
    names, others = list(into.parameters), list(found.parameters)
    shapes = [into.parameters[name].shape for name in names]
    if shapes != [found.parameters[name].shape for name in others]:
        return _placed(into, arrays, path, "nothing was compared: the network is no model of Keras as it is")
    before = {name: array.copy() for name, array in into.parameters.items()}
    into.load_weights({name: found.parameters[other] for name, other in zip(names, others, strict=True)})
    proof = Proof()
    if verify:
        try:
            side = run_model(model, into)
            proof = compare_sides(into, side, "Keras's model", tolerance=Tolerance(atol, rtol), seed=seed)
        except BaseException:
            into.load_weights(before)
            raise
    return Imported(into, proof, ())


def _placed(network: Network, arrays: Mapping[str, Array], path: str | Path, note: str) -> Imported:
    """The network with the arrays at their places, as far as classes, order and shapes of layers tell."""
    try:
        found = placed(network, arrays)
    except RefusalError as error:
        raise FormatError(
            path, f"its weights are of other layers: {error}. A .keras file (model.save) has the layers themselves"
        ) from None
    network.load_weights({name: found.get(name, array) for name, array in network.parameters.items()})
    return Imported(network, Proof(), (f"{note}; the layers of each class are taken in the order of the network",))
