"""What tests of several folders share."""

from __future__ import annotations

import gc
import importlib.util
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

if "PYTEST_XDIST_WORKER" in os.environ:  # Each worker has a core: more threads would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from torch_files import Exported, from_torchvision

# A busy machine is no fault.
settings.register_profile("no deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no deadline")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Of the many objects that the tests are, none is garbage before the end: looking for some takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


QUICK_CASES = 4
"""How many cases of one test are quick, where it has more: the rest of a grid is long."""

LEFT_OUT = pytest.StashKey[Counter[str]]()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make all but a few cases of large grids long; begin with what takes minutes, so that no core idles at the end."""
    grids = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("long", "sweep")):
            grids[item.nodeid.partition("[")[0]].append(item)
    for grid in grids.values():
        quick = quick_cases(grid)
        for item in grid:
            if item not in quick:
                item.add_marker("long")
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


def quick_cases(grid: Sequence[pytest.Item]) -> Sequence[pytest.Item]:
    """Of the cases of a test those that are quick.

    The first case for each word of ``@pytest.mark.quick``; without that, the first values of all arguments together,
    then the second ones, and so on, from the beginning again where an argument has no more: of a table, the first rows.
    """
    if len(grid) == 1:
        return grid
    if marker := grid[0].get_closest_marker("quick"):
        words = {word: re.compile(rf"[\[-]{word}(?![a-zA-Z])") for word in marker.args}
        found = {word: next((item for item in grid if form.search(item.nodeid)), None) for word, form in words.items()}
        if unknown := [word for word, item in found.items() if item is None]:
            raise pytest.UsageError(f"{grid[0].nodeid}: no case is called {', '.join(unknown)}: mend its mark 'quick'")
        return [item for item in found.values() if item]
    if len(grid) <= QUICK_CASES:
        return grid
    values = defaultdict[str, dict[int, int]](dict)
    rows = [
        {name: values[name].setdefault(id(value), len(values[name])) for name, value in item.callspec.params.items()}
        for item in grid
    ]
    diagonal = [{name: place % len(seen) for name, seen in values.items()} for place in range(QUICK_CASES)]
    chosen = [grid[rows.index(row)] for row in diagonal if row in rows]
    return [*chosen, *(item for item in grid if item not in chosen)][:QUICK_CASES]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each worker has its part of the files, and imports and makes only what they need, until it helps another."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


# -- what a run leaves out, in one line at its end; workers tell the process that prints it


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        kinds = (name for name in ("sweep", "long") if item.get_closest_marker(name))
        item.config.stash.setdefault(LEFT_OUT, Counter())[next(kinds, "")] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if output := getattr(session.config, "workeroutput", None):
        output["left out"] = dict(session.config.stash.get(LEFT_OUT, Counter()))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash[LEFT_OUT] = Counter(getattr(node, "workeroutput", {}).get("left out", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(LEFT_OUT, Counter())
    if words := [f"{found[kind]:,} {kind} (-m {kind})" for kind in ("long", "sweep") if found[kind]]:
        terminalreporter.write_line(f"left out: {', '.join(words)}")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Networks of torchvision by name, each exported once in a run."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    folder = tmp_path_factory.mktemp("torchvision")
    return cache(lambda name: from_torchvision(name, folder))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """PyTorch computes on one thread: two libraries that share the cores are slower than either alone."""
    if importlib.util.find_spec("torch") is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


STAND_IN = """
import os, signal, sys, time
import numpy as np, onnx
from onnx.reference import ReferenceEvaluator


def load(task):
    model = onnx.load(str(task.path))
    operators = [node.op_type for node in model.graph.node]
    sizes = [dim.HasField("dim_value") for value in model.graph.input for dim in value.type.tensor_type.shape.dim]
    {at_load}
    evaluator = ReferenceEvaluator(model)

    def run(feeds):
        found = evaluator.run(None, dict(feeds))
        {at_run}
        return dict(zip([port.name for port in task.outputs], found))

    return run
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Puts a runtime in the table: the reference evaluator, with faults."""

    from portable_nn.runtimes.table import RUNTIMES, Runtime

    def put(*, at_load: str = "pass", at_run: str = "pass", packages: tuple[str, ...] = ("numpy",)) -> str:
        name = f"stand_in_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(STAND_IN.format(at_load=at_load, at_run=at_run))
        monkeypatch.syspath_prepend(str(tmp_path))
        row = Runtime(title="OpenCV", module=name, packages=packages, needs="pip install it")
        monkeypatch.setitem(RUNTIMES, name, row)  # type: ignore[arg-type]
        return name

    return put
