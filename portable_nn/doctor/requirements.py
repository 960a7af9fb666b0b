"""The packages that this one always needs, and the versions that are installed."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

NAME: Final = "portable-nn"
"""The distribution."""

State: TypeAlias = Literal["ok", "missing", "too old"]

_REQUIREMENT: Final = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*(?:\(?>=\s*([\d.]+)\)?)?")
"""``numpy>=2.1``, ``moto[server]>=5.1``."""


class Package(NamedTuple):
    """A package that is needed.

    Args:
        name: its name for pip.
        needed: the oldest version that does, or ``""``.
        version: the version that is installed, or ``None``.
    """

    name: str
    needed: str
    version: str | None

    @property
    def state(self) -> State:
        """The state of the package: present and new enough, or not."""
        if self.version is None:
            return "missing"
        return "ok" if _parts(self.version) >= _parts(self.needed) else "too old"

    @property
    def requirement(self) -> str:
        """As pip takes it: ``numpy>=2.1``."""
        return f"{self.name}>={self.needed}" if self.needed else self.name


def packages() -> tuple[Package, ...]:
    """The packages that every installation needs."""
    return tuple(Package(name, needed, _version(name)) for name, needed in map(_read, _requirements()))


def _requirements() -> list[str]:
    """The requirements of the installed distribution without those of extras; of a checkout, the ones in its file."""
    try:
        return [each for each in metadata.requires(NAME) or () if "extra ==" not in each]
    except metadata.PackageNotFoundError:
        file = Path(__file__).parents[2] / "pyproject.toml"
        return (
            list(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["dependencies"]) if file.is_file() else []
        )


def _read(requirement: str) -> tuple[str, str]:
    """The name of a package, and the oldest version that will do."""
    found = _REQUIREMENT.match(requirement)
    assert found, requirement
    return found[1], found[2] or ""


def _version(name: str) -> str | None:
    """The version of a package; onnxruntime has several distributions, of which one is installed."""
    for each in (name, *(f"{name}-{kind}" for kind in BUILDS if name == "onnxruntime")):
        try:
            return metadata.version(each)
        except metadata.PackageNotFoundError:
            continue
    return None


BUILDS: Final = ("gpu", "directml", "openvino", "qnn", "migraphx", "rocm", "silicon")
"""Distributions of onnxruntime with other providers."""


def _parts(version: str) -> tuple[int, ...]:
    """``1.2.3rc1`` as numbers that can be compared."""
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    parts = [int(part) for part in numbers[0].split(".")] if numbers else []
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)
