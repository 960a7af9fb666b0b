"""Training from a file, from memory, and with PyTorch's DataLoader over the same file: ``python stored.py``."""

from __future__ import annotations

import tempfile

from side_by_side import compare, measure, processor

if __name__ == "__main__":
    print(processor())
    with tempfile.TemporaryDirectory() as folder:
        measure("stored_sides", "write", folder)
        for kind in ("npy", "h5", "zarr", "parquet"):
            sides = {
                kind: ("stored_sides", "ours", kind, folder),
                "memory": ("stored_sides", "ours", "memory", folder),
                "torch": ("stored_sides", "theirs", kind, folder),
            }
            compare(f"an epoch from {kind}", sides, rounds=3)
            peaks = {side: measure(str(call[0]), str(call[1]), *call[2:], "peak") for side, call in sides.items()}
            print(f"{'peak memory':<38} " + "  ".join(f"{side} {size / 1e6:,.0f} MB" for side, size in peaks.items()))
