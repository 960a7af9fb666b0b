"""The packages that the converter needs, imported when it is used."""

from __future__ import annotations

from importlib.util import find_spec

from portable_nn.core.errors import MissingPackageError


def needed(package: str, purpose: str) -> None:
    """Raise ``MissingPackageError`` where a package is not installed."""
    if find_spec(package) is None:
        raise MissingPackageError(package, purpose, "jax")
