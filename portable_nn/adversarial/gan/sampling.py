"""Samples of a generator, and files of them: pictures, animations and arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import numpy as np

from portable_nn.adversarial.gan.noise import Noise, Source, source_of
from portable_nn.adversarial.gan.sheets import (
    ANIMATED,
    as_pictures,
    check_suffix,
    contact_sheet,
    enlarged,
    write_pictures,
)
from portable_nn.catalog import CALLED
from portable_nn.core.arguments import check_kinds
from portable_nn.core.errors import UsageError
from portable_nn.core.names import Engine
from portable_nn.core.numbers import Count, Range
from portable_nn.network import Network, load
from portable_nn.opening import load_model
from portable_nn.operators import Array

FRAMES: Final = 30
Frames: TypeAlias = Annotated[int, Range("a whole number from 2 to 1,000", lambda n: 2 <= n <= 1000)]


@check_kinds
def sample(
    network: Network | str | Path, count: Count, seed: int = 0, *, digit: int | None = None, engine: Engine = "numpy"
) -> Array:
    """Samples of a generator for noise from N(0, 1): (count, …).

    Args:
        network: a generator with one input of a fixed size, and perhaps one of a class beside it (named class,
            condition, digit or label, as numbers of which one is 1); a shipped model's name, or a weight file.
        count: number of samples, from 1.
        seed: of the noise; the first samples do not depend on the count.
        digit: samples of this class alone. It is given to a generator with an input for it, and chosen in the noise of
            one that takes it from there, as ``digits-gan``; of another, samples are drawn until there are enough that
            ``digits-cnn`` reads as this digit with a probability above 0.9.
        engine: ``numpy`` or ``onnxruntime``.

    Raises:
        UsageError, ShapeError: a network whose input is not noise, a count below 1, or a digit that it does not make.
        FileError, FormatError: a file that cannot be read, or is damaged.
    """
    found = _source(network)
    return _made(found, found.draw(count, seed, digit), engine)


@check_kinds
def between(
    network: Network | str | Path,
    seeds: tuple[int, int],
    count: Count = 1,
    frames: Frames = FRAMES,
    *,
    digit: int | None = None,
    engine: Engine = "numpy",
) -> Array:
    """Samples on the way from those of one seed to those of another: (frames, count, …).

    The first and the last are those of ``sample`` for the two seeds. Between x and y the noise is cos(a)·x + sin(a)·y,
    a from 0 to π/2, which is from N(0, 1) as well. With a ``digit`` that is chosen in the noise all are of this class;
    where it must be recognised, the first and the last are.

    Raises as ``sample``, and ``UsageError`` for equal seeds, or another number of frames than 2 to 1,000.
    """
    if seeds[0] == seeds[1]:
        raise UsageError(f"between needs two seeds that differ, not {seeds[0]} twice")
    found = _source(network)
    first, last = (found.draw(count, seed, digit) for seed in seeds)
    shares = np.linspace(0, 1, frames).tolist()
    return np.stack([_made(found, found.mixed(first, last, share), engine) for share in shares])


def save_sheet(samples: Array, path: str | Path, scale: int | None = None) -> None:
    """Write samples as a picture, such as a PNG, that shows them side by side.

    Each pixel is ``scale`` times as high and wide: by default up to 10 times, so that the sheet has up to 1,000 pixels.

    Raises ``UsageError`` for another suffix or a scale below 1, ``ShapeError`` where the samples are not pictures, and
    ``FileError`` where the file cannot be written.
    """
    write_pictures(enlarged([contact_sheet(as_pictures(samples))], scale), path)


def save_between(
    network: Network | str | Path,
    path: str | Path,
    seeds: tuple[int, int],
    count: int = 1,
    frames: int = FRAMES,
    *,
    digit: int | None = None,
    scale: int | None = None,
    engine: Engine = "numpy",
) -> Array:
    """Write the samples of ``between`` to ``path`` and return them.

    A GIF shows them one after another, several side by side; another picture has a row for each. ``scale`` is of
    ``save_sheet``. Raises as ``between`` and ``save_sheet``.
    """
    suffix = check_suffix(path)
    samples = between(network, seeds, count, frames, digit=digit, engine=engine)
    pages = [as_pictures(frame) for frame in samples]
    if suffix == ANIMATED:
        sheets = [contact_sheet(page) for page in pages]
    else:
        rows = np.stack(pages).swapaxes(0, 1)
        sheets = [contact_sheet(rows.reshape(-1, *rows.shape[2:]), columns=frames)]
    write_pictures(enlarged(sheets, scale), path)
    return samples


def _source(network: Network | str | Path) -> Source:
    if not isinstance(network, Network):
        network = load_model(str(network)) if str(network) in CALLED else load(network)
    return source_of(network)


def _made(source: Source, noise: Noise, engine: Engine) -> Array:
    made = source.network.predict(noise, engine=engine)
    return np.asarray(made[source.network.graph.outputs[0]] if isinstance(made, dict) else made)
