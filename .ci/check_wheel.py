"""Compare what is in a wheel with the tree: every module and data file, nothing else, and no top-level surprise."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

DATA = {".safetensors", ".onnx", ".md", ".png", ".npy", ".typed", ".js", ".css", ".html"}
SOURCES = "portable_nn/pages/src/"
"""What is built from these is in the wheel, and not they themselves."""


def expected() -> set[str]:
    """The files under version control that belong into the wheel, under the names they have there."""
    folders = ["portable_nn", "converters", "models"]
    listed = subprocess.run(["git", "ls-files", *folders], capture_output=True, text=True, check=True).stdout.split()
    names = set()
    for name in listed:
        path = PurePosixPath(name)
        if path.suffix == ".py" or (path.suffix in DATA and not name.startswith(SOURCES)):
            names.add(name if path.parts[0] == "portable_nn" else f"portable_nn/{name}")
    return names


def main(wheel: str) -> int:
    """Print what is missing and what is left over; 1 if there is any."""
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    missing, extra = sorted(expected() - found), sorted(found - expected())
    for name in missing:
        print(f"missing from the wheel: {name}")
    for name in extra:
        print(f"should not be in the wheel: {name}")
    print(f"{Path(wheel).name}: {len(found)} files")
    return 1 if missing or extra else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
