"""The table of runtimes, and of code bases, which run what a network becomes in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Final, Literal

from portable_nn.core.errors import UsageError
from portable_nn.core.text import either

ALL: Final = "all"
"""The word for every runtime of the table."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A program that runs models.

    Attributes:
        title: its name, as its users write it. Limits of operators that are known of it (``check`` reports them) have
            it in their text.
        module: the module with its ``load``.
        packages: the distributions that bring it, of which one is installed; empty where ``version`` of its module
            says what there is.
        needs: what installs it.
        takes: what ``load`` finds at the path: an ONNX file, or the weight file of a network.
    """

    title: str
    module: str
    packages: tuple[str, ...] = ()
    needs: str
    takes: Literal["onnx", "network"] = "onnx"

    @property
    def version(self) -> str | None:
        """The version that is installed, or ``None``."""
        if not self.packages:
            found: str | None = import_module(self.module).version()
            return found
        for name in self.packages:
            try:
                return metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return None


def _light(title: str, module: str, *packages: str) -> Runtime:
    needs = "pip install 'portable-nn[interop]'"
    return Runtime(title=title, module=f"{__package__}.{module}", packages=packages, needs=needs)


def _code_base(title: str, module: str, *packages: str, needs: str) -> Runtime:
    return Runtime(title=title, module=f"{__package__}.{module}", packages=packages, needs=needs, takes="network")


_OPENCV: Final = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
_ONNXRUNTIME: Final = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")

RUNTIMES: Final[Mapping[str, Runtime]] = {
    "onnxruntime": Runtime(
        title="onnxruntime",
        module=f"{__package__}.onnxruntime",
        packages=_ONNXRUNTIME,
        needs="pip install onnxruntime",
    ),
    "reference": Runtime(
        title="onnx.reference", module=f"{__package__}.reference", packages=("onnx",), needs="pip install onnx"
    ),
    "openvino": _light("OpenVINO", "openvino", "openvino"),
    "tract": _light("tract", "tract", "tract"),
    "opencv": _light("OpenCV", "opencv", *_OPENCV),
    "mnn": _light("MNN", "mnn", "MNN"),
    "web": Runtime(title="onnxruntime-web", module=f"{__package__}.web", needs="npm install onnxruntime-web"),
    "torch": _code_base("PyTorch", "torch", "torch", needs="pip install 'portable-nn[torch]'"),
    "jax": _code_base("JAX", "jax", "jax", needs="pip install 'portable-nn[jax]'"),
    "keras": _code_base("Keras", "keras", "keras", needs="pip install 'portable-nn[keras]'"),
    "numpy": _code_base("numpy file", "numpy", "numpy", needs="pip install numpy"),
    "c": _code_base("C file", "c", needs="a C compiler: cc, gcc or clang"),
}
"""Every runtime and code base by the name that users choose it with."""


def chosen(runtimes: str | Sequence[str]) -> tuple[str, ...]:
    """The names of runtimes that are asked for: ``"all"``, or some, also as ``"openvino,tract"``.

    Raises ``UsageError`` for names that are not in the table.
    """
    names = [part.strip() for part in runtimes.split(",")] if isinstance(runtimes, str) else [*runtimes]
    if names == [ALL]:
        return tuple(RUNTIMES)
    unknown = [name for name in names if name not in RUNTIMES]
    if unknown or not names:
        found = f"not '{unknown[0]}'" if unknown else "and at least one"
        raise UsageError(f"runtimes must be {ALL}, or among {either(RUNTIMES)}, {found}")
    return tuple(dict.fromkeys(names))
