"""Three small networks as sources in four code bases, whose texts are kept in ``tests/golden/sources``.

``python tests/converters/golden_sources.py`` writes the texts anew: read the difference before it is committed.
"""

from __future__ import annotations

import inspect
import itertools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

TESTS = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(TESTS.parent)]

import numpy as np  # noqa: E402

import portable_nn as pnn  # noqa: E402
from portable_nn.core.version import __version__  # noqa: E402

GOLDEN = TESTS / "golden" / "sources"


def pictures() -> pnn.Network:
    """Layers, a lowered activation, windows that pad and a mean."""
    return pnn.Sequential(
        pnn.Input(1, 6, 6),
        pnn.Conv2d(2, 3, padding=1, stride=2),
        pnn.BatchNorm2d(),
        pnn.Mish(),
        pnn.MaxPool2d(2, stride=1, padding=1),
        pnn.GlobalAvgPool(),
        pnn.Flatten(),
        pnn.Dense(3),
        pnn.Softmax(),
    )


def steps() -> pnn.Network:
    """Words of any number, recurrent layers of two kinds, and the last step."""
    words = pnn.Input("length", dtype="int64", name="words")
    x = pnn.Embedding(4, 2)(words)
    x = pnn.LSTM(2, bidirectional=True)(x)
    return pnn.Network(words, pnn.Dense(2)(pnn.Tanh()(pnn.GRU(2, last=True)(x))))


def attention() -> pnn.Network:
    """A block of a transformer, with a causal mask."""
    x = pnn.Input(3, 4, name="x")
    h = x + pnn.MultiHeadAttention(2, causal=True)(pnn.LayerNorm()(x))
    return pnn.Network(x, h + pnn.Dense(4)(pnn.GELU()(pnn.Dense(4)(pnn.RMSNorm()(h)))))


NETWORKS: dict[str, Callable[[], pnn.Network]] = {each.__name__: each for each in (pictures, steps, attention)}


def network(name: str) -> pnn.Network:
    """One of the networks, with weights that are short to write: 0.25, 0.5, …"""
    made = NETWORKS[name]()
    for array in made.parameters.values():
        array[...] = (np.arange(array.size).reshape(array.shape) % 7 + 1) / 4
    return made


def in_torch(made: pnn.Network) -> str:
    from portable_nn.converters.torch.source import source_of

    return source_of(made).text


def in_keras(made: pnn.Network) -> str:
    """A line for each layer and operation: its options that are not Keras's own defaults, and what it reads."""
    from portable_nn.converters.keras import to_keras

    model = to_keras(made, verify=False)
    classes = {each.name: type(each) for each in model.operations}
    text = "".join(_line(row, classes[row["name"]]) for row in model.get_config()["layers"])
    layers = {each.name for each in model.layers}
    for place, name in enumerate(classes):  # Keras counts the operations of a whole process.
        text = text if name in layers else re.sub(rf"\b{name}\b", f"{classes[name].__name__.lower()}_at_{place}", text)
    return text


def _line(row: dict[str, Any], kind: type) -> str:
    usual = inspect.signature(kind).parameters
    config = {name: each for name, each in row["config"].items() if name not in usual or each != usual[name].default}
    calls = [_said([*node["args"], *([node["kwargs"]] if node["kwargs"] else [])]) for node in row["inbound_nodes"]]
    return f"{row['name']} = {row['class_name']}{_said(config)}{', '.join(calls)}\n"


UNSAID = ("name", "dtype", "trainable", "_initializer", "_regularizer", "_constraint")
"""The ends of names of options that say nothing of a trained network."""


def _said(value: Any) -> str:
    """A part of a configuration: a tensor is the layer that makes it, an inner layer its class and its options."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return str(value["config"]["keras_history"][0])
    if isinstance(value, dict) and "class_name" in value:
        return f"{value['class_name']}{_said(value['config'])}"
    if isinstance(value, dict):
        said = {name: each for name, each in value.items() if not name.endswith(UNSAID) and each is not None}
        return f"({', '.join(f'{name}={_said(each)}' for name, each in said.items())})"
    return f"({', '.join(map(_said, value))})" if isinstance(value, (list, tuple)) else repr(value)


def in_numpy(made: pnn.Network) -> str:
    from portable_nn.converters.source.numpy_module import source_of

    return source_of(made, "net.py", None)


def in_c(made: pnn.Network) -> str:
    from portable_nn.converters.source.c_file import source_of

    sizes = {dim for value in made.graph.inputs for dim in value.shape if dim == "length"}
    return source_of(made, Path("net.c"), dict.fromkeys(sizes, 4))


WRITERS: dict[str, Callable[[pnn.Network], str]] = {"torch": in_torch, "keras": in_keras, "numpy": in_numpy, "c": in_c}
"""By code base: the text of a network."""


def text_of(base: str, name: str) -> str:
    """The text of a network in a code base; for the version of this package stands a word."""
    return WRITERS[base](network(name)).replace(__version__, "VERSION")


def file_of(base: str, name: str) -> Path:
    return GOLDEN / f"{base}_{name}.txt"


def main() -> None:
    """Write all texts."""
    for base, name in itertools.product(WRITERS, NETWORKS):
        file_of(base, name).write_text(text_of(base, name), encoding="utf-8")


if __name__ == "__main__":
    main()
