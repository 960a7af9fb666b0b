"""``portable-nn sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portable_nn.cli.conventions import Digest, EngineName, Model, Printer, ProviderName, engine_of, written
from portable_nn.core.text import quantity

EXAMPLES = (
    "sample digits-gan --out sheet.png",
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
    count: Annotated[int, typer.Option("--count", "-n", metavar="N", help="Number of samples.")] = 25,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Seed of the noise.")] = 0,
    engine: EngineName = "onnxruntime",
    provider: ProviderName = None,
    digest: Digest = None,
) -> None:
    """Draw samples from a generator.

    A generator has one input, noise with a standard normal distribution. With the same seed, the first samples do not
    depend on --count.
    """
    from portable_nn.adversarial.gan.sampling import save_samples
    from portable_nn.model_files import open_network

    save_samples(open_network(model, digest=digest), out, count, seed, engine=engine_of(engine, provider))
    done = "written" if out.suffix.lower() == ".npy" else "drawn"
    text = f"{quantity(count, 'sample')} of {model}, seed {seed}\n{written([(done, out)])}"
    printer.result(text, {"model": model, "samples": count, "seed": seed, "path": str(out)})
