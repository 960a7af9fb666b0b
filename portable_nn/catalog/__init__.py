"""The models that come with the package, by name, and the paths of their files; nothing here opens one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from portable_nn.core.errors import UsageError


@dataclass(frozen=True)
class Shipped:
    """One model that comes with the package."""

    name: str
    summary: str
    aliases: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """The package that contains its files, and the module ``recipe`` that trains it again."""
        return f"portable_nn.models.{self.name.replace('-', '_')}"

    @property
    def folder(self) -> Path:
        """The folder of its files. Raises ``ModuleNotFoundError`` where the installation lacks it."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"{self.package} is missing from this installation")
        return Path(spec.origin).parent

    @property
    def weights(self) -> Path:
        """Its weight file."""
        return self.folder / f"{self.name}.safetensors"

    @property
    def onnx(self) -> Path:
        """The same network as an ONNX file."""
        return self.folder / f"{self.name}.onnx"

    @property
    def samples(self) -> Path:
        """A folder of example inputs."""
        return self.folder / "samples"

    @property
    def card(self) -> str:
        """The model card: data, training, accuracy and known limits, in Markdown."""
        return (self.folder / "CARD.md").read_text(encoding="utf-8")


SHIPPED: Final[Mapping[str, Shipped]] = {
    model.name: model
    for model in (
        Shipped("digits-cnn", "handwritten digits 0 to 9, by a network with two convolutions", aliases=("digits",)),
        Shipped("digits-mlp", "handwritten digits 0 to 9, by the 784-200-10 network of a beginner's book"),
        Shipped("digits-gan", "a generator: makes pictures of handwritten digits out of noise"),
        Shipped("altimetry-swh", "the height of waves, from the echo of a radar altimeter, and how sure it is"),
        Shipped("altimetry-track", "the height of waves along a track, from each echo and its neighbours"),
        Shipped("altimetry-surface", "water, land, ice or mixed, from the echo of a radar altimeter"),
    )
}
"""All shipped models by name."""

SIMULATED: Final[Mapping[str, str]] = {"altimetry-data": "portable_nn.models.altimetry"}
"""Data that are simulated for models to learn from, by name: a package whose ``files.write`` makes a file of them, and
whose ``drawing.sheet`` a picture of the file."""

CALLED: Final[Mapping[str, Shipped]] = {
    name: model for model in SHIPPED.values() for name in (*model.aliases, model.name)
}
"""All shipped models by name and by alias."""


def find_model(name: str) -> Shipped:
    """The shipped model of that name or alias. Raises ``UsageError`` that lists them."""
    if name not in CALLED:
        raise UsageError(f"no model is called '{name}': there are {', '.join(CALLED)}")
    return CALLED[name]
