"""Inference, export and start-up against PyTorch and typer: ``python inference.py``."""

from __future__ import annotations

import sys

from side_by_side import compare

if __name__ == "__main__":
    for batch in (1, 256):
        compare(
            f"784-200-10 predict, batch {batch}",
            {
                "numpy": ("sides", "our_inference", batch, "numpy"),
                "onnxruntime": ("sides", "our_inference", batch, "onnxruntime"),
                "torch": ("sides", "torch_inference", batch, False),
                "torch no_grad": ("sides", "torch_inference", batch, True),
            },
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
