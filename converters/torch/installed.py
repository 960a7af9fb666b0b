"""PyTorch and what it is used with, which need not be installed."""

from __future__ import annotations

from importlib.util import find_spec

from portable_nn.core.errors import MissingPackageError


def is_installed(package: str = "torch") -> bool:
    """True if PyTorch, or another package, is there."""
    return find_spec(package) is not None


def need(purpose: str, *packages: str) -> None:
    """Raise ``MissingPackageError`` for PyTorch, or the first of ``packages``, that is not installed."""
    for package in packages or ("torch",):
        if not is_installed(package):
            raise MissingPackageError(package, purpose, "torch")
