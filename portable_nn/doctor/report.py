"""The examination of an installation: ``examine``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

from portable_nn.core import limits
from portable_nn.core.errors import PortableNNError
from portable_nn.core.names import EngineKind
from portable_nn.core.text import fields, quantity, size, table
from portable_nn.core.version import __version__
from portable_nn.doctor import machine
from portable_nn.doctor.requirements import Package, packages

WORKS: Final = "works"

NONE: Final = "-"
"""The text for a version that is not there."""


class Blas(NamedTuple):
    """The linear algebra of numpy, its threads (``None`` where it does not say), and the variables that set them."""

    name: str
    threads: int | None
    variables: dict[str, str]


@dataclass(frozen=True)
class Diagnosis:
    """The state of an installation.

    Args:
        version, folder: this package.
        python, system: the interpreter and the machine.
        cores: the processor cores that the process may use.
        memory: the bytes of memory that it may use, or ``None`` if that is not known.
        claims: the bytes of memory that a file may declare, whatever it stores; or what is wrong with the setting.
        blas: the linear algebra of numpy, or what is wrong with it.
        engines: each engine, and ``works``, or what is wrong with it.
        providers: what onnxruntime can run on here.
        packages: the packages that are always needed.
    """

    version: str
    folder: str
    python: str
    system: str
    cores: int
    memory: int | None
    claims: int | str
    blas: Blas | str
    engines: dict[str, str]
    providers: tuple[str, ...]
    packages: tuple[Package, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults of packages, engines and settings. Empty where all is well."""
        needed = (f"{each.name} is {each.state}" for each in self.packages if each.state != "ok")
        engines = (f"{name}: {state}" for name, state in self.engines.items() if state != WORKS)
        settings = (each for each in (self.claims, self.blas) if isinstance(each, str))
        return (*needed, *engines, *settings)

    @property
    def remedy(self) -> str:
        """The command that installs the packages that are missing or too old; empty where none is."""
        missing = " ".join(f"'{each.requirement}'" for each in self.packages if each.state != "ok")
        return f"pip install {missing}" if missing else ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            **{name: value for name, value in asdict(self).items() if name not in {"packages", "blas"}},
            "blas": self.blas if isinstance(self.blas, str) else self.blas._asdict(),
            "providers": list(self.providers),
            "packages": [{**each._asdict(), "state": each.state} for each in self.packages],
            "remedy": self.remedy,
            "faults": list(self.faults),
        }

    def as_text(self) -> str:
        """For people."""
        parts = [
            fields(self._facts()),
            table(("package", "version", "needed", "state"), self._needed()),
            "".join(f"fault: {each}\n" for each in self.faults) or "all is well\n",
        ]
        if self.remedy:
            parts.append(f"{self.remedy}\n")
        return "\n".join(parts)

    def _facts(self) -> list[tuple[str, str]]:
        claims = (
            f"{size(self.claims)} or as much as it stores ({limits.VARIABLE})" if isinstance(self.claims, int) else NONE
        )
        return [
            ("portable-nn", f"{self.version}, {self.folder}"),
            ("Python", self.python),
            ("system", self.system),
            ("cores", f"{self.cores}"),
            ("memory", size(self.memory) if self.memory else "unknown"),
            ("a file may declare", claims),
            ("BLAS", self.blas if isinstance(self.blas, str) else _blas_text(self.blas)),
            *((f"engine {name}", state) for name, state in self.engines.items()),
            ("providers", ", ".join(self.providers) or NONE),
        ]

    def _needed(self) -> list[tuple[str, str, str, str]]:
        return [(each.name, each.version or NONE, each.needed, each.state) for each in self.packages]


def _blas_text(blas: Blas) -> str:
    threads = "threads unknown" if blas.threads is None else quantity(blas.threads, "thread")
    variables = "".join(f", {name}={value}" for name, value in blas.variables.items())
    return f"{blas.name}, {threads}{variables}"


def examine() -> Diagnosis:
    """Examine the installation. Whatever is wrong is written down, and raises nothing."""
    return Diagnosis(
        __version__,
        str(Path(__file__).parents[1]),
        machine.python(),
        machine.system(),
        _cores(),
        machine.memory(),
        _claims(),
        _blas(),
        {name: _tried(name) for name in get_args(EngineKind)},
        _providers(),
        packages(),
    )


def _claims() -> int | str:
    try:
        return limits.limit()
    except PortableNNError as error:
        return str(error)


def _blas() -> Blas | str:
    try:
        return Blas(*machine.blas(), machine.thread_variables())
    except Exception as error:  # A package that is broken may raise anything.
        return _told(error)


def _providers() -> tuple[str, ...]:
    try:
        from portable_nn.onnx.providers import installed

        return tuple(installed())
    except Exception:  # The engine tells what is wrong.
        return ()


def _cores() -> int:
    from portable_nn.engines.threads import cores

    return cores()


def _tried(engine: EngineKind) -> str:
    """Compute something whose result is known: ReLU of (1, 2) · ((1, 2, 3), (4, 5, 6)) + (1, 0, -40)."""
    try:
        import numpy as np

        from portable_nn.layers import Dense, Input, ReLU
        from portable_nn.network import Sequential

        weight, bias = np.array([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]), np.array([1.0, 0.0, -40.0])
        layer = Dense(3, weight_initial=weight, bias_initial=bias)
        found = Sequential(Input(2), layer, ReLU(), seed=0).predict([[1, 2]], engine=engine).tolist()
        return WORKS if found == [[10, 12, 0]] else f"computes {found} in place of [[10, 12, 0]]"
    except Exception as error:  # A package that is broken may raise anything.
        return _told(error)


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
