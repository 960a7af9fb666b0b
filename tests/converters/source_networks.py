"""Networks for the tests of source code: of each case of an operator, and with hostile names."""

from __future__ import annotations

from typing import Any

import numpy as np

import portable_nn as pnn
from portable_nn.core.graph import Graph, Node, Parameter, Value
from portable_nn.format.meaning import InputInfo, OutputInfo
from portable_nn.operators.registry import Array

HOSTILE = (
    '"""\nimport os\nos.system("touch broken")\n"""',
    "'''\nraise SystemExit\n'''",
    '"); raise SystemExit; ("',
    "*/ int broken; /*",
    "/* // \\",
    "??/",
    "%s%n{0}{{}}",
    "\\",
    "\\\n",
    "\r\nraise SystemExit",
    "a\x00b",
    "\x1b[31m",
    "\u2028raise SystemExit",
    "\u202egnp.exe",
    "def",
    "int",
    "main",
    "np",
    "predict",
    "sizes",
    "self",
    "0digits",
    "größe",
    "数",
    "",
    " ",
    "_",
    "a.b",
    "a b",
    "a_b",
    "A_B",
    "x" * 300,
)
"""Names and texts that break out of comments, quotes and identifiers, or clash with what is there."""


def hostile_network(names: tuple[str, ...]) -> tuple[pnn.Network, Array]:
    """A dense layer all of whose names and texts are hostile, as far as a graph can have them; and an input."""
    rng = np.random.default_rng(0)
    x, weight, bias, y = (name or f"empty{place}" for place, name in enumerate(names[:4]))
    graph = Graph(
        (Value(x, "float32", (names[4] or "batch", 3)),),
        (y,),
        (Parameter(weight, "float32", (2, 3)), Parameter(bias, "float32", (2,))),
        (Node(names[5], "Gemm", (x, weight, bias), (y,), {"transB": 1}),),
        names[6] or "network",
    )
    arrays: dict[str, Any] = {
        weight: rng.normal(size=(2, 3)).astype("float32"),
        bias: rng.normal(size=2).astype("float32"),
    }
    texts = names[7:9]
    network = pnn.Network.from_graph(
        graph,
        arrays,
        inputs=[InputInfo(x)],
        outputs=[OutputInfo(y, "logits", texts, unit=names[9])],
        metadata={"name": names[10], names[11] or "key": names[12]},
    )
    return network, rng.normal(size=(5, 3)).astype("float32")
