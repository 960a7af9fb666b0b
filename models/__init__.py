"""The models that come with the package: weights, a card, sample inputs, and the recipe that made each.

A model is a folder here and a row in ``SHIPPED``. The folder holds ``NAME.safetensors``, ``NAME.onnx``, ``CARD.md``,
``samples/`` and ``recipe.py``, whose ``train()`` makes the model again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from portable_nn.core.errors import UsageError

if TYPE_CHECKING:
    from portable_nn.models.recipes import Trained
    from portable_nn.network import Network

Recipe: TypeAlias = "Callable[..., Trained]"


@dataclass(frozen=True)
class Shipped:
    """One model that comes with the package."""

    name: str
    summary: str
    aliases: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return Path(__file__).parent / self.name.replace("-", "_")

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
        """A folder of inputs to try it on."""
        return self.folder / "samples"

    @property
    def card(self) -> str:
        """What it is made from, how well it does, and where it fails."""
        return (self.folder / "CARD.md").read_text(encoding="utf-8")

    @property
    def recipe(self) -> Recipe:
        """The function that trains it anew."""
        module = importlib.import_module(f"{__name__}.{self.folder.name}.recipe")
        train: Recipe = module.train
        return train


SHIPPED: Final[Mapping[str, Shipped]] = {
    model.name: model
    for model in (
        Shipped("digits-cnn", "handwritten digits 0 to 9, by a network with two convolutions", aliases=("digits",)),
        Shipped("digits-mlp", "handwritten digits 0 to 9, by the 784-200-10 network of a beginner's book"),
        Shipped("digits-gan", "a generator: makes pictures of handwritten digits out of noise"),
    )
}
"""All of them, by name."""

CALLED: Final[Mapping[str, Shipped]] = {
    name: model for model in SHIPPED.values() for name in (*model.aliases, model.name)
}
"""All of them, by every name that they answer to."""


def find_model(name: str) -> Shipped:
    """The shipped model of that name or alias. Raises ``UsageError`` that lists them."""
    if name not in CALLED:
        raise UsageError(f"no model is called '{name}': there are {', '.join(CALLED)}")
    return CALLED[name]


def load_model(name: str) -> Network:
    """The network of a shipped model. Raises ``UsageError`` for an unknown name."""
    from portable_nn.network import load

    return load(find_model(name).weights)
