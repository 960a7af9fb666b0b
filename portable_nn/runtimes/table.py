"""The table of runtimes, and of code bases, which run what a network becomes in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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
        module: the module with its ``load``, or with a function that is named behind a colon.
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


def _row(
    title: str,
    module: str,
    *packages: str,
    needs: str = "pip install 'portable-nn[interop]'",
    takes: Literal["onnx", "network"] = "onnx",
) -> Runtime:
    return Runtime(title=title, module=f"{__package__}.{module}", packages=packages, needs=needs, takes=takes)


_code_base: Final = partial(_row, takes="network")
_OPENCV: Final = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
_ONNXRUNTIME: Final = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")

RUNTIMES: Final[Mapping[str, Runtime]] = {
    "onnxruntime": _row("onnxruntime", "onnx_engines:onnxruntime", *_ONNXRUNTIME, needs="pip install onnxruntime"),
    "reference": _row("onnx.reference", "onnx_engines:reference", "onnx", needs="pip install onnx"),
    "openvino": _row("OpenVINO", "onnx_engines:openvino", "openvino"),
    "tract": _row("tract", "onnx_engines:tract", "tract"),
    "opencv": _row("OpenCV", "onnx_engines:opencv", *_OPENCV),
    "mnn": _row("MNN", "mnn", "MNN"),
    "web": _row("onnxruntime-web", "web", needs="npm install onnxruntime-web"),
    "torch": _code_base("PyTorch", "code_bases:torch", "torch", needs="pip install 'portable-nn[torch]'"),
    "jax": _code_base("JAX", "code_bases:jax", "jax", needs="pip install 'portable-nn[jax]'"),
    "keras": _code_base("Keras", "code_bases:keras", "keras", needs="pip install 'portable-nn[keras]'"),
    "numpy": _code_base("numpy file", "code_bases:numpy", "numpy", needs="pip install numpy"),
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
