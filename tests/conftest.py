"""What tests of several folders share."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from functools import cache
from math import gcd

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # Each worker has a core: more threads would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from torch_files import Exported, from_torchvision

settings.register_profile("no deadline", deadline=None)  # A busy machine is no fault.
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


QUICK_CASES = 8
"""How many cases of one test are quick, where it has more: the rest of a grid is long."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Make all but a few cases of large grids long; begin with what takes minutes, so that no core idles at the end."""
    cases = defaultdict[str, list[pytest.Item]](list)
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("long", "sweep")):
            cases[item.nodeid.partition("[")[0]].append(item)
    for grid in cases.values():
        quick = set(spread(len(grid), QUICK_CASES))
        for place, item in enumerate(grid):
            if place not in quick:
                item.add_marker("long")
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


def spread(count: int, most: int) -> Iterator[int]:
    """At most ``most`` places of ``count``: of a product of arguments, each value of each is likely among them."""
    step = next(step for step in range(round(count * 0.618) or 1, 2 * count + 2) if gcd(step, count) == 1)
    return (place * step % count for place in range(min(count, most)))


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
