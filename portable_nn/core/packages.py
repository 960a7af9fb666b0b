"""Packages that need not be installed."""

from __future__ import annotations

from importlib.util import find_spec

from portable_nn.core.errors import MissingPackageError


def need(purpose: str, extra: str, *packages: str) -> None:
    """Raise ``MissingPackageError`` for the first of ``packages`` that is missing, which ``extra`` would install."""
    for package in packages:
        if find_spec(package) is None:
            raise MissingPackageError(package, purpose, extra)
