"""The packages that this one needs, always or for an extra, and the versions that are installed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

NAME: Final = "portable-nn"
"""The distribution."""

State: TypeAlias = Literal["ok", "missing", "too old"]

_REQUIREMENT: Final = re.compile(
    r"""([\w.-]+)(?:\[[^\]]*\])?\s*(?:\(?>=\s*([\d.]+)\)?)?[^;]*(?:;.*extra\s*==\s*["']([\w-]+)["'])?"""
)
"""``matplotlib>=3.10; extra == "plot"``, ``moto[server]>=5.1``."""


class Package(NamedTuple):
    """A package that is needed.

    Args:
        name: its name for pip.
        needed: the oldest version that does, or ``""``.
        extra: the extra that brings it, or ``""`` where it is always needed.
        version: the version that is installed, or ``None``.
    """

    name: str
    needed: str
    extra: str
    version: str | None

    @property
    def state(self) -> State:
        """Whether it is there, and new enough."""
        if self.version is None:
            return "missing"
        return "ok" if _parts(self.version) >= _parts(self.needed) else "too old"

    @property
    def requirement(self) -> str:
        """As pip takes it: ``numpy>=2.1``."""
        return f"{self.name}>={self.needed}" if self.needed else self.name


def packages() -> tuple[Package, ...]:
    """All packages that the installation may need, those first that it always needs."""
    found = [Package(name, needed, extra, _version(name)) for name, needed, extra in map(_read, _requirements())]
    return tuple(sorted(found, key=lambda package: bool(package.extra)))


def command(needed: Iterable[Package]) -> str:
    """The one command that brings packages: by their extras, or by name where they are always needed."""
    chosen = list(needed)
    extras = dict.fromkeys(package.extra for package in chosen if package.extra)
    words = [package.requirement for package in chosen if not package.extra]
    words += [f"{NAME}[{','.join(extras)}]"] if extras else []
    quoted = " ".join(f"'{word}'" for word in words)
    return f"pip install {quoted}" if words else ""


def _requirements() -> Iterable[str]:
    """The requirements of the installed distribution; of a checkout, those that it has written down."""
    try:
        return metadata.requires(NAME) or ()
    except metadata.PackageNotFoundError:
        file = Path(__file__).parents[2] / "pyproject.toml"
        return _of_project(tomllib.loads(file.read_text(encoding="utf-8"))["project"]) if file.is_file() else ()


def _of_project(project: dict[str, dict[str, list[str]]]) -> Iterator[str]:
    yield from project["dependencies"]
    for extra, needed in project["optional-dependencies"].items():
        yield from (f'{each}; extra == "{extra}"' for each in needed)


def _read(requirement: str) -> tuple[str, str, str]:
    found = _REQUIREMENT.match(requirement)
    assert found, requirement
    return found[1], found[2] or "", found[3] or ""


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
