"""Networks that ``network2.py`` saves as JSON: M. Nielsen, *Neural Networks and Deep Learning*, 2015."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from portable_nn.converters.arrays import Part, imported
from portable_nn.converters.conversion import Imported, check_proof
from portable_nn.converters.registry import Converter
from portable_nn.core.errors import FormatError
from portable_nn.core.files import open_regular
from portable_nn.core.graph import format_shape
from portable_nn.core.jsons import parsed_json, typed
from portable_nn.core.names import Prepare
from portable_nn.core.text import some
from portable_nn.preprocessing.defaults import PIXELS

LARGEST: Final = 64 << 20
"""The most bytes of a file: those of some three million weights."""

MOST: Final = 1 << 22
"""The most commas in it: 64 MB of short numbers and lists would take some 5 GB of memory."""

LOSSES: Final[Mapping[str, str]] = {
    "CrossEntropyCost": "binary_cross_entropy",
    "QuadraticCost": "mean_squared_error",
}
"""The losses by the names that ``network2.py`` has for its costs."""


class _Saved(msgspec.Struct):
    """The object that ``Network.save`` writes."""

    sizes: list[int]
    weights: list[list[list[float]]]
    biases: list[list[list[float]]]
    cost: str = ""


def import_saved(
    path: str | Path,
    *,
    preprocess: Prepare | None = None,
    verify: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
    io: str | Path | None = None,
) -> Imported:
    """The network in a file of ``Network.save``: layers of sigmoids in float64, verified against their formula.

    784 inputs are taken as the pixels of a digit unless ``preprocess`` is ``none``. The other arguments are those of
    ``import_arrays``.

    Raises:
        FileError, FormatError: the file cannot be read, or is another JSON.
        VerificationError: the network does not compute what the formula does, or not what was recorded.
    """
    check_proof(verify, io)
    with open_regular(path) as file:
        data = file.read(LARGEST + 1)
    try:
        parts, cost = _read(data)
    except ValueError as error:
        raise FormatError(
            path,
            'expected a network as network2.py of M. Nielsen\'s book saves it, {"sizes": [784, 30, 10], "weights": …, '
            f'"biases": …, "cost": …}}: {str(error).rstrip(".")}. Other lists become a file to import by '
            "np.savez('weights.npz', *map(np.array, weights), *map(np.array, biases))",
        ) from None
    found = imported(
        parts,
        ["sigmoid"] * len(parts),
        path,
        preprocess or ("digits" if parts[0].weight.shape[1] == PIXELS else "none"),
        verify,
        atol,
        rtol,
        seed,
        io,
    )
    found.network.outputs = (replace(found.network.outputs[0], loss=LOSSES.get(cost, "")),)
    note = f"the cost {cost!r} is no loss here: training takes cross-entropy, unless --loss (loss) says otherwise"
    return found._replace(notes=(*found.notes, *[note] * (cost not in ("", *LOSSES))))


def _read(data: bytes) -> tuple[list[Part], str]:
    """The layers and the cost. Raises ``ValueError`` for what ``Network.save`` does not write."""
    if len(data) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MB")
    if data.count(b",") > MOST:
        raise ValueError(f"it holds more than {MOST:,} numbers")
    saved = typed(parsed_json(data.removeprefix(codecs.BOM_UTF8), nan=True), _Saved)
    found, pairs = [*map(np.array, (*saved.weights, *saved.biases))], [*pairwise(saved.sizes)]
    shapes = [*((outputs, inputs) for inputs, outputs in pairs), *((outputs, 1) for _, outputs in pairs)]
    if not pairs or min(saved.sizes) < 1 or [array.shape for array in found] != shapes:
        shown = some(format_shape(array.shape) for array in found) or "no shape"
        raise ValueError(f"weights and biases of {shown} do not fit the sizes {'-'.join(map(str, saved.sizes[:9]))}")
    if not all(np.isfinite(array).all() for array in found):
        raise ValueError("its weights or biases hold NaN or infinity")
    layers = zip(found[: len(pairs)], found[len(pairs) :], strict=True)
    return [Part(weight, bias.ravel()) for weight, bias in layers], saved.cost


CONVERTER = Converter(title="files of network2.py", reads={".json": import_saved})
