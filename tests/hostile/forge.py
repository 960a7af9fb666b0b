"""Weight files in parts, valid or not; ``forge_safetensors``, ``forge_hdf5`` and ``forge_npz`` pack them by hand.

Nothing here uses the package's own writer.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from dataclasses import dataclass
from typing import Any

import xxhash

DATA = struct.pack("<4f", 1, 2, 3, 4) + struct.pack("<4f", 5, 6, 7, 8) + struct.pack("<2f", 0.5, -0.5)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def xxh3(data: bytes) -> str:
    return xxhash.xxh3_128_hexdigest(data)


def dumps(value: object) -> bytes:
    """Canonical JSON; the surrogates of ``surrogateescape`` become bytes that are no UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")


def value(name: str, shape: list[int], dtype: str = "float32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape}


def parameter(name: str, shape: list[int], dtype: str = "float32") -> dict[str, Any]:
    return value(name, shape, dtype) | {"trainable": True}


def node(name: str, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "operator": operator,
        "domain": "",
        "inputs": inputs,
        "outputs": outputs,
        "attributes": attributes,
    }


MANIFEST: dict[str, Any] = {
    "format": "portable-nn",
    "version": 3,
    "producer": "forge",
    "opset": 25,
    "graph": {
        "name": "network",
        "inputs": [{"name": "x", "dtype": "float32", "shape": ["batch", 2]}],
        "outputs": ["y"],
        "parameters": [parameter("a.weight", [2, 2]), parameter("b.weight", [2, 2]), parameter("b.bias", [2])],
        "nodes": [
            node("a", "Gemm", ["x", "a.weight"], ["h"]),
            node("s", "Sigmoid", ["h"], ["g"]),
            node("b", "Gemm", ["g", "b.weight", "b.bias"], ["y"], transB=1),
        ],
    },
    "digests": {"a.weight": sha256(DATA[:16]), "b.weight": sha256(DATA[16:32]), "b.bias": sha256(DATA[32:])},
    "checksums": {"a.weight": xxh3(DATA[:16]), "b.weight": xxh3(DATA[16:32]), "b.bias": xxh3(DATA[32:])},
    "inputs": [{"name": "x"}],
    "outputs": [{"name": "y", "kind": "logits", "labels": ["no", "yes"]}],
    "metadata": {},
    "training": None,
}


@dataclass
class Stored:
    """What a carrier says of a tensor, whatever the manifest says; bytes count from the first one of the data."""

    dtype: str
    shape: list[int]
    start: int
    stop: int


STORED = {
    "a.weight": Stored("float32", [2, 2], 0, 16),
    "b.weight": Stored("float32", [2, 2], 16, 32),
    "b.bias": Stored("float32", [2], 32, 40),
}


class Forge:
    """A valid file in parts, to be changed and packed."""

    def __init__(self) -> None:
        self.manifest, self.stored = copy.deepcopy((MANIFEST, STORED))
        self.data = DATA
        self._text: bytes | None = None

    def of_version(self, version: int) -> None:
        """Make it a manifest of an older version, in which no field of an input or output may be missing."""
        self.manifest["version"] = version
        for info in self.manifest["inputs"]:
            info.update({"kind": "tensor", "preprocessing": []} | info)
        for info in self.manifest["outputs"]:
            info.update({"kind": "values", "labels": [], "unit": ""} | info)
        if version == 1:
            del self.manifest["checksums"]

    @property
    def graph(self) -> dict[str, Any]:
        graph: dict[str, Any] = self.manifest["graph"]
        return graph

    @property
    def text(self) -> bytes:
        """The manifest's text: the canonical one, where no other was written."""
        return dumps(self.manifest) if self._text is None else self._text

    @text.setter
    def text(self, text: bytes) -> None:
        self._text = text

    def rewrite(self, old: bytes, new: bytes) -> None:
        """Change the text of the manifest in one place."""
        assert old in self.text
        self.text = self.text.replace(old, new, 1)

    def store(self, name: str, dtype: str, shape: list[int], data: bytes) -> None:
        """Add a tensor to the data, and its hashes to the manifest; the graph does not know it."""
        self.stored[name] = Stored(dtype, shape, len(self.data), len(self.data) + len(data))
        self.data += data
        self.manifest["digests"][name], self.manifest["checksums"][name] = sha256(data), xxh3(data)

    def give(self, name: str, dtype: str, shape: list[int], data: bytes) -> Forge:
        """Add a parameter that the network gives out."""
        output = f"out {len(self.graph['nodes'])}"
        self.store(name, dtype, shape, data)
        self.graph["parameters"].append(parameter(name, shape, dtype))
        self.graph["nodes"].append(node(f"node {len(self.graph['nodes'])}", "Identity", [name], [output]))
        self.graph["outputs"].append(output)
        self.manifest["outputs"].append({"name": output})
        return self

    def empty(self) -> Forge:
        """A network without anything in it."""
        self.graph.update(inputs=[], outputs=[], parameters=[], nodes=[])
        self.manifest.update(inputs=[], outputs=[], digests={}, checksums={})
        self.stored, self.data = {}, b""
        return self

    def only(self, name: str, dtype: str, shape: list[int], data: bytes) -> Forge:
        """A network with nothing but one parameter, which it gives out."""
        return self.empty().give(name, dtype, shape, data)
