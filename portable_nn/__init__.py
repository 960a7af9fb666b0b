"""Train a network in numpy, save it in a strict file that describes itself, and run it where ONNX runs.

The public names are those in ``__all__`` of the modules below. A name is imported when it is first used.
"""

from __future__ import annotations

import os.path
import sys
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder

from portable_nn.core.version import __version__ as __version__

TYPE_CHECKING = False  # That of typing: this module imports almost nothing, as every command does so first.
if TYPE_CHECKING:  # A type checker reads the names from here, the interpreter from the same modules below.
    from portable_nn.comparison.checking import *
    from portable_nn.comparison.diff import *
    from portable_nn.converters.arrays import *
    from portable_nn.converters.book import *
    from portable_nn.converters.jax.application import *
    from portable_nn.converters.jax.reading import *
    from portable_nn.converters.keras import *
    from portable_nn.converters.onnx import *
    from portable_nn.converters.registry import *
    from portable_nn.converters.sklearn.reading import *
    from portable_nn.converters.sklearn.writing import *
    from portable_nn.converters.source import *
    from portable_nn.converters.torch.importing import *
    from portable_nn.converters.torch.module import *
    from portable_nn.core.errors import *
    from portable_nn.core.names import *
    from portable_nn.data.ahead import *
    from portable_nn.layers import *
    from portable_nn.network.loading import *
    from portable_nn.network.network import *
    from portable_nn.network.sequential import *
    from portable_nn.network.snapshot import *
    from portable_nn.network.stream import *
    from portable_nn.opening.kinds import *
    from portable_nn.opening.signatures import *
    from portable_nn.outputs.reports import *
    from portable_nn.pages.model import *
    from portable_nn.prediction.arrays import *
    from portable_nn.prediction.evaluating import *
    from portable_nn.prediction.keeping import *
    from portable_nn.prediction.prediction import *
    from portable_nn.prediction.predictions import *
    from portable_nn.preprocessing.named import *
    from portable_nn.recipes.arrays import *
    from portable_nn.recipes.classifier import *
    from portable_nn.recipes.pictures import *
    from portable_nn.recipes.table import *
    from portable_nn.training.history import *
    from portable_nn.training.losses.classes import *
    from portable_nn.training.losses.numbers import *
    from portable_nn.training.optimizers import *
    from portable_nn.training.schedules import *
else:
    # Searched in this order: modules that import little come first.
    _PUBLIC = (
        "core.errors",
        "core.names",
        "data.ahead",
        "converters.registry",
        "layers",
        "training.schedules",
        "training.optimizers",
        "training.losses.numbers",
        "training.losses.classes",
        "training.history",
        "network.network",
        "network.sequential",
        "network.loading",
        "network.snapshot",
        "network.stream",
        "recipes.classifier",
        "recipes.arrays",
        "recipes.table",
        "recipes.pictures",
        "prediction.evaluating",
        "opening.kinds",
        "preprocessing.named",
        "prediction.prediction",
        "prediction.predictions",
        "prediction.keeping",
        "prediction.arrays",
        "outputs.reports",
        "opening.signatures",
        "converters.arrays",
        "converters.onnx",
        "converters.torch.importing",
        "converters.torch.module",
        "converters.keras",
        "converters.sklearn.reading",
        "converters.sklearn.writing",
        "converters.jax.reading",
        "converters.jax.application",
        "converters.source",
        "converters.book",
        "pages.model",
        "comparison.checking",
        "comparison.diff",
    )

    def __getattr__(name):
        if name == "__all__":
            return sorted({"__version__"}.union(*(import_module(f"{__name__}.{home}").__all__ for home in _PUBLIC)))
        return getattr(import_module(_home(name)), name)

    def __dir__():
        return __getattr__("__all__")

    @cache
    def _home(name):
        """The module that defines a public name. Submodules are left to the import system."""
        hint = ""
        if not name.startswith("_") and not _is_submodule(f"{__name__}.{name}"):
            for home in (f"{__name__}.{each}" for each in _PUBLIC):
                if name in import_module(home).__all__:
                    return home
            hint = import_module(f"{__name__}.layers.pytorch").missing(name)
        error = import_module(f"{__name__}.core.words").UnknownNameError if hint else AttributeError
        raise error(f"module '{__name__}' has no attribute '{name}'{hint}")

    def _is_submodule(name):
        return name in _Checkout.names or PathFinder.find_spec(name, sys.modules[__name__].__path__) is not None


_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120


class _Checkout:
    """Finds ``converters`` and ``models``, which lie beside this package in a checkout (see pyproject.toml)."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of one of the two packages; nothing else in the checkout is found."""
        return PathFinder.find_spec(name, [_ROOT]) if name in _Checkout.names else None

    names = (f"{__name__}.converters", f"{__name__}.models")


if os.path.isfile(os.path.join(_ROOT, "pyproject.toml")):  # noqa: PTH113, PTH118
    sys.meta_path.append(_Checkout)
