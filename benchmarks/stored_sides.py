"""What ``stored.py`` times: an epoch of training on examples in memory or in a file; seconds, or peak bytes."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

ROWS: Final = 600_000
WIDTH: Final = 104
BATCH: Final = 128
EPOCHS: Final = 3
CHUNK: Final = 4096


def write(folder: str) -> float:
    """The examples as npy, HDF5, zarr and Parquet."""
    import h5py
    import pyarrow as pa
    import zarr
    from pyarrow.parquet import write_table

    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, WIDTH), np.float32)
    y = x[:, :1] * 2 + 1
    for name, array in (("x", x), ("y", y)):
        np.save(Path(folder, f"{name}.npy"), array)
    with h5py.File(Path(folder, "a.h5"), "w") as file:
        for name, array in (("x", x), ("y", y)):
            file.create_dataset(name, data=array, chunks=(CHUNK, array.shape[1]))
    group = zarr.open_group(str(Path(folder, "a.zarr")), mode="w")
    for name, array in (("x", x), ("y", y)):
        group.create_array(name, data=array, chunks=(CHUNK, array.shape[1]))
    lists = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), WIDTH)
    write_table(pa.table({"x": lists, "y": y[:, 0]}), Path(folder, "a.parquet"), row_group_size=CHUNK)
    return 0.0


class Groups:
    """A column of Parquet for PyTorch: its row groups by the places of their rows."""

    def __init__(self, folder: str, name: str) -> None:
        from pyarrow.parquet import ParquetFile

        self.file, self.name = ParquetFile(Path(folder, "a.parquet")), name

    def __getitem__(self, rows: slice) -> Any:
        """The rows of one group."""
        column = self.file.read_row_group(rows.start // CHUNK, columns=[self.name]).column(0).combine_chunks()
        return column.flatten().to_numpy().reshape(-1, WIDTH) if self.name == "x" else column.to_numpy()[:, None]


def opened(kind: str, folder: str, is_ours: bool = True) -> tuple[Any, Any]:
    """The examples as ``fit`` takes them, or as PyTorch can read them."""
    if kind in ("zarr", "parquet") and is_ours:
        from portable_nn.data.stored_files import open_stored

        x, y = (open_stored(Path(folder, f"a.{kind}"), [name]) for name in "xy")
        return x, y
    if kind == "zarr":
        import zarr

        group = zarr.open_group(str(Path(folder, "a.zarr")), mode="r")
        return group["x"], group["y"]
    if kind == "parquet":
        return Groups(folder, "x"), Groups(folder, "y")
    if kind == "h5":
        import h5py

        file = h5py.File(Path(folder, "a.h5"))
        return file["x"], file["y"]
    x, y = (np.load(Path(folder, f"{name}.npy"), mmap_mode="r") for name in "xy")
    return (x, y) if kind == "npy" else (np.array(x), np.array(y))


def ours(kind: str, folder: str, what: str = "seconds") -> float:
    """An epoch of ``fit``, the median of some, or the peak of memory."""
    import portable_nn as pnn

    x, y = opened(kind, folder)
    layers = [pnn.Dense(64), pnn.ReLU(), pnn.Dense(32), pnn.ReLU(), pnn.Dense(1)]
    network = pnn.Sequential(pnn.Input(WIDTH), *layers, seed=0)
    times = [time.perf_counter()]
    network.fit(
        x,
        y,
        loss="mean_squared_error",
        epochs=EPOCHS,
        batch_size=BATCH,
        progress=False,
        callbacks=[lambda *_: times.append(time.perf_counter())],
    )
    return peak() if what == "peak" else float(np.median(np.diff(times)))


def theirs(kind: str, folder: str, what: str = "seconds") -> float:
    """The same in PyTorch, with a ``DataLoader`` that reads and shuffles chunks as its documents advise."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    torch.set_num_threads(1)

    class Chunks(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            x, y = opened(kind, folder, is_ours=False)
            worker = get_worker_info()
            rng = np.random.default_rng(worker.seed if worker else 0)
            for start in rng.permutation(range(0, ROWS, CHUNK)):
                rows, targets = (torch.from_numpy(np.array(each[start : start + CHUNK])) for each in (x, y))
                for places in torch.randperm(len(rows)).split(BATCH):
                    yield rows[places], targets[places]

    network = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    times = [time.perf_counter()]
    for _ in range(EPOCHS):
        for inputs, targets in DataLoader(Chunks(), batch_size=None, num_workers=1):
            optimizer.zero_grad()
            nn.functional.mse_loss(network(inputs), targets).backward()
            optimizer.step()
        times.append(time.perf_counter())
    return peak() if what == "peak" else float(np.median(np.diff(times)))


def peak() -> float:
    """The most memory that this process had, in bytes."""
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found * (1 if sys.platform == "darwin" else 1024.0)
