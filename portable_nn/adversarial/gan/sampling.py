"""Samples of a generator, and a picture of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portable_nn.catalog import CALLED
from portable_nn.core.atomic import atomic_write
from portable_nn.core.errors import FileError, ShapeError, UsageError
from portable_nn.core.graph import format_shape
from portable_nn.core.names import Engine
from portable_nn.model_files import load_model
from portable_nn.network import Network, load
from portable_nn.operators.registry import Array

GAP = 2
"""Pixels between two pictures on a sheet."""
ARRAY = ".npy"
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")


def sample(network: Network | str | Path, count: int, seed: int = 0, *, engine: Engine = "numpy") -> Array:
    """Samples of a generator for noise from N(0, 1): (count, …).

    Args:
        network: a generator with one input of a fixed size, a shipped model's name, or a weight file.
        count: number of samples, from 1.
        seed: of the noise; the first samples do not depend on the count.
        engine: ``numpy`` or ``onnxruntime``.

    Raises:
        UsageError, ShapeError: a network whose input is not noise, or a count below 1.
        FileError, FormatError: a file that cannot be read, or is damaged.
    """
    if not isinstance(count, (int, np.integer)) or isinstance(count, bool) or count < 1:
        raise UsageError(f"count must be a whole number from 1, not {count!r}")
    if not isinstance(network, Network):
        network = load_model(str(network)) if str(network) in CALLED else load(network)
    noise = np.random.default_rng(seed).standard_normal((count, *_latent(network)))
    return np.asarray(network.predict(noise.astype(network.graph.inputs[0].dtype), engine=engine))


def _latent(network: Network) -> tuple[int, ...]:
    """The shape of one draw of noise; raises where the network has no such input."""
    inputs, outputs = network.graph.inputs, network.graph.outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise UsageError(
            f"only a network with one input and one output can be sampled; this one takes "
            f"{', '.join(value.name for value in inputs)} and gives {', '.join(outputs)}"
        )
    value = inputs[0]
    shape = tuple(dim for dim in value.shape[1:] if isinstance(dim, int))
    floats = value.dtype in {"float32", "float64"}
    if network.inputs[0].kind == "image" or not floats or not shape or len(shape) != len(value.shape) - 1:
        what = "pictures" if network.inputs[0].kind == "image" else f"{value.dtype} {format_shape(value.shape)}"
        raise ShapeError(f"only a generator can be sampled, which takes noise (batch, n); '{value.name}' takes {what}")
    return shape


def as_pictures(samples: Array) -> NDArray[np.uint8]:
    """Samples with values from 0 to 1, (n, height·height) or (n, 1, height, width), as pictures (n, height, width).

    Raises ``ShapeError`` for any other shape.
    """
    samples = np.asarray(samples)
    side = math.isqrt(math.prod(samples.shape[1:]))
    if samples.ndim == 2 and side * side == samples.shape[1]:
        samples = samples.reshape(-1, side, side)
    elif samples.ndim == 4 and samples.shape[1] == 1:
        samples = samples[:, 0]
    if samples.ndim != 3 or not samples.size:
        raise ShapeError(f"samples must be grey pictures (n, h, w), (n, 1, h, w) or (n, h·h), not {samples.shape}")
    return np.asarray(np.rint(np.clip(samples, 0, 1) * 255), np.uint8)


def contact_sheet(pictures: NDArray[np.uint8], columns: int | None = None) -> NDArray[np.uint8]:
    """Pictures (n, height, width) side by side in rows, in reading order; by default about as many rows as columns."""
    count, height, width = pictures.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    page = np.zeros((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), np.uint8)
    page[:] = 64
    for place, picture in enumerate(pictures):
        top, left = GAP + place // columns * (height + GAP), GAP + place % columns * (width + GAP)
        page[top : top + height, left : left + width] = picture
    return page


def save_samples(
    network: Network | str | Path, path: str | Path, count: int = 25, seed: int = 0, *, engine: Engine = "numpy"
) -> Array:
    """Draw ``count`` samples, write them to ``path`` and return them.

    A ``.npy`` file holds the samples as they are; a picture, such as a PNG, shows them side by side.

    Raises as ``sample``, ``UsageError`` for another suffix, ``ShapeError`` where the samples are not grey pictures but
    the file is one, and ``FileError`` where the file cannot be written.
    """
    import imageio.v3 as iio

    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in {*SUFFIXES, ARRAY}:
        raise UsageError(f"{path}: the name of a file of samples ends in {', '.join([*SUFFIXES, ARRAY])}")
    samples = sample(network, count, seed, engine=engine)
    if suffix == ARRAY:
        with atomic_write(path) as file:
            np.save(file, samples)
        return samples
    page = contact_sheet(as_pictures(samples))
    try:
        iio.imwrite(path, page)
    except OSError as error:
        raise FileError(path, f"the picture cannot be written: {error.strerror or error}") from error
    return samples
