"""Files of Keras weights, ``.weights.h5``, read into a network that is there already."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten

from portable_nn.converters.conversion import Imported, compare_sides
from portable_nn.converters.keras.archive import read_weights
from portable_nn.converters.keras.installed import quiet
from portable_nn.converters.keras.reading import from_keras
from portable_nn.converters.keras.side import run_model
from portable_nn.converters.keras.writing import to_keras
from portable_nn.core.errors import FormatError, UsageError
from portable_nn.core.kinds import check_kinds
from portable_nn.network import Network
from portable_nn.onnx.verify import Proof, Tolerance

__all__ = ["read_keras_weights"]


@check_kinds
def read_keras_weights(
    path: str | Path,
    *,
    into: Network | None = None,
    verify: bool = True,
    atol: float = 1e-5,
    rtol: float = 1e-5,
    seed: int = 0,
) -> Imported:
    """The network ``into`` with the weights of a ``.weights.h5`` file, as ``model.save_weights`` writes it.

    The file is checked as that in a ``.keras`` archive is. Keras, which must be installed, then reads it into the model
    that the network is; the weights come back in the network's layouts, and both sides are compared.

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
        UsageError: there is no network to read into, or it has layers that Keras lacks.
        VerificationError: both sides do not compute the same; the network is then as it was.
    """
    if into is None:
        raise UsageError(f"{path}: holds weights alone: into= is the network that they are of")
    read_weights(Path(path), path)
    with quiet():
        model = to_keras(into, verify=False)
        try:
            model.load_weights(path)
        except (ValueError, KeyError, OSError) as error:
            raise FormatError(path, f"its weights are of other layers: {shorten(str(error), 600)}") from None
        found = from_keras(model, verify=False, seed=seed)
    names, others = list(into.parameters), list(found.parameters)
    shapes = [into.parameters[name].shape for name in names]
    if shapes != [found.parameters[name].shape for name in others]:
        raise UsageError(
            f"{path}: this network has parameters that Keras stores in another form, such as two biases of a recurrent "
            "layer: read the weights into a network that came from Keras"
        )
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
