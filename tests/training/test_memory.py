"""The memory of a process that trains on, or predicts, two or twenty gigabytes: sparse files, which take no disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from portable_nn.data.shuffling import WINDOW
from portable_nn.data.stored import WHOLE

PROGRAM = """
import resource, sys
import h5py, numpy as np
import portable_nn as pnn

kind, what, path, count = *sys.argv[1:4], int(sys.argv[4])
net = pnn.Sequential(pnn.Input(2**16), pnn.Dense(1), seed=0)
options = {"loss": "mean_squared_error", "batch_size": 64, "epochs": 1, "progress": False}
some = np.zeros((128, 2**16), np.float32)
net.fit(some, np.zeros(128, np.float32), **options)
net.predict(some)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
if kind == "h5":
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", (count, 2**16), "f4", chunks=(4, 2**16))
        net.fit(x, np.zeros(count, np.float32), **options) if what == "fit" else net.predict(x)
else:
    np.lib.format.open_memmap(path, "w+", np.float32, (count, 2**16))
    x = np.load(path, mmap_mode="r")
    net.fit(x, np.zeros(count, np.float32), **options) if what == "fit" else net.predict(x)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
@pytest.mark.parametrize(
    "gigabytes", [pytest.param(2, marks=pytest.mark.long), pytest.param(20, marks=pytest.mark.sweep)]
)
@pytest.mark.parametrize("kind", ["h5", "npy"])
@pytest.mark.parametrize("what", ["fit", "predict"])
def test_no_more_than_three_windows(kind: str, what: str, gigabytes: int, tmp_path: Path) -> None:
    count = gigabytes * 2**30 // 2**18
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, what, str(tmp_path / f"x.{kind}"), str(count)],
        capture_output=True,
        text=True,
        check=True,
    )
    print(done.stdout)
    assert int(done.stdout) < 3 * WINDOW + WHOLE
