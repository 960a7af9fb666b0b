"""Weight files packed by hand from SPEC.md, valid or not: nothing here uses the package's own writer."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from typing import Any

DATA = struct.pack("<4f", 1, 2, 3, 4) + struct.pack("<4f", 5, 6, 7, 8) + struct.pack("<2f", 0.5, -0.5)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def dumps(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parameter(name: str, shape: list[int], dtype: str = "float32") -> dict[str, Any]:
    return {"name": name, "dtype": dtype, "shape": shape, "trainable": True}


def node(name: str, operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> dict[str, Any]:
    return {
        "name": name, "operator": operator, "domain": "", "inputs": inputs, "outputs": outputs,
        "attributes": attributes,
    }  # fmt: skip


MANIFEST: dict[str, Any] = {
    "format": "portable-nn",
    "version": 1,
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
    "inputs": [{"name": "x", "kind": "tensor", "preprocessing": []}],
    "outputs": [{"name": "y", "kind": "logits", "labels": ["no", "yes"], "unit": ""}],
    "metadata": {},
    "training": None,
}  # fmt: skip

ENTRIES: dict[str, Any] = {
    "a.weight": {"data_offsets": [0, 16], "dtype": "F32", "shape": [2, 2]},
    "b.weight": {"data_offsets": [16, 32], "dtype": "F32", "shape": [2, 2]},
    "b.bias": {"data_offsets": [32, 40], "dtype": "F32", "shape": [2]},
}


class Forge:
    """A valid file in parts; change a part and ``pack``."""

    def __init__(self) -> None:
        self.manifest, self.entries = copy.deepcopy((MANIFEST, ENTRIES))
        self.data = DATA

    @property
    def graph(self) -> dict[str, Any]:
        graph: dict[str, Any] = self.manifest["graph"]
        return graph

    def pack(self, *, padding: bytes = b" ", alignment: int = 64) -> bytes:
        return frame(self.header(dumps(self.manifest)), self.data, padding=padding, alignment=alignment)

    def header(self, manifest: bytes) -> bytes:
        metadata = {"portable_nn": manifest.decode(), "portable_nn.sha256": sha256(manifest)}
        return dumps(self.entries | {"__metadata__": metadata})

    def only(self, name: str, dtype: str, code: str, shape: list[int], data: bytes) -> Forge:
        """A network with nothing but one parameter, which it gives out."""
        self.graph.update(inputs=[], outputs=["y"], parameters=[parameter(name, shape, dtype)])
        self.graph["nodes"] = [node("n", "Identity", [name], ["y"])]
        self.manifest["inputs"], self.manifest["outputs"][0]["labels"] = [], []
        self.manifest["digests"] = {name: sha256(data)}
        self.entries = {name: {"data_offsets": [0, len(data)], "dtype": code, "shape": shape}}
        self.data = data
        return self


def frame(header: bytes, data: bytes, *, padding: bytes = b" ", alignment: int = 64) -> bytes:
    header += padding * (-(8 + len(header)) % alignment)
    return struct.pack("<Q", len(header)) + header + data
