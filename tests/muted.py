"""A plugin of pytest, ``-p muted``: what other libraries say in their errors is "x" to this package.

Tests pass with it, or they, or a message of this package, lean on words that change with the version of a library.
Every ``except … as error`` of the package is given a copy of the error that it catches, unless this package raised it.
"""

from __future__ import annotations

import ast
import builtins
import dis
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = str(Path(__file__).parents[1])

RAISES = {dis.opmap[name] for name in ("RAISE_VARARGS", "RERAISE")}
"""The instructions of ``raise``; an error that leaves another one comes from code in C."""

FREE = (RecursionError, KeyError)
"""Kinds of errors with a text of Python's own, or a key."""


def muted(error: BaseException) -> BaseException:
    """An error as the package sees it."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace else None
    own = trace and code and code.co_filename.startswith(ROOT) and code.co_code[trace.tb_lasti] in RAISES
    of_system = isinstance(error, OSError) and error.errno is not None
    if own or of_system or isinstance(error, FREE) or not isinstance(error, Exception):
        return error
    kind = type(type(error).__name__, (type(error),), {"__str__": lambda self: "x"})
    found = kind.__new__(kind, *error.args)
    if isinstance(error, UnicodeError):
        UnicodeError.__init__(found, *error.args)
        type(error).__init__(found, *error.args)
    found.__dict__.update(error.__dict__)
    found.__traceback__, found.__cause__ = error.__traceback__, error.__cause__
    return found


class Rewritten(ast.NodeTransformer):
    """Adds ``error = muted(error)`` to each handler."""

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.ExceptHandler:
        self.generic_visit(node)
        if node.name:
            node.body[:0] = [
                ast.copy_location(each, node.body[0]) for each in ast.parse(f"{node.name} = muted({node.name})").body
            ]
        return node


class Loader(SourceFileLoader):
    """Loads a module of the package, rewritten, and keeps nothing of that in ``__pycache__``."""

    def path_stats(self, path: Any) -> Any:
        raise OSError

    def set_data(self, path: Any, data: Any, **options: Any) -> None:
        pass

    def source_to_code(self, data: Any, path: Any, **options: Any) -> Any:  # type: ignore[override]
        tree = ast.fix_missing_locations(Rewritten().visit(ast.parse(data, path)))
        return compile(tree, path, "exec", dont_inherit=True)


class Finder(MetaPathFinder):
    """Finds the modules of the package."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name.partition(".")[0] not in {"portable_nn", "converters", "models"}:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and type(spec.loader) is SourceFileLoader:
            spec.loader = Loader(name, str(spec.origin))
        return spec


builtins.muted = muted  # type: ignore[attr-defined]
sys.meta_path.insert(0, Finder())
