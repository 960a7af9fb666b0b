"""Methods whose modules are imported when they are first looked up."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class LazyMethod:
    """A function that is a method, and whose module is imported when the method is first looked up.

    The class thus has the function's signature and documentation without importing its module. Type checkers are given
    the function itself.
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return getattr(import_module(self.module), self.name).__get__(instance, owner)
