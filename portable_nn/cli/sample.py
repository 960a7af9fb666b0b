"""``portable-nn sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from portable_nn.cli.drawing import written
from portable_nn.cli.options import Digest, EngineName, Model, ProviderName, engine_of
from portable_nn.cli.printing import Printer
from portable_nn.core.errors import UsageError
from portable_nn.core.text import quantity

EXAMPLES = (
    "sample digits-gan --out sheet.png",
    "sample digits-gan --digit 7 --count 100 --scale 3 --out sevens.png",
    "sample digits-gan --digit 3 --between 1 2 --out change.gif",
    "sample digits-gan --count 1000 --seed 7 --out samples.npy",
    "sample mine.onnx --engine numpy -o sheet.png",
)


def command(
    printer: Printer,
    model: Model,
    *,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            writable=True,
            help="Picture of the samples side by side, such as sheet.png, or .npy with the samples as they are.",
        ),
    ],
    count: Annotated[
        int | None,
        typer.Option("--count", "-n", metavar="N", help="Number of samples.  [default: 25; 1 with --between]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Seed of the noise.  [default: 0]")] = None,
    digit: Annotated[int | None, typer.Option(metavar="N", help="Samples of this digit alone.")] = None,
    between: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="A B", help="The way from the samples of seed A to those of seed B."),
    ] = None,
    frames: Annotated[int | None, typer.Option(metavar="N", help="Pictures on that way.  [default: 30]")] = None,
    scale: Annotated[
        int | None,
        typer.Option(metavar="N", help="Enlarge each pixel N times; by default to at most 1,000 pixels."),
    ] = None,
    engine: EngineName = "onnxruntime",
    provider: ProviderName = None,
    digest: Digest = None,
) -> None:
    """Draw samples from a generator.

    A generator takes noise with a standard normal distribution, and perhaps a class. With the same seed, the first
    samples do not depend on --count. A --digit is given to a generator that takes a class, or chosen in the noise, as
    digits-gan does; of other generators, those samples are kept that digits-cnn reads as that digit. With --between,
    a GIF is animated, and another picture has a row for each sample.
    """
    from portable_nn.adversarial.gan.sampling import FRAMES, digit_in_words, save_between, save_samples
    from portable_nn.opening import open_network

    _check(seed, between, frames)
    count = (1 if between else 25) if count is None else count
    network = open_network(model, digest=digest)
    common: dict[str, Any] = {"digit": digit, "scale": scale, "engine": engine_of(engine, provider)}
    data: dict[str, Any] = {"model": model, "samples": count}
    if between:
        steps = FRAMES if frames is None else frames
        save_between(network, out, between, count, steps, **common)
        data |= {"between": list(between), "frames": steps}
        where = f"from seed {between[0]} to seed {between[1]} in {quantity(steps, 'frame')}"
    else:
        save_samples(network, out, count, seed or 0, **common)
        data["seed"], where = seed or 0, f"seed {seed or 0}"
    if digit is not None:
        data["digit"], where = digit, f"{where}, {digit_in_words(network, digit)}"
    done = {".npy": "written", ".gif": "animated" if between else "drawn"}.get(out.suffix.lower(), "drawn")
    text = f"{quantity(count, 'sample')} of {model}, {where}\n{written([(done, out)])}"
    printer.result(text, {**data, "path": str(out)})


def _check(seed: int | None, between: tuple[int, int] | None, frames: int | None) -> None:
    """Raise ``UsageError`` for options that do not go together."""
    if between is None and frames is not None:
        raise UsageError("--frames is for --between A B: give both, or leave it out")
    if between and seed is not None:
        raise UsageError("--seed and --between contradict each other: leave --seed out")
    if between and min(between) < 0:
        raise UsageError(f"--between needs seeds of at least 0, not {min(between)}")
