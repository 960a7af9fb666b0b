"""The floors of the package: every import of the tree, also in functions and under TYPE_CHECKING, goes down."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "portable_nn"
FOLDERS = {PACKAGE: ROOT / PACKAGE, f"{PACKAGE}.converters": ROOT / "converters", f"{PACKAGE}.models": ROOT / "models"}
PAGE = ROOT / "docs" / "architecture.md"


class Import(NamedTuple):
    """One import: the line that has it, and the module that it needs."""

    source: str
    line: int
    target: str


def module_files(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for name, folder in folders.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [name, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(modules: Mapping[str, Path]) -> Iterator[Import]:
    """All imports of one module by another, wherever in a file they stand."""
    for name, file in modules.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"), str(file))):
            for target in _targets(node, package, modules):
                if target != name:
                    yield Import(name, node.lineno, target)


def _targets(node: ast.AST, package: str, modules: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            if inner in modules or base in modules:
                yield inner if inner in modules else base


def floors(page: str) -> list[str]:
    """The folders from the ground up: the first word of each line of the page's table, which begins with the roof."""
    table = re.search(r"```floors\n(.*?)```", page, re.DOTALL)
    assert table is not None, "docs/architecture.md has no table of floors"
    return [line.split()[0] for line in reversed(table[1].splitlines()) if line.strip()]


def room(module: str) -> str:
    """The folder of the package that a module is in; the package itself for its public names."""
    parts = module.split(".")
    return {"__main__": "cli"}.get(parts[1], parts[1]) if len(parts) > 1 else PACKAGE


def upward(found: Iterable[Import], order: list[str]) -> list[str]:
    """The imports from a lower floor to a higher one, each with the rule that it breaks."""
    return [
        f"{each.source}, line {each.line}: '{room(each.source)}' may not import '{each.target}': "
        f"'{room(each.target)}' is on a higher floor"
        for each in found
        if order.index(room(each.target)) > order.index(room(each.source))
    ]


def circle(pairs: Iterable[tuple[str, str]]) -> str:
    """A circle among pairs of importer and imported; empty where there is none."""
    needs: dict[str, set[str]] = {}
    for source, target in pairs:
        if source != target:
            needs.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return " → ".join(reversed(error.args[1]))
    return ""


def folder(module: str, modules: Mapping[str, Path]) -> str:
    """The folder that the file of a module lies in, as a package."""
    return module if modules[module].name == "__init__.py" else module.rpartition(".")[0]


@pytest.fixture(scope="module")
def modules() -> dict[str, Path]:
    return module_files(FOLDERS)


@pytest.fixture(scope="module")
def found(modules: dict[str, Path]) -> list[Import]:
    return list(imports(modules))


@pytest.fixture(scope="module")
def order() -> list[str]:
    return floors(PAGE.read_text(encoding="utf-8"))


def test_every_folder_has_its_floor(modules: dict[str, Path], order: list[str]) -> None:
    assert sorted({room(name) for name in modules}) == sorted(order)


def test_no_import_goes_up(found: list[Import], order: list[str]) -> None:
    assert upward(found, order) == []


def test_files_import_each_other_in_no_circle(found: list[Import]) -> None:
    assert circle((each.source, each.target) for each in found) == ""


def test_folders_import_each_other_in_no_circle(found: list[Import], modules: dict[str, Path]) -> None:
    """A folder's own ``__init__`` may gather what its subfolders have: only what is beside each other is compared."""
    assert circle(pair for each in found for pair in _neighbours(each, modules)) == ""


def _neighbours(found: Import, modules: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """The two folders, or files, beside each other that an import leads from and to."""
    source, target = folder(found.source, modules).split("."), folder(found.target, modules).split(".")
    for depth, (one, other) in enumerate(zip(source, target, strict=False)):
        if one != other:
            yield ".".join(source[: depth + 1]), ".".join(target[: depth + 1])
            return


# -- the rules themselves, on trees that break them


def tree(folder: Path, **files: str) -> dict[str, Path]:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)
    return module_files({PACKAGE: folder})


def test_an_import_upwards_is_found_wherever_it_stands(tmp_path: Path) -> None:
    found = list(
        imports(
            tree(
                tmp_path,
                roof__a="",
                ground__plain="import portable_nn.roof.a",
                ground__inner="def f():\n    from portable_nn.roof import a",
                ground__typed="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..roof.a import x",
                roof__down="from portable_nn.ground import plain",
            )
        )
    )
    assert upward(found, ["ground", "roof"]) == [
        f"portable_nn.ground.{name}, line {line}: 'ground' may not import 'portable_nn.roof.a': "
        "'roof' is on a higher floor"
        for name, line in [("inner", 2), ("plain", 1), ("typed", 3)]
    ]


def test_circles_are_found(tmp_path: Path) -> None:
    found = imports(
        tree(
            tmp_path,
            one__a="from portable_nn.one import b",
            one__b="def f():\n    from portable_nn.one.c import x",
            one__c="from . import a",
        )
    )
    names = circle((each.source, each.target) for each in found).split(" → ")
    assert sorted(set(names)) == ["portable_nn.one.a", "portable_nn.one.b", "portable_nn.one.c"]


def test_circles_of_folders_are_found_where_files_have_none(tmp_path: Path) -> None:
    modules = tree(tmp_path, one__a="import portable_nn.two.a", one__b="", two__a="", two__b="import portable_nn.one.b")
    found = list(imports(modules))
    assert circle((each.source, each.target) for each in found) == ""
    assert circle(pair for each in found for pair in _neighbours(each, modules)) != ""
