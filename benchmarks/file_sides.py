"""What ``files.py`` times: the same arrays saved and loaded by this package and by its peers, in seconds a file."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sides import repeat

SEED = 0
MARK = 1024
"""Every page of a loaded array is touched: one number of so many is read."""


def network(megabytes: float, tensors: int) -> tuple[Any, dict[str, Any]]:
    """A chain of dense layers with as many tensors and about as many bytes: its manifest and its arrays."""
    from portable_nn.core.graph import Graph, Node, Parameter, Value
    from portable_nn.format import InputInfo, Manifest, OutputInfo

    layers, rng = tensors // 2, np.random.default_rng(SEED)
    width = int((megabytes * 1e6 / 4 / layers) ** 0.5)
    arrays, nodes, before = {}, [], "x"
    for number in range(layers):
        name, after = f"layer_{number}", f"h{number}"
        arrays[f"{name}.weight"] = rng.standard_normal((width, width), dtype=np.float32)
        arrays[f"{name}.bias"] = rng.standard_normal(width, dtype=np.float32)
        nodes.append(Node(name, "Gemm", (before, f"{name}.weight", f"{name}.bias"), (after,), {"transB": 1}))
        before = after
    parameters = tuple(Parameter(name, "float32", array.shape) for name, array in arrays.items())
    graph = Graph((Value("x", "float32", ("batch", width)),), (before,), parameters, tuple(nodes))
    return Manifest(graph=graph, inputs=(InputInfo("x"),), outputs=(OutputInfo(before),)), arrays


# -- writing; each returns when the bytes are on the disk


def _ours(path: Path, manifest: Any, arrays: dict[str, Any]) -> None:
    from portable_nn.format import save

    save(path, manifest, arrays)


def _safetensors(path: Path, manifest: Any, arrays: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    save_file(arrays, path)
    _sync(path)


def _safetensors_whole(path: Path, manifest: Any, arrays: dict[str, Any]) -> None:
    """As this package saves: whoever loses power meanwhile has the old file or the new one, and afterwards the new."""
    new = path.with_suffix(".new")
    _safetensors(new, manifest, arrays)
    new.replace(path)
    _sync(path.parent)


def _npz(path: Path, manifest: Any, arrays: dict[str, Any]) -> None:
    np.savez(path, **arrays)
    _sync(path)


def _h5py(path: Path, manifest: Any, arrays: dict[str, Any]) -> None:
    import h5py

    with h5py.File(path, "w", libver="latest") as file:
        for name, array in arrays.items():
            file[name.replace(".", "/")] = array
    _sync(path)


def _torch(path: Path, manifest: Any, arrays: dict[str, Any]) -> None:
    import torch

    torch.save({name: torch.from_numpy(array) for name, array in arrays.items()}, path)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


# -- reading


def _ours_read(path: Path) -> Iterator[Any]:
    from portable_nn.format import load

    yield from load(path).tensors.values()


def _safetensors_read(path: Path) -> Iterator[Any]:
    from safetensors.numpy import load_file

    yield from load_file(path).values()


def _npz_read(path: Path) -> Iterator[Any]:
    with np.load(path) as file:
        yield from list(file.values())


def _h5py_read(path: Path) -> Iterator[Any]:
    import h5py

    with h5py.File(path) as file:
        yield from [dataset[()] for layer in file.values() for dataset in layer.values()]


def _torch_read(path: Path) -> Iterator[Any]:
    import torch

    yield from (tensor.numpy() for tensor in torch.load(path, weights_only=True).values())


# -- one tensor


def _ours_one(path: Path, name: str) -> Any:
    from portable_nn.format import load

    return load(path, lazy=True).tensors[name]


def _ours_one_anew(path: Path, name: str) -> Any:
    from portable_nn.format.reading import HEADS

    HEADS.clear()
    return _ours_one(path, name)


def _safetensors_one(path: Path, name: str) -> Any:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return file.get_tensor(name)


def _npz_one(path: Path, name: str) -> Any:
    with np.load(path) as file:
        return file[name]


def _h5py_one(path: Path, name: str) -> Any:
    import h5py

    with h5py.File(path) as file:
        return file[name.replace(".", "/")][()]


def _torch_one(path: Path, name: str) -> Any:
    import torch

    return torch.load(path, weights_only=True, mmap=True)[name].numpy()


SIDES: dict[str, tuple[str, Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "portable-nn": ("pnn.safetensors", _ours, _ours_read, _ours_one),
    "portable-nn h5": ("pnn.h5", _ours, _ours_read, _ours_one),
    "first time": ("pnn.safetensors", _ours, _ours_read, _ours_one_anew),
    "first time h5": ("pnn.h5", _ours, _ours_read, _ours_one_anew),
    "safetensors": ("st.safetensors", _safetensors, _safetensors_read, _safetensors_one),
    "safetensors whole": ("whole.safetensors", _safetensors_whole, _safetensors_read, _safetensors_one),
    "npz": ("np.npz", _npz, _npz_read, _npz_one),
    "h5py": ("h5py.h5", _h5py, _h5py_read, _h5py_one),
    "torch": ("torch.pt", _torch, _torch_read, _torch_one),
}
"""By name: the file, and how it is written, read, and read in part."""


def save(side: str, folder: str, megabytes: float, tensors: int) -> float:
    name, write, _, _ = SIDES[side]
    manifest, arrays = network(megabytes, tensors)
    return repeat(lambda: write(Path(folder, name), manifest, arrays), 1)


def load(side: str, folder: str) -> float:
    name, _, read, _ = SIDES[side]

    def touch() -> None:
        for array in read(Path(folder, name)):
            array.reshape(-1)[::MARK].sum()

    return repeat(touch, 1)


def one(side: str, folder: str) -> float:
    name, _, _, read = SIDES[side]
    return repeat(lambda: read(Path(folder, name), "layer_1.weight").reshape(-1)[::MARK].sum(), 1)


def peak(side: str, folder: str) -> float:
    """How many times the size of the file a process takes, beyond what it has before, to have it loaded."""
    name, _, read, _ = SIDES[side]
    path = Path(folder, name)
    list(read(Path(folder, "small", name)))  # imports, and what is allocated once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    arrays = list(read(path))
    for array in arrays:
        array.reshape(-1)[::MARK].sum()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / path.stat().st_size
