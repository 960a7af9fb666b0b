"""ONNX files that PyTorch's exporter writes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple


class Exported(NamedTuple):
    """A module, ready to run, and the ONNX file of it."""

    module: Any
    path: Path


def to_onnx(module: Any, path: Path, shape: tuple[int, ...], **options: Any) -> Path:
    """The file of ``module``, whose input ``x`` has that shape, but any number of examples, ``N``."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The exporter that needs no further package warns that it is the old one.
        torch.onnx.export(
            module,
            (torch.zeros(shape),),
            str(path),
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            **{"dynamic_axes": {"x": {0: "N"}, "y": {0: "N"}}, **options},
        )
    return path


def from_torchvision(name: str, folder: Path) -> Exported:
    """A network for pictures (N, 3, 224, 224), all weights drawn anew, so that no two are alike."""
    import torch
    import torchvision

    torch.manual_seed(0)
    module = getattr(torchvision.models, name)(weights=None).eval()
    for value in [*module.parameters(), *(each for each in module.buffers() if each.is_floating_point())]:
        torch.nn.init.uniform_(value, 0.01, 0.02)
    return Exported(module, to_onnx(module, folder / f"{name}.onnx", (1, 3, 224, 224)))
