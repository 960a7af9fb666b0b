"""Measure the architecture of a checkout, or of several side by side: ``python docs/architecture.py [CHECKOUT]…``.

``python docs/architecture.py --follow 'predict digits digits'`` runs a command of this checkout, and prints its way
through the files above the network. Otherwise the source is read with ``ast``; nothing of a checkout is imported or
run, so that older commits can be measured as well. ``tests/test_architecture.py`` holds the tree to the rules with the
same functions.
"""

from __future__ import annotations

import ast
import contextlib
import io
import itertools
import re
import shlex
import sys
import textwrap
import tokenize
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

PACKAGE = "portable_nn"
ARRAY = f"{PACKAGE}.converters.array."
"""The modules of the array table, which is by operator."""
HERE = Path(__file__).parent.parent


def sources(checkout: Path) -> dict[str, Path]:
    """The folders of the package by their dotted names: two of them lie beside it."""
    return {
        PACKAGE: checkout / PACKAGE,
        f"{PACKAGE}.converters": checkout / "converters",
        f"{PACKAGE}.models": checkout / "models",
    }


def module_files(folders: Mapping[str, Path]) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for name, folder in folders.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [name, *file.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


@cache
def parsed(file: Path) -> ast.Module:
    """The tree of a file, which is read once."""
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


@cache
def nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    """All nodes of a tree."""
    return tuple(ast.walk(tree))


# -- imports, floors and circles


class Import(NamedTuple):
    """One import: the line that has it, and the module that it needs."""

    source: str
    line: int
    target: str


def imports(modules: Mapping[str, Path]) -> Iterator[Import]:
    """All imports of one module by another, also those in functions, under ``TYPE_CHECKING`` and by a string.

    A string that names a module is an import where it stands, also with ``:`` and an attribute behind it. In a
    collection at the top of a module or class it is a row instead, which is imported for a key that comes at run time;
    where the key is written out, as in ``ROWS["name"]``, the row is imported there.
    """
    for name, file in modules.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        own = {"__name__": name, "__package__": package}
        tree = parsed(file)
        tables = _tables(tree)
        rows = {id(part) for table in tables.values() for part in ast.walk(table)}
        for node in nodes(tree):
            parts = [part for row in _chosen(node, tables) for part in ast.walk(row)]
            for part in parts if id(node) in rows else [node, *parts]:
                for target in _targets(part, package, own, modules):
                    if target != name:
                        yield Import(name, node.lineno, target)


def _tables(tree: ast.Module) -> dict[str, ast.Dict | ast.Tuple | ast.List | ast.Set]:
    """The collections at the top of a module or class, by name."""
    tops = [tree, *(node for node in nodes(tree) if isinstance(node, ast.ClassDef))]
    found = [node for top in tops for node in top.body if isinstance(node, (ast.Assign, ast.AnnAssign))]
    return {
        ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target): node.value
        for node in found
        if isinstance(node.value, (ast.Dict, ast.Tuple, ast.List, ast.Set))
    }


def _chosen(node: ast.AST, tables: Mapping[str, ast.expr]) -> list[ast.expr]:
    """The row of a table that an expression such as ``ROWS["name"]`` means."""
    table = tables.get(ast.unparse(node.value)) if isinstance(node, ast.Subscript) else None
    if not isinstance(node, ast.Subscript) or not isinstance(table, ast.Dict):
        return []
    key = ast.dump(node.slice)
    return [value for each, value in zip(table.keys, table.values, strict=True) if each and ast.dump(each) == key]


def _targets(node: ast.AST, package: str, own: Mapping[str, str], modules: Mapping[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            if inner in modules or base in modules:
                yield inner if inner in modules else base
    elif isinstance(node, (ast.Constant, ast.JoinedStr)) and "." in (text := _text(node, own).partition(":")[0]):
        yield from [text] if text in modules else []
    elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith(("import_module", "__import__")):
        text = _text(node.args[0], own)  # The package itself, or a name from a folder on, which no other string means.
        dots = len(text) - len(text.lstrip("."))
        text = ".".join([*package.split(".")[: len(package.split(".")) + 1 - dots], text[dots:]]) if dots else text
        yield from [text] if text in modules and (dots or "." not in text) else []


def _text(node: ast.expr, own: Mapping[str, str]) -> str:
    """A string as it is at run time, where it is made of nothing but constants and a module's own names."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    found = [part.value if isinstance(part, ast.FormattedValue) else part for part in parts]
    texts = [each.value if isinstance(each, ast.Constant) else own.get(ast.unparse(each)) for each in found]
    return (
        "".join(each for each in texts if isinstance(each, str)) if all(isinstance(each, str) for each in texts) else ""
    )


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


def folder(module: str, modules: Mapping[str, Path]) -> str:
    """The folder of a module's file, as a package."""
    return module if modules[module].name == "__init__.py" else module.rpartition(".")[0]


def neighbours(found: Import, modules: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """The two folders, or files, beside each other that an import leads from and to.

    A folder's own ``__init__`` may collect names of its subfolders: it is not beside them.
    """
    source, target = folder(found.source, modules).split("."), folder(found.target, modules).split(".")
    for depth, (one, other) in enumerate(zip(source, target, strict=False)):
        if one != other:
            yield ".".join(source[: depth + 1]), ".".join(target[: depth + 1])
            return


def circles(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The circles among pairs of importer and imported: groups whose members all need each other, largest first."""
    needs: dict[str, set[str]] = {}
    for source, target in pairs:
        needs.setdefault(source, set()).add(target)
    reached = {name: _reachable(name, needs) for name in needs}
    groups = {
        tuple(sorted(other for other in reached if other in reached[name] and name in reached[other]))
        for name in reached
    }
    return sorted((list(group) for group in groups if len(group) > 1), key=len, reverse=True)


def _reachable(start: str, needs: Mapping[str, set[str]]) -> set[str]:
    found, waiting = set[str](), [start]
    while waiting:
        new = needs.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


# -- sizes


def statements(tree: ast.AST) -> int:
    """All statements, not counting docstrings and other strings that stand alone."""
    return sum(isinstance(node, ast.stmt) and not _is_text(node) for node in nodes(tree))


def _is_text(node: ast.stmt) -> bool:
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def body_lines(tree: ast.AST) -> list[int]:
    """Of every function, the lines of its body without the docstring."""
    functions = [node for node in nodes(tree) if isinstance(node, FUNCTIONS)]
    bodies = [node.body[1:] if _is_text(node.body[0]) else node.body for node in functions]
    return [(body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0 for body in bodies]


def operator_tables(tree: ast.Module, names: frozenset[str]) -> list[int]:
    """The lines where a collection of three or more operator names begins; layers share theirs in ``__all__``."""
    public = [node.value for node in tree.body if isinstance(node, ast.Assign) and "__all__" in ast.unparse(node)]
    found = []
    for node in nodes(tree):
        items = node.elts if isinstance(node, (ast.Set, ast.Tuple, ast.List)) else []
        items = [key for key in node.keys if key] if isinstance(node, ast.Dict) else items
        count = sum(isinstance(item, ast.Constant) and item.value in names for item in items)
        if count >= 3 and node not in public:
            found.append(node.lineno)
    return found


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (
    ast.If, ast.IfExp, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case, ast.comprehension
)  # fmt: skip


def complexity(function: ast.AST) -> int:
    """The cyclomatic complexity of a function: 1, and 1 for each branch, also in expressions; inner functions apart."""
    return 1 + sum(map(_branches, ast.iter_child_nodes(function)))


def _branches(node: ast.AST) -> int:
    if isinstance(node, FUNCTIONS):
        return 0
    own = len(node.values) - 1 if isinstance(node, ast.BoolOp) else isinstance(node, BRANCHES)
    own += len(node.ifs) if isinstance(node, ast.comprehension) else 0
    return own + sum(map(_branches, ast.iter_child_nodes(node)))


def tokens(text: str) -> int:
    """The tokens of a source without comments, docstrings and layout; a string with fields is one, in all versions."""
    count, line, depth = 0, list[int](), 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name == "NEWLINE":
            count += 0 if set(line) == {tokenize.STRING} else len(line)
            line.clear()
        elif name not in ("COMMENT", "NL", "INDENT", "DEDENT", "ENDMARKER") and not depth:
            line.append(token.type)
        depth += name.endswith("STRING_START") - name.endswith("STRING_END")
    return count


def asking(tree: ast.AST) -> int:
    """The docstrings that open with a word that asks, and so do not say what the thing is or does."""
    documented = (*FUNCTIONS, ast.ClassDef, ast.Module)
    texts = [ast.get_docstring(node) for node in nodes(tree) if isinstance(node, documented)]
    return sum(re.match(r"(What|Whether|How|Where|Which)\b", text or "") is not None for text in texts)


def parameter_counts(trees: Mapping[str, ast.Module]) -> Iterator[int]:
    """The number of parameters of each internal function: no command, and in no ``__all__``, nor is its class."""
    assigned = [node for tree in trees.values() for node in tree.body if isinstance(node, ast.Assign)]
    lists = [node.value for node in assigned if ast.unparse(node.targets[0]) == "__all__"]
    public = {part.value for each in lists for part in ast.walk(each) if isinstance(part, ast.Constant)} | {"command"}
    for node in (node for tree in trees.values() for node in tree.body):
        if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and node.name not in public:
            for function in node.body if isinstance(node, ast.ClassDef) else [node]:
                if isinstance(function, FUNCTIONS):
                    yield sum(isinstance(part, ast.arg) for part in ast.walk(function.args))


# -- the table


def measure(checkout: Path) -> dict[str, str]:
    """What is counted in a checkout, by its name in the table."""
    return {name: f"{count:,}" if isinstance(count, int) else str(count) for name, count in counted(checkout).items()}


def counted(checkout: Path) -> dict[str, int | float | str]:
    """The figures of a checkout by name."""
    from onnx.defs import get_all_schemas

    names = frozenset(schema.name for schema in get_all_schemas() if schema.domain == "")
    modules = module_files(sources(checkout))
    texts = {name: file.read_text(encoding="utf-8") for name, file in modules.items()}
    trees = {name: parsed(file) for name, file in modules.items()}
    tests = "".join(file.read_text(encoding="utf-8") for file in (checkout / "tests").rglob("*.py"))
    lengths = [length for tree in trees.values() for length in body_lines(tree)]
    functions = [node for tree in trees.values() for node in nodes(tree) if isinstance(node, FUNCTIONS)]
    found = list(imports(modules))
    pairs = {(room(each.source), room(each.target)) for each in found}
    page = checkout / "docs" / "architecture.md"
    up = upward(found, floors(page.read_text(encoding="utf-8"))) if page.exists() else None
    tables = [
        room(name) for name, tree in trees.items() if not name.startswith(ARRAY) for _ in operator_tables(tree, names)
    ]
    total = sum(map(statements, trees.values()))
    return {
        "files": len(modules),
        "lines": sum(len(text.splitlines()) for text in texts.values()),
        "statements": total,
        "tokens a statement": round(sum(map(tokens, texts.values())) / (total or 1), 2),
        "functions": len(lengths),
        "functions of more than 40 lines": sum(length > 40 for length in lengths),
        "functions of more than 60 lines": sum(length > 60 for length in lengths),
        "functions of complexity above 15": sum(complexity(function) > 15 for function in functions),
        "parameters of an internal function": max(parameter_counts(trees), default=0),
        "docstrings that open with What, …": sum(map(asking, trees.values())),
        "# fmt: skip": sum(text.count("# fmt: skip") for text in texts.values()),
        "imports between folders (pairs)": len({pair for pair in pairs if pair[0] != pair[1]}),
        "imports from a lower floor": "no floors" if up is None else len(up),
        "circles of files": _sizes(circles((each.source, each.target) for each in found)),
        "circles of folders": _sizes(circles(pair for each in found for pair in neighbours(each, modules))),
        "tables of operator names outside the array table": sum(each != "operators" for each in tables),
        "… of them in converters": tables.count("converters"),
        "tests": len(re.findall(r"^ *def test_", tests, re.MULTILINE)),
        "# fmt: skip in tests": tests.count("# fmt: skip"),
    }


def _sizes(found: list[list[str]]) -> str:
    return f"{len(found)} (of {', '.join(str(len(each)) for each in found)})" if found else "0"


def main(checkouts: list[Path]) -> None:
    """Print the table, a column for each checkout."""
    columns = [measure(checkout) for checkout in checkouts]
    for name in columns[0]:
        print(f"{name:48}", *(f"{column[name]:>22}" for column in columns))


# -- the way of a command


def follow(call: Callable[[], object], modules: Mapping[str, Path]) -> list[str]:
    """The modules that a call enters, in order; not what runs while a module is imported.

    A module is entered where a function of it is called, or a generator goes on, and the function called before that
    was another module's. Other threads and processes are not followed.
    """
    names, stops, importing = {str(file): name for name, file in modules.items()}, list[str](), 0

    def note(frame: FrameType, event: str, _: object) -> None:
        nonlocal importing
        code = frame.f_code
        if code.co_name == "_find_and_load" and event in ("call", "return"):
            importing += 1 if event == "call" else -1
        elif event == "call" and not importing and (name := names.get(code.co_filename)) and stops[-1:] != [name]:
            stops.append(name)

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return stops


def way(stops: Sequence[str]) -> str:
    """The number of changes between files, and the files in the order in which a command enters each first.

    Behind a file stands the number of returns to it.
    """
    entered = Counter(stops)
    changes = sum(room(one) != room(other) for one, other in itertools.pairwise(stops))
    counts = f"{len(entered)} files, {len(stops)} changes of file, {changes} of folder"
    found = []
    for name, group in itertools.groupby(entered, room):
        files = (f"{each.removeprefix(f'{PACKAGE}.{name}.')} {entered[each] - 1 or ''}".rstrip() for each in group)
        found.append(f"{name}: {', '.join(files)}")
    return f"{counts}, {len(stops) - len(entered)} returns\n{textwrap.fill(' → '.join(found), 120)}"


def above(floor: str, modules: Mapping[str, Path]) -> dict[str, Path]:
    """The modules on higher floors than a room: those that pass a command on, and not those that compute."""
    order = floors((HERE / "docs" / "architecture.md").read_text(encoding="utf-8"))
    return {name: file for name, file in modules.items() if order.index(room(name)) > order.index(floor)}


def follow_command(words: str) -> None:
    """Run a command of this checkout without its output, and print its way through the rooms above the network."""
    sys.path.insert(0, str(HERE))
    from portable_nn.__main__ import main as command

    sys.argv[1:] = shlex.split(words)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        stops = follow(command, above("network", module_files(sources(HERE))))
    print(way(stops))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--follow"]:
        follow_command(" ".join(sys.argv[2:]))
    else:
        main([Path(name) for name in sys.argv[1:]] or [HERE])
