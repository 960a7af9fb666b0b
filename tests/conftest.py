"""What tests of several folders share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # ``foreign`` and ``torch_files`` lie here.

from torch_files import Exported, from_torchvision


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """Networks of torchvision by name, each exported once in a run."""
    pytest.importorskip("torch")
    pytest.importorskip("torchvision")
    folder = tmp_path_factory.mktemp("torchvision")
    return cache(lambda name: from_torchvision(name, folder))
