"""The machine as Python sees it: system, processor, memory, and the threads of numpy's BLAS."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

THREAD_VARIABLES: Final = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""Environment variables that set the threads of a BLAS."""

GETTERS: Final = tuple(f"{start}openblas_get_num_threads{end}" for start in ("", "scipy_") for end in ("", "64_"))
"""The names of the function that says how many threads OpenBLAS uses, by how OpenBLAS was built."""

CGROUP: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with the memory that a container may use."""

UNLIMITED: Final = 2**60
"""Limits of so many bytes are none."""


def system() -> str:
    """``Linux 6.1, x86_64``."""
    return f"{platform.system()} {platform.release()}, {platform.machine()}"


def python() -> str:
    """``3.11.7 (CPython), /usr/bin/python3``."""
    return f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}"


def memory() -> int | None:
    """The bytes that this process may use: those of the machine, or of its container; ``None`` if that is not known."""
    found = list[int]()
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for name in CGROUP:
        with suppress(OSError, ValueError):
            found.append(int(Path(name).read_text(encoding="ascii")))
    with suppress(ImportError, ValueError, OSError):
        import resource

        found.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    return min((each for each in found if 0 < each < UNLIMITED), default=None)


def blas() -> tuple[str, int | None]:
    """The BLAS that numpy was built with, and its threads, if it says so."""
    import numpy as np

    config = np.show_config(mode="dicts")
    built = config.get("Build Dependencies", {}).get("blas", {})
    return " ".join(filter(None, (built.get("name"), built.get("version")))) or "unknown", _blas_threads()


def _blas_threads() -> int | None:
    """Ask the OpenBLAS that comes with numpy; nobody else's has a known place."""
    import numpy as np

    folder = Path(np.__file__).parent
    for library in [*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*")]:
        with suppress(OSError):
            loaded = ctypes.CDLL(str(library))
            for name in GETTERS:
                if hasattr(loaded, name):
                    return int(getattr(loaded, name)())
    return None


def thread_variables() -> dict[str, str]:
    """The variables that are set."""
    return {name: os.environ[name] for name in THREAD_VARIABLES if name in os.environ}
