"""Changes the code in one place after another, and names the changes that no test notices.

``PYTHONPATH=tests python -m pytest -p mutants -n 2 -m "not sweep"`` records, once, in ``build/mutants`` which cases run
each line. ``python tests/mutants.py [FOLDER…] [--count 300] [--seed 0]`` then samples changes of folders (by default
``ROOMS``; a file and a line, ``file.py:7``, do as well), and runs for each the cases that run its line, the quickest
first, in a process that is forked after large packages were imported. The checkout stays as it is: the import alone
sees a change.

What is said in messages is left alone, and so are annotations. What runs while a module is imported, such as a row of a
table, is tried with cases that run anything in its file, first those that have one of its words in their name, or run
a line that has one. A case that runs a line in another process, or in source that was printed, is not recorded: what
survives is tried by hand with the tests of such.
"""

from __future__ import annotations

import argparse
import ast
import builtins
import hashlib
import linecache
import os
import pickle
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

import pytest

HERE = Path(__file__).resolve().parents[1]
RECORDS = HERE / "build" / "mutants"
ROOMS = *(f"portable_nn/{name}" for name in ("format", "onnx", "operators", "training")), "converters"
LARGE = "numpy", "onnx", "onnxruntime", "torch", "sklearn", "keras"
EACH, SECONDS, MOST = 8, 30.0, 120
"""How many cases of one test a change is tried with, how long all its cases may take, and how many they may be."""


def load_by(code: Callable[[str, str], CodeType], files: Callable[[str], bool]) -> None:
    """Compile the modules of some files by a function of the name in the checkout, and of the path."""
    plain = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, module: str) -> CodeType | None:
        name = os.path.relpath(loader.path, HERE)
        return code(name, loader.path) if files(name) else plain(loader, module)

    SourceFileLoader.get_code = get_code


def digest(name: str) -> str:
    return hashlib.sha256((HERE / name).read_bytes()).hexdigest() if (HERE / name).exists() else ""


# -- which cases run a line: a plugin of pytest


class Counted(ast.NodeTransformer):
    """Lets each statement, and each lambda, say its number before it runs."""

    def __init__(self, name: str) -> None:
        self.name = name

    def call(self, node: ast.stmt | ast.expr) -> ast.Call:
        LINES.append((self.name, node.lineno))
        called = ast.Call(ast.Name("_runs_line", ast.Load()), [ast.Constant(len(LINES) - 1)], [])
        return ast.copy_location(called, node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if isinstance(node, ast.Lambda):
            node.body = ast.copy_location(ast.BoolOp(ast.Or(), [self.call(node.body), node.body]), node.body)
            return node
        for field in ("body", "orelse", "finalbody"):
            if isinstance(found := getattr(node, field, None), list):
                first = documented(node) if field == "body" else 0
                first += sum(isinstance(each, ast.ImportFrom) and each.module == "__future__" for each in found)
                counted = (part for each in found[first:] for part in (ast.Expr(self.call(each)), each))
                setattr(node, field, [*found[:first], *counted])
        return node


def documented(node: ast.AST) -> int:
    """How many statements the docstring is, 0 or 1."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    return int(isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None)


if __name__ == "mutants":  # … as pytest calls a plugin.
    LINES = list[tuple[str, int]]()
    RUN = set[int]()
    FOUND = defaultdict[int, dict[str, list[tuple[float, str]]]](lambda: defaultdict(list))

    def _counted(name: str, path: str) -> CodeType:
        tree = Counted(name).visit(ast.parse(Path(path).read_bytes()))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

    builtins._runs_line = RUN.add
    load_by(_counted, lambda name: name.startswith(ROOMS))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
        RUN.clear()
        begin, failed = time.process_time(), item.session.testsfailed
        answer = yield
        if item.session.testsfailed > failed:
            return answer
        case = time.process_time() - begin, item.nodeid
        for line in RUN.copy():  # … as other threads still run some.
            cases = FOUND[line][item.nodeid.partition("[")[0]]
            if len(cases) < EACH or case < cases[-1]:
                cases[EACH - 1 :] = [case]
                cases.sort()
        return answer

    def pytest_sessionfinish(session: pytest.Session) -> None:
        if FOUND:
            RECORDS.mkdir(parents=True, exist_ok=True)
            names = {name: digest(name) for name, _ in LINES}
            rows = [
                (*LINES[line], [case for cases in tests.values() for case in cases]) for line, tests in FOUND.items()
            ]
            (RECORDS / f"{time.time_ns()}").write_bytes(pickle.dumps((names, rows)))


Cases = dict[str, float]
"""How long each takes."""


def recorded() -> dict[str, dict[int, Cases]]:
    """For each file and line the cases that run it, for line 0 those of the whole file."""
    files = defaultdict[str, dict[int, Cases]](lambda: defaultdict(dict))
    for record in sorted(RECORDS.glob("*")):
        names, rows = pickle.loads(record.read_bytes())
        same = {name for name, found in names.items() if digest(name) == found}
        for name, line, cases in rows:
            for place in {0, line} if name in same else {0}:
                files[name][place].update({case: seconds for seconds, case in cases})
    return files


# -- changes of a text


class Change(NamedTuple):
    """A new text between two bytes of a file, on a line, and the line whose cases may notice it, or 0."""

    name: str
    begin: int
    end: int
    new: str
    line: int
    run: int

    def text(self) -> bytes:
        old = (HERE / self.name).read_bytes()
        return old[: self.begin] + self.new.encode() + old[self.end :]

    def __str__(self) -> str:
        lines = self.text().decode().splitlines()
        return f"{self.name}:{self.line}: {lines[self.line - 1].strip()}"


PAIRS = (
    *((ast.Lt, ast.LtE), (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)),
    *((ast.And, ast.Or), (ast.Add, ast.Sub), (ast.Mult, ast.FloorDiv), (ast.BitAnd, ast.BitOr)),
)
SWAPPED = dict[type[ast.AST], type[ast.AST]](
    [*PAIRS, *(pair[::-1] for pair in PAIRS), (ast.Div, ast.Mult), (ast.Mod, ast.FloorDiv), (ast.Pow, ast.Mult)]
)
SILENT = re.compile(r"__repr__|__str__|__all__|TYPE_CHECKING|cast|TypeVar|lru_cache|warn|.*Error|.*Warning|.*refuse\w*")
"""Names of functions, values and calls in which nothing is changed, as that is typing, words or speed."""


def variants(node: ast.AST) -> Iterator[str]:
    """The texts by which a node may be replaced."""
    match node:
        case ast.Compare(left, [op, *rest], right) if type(op) in SWAPPED:
            yield f"({ast.unparse(ast.Compare(left, [SWAPPED[type(op)](), *rest], right))})"
        case ast.BoolOp(op, values):
            yield f"({ast.unparse(ast.BoolOp(SWAPPED[type(op)](), values))})"
        case ast.BinOp(left, op, right) if type(op) in SWAPPED and not (is_text(left) or is_text(right)):
            yield f"({ast.unparse(ast.BinOp(left, SWAPPED[type(op)](), right))})"
        case ast.UnaryOp(ast.Not() | ast.USub(), operand):
            yield f"({ast.unparse(operand)})"
        case ast.Constant(bool() as value):
            yield str(not value)
        case ast.Constant(int() | float() as value):
            yield from (f"({value + 1})", f"({value - 1})")
        case ast.Return(ast.expr() as value) if ast.unparse(value) != "None":
            yield "return None"
        case ast.Break() | ast.Continue():
            yield "break" if isinstance(node, ast.Continue) else "continue"
        case ast.Raise() | ast.AugAssign() | ast.Delete() | ast.Expr(ast.Call() | ast.Yield() | ast.YieldFrom()):
            yield "pass"
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield "pass"


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def is_silent(node: ast.AST) -> bool:
    match node:
        case (
            ast.FunctionDef(name=name)
            | ast.Assign([ast.Name(name)])
            | ast.AnnAssign(ast.Name(name))
            | ast.Call(ast.Name(name) | ast.Attribute(attr=name))
            | ast.If(ast.Name(name))
        ):
            return SILENT.fullmatch(name) is not None
    return isinstance(node, ast.Assert | ast.JoinedStr | ast.Import | ast.ImportFrom)


def changes(name: str) -> Iterator[Change]:
    """All changes of a file."""
    text = (HERE / name).read_bytes()
    starts = [0, *(found.end() for found in re.finditer(b"\n", text))]

    def change(node: ast.expr | ast.stmt, new: str, run: int) -> Change:
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[(node.end_lineno or 0) - 1]
        return Change(name, begin, end + (node.end_col_offset or 0), new, node.lineno, run)

    def within(node: ast.AST, run: int) -> Iterator[Change]:
        """Those in a node that cases of the line ``run`` run."""
        if isinstance(node, ast.FunctionDef):
            run = next((each.lineno for each in node.body[documented(node) :]), 0)
        elif isinstance(node, ast.Lambda):
            run = node.body.lineno
        elif isinstance(node, ast.ClassDef):
            run = 0
        elif isinstance(node, ast.stmt) and run:
            run = node.lineno
        if isinstance(node, ast.expr | ast.stmt):
            yield from (change(node, new, run) for new in variants(node))
        if isinstance(node, ast.Dict):
            keys = (key for key in node.keys if isinstance(key, ast.Constant) and is_text(key))
            yield from (change(key, repr(f"{key.value}?"), run) for key in keys)
        for field, value in ast.iter_fields(node):
            said = isinstance(node, ast.Raise) or field in {"annotation", "returns", "bases"}
            if not said and (field != "keywords" or isinstance(node, ast.Call)):
                for each in value if isinstance(value, list) else [value]:
                    if isinstance(each, ast.AST) and not is_silent(each):
                        yield from within(each, run)

    return within(ast.parse(text), 0)


# -- a change, and the cases that may notice it


def chosen(change: Change, lines: dict[int, Cases]) -> Cases:
    """The cases for a change, in order: first one of each test, the quickest first."""
    text = (HERE / change.name).read_text(encoding="utf-8").splitlines()
    words, near = set[str](), set[str]()
    if change.run not in lines:
        words = set(re.findall(WORD, text[change.line - 1])) - COMMON
        alike = (run for run in lines if run and not words.isdisjoint(re.findall(WORD, text[run - 1])))
        near = {case for run in alike for case in lines[run]}
    cases = lines.get(change.run) or lines.get(0, {})

    def rank(case: str) -> tuple[int, float]:
        return -(not words.isdisjoint(re.findall(r"\w+", case))) - (case in near), cases[case]

    ranks, seen, found = dict[str, tuple[int, int, float]](), Counter[str](), Cases()
    for case in sorted(cases, key=rank):
        test = case.partition("[")[0]
        ranks[case] = rank(case)[0], seen[test], cases[case]
        seen[test] += 1
    for case in sorted(ranks, key=lambda case: ranks[case]):
        if ranks[case][1] < EACH and len(found) < MOST and sum(found.values()) + cases[case] < SECONDS:
            found[case] = cases[case]
    return found


WORD: Final = r"[A-Za-z]\w{2,}"
COMMON: Final = frozenset({"Final", "None", "True", "False", "int", "str", "bool", "float", "lambda", "return"})
"""Words that say nothing of what a line is about."""


class Only:
    """A plugin that runs some cases in their order, each within a limit of processor time, and notes which one runs."""

    def __init__(self, cases: Cases, note: Path) -> None:
        self.cases, self.note = cases, note

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[case] for case in self.cases if case in found]

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.note.write_text(nodeid, encoding="utf-8")
        signal.setitimer(signal.ITIMER_VIRTUAL, 20 + 5 * self.cases[nodeid])  # … of which the process dies.


def answer_of(change: Change, cases: Cases, folder: Path) -> str:
    """Whether a case notices a change: one that passes without the change, or else it is left out of ``cases``."""
    while cases:
        note = folder / "case"
        note.write_text(next(iter(cases)), encoding="utf-8")
        code = notices(change, cases, folder)
        if answer := {0: "survived", 4: "not tried", 5: "not tried"}.get(code):
            return answer
        case = note.read_text(encoding="utf-8")
        if case not in SOUND:
            SOUND[case] = notices(None, {case: cases[case]}, folder) == 0
        if SOUND[case]:
            return "killed"
        del cases[case]
    return "run by no case"


SOUND = dict[str, bool]()
"""Whether a case that noticed a change passes without it, in such a process too."""


def notices(change: Change | None, cases: Cases, folder: Path) -> int:
    """Run cases with a change in a process of its own: the exit code of pytest, or minus a signal."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(status)
    code = 3
    try:
        os.setsid()
        signal.alarm(120 + int(10 * sum(cases.values())))
        resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, 8 << 30))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        if change:
            text, path = change.text(), str(HERE / change.name)
            linecache.cache[path] = len(text), None, text.decode().splitlines(keepends=True), path
            load_by(lambda _, path: compile(text, path, "exec", dont_inherit=True), lambda name: name == change.name)
        files = sorted({case.partition("::")[0] for case in cases})
        options = ["-x", "-q", "-m", "", "-p", "no:cacheprovider", "--hypothesis-seed=0", f"--basetemp={folder}/cases"]
        code = int(pytest.main([*options, *files], plugins=[Only(cases, folder / "case")]))
    finally:
        os._exit(code)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", default=ROOMS, help="folders, files, or file.py:LINE")
    parser.add_argument("--count", type=int, default=300, help="how many changes")
    parser.add_argument("--seed", type=int, default=0, help="which")
    options = parser.parse_args(arguments)
    found = []
    for folder, _, line in (each.partition(":") for each in options.folders):
        for path in sorted((HERE / folder).rglob("*.py")) if (HERE / folder).is_dir() else [HERE / folder]:
            found += [each for each in changes(str(path.relative_to(HERE))) if line in {"", str(each.line)}]
    files = recorded()
    if not files:
        sys.exit('nothing is recorded yet: python -m pytest -p mutants -n 2 -m "not sweep"')
    os.environ.setdefault("KERAS_BACKEND", "torch")
    for name in LARGE:
        import_module(name)
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(HERE)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        for change in random.Random(options.seed).sample(found, min(options.count, len(found))):
            cases = chosen(change, files.get(change.name, {}))
            answer = answer_of(change, cases, Path(folder))
            counts[answer] += 1
            if answer != "killed":
                print(f"{answer} ({len(cases)} cases): {change}", flush=True)
    print(f"{counts.total()} of {len(found)} changes:", ", ".join(f"{n} {word}" for word, n in counts.most_common()))


if __name__ == "__main__":
    main(sys.argv[1:])
