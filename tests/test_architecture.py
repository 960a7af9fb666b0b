"""The floors of the package: every import, also in functions, under TYPE_CHECKING and by a string, goes down."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
from architecture import (
    HERE,
    PACKAGE,
    asking,
    body_lines,
    circles,
    complexity,
    counted,
    floors,
    follow,
    imports,
    main,
    measure,
    module_files,
    neighbours,
    operator_tables,
    parameter_counts,
    room,
    sources,
    statements,
    tokens,
    upward,
    way,
)

PAGE = HERE / "docs" / "architecture.md"


@pytest.fixture(scope="module")
def modules() -> dict[str, Path]:
    return module_files(sources(HERE))


@pytest.fixture(scope="module")
def order() -> list[str]:
    return floors(PAGE.read_text(encoding="utf-8"))


def test_every_folder_has_its_floor(modules: dict[str, Path], order: list[str]) -> None:
    assert sorted({room(name) for name in modules}) == sorted(order)


@pytest.mark.long
def test_no_import_goes_up_nor_round_in_a_circle(modules: dict[str, Path], order: list[str]) -> None:
    found = list(imports(modules))
    assert upward(found, order) == []
    assert circles((each.source, each.target) for each in found) == []
    assert circles(pair for each in found for pair in neighbours(each, modules)) == []


CEILINGS = {
    "statements": 72_644,
    "tokens a statement": 14.51,
    "functions of complexity above 15": 79,
    "parameters of an internal function": 12,
    "docstrings that open with What, …": 3,
    "tables of operator names outside the array table": 10,
    "… of them in converters": 5,
}
"""What the tree has at most: new code is paid for by old code that goes. A figure that has fallen is entered here."""


@pytest.mark.long  # It is for what lands, and reads every file.
def test_no_figure_rises() -> None:
    found = counted(HERE)
    assert {name: found[name] for name, ceiling in CEILINGS.items() if float(found[name]) > ceiling} == {}


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
            one__d="from portable_nn.one import a, e",
            one__e="",
        )
    )
    assert circles((each.source, each.target) for each in found) == [[f"portable_nn.one.{name}" for name in "abc"]]


LOADING = {
    "call": "from importlib import import_module\nimport_module('portable_nn.one.{}')",
    "relative": "import importlib\ndef f():\n    importlib.import_module('.{}', __package__)",
    "higher": "from importlib import import_module\nimport_module('..one.{}', __package__)",
    "dunder": "__import__('portable_nn.one.{}')",
    "own name": "from importlib import import_module as load\nload(f'{{__package__}}.{}')",
    "held": "def f():\n    place = 'portable_nn.one.{}'\n    return __import__(place)",
    "method": "class C:\n    x = LazyMethod('portable_nn.one.{}', 'x')",
    "attribute": "def f():\n    return load('portable_nn.one.{}:X')",
    "inner table": "def f():\n    for name in ['portable_nn.one.{}']:\n        __import__(name)",
    "fixed row": "T = {{'a': 'portable_nn.one.{}'}}\ndef f():\n    return load(T['a'])",
}


@pytest.mark.parametrize("text", LOADING.values(), ids=LOADING)
def test_a_circle_is_found_behind_a_string(text: str, tmp_path: Path) -> None:
    found = imports(tree(tmp_path, one__a=text.format("b"), one__b="import portable_nn.one.a"))
    assert circles((each.source, each.target) for each in found) == [["portable_nn.one.a", "portable_nn.one.b"]]


ROWS = {
    "mapping": "ROWS = {'b': 'portable_nn.one.b:X'}\ndef f(key):\n    return load(ROWS[key])",
    "annotated": "ROWS: Final = ('portable_nn.one.b',)\ndef f(key):\n    return load(ROWS[key])",
    "class": "class C:\n    rows = [f'{__package__}.b']",
    "words": "def f():\n    return 'see portable_nn.one.b'",
    "data": "NAME = 'portable_nn.one.b.c'",
}


@pytest.mark.parametrize("text", ROWS.values(), ids=ROWS)
def test_rows_may_import_the_module_of_their_table(text: str, tmp_path: Path) -> None:
    found = imports(tree(tmp_path, one__a=text, one__b="import portable_nn.one.a"))
    assert circles((each.source, each.target) for each in found) == []


def test_circles_of_folders_are_found_where_files_have_none(tmp_path: Path) -> None:
    modules = tree(tmp_path, one__a="import portable_nn.two.a", one__b="", two__a="", two__b="import portable_nn.one.b")
    found = list(imports(modules))
    assert circles((each.source, each.target) for each in found) == []
    assert circles(pair for each in found for pair in neighbours(each, modules)) == [
        ["portable_nn.one", "portable_nn.two"]
    ]


# -- the measurements


CODE = '''
"""A docstring."""

TABLE = {"Add": 1, "Sub": 2, "Mul": 3}
__all__ = ["Add", "Mul", "Sub"]


def outer():
    """A docstring."""
    x = 1
    if x:
        def inner():
            return ("Add", "Mul", 1)
        return inner


def empty():
    """Only a docstring."""
'''


def test_statements_functions_and_tables_are_counted() -> None:
    code = ast.parse(CODE)
    assert statements(code) == 9
    assert sorted(body_lines(code)) == [0, 1, 5]
    assert operator_tables(code, frozenset({"Add", "Sub", "Mul"})) == [4]


BRANCHING = """
def f(a, b, *c, d=0, **e):
    if a and b or c:
        return [x for x in a if x if b]
    elif b:
        def inner():
            return a if b else c
    for _ in a:
        while b:
            pass
    try:
        pass
    except ValueError:
        pass
    match a:
        case 1:
            pass
        case _:
            pass
"""


def test_branches_are_counted_in_expressions_too_and_inner_functions_apart() -> None:
    [function] = ast.parse(BRANCHING).body
    inner = next(node for node in ast.walk(function) if isinstance(node, ast.FunctionDef) and node.name == "inner")
    assert complexity(inner) == 2
    # if, and, or, for … in, if, if, elif, for, while, except, case, case
    assert complexity(function) == 1 + 12


def test_tokens_are_counted_without_comments_docstrings_and_layout() -> None:
    assert tokens('"""A docstring."""\n# comment\nx = f(1,\n\n  2)  # more\n') == 8
    assert tokens("x = f'{a + b:{c}} and' \"d\"\n") == 4
    assert tokens('def f():\n    """A docstring."""\n    return 1') == 7


def test_docstrings_that_open_with_a_question_are_counted() -> None:
    code = "'''What it is.'''\ndef f():\n    '''Whether.'''\nclass C:\n    '''Whatever.'''\ndef g(): '''A'''"
    assert asking(ast.parse(code)) == 2


def test_parameters_of_internal_functions_are_counted() -> None:
    """Not those of functions and classes that a module gives its users, nor of a command."""
    one = (
        "def f(a, *b, c, **d): ...\nclass C:\n    def g(self, a): ...\nclass P:\n    def g(self, a): ...\ndef p(a): ..."
    )
    other = "__all__ = ['P', 'p']\ndef command(a): ..."
    assert sorted(parameter_counts({"one": ast.parse(one), "other": ast.parse(other)})) == [2, 4]


def test_checkouts_are_measured_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a page of floors as well, as in older commits."""
    tree(tmp_path / PACKAGE, one="import portable_nn.two", two="import portable_nn.one\nX = 1  # fmt: skip")
    found = measure(tmp_path)
    assert (found["files"], found["statements"], found["# fmt: skip"]) == ("2", "3", "1")
    assert found["circles of files"] == "1 (of 2)"
    assert found["imports from a lower floor"] == "no floors"
    main([tmp_path, tmp_path])
    assert re.search(r"^statements +3 +3$", capsys.readouterr().out, re.MULTILINE)


def test_the_way_of_a_call_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Generators that go on count as well, what runs at an import does not."""
    files = {
        "way_a": "def f():\n    import way_b\n    way_b.g()\n    h()\n    list(way_b.items())\ndef h(): pass",
        "way_b": "import way_c\nway_c.x()\ndef g(): way_c.x()\ndef items():\n    yield way_a_h()\n    yield 1\n"
        "def way_a_h():\n    import way_a\n    way_a.h()",
        "way_c": "def x(): pass",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    modules = {f"{PACKAGE}.{folder}.{name}": tmp_path / f"{name}.py" for folder, name in zip("xyy", files, strict=True)}
    stops = follow(import_module("way_a").f, modules)
    assert [stop[-1] for stop in stops] == ["a", "b", "c", "a", "b", "a", "b"]
    assert way(stops).splitlines() == [
        "3 files, 7 changes of file, 5 of folder, 4 returns",
        "x: way_a 2 → y: way_b 2, way_c",
    ]


def test_the_files_that_the_guide_names_are_there() -> None:
    """Those of the tree as it is; the diffs may add others."""
    root = Path(__file__).parent.parent
    page = (root / "docs/architecture.md").read_text("utf-8")
    text = re.sub(r"^```diff\n.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"\b(?:\w+/)+\w+\.py\b", text))
    assert len(named) > 40
    assert not [name for name in named if not any((each / name).exists() for each in (root, root / "portable_nn"))]
