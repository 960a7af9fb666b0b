"""Inference, export and start-up against PyTorch and typer: ``python inference.py``."""

from __future__ import annotations

import sys

from side_by_side import compare, processor

if __name__ == "__main__":
    print(processor())
    for network in ("784-200-10 sigmoid", "LeNet-like"):
        for batch in (1, 256):
            sides: dict[str, tuple[object, ...]] = {
                "numpy": ("sides", "our_inference", network, batch, "numpy"),
                "torch": ("sides", "torch_inference", network, batch, False),
                "torch no_grad": ("sides", "torch_inference", network, batch, True),
            }
            if network == "LeNet-like":
                sides["torch channels last"] = ("sides", "torch_inference", network, batch, False, True)
            compare(f"{network} predict, batch {batch}", sides)
        for batch in (1, 32, 256):
            engines = ("onnxruntime", "snapshot", "bare")
            compare(
                f"{network} in onnxruntime, batch {batch}",
                {engine: ("sides", "our_inference", network, batch, engine) for engine in engines},
            )
    compare(
        "784-200-10 export to ONNX",
        {
            "verified": ("sides", "our_export", True),
            "not verified": ("sides", "our_export", False),
            "torch.onnx.export": ("sides", "torch_export"),
        },
        rounds=5,
    )
    compare(
        "portable-nn --help",
        {
            "portable-nn": ("sides", "command", sys.executable, "-m", "portable_nn", "--help"),
            "import typer": ("sides", "command", sys.executable, "-c", "import typer"),
        },
    )
