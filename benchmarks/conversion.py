"""Time and memory of importing and exporting ONNX files, with proof and without: ``python conversion.py``.

Seconds are those of the processor; memory is the most that the process takes beyond its imports, and for an export
beyond the network, in multiples of the file.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from side_by_side import measure

MODELS = ("maxvit_t", "transformer", "unsupported")

ROUNDS = 3


def row(title: str, function: str, path: Path, verify: bool) -> None:
    """Print the median of the seconds and of the memory."""
    found = {
        kind: statistics.median(measure("conversion_sides", function, str(path), verify, kind) for _ in range(ROUNDS))
        for kind in ("seconds", "bytes")
    }
    share = found["bytes"] / path.stat().st_size
    print(f"{title:<40} {found['seconds']:6.2f} s   {share:5.2f} x the file", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            path = Path(folder, f"{name}.onnx")
            measure("conversion_sides", "write", name, str(path))
            print(f"{name}: {path.stat().st_size / 1e6:.0f} MB")
            row("import without proof", "imported", path, verify=False)
            if name == "unsupported":
                continue
            row("import", "imported", path, verify=True)
            weights = path.with_suffix(".safetensors")
            measure("conversion_sides", "converted", str(path), str(weights))
            row("export without proof", "exported", weights, verify=False)
            row("export", "exported", weights, verify=True)
