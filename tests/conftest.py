"""What tests of several folders share."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Generator
from functools import cache

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes begins first, so that no core is without work at the end."""
    items.sort(key=lambda item: item.get_closest_marker("minutes") is None)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Networks of torchvision by name, each exported once in a run."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    folder = tmp_path_factory.mktemp("torchvision")
    return cache(lambda name: from_torchvision(name, folder))
