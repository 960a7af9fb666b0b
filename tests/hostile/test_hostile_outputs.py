"""What commands write while other programs write the same names, or while the disk is full: see ``outputs``."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks of POSIX")

HERE = Path(__file__).parent
MOUNTED = 'mount -t tmpfs -o size=4m none "$0" || exit 77; exec "$@"'


@pytest.mark.parametrize(
    "count", [pytest.param(20, marks=pytest.mark.long), pytest.param(500, marks=pytest.mark.sweep)]
)
@pytest.mark.parametrize("how", ["appearing", "limit", "disk"])
def test_nothing_is_replaced_and_nothing_is_left_half_done(how: str, count: int, tmp_path: Path) -> None:
    for needed in ("zarr", "pyarrow", "h5py"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is an extra")
    command = [sys.executable, "-B", str(HERE / "outputs.py"), how, str(count), str(count), str(tmp_path)]
    if how == "disk":  # A small file system that nobody else sees, and that ends with the process.
        unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNTED, str(tmp_path)]
        command = [*unshare, *command]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if found.returncode in {1, 77} and not found.stdout and "outputs.py" not in found.stderr:
        pytest.skip(f"this system does not let us mount a file system: {found.stderr.strip()}")
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    print(told["seen"])
    assert told["faults"] == []
    assert len(told["seen"]) >= 2
